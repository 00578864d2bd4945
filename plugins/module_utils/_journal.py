# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""A file of JSON lines that only grows, each line durable before the next step.

It tells people what a run that was killed had already done; no operation reads it again.
"""

from __future__ import annotations

import json
import os
from typing import Any

from ._files import PRIVATE_FILE, disk_errors, fsync_directory, write_all

READ_AT_ONCE = 64 << 10


class Journal:
    """Appends to a journal. A last line that a crash tore is cut off first. Used by one process at a time, under its lock.

    `late` makes the file with the first line only.
    """

    def __init__(self, path: str, late: bool = False) -> None:
        self.path = path
        self._descriptor: int | None = None
        self._closed = False
        if not late:
            self._open()

    def _open(self) -> int:
        with disk_errors(self.path, "write the journal"):
            is_new = not os.path.lexists(self.path)
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE_FILE)
            if is_new:
                fsync_directory(os.path.dirname(os.path.abspath(self.path)))
            cut_torn_line(self._descriptor)
        return self._descriptor

    def append(self, entry: dict[str, Any]) -> None:
        """Returns when the line is on the disk. DiskError when it cannot be."""
        if self._closed:
            raise ValueError(f"{self.path} is closed")
        descriptor = self._open() if self._descriptor is None else self._descriptor
        with disk_errors(self.path, "write the journal"):
            append_line(descriptor, entry)

    def close(self) -> None:
        self._closed = True
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            os.close(descriptor)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def append_line(descriptor: int, entry: dict[str, Any]) -> None:
    """Write one line at the end of a file, durably; a write that fails half-way is taken back."""
    line = json.dumps(entry, separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n"
    end = os.lseek(descriptor, 0, os.SEEK_END)
    try:
        write_all(descriptor, line)
    except OSError:
        os.ftruncate(descriptor, end)
        raise
    os.fsync(descriptor)


def cut_torn_line(descriptor: int) -> bool:
    """Remove what follows the last line break; whether there was anything."""
    size = os.fstat(descriptor).st_size
    end = last_break(descriptor, size)
    if end == size:
        return False
    os.ftruncate(descriptor, end)
    os.fsync(descriptor)
    return True


def last_break(descriptor: int, end: int) -> int:
    """The position after the last line break before `end`; 0 when there is none."""
    while end > 0:
        begin = max(0, end - READ_AT_ONCE)
        found = os.pread(descriptor, end - begin, begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        end = begin
    return 0
