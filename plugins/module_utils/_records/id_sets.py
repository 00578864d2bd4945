# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Sets of ids that may be larger than memory: kept in a temporary SQLite database that spills to disk by itself."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from .._temporary_database import temporary_database, temporary_database_errors

# Measured with 100,000 and 400,000 ids: a larger one is not faster.
CACHE_KIB = 8 * 1024
# Values of one statement; old releases of SQLite allow 999. To add them one by one takes up to twice as long.
VALUES_AT_ONCE = 500


class IdSets:
    """Named sets of ids, in the order in which they were added; usable from several threads.

    Ids are stored as UTF-8 bytes (lone surrogates included), so that they compare byte for byte.
    """

    def __init__(self) -> None:
        self._database = temporary_database()
        self._database.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("PRAGMA synchronous = OFF")
        self._tables: dict[str, str] = {}
        self._lock = threading.RLock()

    def close(self) -> None:
        self._database.close()

    def clear(self, name: str) -> None:
        with self._lock:
            if name in self._tables:
                self._database.execute(f"DROP TABLE {self._tables.pop(name)}")

    def add(self, name: str, ids: Iterable[str]) -> int:
        """Add ids to a set; those that it has already keep their place. Returns how many are new."""
        encoded = [_encoded(record_id) for record_id in ids]
        added = 0
        with self._lock:
            table = self._table(name)
            self._database.execute("BEGIN")
            for start in range(0, len(encoded), VALUES_AT_ONCE):
                values = encoded[start : start + VALUES_AT_ONCE]
                added += self._database.execute(f"INSERT OR IGNORE INTO {table} (id) VALUES {','.join(['(?)'] * len(values))}", values).rowcount
            self._database.execute("COMMIT")
        return added

    def load(self, name: str, pages: Iterable[Sequence[str]]) -> int:
        """Replace a set by what these pages hold; the number of different ids."""
        self.clear(name)
        with self._lock:
            self._table(name)
        for page in pages:
            self.add(name, page)
        return self.count(name)

    def count(self, name: str) -> int:
        return int(self._one(f"SELECT count(*) FROM {self._table(name)}")[0])

    def pages(self, name: str, size: int) -> Iterator[list[str]]:
        """The ids of a set in their order, `size` at a time."""
        table = self._table(name)
        last = -1
        while True:
            rows = self._all(f"SELECT position, id FROM {table} WHERE position > ? ORDER BY position LIMIT ?", (last, size))
            if not rows:
                return
            last = rows[-1][0]
            yield [_decoded(row[1]) for row in rows]

    def present(self, name: str, ids: Sequence[str]) -> list[str]:
        """Those of the given ids that the set has, in the given order."""
        table = self._table(name)
        found: set[bytes] = set()
        encoded = [_encoded(record_id) for record_id in ids]
        for start in range(0, len(encoded), VALUES_AT_ONCE):
            asked = encoded[start : start + VALUES_AT_ONCE]
            marks = ",".join("?" * len(asked))
            found.update(row[0] for row in self._all(f"SELECT id FROM {table} WHERE id IN ({marks})", asked))
        return [record_id for record_id, key in zip(ids, encoded) if key in found]

    def only_in(self, name: str, other: str, size: int = 1000) -> Iterator[list[str]]:
        """The ids of one set that another lacks, in their order, `size` at a time."""
        table, without = self._table(name), self._table(other)
        last = -1
        while True:
            rows = self._all(
                f"SELECT position, id FROM {table} AS a WHERE position > ? AND NOT EXISTS (SELECT 1 FROM {without} AS b WHERE b.id = a.id) "
                "ORDER BY position LIMIT ?",
                (last, size),
            )
            if not rows:
                return
            last = rows[-1][0]
            yield [_decoded(row[1]) for row in rows]

    def _table(self, name: str) -> str:
        with self._lock:
            if name not in self._tables:
                table = f"set_{len(self._tables)}_{abs(hash(name))}"
                self._database.execute(f"CREATE TABLE {table} (position INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE)")
                self._tables[name] = table
            return self._tables[name]

    def _all(self, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        with self._lock, temporary_database_errors():
            return self._database.execute(statement, tuple(values)).fetchall()

    def _one(self, statement: str) -> tuple[int]:
        with self._lock, temporary_database_errors():
            row: tuple[int] = self._database.execute(statement).fetchone()
            return row


def _encoded(record_id: str) -> bytes:
    return record_id.encode("utf-8", "surrogatepass")


def _decoded(key: bytes) -> str:
    return key.decode("utf-8", "surrogatepass")
