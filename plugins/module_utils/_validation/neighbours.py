# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""The true nearest records of each query, on both sides, found by looking at every record once."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .._libraries import np
from .._records.compare import ComparedBatch
from .._records.record_batch import RecordBatch
from .subject import Subject

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEAREST = 10


@dataclass(frozen=True, eq=False)
class Query:
    """A search in one target collection. `origin` says where the vector comes from, for people."""

    collection: str
    vector: NDArray[np.float32]
    origin: str


@dataclass(frozen=True, order=True)
class Neighbour:
    """A record near a query: its distance on this side and on the other (infinite where it is not there)."""

    distance: float
    id: str
    other: float = math.inf


@dataclass
class TrueNeighbours:
    """The nearest records of one query, nearest first, among the expected records and among the target's."""

    expected: list[Neighbour] = field(default_factory=list)
    actual: list[Neighbour] = field(default_factory=list)


def distances(space: str, queries: NDArray[np.float64], vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """Chroma's distance of each query (q, d) from each vector (n, d), shape (q, n): squared l2, 1 - cosine, 1 - inner product.

    What is no number counts as infinitely far.
    """
    wide = vectors.astype(np.float64)
    with np.errstate(all="ignore"):
        products = queries @ wide.T
        if space == "l2":
            result = (queries * queries).sum(axis=1)[:, None] + (wide * wide).sum(axis=1)[None, :] - 2.0 * products
            result = np.maximum(result, 0.0)
        elif space == "cosine":
            lengths = np.sqrt((queries * queries).sum(axis=1))[:, None] * np.sqrt((wide * wide).sum(axis=1))[None, :]
            result = 1.0 - np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
        else:
            result = 1.0 - products
    found: NDArray[np.float64] = np.where(np.isfinite(result), result, np.inf)
    return found


def tolerance(space: str, query: NDArray[np.float32], distance: float) -> float:
    """How far apart two distances may be and still count as a tie: servers count in float32."""
    if space == "cosine":
        return 1e-5
    length = float((query.astype(np.float64) ** 2).sum())
    return 1e-5 * abs(distance) + 1e-6 * length


class ExactSearch:
    """Keeps the nearest records of each query while the records pass by."""

    def __init__(self, queries: Sequence[Query]) -> None:
        self.queries = list(queries)
        self.found = [TrueNeighbours() for _query in self.queries]
        self._places: dict[str, list[int]] = {}
        for place, query in enumerate(self.queries):
            self._places.setdefault(query.collection, []).append(place)
        self._vectors = {name: np.stack([self.queries[place].vector for place in places]).astype(np.float64) for name, places in self._places.items()}

    def observe(self, subject: Subject, source: str, batch: ComparedBatch) -> None:
        if subject.target not in self._places:
            return
        expected = self._distances(subject, batch.expected)
        actual = self._distances(subject, batch.actual)
        left = np.fromiter(batch.rows.keys(), dtype=np.intp, count=len(batch.rows))
        right = np.fromiter(batch.rows.values(), dtype=np.intp, count=len(batch.rows))
        there = np.full_like(expected, np.inf)
        there[:, left] = actual[:, right]
        back = np.full_like(actual, np.inf)
        back[:, right] = expected[:, left]
        for row, place in enumerate(self._places[subject.target]):
            _keep_nearest(self.found[place].expected, batch.expected.ids, expected[row], there[row])
            _keep_nearest(self.found[place].actual, batch.actual.ids, actual[row], back[row])

    def observe_extra(self, subject: Subject, records: RecordBatch, owned: Sequence[bool]) -> None:
        if subject.target not in self._places:
            return
        actual = self._distances(subject, records)
        nowhere = np.full(len(records), np.inf)
        for row, place in enumerate(self._places[subject.target]):
            _keep_nearest(self.found[place].actual, records.ids, actual[row], nowhere)

    def _distances(self, subject: Subject, records: RecordBatch) -> NDArray[np.float64]:
        queries = self._vectors[subject.target]
        if records.dimension != queries.shape[1]:
            return np.full((len(queries), len(records)), np.inf)
        result = distances(subject.space, queries, records.embeddings)
        if records.embedded is not None:
            result[:, ~records.embedded] = np.inf
        return result


def _keep_nearest(kept: list[Neighbour], ids: Sequence[str], near: NDArray[np.float64], other: NDArray[np.float64]) -> None:
    """Let the nearest of this batch into the list, which stays sorted and no longer than NEAREST."""
    worst = kept[-1].distance if len(kept) == NEAREST else math.inf
    rows = np.flatnonzero(near < worst)
    if len(rows) > NEAREST:
        rows = rows[np.argpartition(near[rows], NEAREST - 1)[:NEAREST]]
    if len(rows):
        new = [Neighbour(float(near[row]), ids[int(row)], float(other[row])) for row in rows]
        kept[:] = heapq.nsmallest(NEAREST, kept + new)
