# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Locks between processes: the kernel gives them back when their holder dies, however it dies.

Two things are locked: a directory of snapshots, and a server's database (on the host that the operation runs on).
The lock file says who holds it; it is for people, the lock itself is flock's.
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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from ._errors import DiskError, LockedError
from ._files import disk_error, make_private_directory, write_all
from ._processes import started

STORE_LOCK = ".lock"
RUN_DIRECTORY = "/run/lock"
MAX_LOCK_FILE = 64 << 10
LOOPBACK = re.compile(r"^(https?://)(?:127\.0\.0\.1|\[::1\])(?=[:/ ]|$)")


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
    return _locked(path, f"The snapshot directory {directory}", operation, exclusive=True)


def server_lock(identity: str, operation: str, *, exclusive: bool = True) -> Any:
    """A context manager that locks a server's database (`Endpoint.identity`) for the operations of this host, by whichever name this host calls itself."""
    one_name = LOOPBACK.sub(r"\1localhost", identity)
    digest = hashlib.sha256(one_name.encode("utf-8")).hexdigest()[:16]
    readable = re.sub(r"[^A-Za-z0-9.-]+", "_", one_name)[:80].strip("_")
    return _locked(os.path.join(lock_directory(), f"{readable}.{digest}"), f"The database {identity}", operation, exclusive)


def lock_directory() -> str:
    """A directory of this user alone (0700) for locks on servers; UsageError when somebody else made it first."""
    parent = RUN_DIRECTORY if os.access(RUN_DIRECTORY, os.W_OK | os.X_OK) else tempfile.gettempdir()
    path = os.path.join(parent, f"infrafabric-chromadb-{os.geteuid()}")
    make_private_directory(path)
    return path


@contextmanager
def _locked(path: str, what: str, operation: str, exclusive: bool) -> Iterator[None]:
    key = (path, threading.get_ident())
    _acquire(key, what, operation, exclusive)
    try:
        yield
    finally:
        _release(key)


def _acquire(key: tuple[str, int], what: str, operation: str, exclusive: bool) -> None:
    path = key[0]
    with _held_guard:
        held = _held.get(key)
        if held is not None and (held.exclusive or not exclusive):
            held.depth += 1
            return
        descriptor = _open(path)
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            holders = _holders(descriptor)
            os.close(descriptor)
            raise LockedError(f"{what} is locked by {_described(holders)}. Wait until that has ended, and run this again.", holders=holders) from None
        except OSError as error:
            os.close(descriptor)
            raise disk_error(path, error, "lock") from error
        try:
            _sign(descriptor, operation, exclusive)
        except OSError as error:
            os.close(descriptor)
            raise disk_error(path, error, "write the lock file") from error
        _held[key] = _Held(descriptor, exclusive)


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
        except ValueError:
            continue
        if isinstance(holder, dict) and _may_live(holder):
            holders.append(holder)
    return holders


def _may_live(holder: dict[str, Any]) -> bool:
    if holder.get("host") != socket.gethostname():
        return True
    return holder.get("process_started") == started(holder.get("pid"))


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
