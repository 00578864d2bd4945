# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Locks between processes: the kernel gives them back when their holder dies, however it dies.

Two things are locked: a directory of snapshots, and a server's database (on the host that the operation runs on, whichever of its users
run there). The lock file says who holds it; it is for people, the lock itself is flock's.
"""

from __future__ import annotations

import fcntl
import getpass
import hashlib
import json
import os
import re
import socket
import stat
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from ._errors import DiskError, LockedError, UsageError
from ._files import create_file, disk_error, disk_errors, write_all
from ._processes import started
from ._same_server import by_one_name

STORE_LOCK = ".lock"
RUN_DIRECTORY, TEMPORARY_DIRECTORY = "/run/lock", "/tmp"
OWN_DIRECTORY = "infrafabric-chromadb"
# Everybody may make lock files there, and take away none but their own.
SHARED_DIRECTORY, SHARED_FILE = 0o1777, 0o666
TRIES, PAUSE_SECONDS = 40, 0.05
SHOWN_CHARACTERS = 100
HOLDER = ("pid", "process_started", "host", "user", "started", "operation", "mode")
MAX_LOCK_FILE = 64 << 10


@dataclass
class _Held:
    """A lock of this process: nested use by the same thread is granted and counted."""

    descriptor: int
    exclusive: bool
    depth: int = 1


_held: dict[tuple[str, int], _Held] = {}
_held_guard = threading.Lock()


def store_lock(directory: str, operation: str) -> Any:
    """A context manager that locks a directory of snapshots. LockedError at once, naming the holder; DiskError when it cannot be written."""
    path = os.path.join(os.path.realpath(directory), STORE_LOCK)
    return _locked(path, f"The snapshot directory {directory}", operation, exclusive=True, shared_file=False)


def server_lock(identity: str, operation: str, *, exclusive: bool = True) -> Any:
    """A context manager that locks a server's database (`Endpoint.identity`) for the operations of this host, by whichever name this host calls itself."""
    one_name = by_one_name(identity)
    digest = hashlib.sha256(one_name.encode("utf-8")).hexdigest()[:16]
    readable = re.sub(r"[^A-Za-z0-9.-]+", "_", one_name)[:80].strip("_")
    return _locked(os.path.join(lock_directory(), f"{readable}.{digest}"), f"The database {identity}", operation, exclusive, shared_file=True)


def lock_directory() -> str:
    """The one directory for locks on servers of all users of this host; UsageError when something else is in its place.

    Which one it is must not depend on who asks: a directory that only some can write is none.
    """
    places = (RUN_DIRECTORY, TEMPORARY_DIRECTORY)
    place = next((place for place in places if _is_open_to_all(place)), None)
    if place is None:
        # It tries to write there, and so is asked only where it is needed.
        with disk_errors("a directory of temporary files", "find"):
            place = tempfile.gettempdir()
    path = os.path.join(place, OWN_DIRECTORY)
    with disk_errors(path, "create"):
        if not os.path.lexists(path):
            _make_shared_directory(path)
        status = os.lstat(path)
    if not stat.S_ISDIR(status.st_mode):
        raise UsageError(f"{path} is no directory (or a link to one), and locks belong there. Remove it.", path=path)
    if stat.S_IMODE(status.st_mode) != SHARED_DIRECTORY:
        raise UsageError(
            f"{path} has mode {stat.S_IMODE(status.st_mode):04o}, and every user of this host must be able to lock there: chmod 1777 it, or remove it.",
            path=path,
        )
    return path


def _is_open_to_all(directory: str) -> bool:
    try:
        mode = os.stat(directory).st_mode
    except OSError:
        return False
    # The mode speaks of everybody, access() of file systems that are read-only.
    return stat.S_ISDIR(mode) and mode & 0o003 == 0o003 and os.access(directory, os.W_OK | os.X_OK)


def _make_shared_directory(path: str) -> None:
    """It has its mode as soon as it has its name, whatever the umask; another process may be quicker."""
    made = tempfile.mkdtemp(prefix=f".{OWN_DIRECTORY}-", dir=os.path.dirname(path))
    try:
        os.chmod(made, SHARED_DIRECTORY)
        os.rename(made, path)
    except OSError:
        os.rmdir(made)
        if not os.path.lexists(path):
            raise


@contextmanager
def _locked(path: str, what: str, operation: str, exclusive: bool, shared_file: bool) -> Iterator[None]:
    key = (path, threading.get_ident())
    _acquire(key, what, operation, exclusive, shared_file)
    try:
        yield
    finally:
        _release(key)


def _acquire(key: tuple[str, int], what: str, operation: str, exclusive: bool, shared_file: bool) -> None:
    path = key[0]
    with _held_guard:
        held = _held.get(key)
        if held is not None and (held.exclusive or not exclusive):
            held.depth += 1
            return
        for _attempt in range(TRIES):
            descriptor, may_sign = _open_shared(path) if shared_file else (_open(path), True)
            try:
                _flock(descriptor, path, what, exclusive)
                # Whoever cleans a directory of temporary files may have taken it away meanwhile; then it keeps nobody out.
                if not shared_file or (_is_there(descriptor, path) and not (exclusive and _replaced(descriptor, path))):
                    break
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)
        else:
            raise DiskError(f"{path} is taken away again and again. See who does that, and run this again.", path=path)
        if may_sign:
            try:
                _sign(descriptor, operation, exclusive)
            except OSError as error:
                os.close(descriptor)
                raise disk_error(path, error, "write the lock file") from error
        _held[key] = _Held(descriptor, exclusive)


def _flock(descriptor: int, path: str, what: str, exclusive: bool) -> None:
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        holders = _holders(descriptor)
        raise LockedError(f"{what} is locked by {_described(holders)}. Wait until that has ended, and run this again.", holders=holders) from None
    except OSError as error:
        raise disk_error(path, error, "lock") from error


def _replaced(descriptor: int, path: str) -> bool:
    """Root takes the lock file of another user away, which is held alone and so by nobody else: its owner could do that while it is held."""
    if os.geteuid() != 0 or os.fstat(descriptor).st_uid == 0:
        return False
    with disk_errors(path, "replace"):
        os.unlink(path)
    return True


def _is_there(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False


def _release(key: tuple[str, int]) -> None:
    with _held_guard:
        held = _held[key]
        held.depth -= 1
        if held.depth == 0:
            del _held[key]
            os.close(held.descriptor)


def _open(path: str) -> int:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise disk_error(path, error, "open the lock file") from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_uid not in (0, os.geteuid()):
        os.close(descriptor)
        raise DiskError(f"{path} is no lock file of this user. Remove it if nothing uses it.", path=path)
    return descriptor


def _open_shared(path: str) -> tuple[int, bool]:
    """A lock file that every user of the host can lock, and whether this one may write its name into it.

    Nothing is believed of a file of somebody else, and nothing but names is written into it: it may not even be a second name of another file.
    """
    denied: OSError | None = None
    for _attempt in range(TRIES):
        for flags in (os.O_RDWR, os.O_RDONLY):
            try:
                # Never with O_CREAT: in such a directory the kernel may refuse that for a file of another user (fs.protected_regular).
                descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            except FileNotFoundError:
                break
            except PermissionError as error:
                denied = error
                continue
            except OSError as error:
                raise disk_error(path, error, "open the lock file") from error
            _require_lock_file(descriptor, path)
            return descriptor, flags == os.O_RDWR
        else:
            # Somebody has just made it, and has not opened it to others yet.
            time.sleep(PAUSE_SECONDS)
            continue
        try:
            descriptor = create_file(path, SHARED_FILE)
        except FileExistsError:
            continue
        except OSError as error:
            raise disk_error(path, error, "create the lock file") from error
        os.fchmod(descriptor, SHARED_FILE)
        return descriptor, True
    raise DiskError(f"{path} cannot be opened: {denied.strerror if denied else 'it comes and goes'}. Remove it if nothing uses it.", path=path)


def _require_lock_file(descriptor: int, path: str) -> None:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        os.close(descriptor)
        raise DiskError(f"{path} is no lock file. Remove it if nothing uses it.", path=path)
    if status.st_uid == os.geteuid() and stat.S_IMODE(status.st_mode) != SHARED_FILE:
        # A run that was killed had made it, and not opened it to others yet.
        os.fchmod(descriptor, SHARED_FILE)


def _sign(descriptor: int, operation: str, exclusive: bool) -> None:
    """Write down who holds the lock. The only holder starts the file anew, one of several adds a line."""
    holder = {
        "pid": os.getpid(),
        "process_started": started(os.getpid()),
        "host": socket.gethostname(),
        "user": _user(),
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "operation": operation,
        "mode": "exclusive" if exclusive else "shared",
    }
    if exclusive or os.fstat(descriptor).st_size > MAX_LOCK_FILE:
        os.ftruncate(descriptor, 0)
    os.lseek(descriptor, 0, os.SEEK_END)
    write_all(descriptor, json.dumps(holder).encode("ascii") + b"\n")


def _holders(descriptor: int) -> list[dict[str, Any]]:
    """Those that signed the lock file and may still live."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    holders = []
    for line in os.read(descriptor, 2 * MAX_LOCK_FILE).splitlines():
        try:
            holder = json.loads(line)
        except (ValueError, RecursionError):  # another user can have written anything there
            continue
        if isinstance(holder, dict) and _may_live(holder):
            holders.append({name: _shown(holder.get(name)) for name in HOLDER})
    return holders


def _shown(value: Any) -> Any:
    """What a lock file says of its holder, fit for a message."""
    if value is None or (isinstance(value, int) and abs(value) < 1 << 63):
        return value
    return "".join(letter if letter.isprintable() else "?" for letter in str(value)[:SHOWN_CHARACTERS])


def _may_live(holder: dict[str, Any]) -> bool:
    if holder.get("host") != socket.gethostname():
        return True
    pid = holder.get("pid")
    return isinstance(pid, int) and holder.get("process_started") == started(pid)


def _described(holders: list[dict[str, Any]]) -> str:
    if not holders:
        return "another process, which has not said its name yet"
    return " and ".join(
        f"{holder.get('operation')!s} (process {holder.get('pid')} of {holder.get('user')} on {holder.get('host')}, since {holder.get('started')})"
        for holder in holders[:3]
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
