# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""What a server's own SQLite file tells about its writes, read beside the running server and never written.

Chroma numbers its writes. `embeddings.seq_id` holds the number of the last write of each record, and `max_seq_id`, in the
row of a collection's metadata segment, that of the last write to the collection, deletions included (measured, 0.4.24 to
1.5). Numbers are only comparable within one collection: when a collection is deleted, its numbers are given again to the
next writes of the others. And a collection whose last write is not in the log any more may get lower numbers afterwards,
so it is not followed at all.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Union
from urllib.parse import quote

from ._errors import OperationError
from ._processes import has_open, processes, started

SQLITE_FILE = "chroma.sqlite3"
# The newest migration of each group of tables.
MIGRATIONS = "SELECT dir, max(version) FROM migrations GROUP BY dir ORDER BY dir"
BUSY_SECONDS = 5.0
# A reader holds up the server's commits: rows are looked through in short steps.
ROWS_AT_ONCE = 50_000
# The migrations that the tables were seen with; later ones may have changed what the numbers mean.
KNOWN_MIGRATIONS = {"embeddings_queue": (1, 2), "metadb": (2, 6), "sysdb": (4, 10)}
METADATA_SEGMENT = "urn:chroma:segment/metadata/sqlite"

# A number as it is stored: an integer, or before 1.0 eight bytes, high byte first.
Stored = Union[int, bytes, None]


class UnusableFileError(OperationError):
    """The file cannot tell what changed; the message says why, as the end of a sentence."""

    failure_class = "version"


@dataclass(frozen=True)
class CollectionNumbers:
    """One collection: `last` is the number of its last write (0: none), `segment` where its records are."""

    id: str
    name: str
    segment: str
    last: int


class ServerFile:
    """The file of a running server, opened read-only. UnusableFileError where it cannot be relied on."""

    def __init__(self, data_directory: str) -> None:
        self.path = os.path.join(os.path.realpath(data_directory), SQLITE_FILE)
        if not os.path.isfile(self.path):
            raise UnusableFileError(f"{self.path} does not exist")
        try:
            self._database = sqlite3.connect(f"file:{quote(self.path)}?mode=ro", uri=True, timeout=BUSY_SECONDS, isolation_level=None)
        except sqlite3.Error as error:
            raise UnusableFileError(f"{self.path} cannot be opened ({error})") from None

    def __enter__(self) -> ServerFile:
        return self

    def __exit__(self, *exception: object) -> None:
        self._database.close()

    def owner(self) -> str:
        """The process that has the file open, named so that a restart makes it another one."""
        try:
            status, running = os.stat(self.path), processes()
        except OSError as error:
            raise UnusableFileError(f"{error.filename} cannot be looked at ({error.strerror})") from None
        node = (status.st_dev, status.st_ino)
        owners = sorted(pid for pid in running if pid != os.getpid() and has_open(pid, (node,)))
        if not owners:
            raise UnusableFileError(f"no process that this user can see has {self.path} open, so that it may not be the server's")
        return " ".join(f"{pid}@{started(pid)}" for pid in owners)

    def require_known_schema(self) -> None:
        found = {str(name): int(version) for name, version in self._rows(MIGRATIONS)}
        for name, (first, last) in KNOWN_MIGRATIONS.items():
            version = found.get(name)
            if version is None or not first <= version <= last:
                raise UnusableFileError(f"{self.path} has {name} at version {version}, and only {first} to {last} are known")

    def collections(self, tenant: str, database: str) -> list[CollectionNumbers]:
        """The collections of one database, each with the number of its last write, all as of one moment."""
        rows = self._rows(
            "SELECT c.id, c.name, s.id, m.seq_id FROM collections AS c JOIN databases AS d ON d.id = c.database_id "
            "LEFT JOIN segments AS s ON s.collection = c.id AND s.scope = 'METADATA' AND s.type = ? "
            "LEFT JOIN max_seq_id AS m ON m.segment_id = s.id WHERE d.tenant_id = ? AND d.name = ? ORDER BY c.name",
            (METADATA_SEGMENT, tenant, database),
        )
        found = []
        for collection, name, segment, last in rows:
            if segment is None:
                raise UnusableFileError(f"{self.path} names no segment for the records of collection {name!r}")
            found.append(CollectionNumbers(str(collection), str(name), str(segment), _number(last)))
        return found

    def require_in_log(self, collection: CollectionNumbers) -> None:
        """The last write must still be in the log: numbering goes on from there."""
        if not collection.last:
            return
        rows = self._rows("SELECT topic FROM embeddings_queue WHERE seq_id = ?", (collection.last,))
        if not rows or not str(rows[0][0]).endswith(collection.id):
            raise UnusableFileError(f"the log of {self.path} was purged: it lacks the last write of collection {collection.name!r}")

    def written_after(self, collection: CollectionNumbers, number: int) -> Iterator[list[str]]:
        """The ids whose last write has a higher number, in pages."""
        position = -1
        while True:
            bound = self._rows(
                "SELECT max(id), count(*) FROM (SELECT id FROM embeddings WHERE id > ? ORDER BY id LIMIT ?)", (position, ROWS_AT_ONCE)
            )[0]
            if not bound[1]:
                return
            rows = self._rows(
                "SELECT embedding_id FROM embeddings WHERE id > ? AND id <= ? AND segment_id = ? "
                "AND CASE typeof(seq_id) WHEN 'blob' THEN seq_id > ? ELSE seq_id > ? END",
                (position, bound[0], collection.segment, number.to_bytes(8, "big"), number),
            )
            position = bound[0]
            if rows:
                yield [str(row[0]) for row in rows]

    def ghosts(self) -> int:
        """How many row numbers carry list values of records that went with their collection; the next records to get these
        numbers are born with the values (chroma-core/chroma#7594, measured on 1.5.9)."""
        if not self._rows("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'embedding_metadata_array'"):
            return 0
        return int(self._rows(
            "SELECT count(DISTINCT id) FROM embedding_metadata_array AS a WHERE NOT EXISTS (SELECT 1 FROM embeddings AS e WHERE e.id = a.id)"
        )[0][0])  # fmt: skip

    def _rows(self, statement: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        try:
            return self._database.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise UnusableFileError(f"{self.path} cannot be read ({error})") from None


def _number(stored: Stored) -> int:
    return int.from_bytes(stored, "big") if isinstance(stored, bytes) else int(stored or 0)
