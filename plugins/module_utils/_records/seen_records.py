# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""What the last pass of a migration saw, so that a validation can tell a record that was lost from one that was written since.

While a source is in use, some of its records are always newer than the last pass. Each pass notes every record that it expects
in the target, as a digest. A record that differs later is the migration's fault only if its digest is still the noted one.

For cosine the digest leaves the vector out, since a server may give it back with other last bits than before: there a record
of which nothing but the vector was changed since counts as one that differs.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from urllib.parse import quote

from .._checkpoint import short_digest
from .._errors import DiskError
from .._files import PRIVATE_FILE
from .._libraries import np
from .digest import record_digest
from .id_sets import VALUES_AT_ONCE
from .record_batch import RecordBatch


def seen_records_path(directory: str, source: str, target: str, transformation: str) -> str:
    """Where the notes of the migration from this source into this target by these rules are kept."""
    return os.path.join(directory, f"seen_{short_digest(source, target, transformation)}.sqlite")


class SeenRecords:
    """Notes in a SQLite file; they count only from the end of a pass that saw everything until the begin of the next."""

    def __init__(self, database: sqlite3.Connection, number: int, path: str) -> None:
        self._database = database
        self._pass = number
        self._path = path

    @classmethod
    def begin(cls, path: str) -> SeenRecords:
        """Begin the notes of a new pass."""
        try:
            # A file that a crash left unreadable is worth nothing: it is thrown away and made anew, twice at most.
            for _attempt in range(2):
                try:
                    return cls._begin(path)
                except sqlite3.DatabaseError:
                    if os.path.exists(path):
                        os.unlink(path)
            return cls._begin(path)
        except (OSError, sqlite3.Error) as error:
            raise _cannot_write(path, error) from None

    @classmethod
    def _begin(cls, path: str) -> SeenRecords:
        _require_own_file(os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, PRIVATE_FILE), path)
        database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        try:
            return cls._of_new_pass(database, path)
        except BaseException:
            database.close()
            raise

    @classmethod
    def _of_new_pass(cls, database: sqlite3.Connection, path: str) -> SeenRecords:
        database.execute("CREATE TABLE IF NOT EXISTS passes (number INTEGER PRIMARY KEY, complete INTEGER NOT NULL, whole INTEGER NOT NULL)")
        database.execute(
            "CREATE TABLE IF NOT EXISTS records (target TEXT, id BLOB, digest BLOB NOT NULL, pass INTEGER NOT NULL, PRIMARY KEY (target, id)) WITHOUT ROWID"
        )
        database.execute("BEGIN")
        (last, whole) = database.execute("SELECT coalesce(max(number), 0), coalesce(max(whole), 0) FROM passes").fetchone()
        database.execute("DELETE FROM passes")
        database.execute("INSERT INTO passes VALUES (?, 0, ?)", (last + 1, whole))
        database.execute("COMMIT")
        # The notes of a pass are one transaction: it takes the disk once, and a pass that dies leaves nothing.
        database.execute("BEGIN")
        return cls(database, last + 1, path)

    @classmethod
    def of_last_pass(cls, path: str) -> SeenRecords | None:
        """The notes of the last pass, to be asked; None where there are none, or where that pass did not end."""
        try:
            if not stat.S_ISREG(os.lstat(path).st_mode):
                return None
        except OSError:
            return None
        try:
            database = sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True, check_same_thread=False, isolation_level=None)
        except sqlite3.Error:
            return None  # notes that cannot be read excuse nothing
        try:
            found = database.execute("SELECT number, complete FROM passes").fetchone()
            if found is not None and found[1]:
                return cls(database, found[0], path)
        except sqlite3.Error:
            pass  # the same
        database.close()
        return None

    def note(self, target: str, batch: RecordBatch, space: str) -> None:
        """These records are expected in the target collection, whose distance is `space`."""
        digests = _digests(batch, range(len(batch)), space)
        with self._errors():
            self._database.executemany(
                "INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?)",
                ((target, _encoded(record_id), digest, self._pass) for record_id, digest in zip(batch.ids, digests)),
            )

    def complete(self, everything: bool) -> None:
        """The pass is over. If it looked at everything, what it did not see is no longer in the source; if only at what was
        written since an earlier one, the notes are those of both, and count only where one looked at everything."""
        with self._errors():
            if everything:
                self._database.execute("DELETE FROM records WHERE pass < ?", (self._pass,))
                self._database.execute("UPDATE passes SET whole = 1")
            self._database.execute("UPDATE passes SET complete = whole")
            self._database.execute("COMMIT")

    def close(self) -> None:
        with suppress(sqlite3.Error):  # a pass that did not end is given up, whether the disk takes that or not
            self._database.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise _cannot_write(self._path, error) from error

    def rows_written_since(self, target: str, batch: RecordBatch, rows: Sequence[int], space: str) -> list[int]:
        """Those of the rows whose records the pass saw otherwise, or not at all."""
        try:
            noted = self._noted(target, [batch.ids[row] for row in rows])
        except sqlite3.Error:  # a new pass has begun: nothing is excused
            return []
        return [row for row, digest in zip(rows, _digests(batch, rows, space)) if noted.get(batch.ids[row]) != digest]

    def seen(self, target: str, ids: Sequence[str]) -> set[str]:
        """Those of the ids that the pass expected in the target collection."""
        try:
            return set(self._noted(target, ids))
        except sqlite3.Error:
            return set()

    def _noted(self, target: str, ids: Sequence[str]) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for start in range(0, len(ids), VALUES_AT_ONCE):
            asked = {_encoded(record_id): record_id for record_id in ids[start : start + VALUES_AT_ONCE]}
            marks = ",".join("?" * len(asked))
            rows = self._database.execute(f"SELECT id, digest FROM records WHERE target = ? AND id IN ({marks})", (target, *asked))
            found.update((asked[key], digest) for key, digest in rows)
        return found


def _require_own_file(descriptor: int, path: str) -> None:
    """DiskError unless what was opened (and is closed here) is a regular file of this user or root: SQLite would open anything."""
    status = os.fstat(descriptor)
    os.close(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_uid not in (0, os.geteuid()) or status.st_nlink > 1:
        raise DiskError(f"{path} is no file that a migration of this user made. Remove it: nothing is lost but what an earlier pass noted.", path=path)


def _cannot_write(path: str, error: Exception) -> DiskError:
    if isinstance(error, OSError) and error.errno == errno.ELOOP:
        return DiskError(f"{path} cannot be written: it is a link. Remove it.", path=path)
    return DiskError(f"{path} cannot be written: {error}. Look at its directory and the space there, and run the same task again.", path=path)


def _digests(batch: RecordBatch, rows: Sequence[int], space: str) -> list[bytes]:
    exact = space != "cosine"
    vectors = np.ascontiguousarray(batch.embeddings, dtype="<f4")
    return [
        record_digest(
            batch.ids[row],
            batch.documents[row],
            batch.uris[row],
            batch.metadatas[row],
            vectors[row].tobytes() if exact and (batch.embedded is None or batch.embedded[row]) else None,
        )
        for row in rows
    ]


def _encoded(record_id: str) -> bytes:
    return record_id.encode("utf-8", "surrogatepass")
