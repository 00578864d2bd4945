# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""The records that a migration leaves out, written to a file, however many there are."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from typing import IO, Any

from .._errors import DiskError, InvalidDataError
from .._files import FULL, create_file, fsync_directory
from .._schema.invalid import InvalidTally
from .._schema.transformation import Invalid


class Quarantine(InvalidTally):
    """Takes invalid records as they are found. With a path, each becomes a line of JSON there; the file appears when all are known.

    A line holds `source_collection`, `id` and `reasons`. While it grows it has another name, with `owner` in it (Checkpoint.owner): what is there
    of that name is of a run that was killed.
    """

    def __init__(self, path: str | None, owner: str) -> None:
        super().__init__()
        self._path = path
        self._directory, name = ("", "") if path is None else os.path.split(os.path.abspath(path))
        self._partial = os.path.join(self._directory, f".{name}.{owner}.partial")
        self._file: IO[str] | None = None

    def require_place(self) -> None:
        """DiskError where the file could not be made, found out before anything is written anywhere."""
        if self._path is None:
            return
        _require_no_directory(self._path)
        self._open(self._path)
        self.close()

    def add(self, invalid: Sequence[Invalid]) -> None:
        super().add(invalid)
        if invalid and self._path is not None:
            self._write(self._path, invalid)

    def finish(self) -> str | None:
        """Make the file visible; its path, or None where nothing was written."""
        if self._file is None or self._path is None:
            return None
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            os.replace(self._partial, self._path)
            fsync_directory(self._directory)
        except OSError as error:
            raise _cannot_write(self._path, error) from None
        return self._path

    def close(self) -> None:
        """Give up an unfinished file."""
        if self._file is not None and not self._file.closed:
            # What is left in its buffer may find no place, and is given up as well.
            with suppress(OSError):
                self._file.close()
            with suppress(OSError):
                os.unlink(self._partial)
        self._file = None

    def _write(self, path: str, invalid: Sequence[Invalid]) -> None:
        file = self._file if self._file is not None else self._open(path)
        try:
            for fault in invalid:
                file.write(json.dumps(as_dict(fault), sort_keys=True) + "\n")
        except OSError as error:
            raise _cannot_write(path, error) from None

    def _open(self, path: str) -> IO[str]:
        try:
            with suppress(FileNotFoundError):
                os.unlink(self._partial)
            self._file = os.fdopen(create_file(self._partial), "w", encoding="ascii")
        except OSError as error:
            raise _cannot_write(path, error) from None
        return self._file


def look_at_place(path: str) -> list[str]:
    """The same for check mode, in which nothing is made: a directory that is missing is a warning, since what creates it did not do so now."""
    _require_no_directory(path)
    directory = os.path.dirname(path)
    if not os.path.lexists(directory):
        return [f"The directory of the quarantine file {path} does not exist. A run fails unless something creates it first, as the role migrate does."]
    if not os.path.isdir(directory):
        raise _cannot_write(path, NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)))
    if not os.access(directory, os.W_OK | os.X_OK):
        raise _cannot_write(path, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))
    return []


def _require_no_directory(path: str) -> None:
    if os.path.isdir(path):
        raise DiskError(f"The quarantine file {path} is a directory. Name a file in quarantine_file.", path=path)


def require_valid(invalid: Quarantine, read: int, state: str, on_invalid: str, min_valid_ratio: float, elsewhere: int) -> None:
    """InvalidDataError that names invalid records, unless they may be skipped and enough of those that were read are valid.

    state      what was written, as a sentence
    elsewhere  how many invalid records there are besides, which other shards leave out
    """
    if not invalid.count:
        return
    first = invalid.sample[0]
    count = invalid.count + elsewhere
    found = f"{count} of {read} records are invalid, such as {first.source_collection}: {first.id!r}: {first.reasons[0]}. {state}"
    details: dict[str, Any] = {"invalid_sample": [as_dict(fault) for fault in invalid.sample], "invalid_reasons": invalid.reasons}
    if on_invalid == "fail":
        raise InvalidDataError(f"{found} Correct them (corrections), or use on_invalid: skip.", **details)
    ratio = (read - count) / max(1, read)
    if ratio < min_valid_ratio:
        details["quarantine_file"] = path = invalid.finish()
        names = "" if path is None else f" {path} names them."
        raise InvalidDataError(f"{found} That leaves {ratio:.2%} valid, less than min_valid_ratio {min_valid_ratio:.2%}.{names}", **details)


def _cannot_write(path: str, error: OSError) -> DiskError:
    advice = "Free some space" if error.errno in FULL else "Create its directory"
    return DiskError(
        f"The quarantine file {path} cannot be written: {error.strerror}. {advice}, or name another file in quarantine_file.", path=path
    )


def as_dict(fault: Invalid) -> dict[str, Any]:
    """An invalid record as results and quarantine files show it."""
    return {"source_collection": fault.source_collection, "id": fault.id, "reasons": [str(reason) for reason in fault.reasons]}
