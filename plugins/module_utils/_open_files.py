# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Is a directory in use? Asked before the directory of a stopped server is copied or exchanged.

The kernel is asked first: it grants a write lease on a file only while nobody else has that file open, in whatever container or
namespace, and whoever they are. /proc then gives the names of those who do, and finds servers that keep no file open.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import time
from collections.abc import Collection, Iterable, Iterator

from ._errors import DiskError, LockedError
from ._files import disk_errors
from ._processes import has_open, processes

TRIES = 5
PAUSE_SECONDS = 0.05
NAMED_AT_MOST = 5
ASKED_WORDS = 64


def require_unused(directory: str, files: Iterable[str]) -> None:
    """LockedError when some process has one of these files of the directory open, or is a server of it; DiskError when that cannot be told."""
    paths = list(files)
    busy = [path for path in paths if _open_elsewhere(path)]
    users = list(_users(directory, paths))
    if not busy and not users:
        return
    who = ", ".join(users[:NAMED_AT_MOST]) or f"a process that cannot be seen from here has {busy[0]} open"
    raise LockedError(f"{directory} is in use: {who}. Stop the server first, and whatever else works there.", directory=directory, users=users)


def _open_elsewhere(path: str) -> bool:
    """Whether another process has the file open. A file that is gone is not open."""
    with disk_errors(path, "look at"):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
    try:
        # Whoever opens the file while the lease is held makes the kernel send a signal: one that does nothing.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        for attempt in range(TRIES):
            try:
                fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
                fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
                return False
            except BlockingIOError:
                # Somebody may only have looked at its name just now.
                if attempt + 1 < TRIES:
                    time.sleep(PAUSE_SECONDS)
            except PermissionError:
                raise DiskError(f"Whether {path} is in use can be told only to its owner and to root. Run as one of them.", path=path) from None
            except OSError as error:
                # A network file system may know no leases; then only what root sees in /proc can tell.
                if error.errno in (errno.EINVAL, errno.ENOTSUP, errno.ENOLCK) and os.geteuid() == 0:
                    return False
                raise DiskError(f"Whether {path} is in use cannot be told on this file system ({error.strerror}). Run as root.", path=path) from None
        return True
    finally:
        os.close(descriptor)


def _users(directory: str, paths: Collection[str]) -> Iterator[str]:
    """Processes that have one of the files open, or are Chroma servers told to work in the directory; as far as this user may look."""
    nodes = set()
    for path in paths:
        try:
            status = os.stat(path, follow_symlinks=False)
        except OSError:
            continue
        nodes.add((status.st_dev, status.st_ino))
    for pid in processes():
        if pid != os.getpid():
            words = _words(pid, "cmdline")
            if has_open(pid, nodes):
                yield f"process {pid} ({_called(pid)}) has a file of it open"
            elif _serves(pid, words, directory):
                yield f"process {pid} ({_called(pid)}) serves it"


def _serves(pid: int, words: list[str], directory: str) -> bool:
    """Whether it is a Chroma server that was told to work there: releases before 0.4 keep their data in memory, and no file open."""
    if not any("chroma" in word for word in words):
        return False
    told = [word.partition("=")[2] if word.startswith("--") and "=" in word else word for word in words[:ASKED_WORDS]]
    told += [word.partition("=")[2] for word in _words(pid, "environ") if word.startswith("PERSIST_DIRECTORY=")]
    try:
        begin = os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        begin = "/"
    return any(os.path.realpath(os.path.join(begin, word)) == directory for word in told if word)


def _words(pid: int, file: str) -> list[str]:
    try:
        with open(f"/proc/{pid}/{file}", "rb") as content:
            return [os.fsdecode(word) for word in content.read(1 << 16).split(b"\0")]
    except OSError:
        return []


def _called(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return "unnamed"
