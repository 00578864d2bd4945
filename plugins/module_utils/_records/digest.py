# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Fingerprints of records and of whole collections, equal only where everything is equal."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from .._libraries import np
from .._temporary_database import temporary_database, temporary_database_errors
from .record_batch import RecordBatch

CACHE_KIB = 8 * 1024

# Made once: `json.dumps` would make one for every record.
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode


def canonical_json(value: Any) -> bytes:
    """One spelling for one value: keys sorted, types kept (1, 1.0 and true differ), ASCII only."""
    return _encode(value).encode("ascii")


def record_digest(record_id: str, document: str | None, uri: str | None, metadata: dict[str, Any] | None, vector: bytes | None) -> bytes:
    """SHA-256 (32 bytes) over id, document, uri, metadata and the little-endian float32 bytes of the vector (None: no vector)."""
    text = canonical_json([record_id, document, uri, metadata, vector is not None])
    return hashlib.sha256(text + b"\n" + (vector or b"")).digest()


class CollectionDigest:
    """SHA-256 of the sorted digests of all records: the order of the records does not matter.

    The digests are sorted by a temporary SQLite database, so memory does not grow with the records.
    """

    def __init__(self) -> None:
        self._database = temporary_database()
        self._database.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("CREATE TABLE digests (digest BLOB NOT NULL)")
        self.records = 0

    def add(self, batch: RecordBatch) -> None:
        vectors = np.ascontiguousarray(batch.embeddings, dtype="<f4")
        self._database.execute("BEGIN")
        self._database.executemany(
            "INSERT INTO digests VALUES (?)",
            (
                (
                    record_digest(
                        batch.ids[row],
                        batch.documents[row],
                        batch.uris[row],
                        batch.metadatas[row],
                        vectors[row].tobytes() if batch.embedded is None or batch.embedded[row] else None,
                    ),
                )
                for row in range(len(batch))
            ),
        )
        self._database.execute("COMMIT")
        self.records += len(batch)

    def hexdigest(self) -> str:
        total = hashlib.sha256()
        with temporary_database_errors():
            for (digest,) in self._database.execute("SELECT digest FROM digests ORDER BY digest"):
                total.update(digest)
        return total.hexdigest()


class FieldSum:
    """A sum over hashes of id, document, uri and metadata, the same for the same records in any order. Vectors do not count.

    It needs no room and is quick, and holds within one process only: Python's hashes differ from one to the next.
    """

    def __init__(self) -> None:
        self.value = 0

    def add(self, batch: RecordBatch) -> None:
        for record_id, document, uri, metadata in zip(batch.ids, batch.documents, batch.uris, batch.metadatas):
            # repr keeps types apart: 1, 1.0, True and "1". With a uri, no metadata may read back as {}.
            held = None if metadata is None or (uri is not None and not metadata) else tuple(sorted((key, repr(value)) for key, value in metadata.items()))
            self.value = (self.value + hash((record_id, document, uri, held))) & 0xFFFFFFFFFFFFFFFF
