# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""SQLite's own temporary databases: in memory until their cache is full, then on a disk, which may be full as well."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ._errors import DiskError


class TemporaryDatabase(sqlite3.Connection):
    """One that says DiskError where its disk fails. Rows are read from it inside `temporary_database_errors`, for the same reason."""

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        with temporary_database_errors():
            return super().execute(*arguments)

    def executemany(self, *arguments: Any) -> sqlite3.Cursor:
        with temporary_database_errors():
            return super().executemany(*arguments)


def temporary_database() -> TemporaryDatabase:
    """A new one, usable from several threads; it goes with its last descriptor."""
    return sqlite3.connect("", check_same_thread=False, isolation_level=None, factory=TemporaryDatabase)


@contextmanager
def temporary_database_errors() -> Iterator[None]:
    """Turn what SQLite says of a disk into a DiskError."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise DiskError(
            f"A temporary file for many records cannot be written: {error}. Free some space in /var/tmp, or set TMPDIR to a directory on a larger file system."
        ) from error
