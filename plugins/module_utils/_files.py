# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Files that survive a crash and directories that only their owner can change."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ._errors import DiskError, UsageError

PRIVATE_DIRECTORY = 0o700
PRIVATE_FILE = 0o600

LOOK_EVERY_SECONDS = 1.0
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def disk_error(path: str, error: OSError, doing: str) -> DiskError:
    """The failure of a file operation, in words that name the path and what to do."""
    if error.errno in FULL:
        advice = "Free some space, or choose a directory on a larger file system."
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        advice = "Run as the directory's owner, or choose a directory that can be written."
    elif error.errno == errno.ENOENT:
        advice = "Create its directory first."
    else:
        advice = "Look at the file system and the kernel's log."
    return DiskError(f"Cannot {doing} {path}: {error.strerror or error}. {advice}", path=path)


@contextmanager
def disk_errors(path: str, doing: str) -> Iterator[None]:
    """Turn what the operating system says into a DiskError that names the path."""
    try:
        yield
    except OSError as error:
        raise disk_error(path, error, doing) from error


def fsync_directory(path: str) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def create_file(path: str, mode: int = PRIVATE_FILE) -> int:
    """A descriptor of a new file that nobody else made: never an existing one, never through a link."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)


def write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def atomic_write(path: str, data: bytes, mode: int = PRIVATE_FILE) -> None:
    """Replace a file as a whole, durably: readers see the old content or the new one. DiskError when it cannot be."""
    directory, name = os.path.split(path)
    temporary = os.path.join(directory, f".{name}.partial")
    with disk_errors(path, "write"):
        try:
            if os.path.lexists(temporary):
                os.unlink(temporary)
            descriptor = create_file(temporary, mode)
            try:
                write_all(descriptor, data)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.replace(temporary, path)
        except OSError:
            if os.path.lexists(temporary):
                os.unlink(temporary)
            raise
        fsync_directory(directory)


def absolute_path(option: str, path: str) -> str:
    """The path that an option gives, with ~ expanded; UsageError for a relative one."""
    expanded = os.path.expanduser(path)
    if not os.path.isabs(expanded):
        raise UsageError(f"{option} must be an absolute path, not {path!r}: where else it begins depends on how the module is run.")
    return expanded


def read_regular_file(path: str, limit: int) -> bytes:
    """The content of a regular file (no link) of at most `limit` bytes; OSError otherwise."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", path)
        if status.st_size > limit:
            raise OSError(errno.EFBIG, f"larger than {limit} bytes", path)
        return file.read(status.st_size)  # not more: Python takes the memory for all that it is asked for


def require_free_space(path: str, needed: int) -> None:
    """DiskError unless the file system of `path` has this many bytes for us."""
    with disk_errors(path, "look at"):
        free = shutil.disk_usage(path).free
    if free < needed:
        raise DiskError(
            f"{path} has {free / 1e6:.0f} MB free, and about {needed / 1e6:.0f} MB are needed. Free some space, or choose another directory.",
            path=path, free=free, needed=needed,
        )


def wait_for_free_space(path: str, needed: int, patience: float) -> None:
    """Wait for at most `patience` seconds until the file system of `path` has this many bytes; DiskError if it never had."""
    until = time.monotonic() + patience
    while True:
        try:
            require_free_space(path, needed)
            return
        except DiskError:
            if time.monotonic() >= until:
                raise
        time.sleep(min(LOOK_EVERY_SECONDS, max(0.0, until - time.monotonic())))


def check_private_directory(path: str) -> None:
    """UsageError unless only its owner, who is this user or root, can change the directory."""
    with disk_errors(path, "look at"):
        status = os.lstat(path)
    problem = directory_problem(status)
    if problem is not None:
        raise UsageError(f"{path} {problem}", path=path)


def directory_problem(status: os.stat_result) -> str | None:
    """What makes a directory unfit to be trusted, or None."""
    if not stat.S_ISDIR(status.st_mode):
        return "is no directory (or a link to one). Remove it, or choose another directory."
    if status.st_uid not in (0, os.geteuid()):
        return f"belongs to another user (uid {status.st_uid}, this is {os.geteuid()}). Run as its owner, or change the owner with chown."
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"can be changed by others (mode {stat.S_IMODE(status.st_mode):04o}). Take that right away with chmod go-w."
    return None


def make_private_directory(path: str) -> None:
    """Create a directory (0700) inside an existing one, durably, or check the one that is there."""
    with disk_errors(path, "create"):
        try:
            os.mkdir(path, PRIVATE_DIRECTORY)
        except FileExistsError:
            pass
        else:
            fsync_directory(os.path.dirname(path))
    check_private_directory(path)
