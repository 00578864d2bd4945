# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""A log file from now on: the lines that are written to it after it was opened, across rotation and truncation."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from ._errors import UsageError
from ._files import disk_errors

CHUNK_BYTES = 1 << 20
# A line that never ends is handed on in pieces.
LONGEST_LINE_BYTES = 1 << 16


class WatchedLog:
    """Begins at the end of the file, which must be there and readable: a log that nobody can read proves nothing."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._rest = b""
        with disk_errors(path, "read the log file"):
            self._file: int | None = _opened(path)
            self._offset = os.lseek(self._file, 0, os.SEEK_END)

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    @property
    def is_there(self) -> bool:
        """Whether the path can be read at this moment; between two steps of a rotation it may not be."""
        return os.access(self.path, os.R_OK)

    def new_lines(self) -> Iterator[str]:
        """The lines since the last call. A rotated file is read to its end before the new one is begun; one cut off, from its beginning."""
        if self._file is not None:
            if os.fstat(self._file).st_size < self._offset:
                self._offset, self._rest = 0, b""
            yield from self._lines(self._file)
        newer = self._newer()
        if newer is not None:
            if self._file is not None:
                yield from self._lines(self._file)  # what was written between the look and the rotation
            yield from self.last_line()
            self.close()
            self._file, self._offset = newer, 0
            yield from self._lines(newer)

    def last_line(self) -> Iterator[str]:
        """What was written of a line that has no end yet."""
        rest, self._rest = self._rest, b""
        if rest:
            yield rest.decode("utf-8", "replace")

    def _newer(self) -> int | None:
        """A descriptor of the file that is now under the path, when it is another one."""
        try:
            newer = _opened(self.path)
        except (OSError, UsageError):
            return None
        if self._file is not None and os.path.sameopenfile(newer, self._file):
            os.close(newer)
            return None
        return newer

    def _lines(self, file: int) -> Iterator[str]:
        while True:
            chunk = os.pread(file, CHUNK_BYTES, self._offset)
            if not chunk:
                return
            self._offset += len(chunk)
            *whole, self._rest = (self._rest + chunk).split(b"\n")
            for line in whole:
                yield line.decode("utf-8", "replace")
            if len(self._rest) > LONGEST_LINE_BYTES:
                yield from self.last_line()


def _opened(path: str) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UsageError(f"log_files: {path} is no regular file. Name the file that the log is written to.", path=path)
    return descriptor
