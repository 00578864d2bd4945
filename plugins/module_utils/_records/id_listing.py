# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""One listing of the ids of a collection, kept until it is known to be whole: its first page in memory, all others in a temporary database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import TracebackType

from .._temporary_database import TemporaryDatabase, temporary_database, temporary_database_errors


class IdListing:
    """`count` of all ids, `last_id` and size of the `last` page, and a `fingerprint` that equal listings of one process have in common."""

    def __init__(self, first: list[str]) -> None:
        self._first = first
        self._others: TemporaryDatabase | None = None
        self.count = self.last = len(first)
        self.last_id = first[-1] if first else None
        self.fingerprint = hash(tuple(first))

    def append(self, page: list[str]) -> None:
        """Add a page that is not empty. DiskError when the temporary database cannot be written."""
        if self._others is None:
            self._others = temporary_database()
            self._others.execute("CREATE TABLE page (number INTEGER PRIMARY KEY, ids TEXT)")
        self._others.execute("INSERT INTO page (ids) VALUES (?)", (json.dumps(page),))
        self.count += len(page)
        self.last = len(page)
        self.last_id = page[-1]
        self.fingerprint = hash((self.fingerprint, tuple(page)))

    def pages(self) -> Iterator[list[str]]:
        """The pages, in their order."""
        yield self._first
        if self._others is not None:
            with temporary_database_errors():
                for (ids,) in self._others.execute("SELECT ids FROM page ORDER BY number"):
                    yield json.loads(ids)

    def __enter__(self) -> IdListing:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._others is not None:
            self._others.close()
