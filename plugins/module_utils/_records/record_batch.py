# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""A handful of records, in columns: what every reader yields and every writer takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .._libraries import np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Metadata = dict[str, Any]


@dataclass
class RecordBatch:
    """`n` records as parallel columns.

    ids         n strings, each once
    embeddings  shape (n, dimension), little-endian float32; dimension 0 where no record has a vector
    documents   n strings or None ("" and None differ)
    uris        n strings or None
    metadatas   n dicts or None (None, and {} which some servers return, differ)
    embedded    shape (n,), bool: which records have a vector at all; None means all of them
                (servers before 1.0 can hold records without one; their row is zeros)
    """

    ids: list[str]
    embeddings: NDArray[np.float32]
    documents: list[str | None]
    uris: list[str | None]
    metadatas: list[Metadata | None]
    embedded: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def dimension(self) -> int:
        """Numbers in a vector; 0 where the batch has none."""
        return int(self.embeddings.shape[1])

    def weight(self, row: int) -> int:
        """About the bytes of a record."""
        metadata = self.metadatas[row]
        texts = sum(len(value) for value in metadata.values() if isinstance(value, (str, list))) if metadata else 0
        return 4 * self.dimension + len(self.documents[row] or "") + texts

    def select(self, rows: Sequence[int]) -> RecordBatch:
        """The given rows, in the given order."""
        index = np.asarray(rows, dtype=np.intp)
        return RecordBatch(
            ids=[self.ids[i] for i in rows],
            embeddings=self.embeddings[index],
            documents=[self.documents[i] for i in rows],
            uris=[self.uris[i] for i in rows],
            metadatas=[self.metadatas[i] for i in rows],
            embedded=None if self.embedded is None else self.embedded[index],
        )

    def positions(self) -> dict[str, int]:
        """Each id with its row."""
        return {record_id: row for row, record_id in enumerate(self.ids)}


def empty_batch(dimension: int = 0) -> RecordBatch:
    return RecordBatch([], np.zeros((0, dimension), dtype="<f4"), [], [], [])


def concatenate(batches: Sequence[RecordBatch]) -> RecordBatch:
    """The records of all batches, in order; every batch with vectors must have the same dimension."""
    filled = [batch for batch in batches if len(batch)]
    if not filled:
        return batches[0] if batches else empty_batch()
    if len(filled) == 1:
        return filled[0]
    dimension = max(batch.dimension for batch in filled)
    vectors = [b.embeddings if b.dimension == dimension else np.zeros((len(b), dimension), dtype="<f4") for b in filled]
    embedded = None
    if any(batch.embedded is not None for batch in filled):
        embedded = np.concatenate([np.ones(len(b), dtype=bool) if b.embedded is None else b.embedded for b in filled])
    return RecordBatch(
        ids=[record_id for batch in filled for record_id in batch.ids],
        embeddings=np.concatenate(vectors),
        documents=[document for batch in filled for document in batch.documents],
        uris=[uri for batch in filled for uri in batch.uris],
        metadatas=[metadata for batch in filled for metadata in batch.metadatas],
        embedded=embedded,
    )
