# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Compare two record sets: the one idea that every verb is made of."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .._libraries import np
from .id_sets import IdSets
from .record_batch import Metadata, RecordBatch
from .record_set import FetchableRecordSet

if TYPE_CHECKING:
    from numpy.typing import NDArray

ADDED, CHANGED, UNCHANGED = "added", "changed", "unchanged"

# What can differ in a record, in the order in which it is reported.
EMBEDDING, DOCUMENT, URI, METADATA = "embedding", "document", "uri", "metadata"

# Chroma returns the vectors of a cosine collection up to 4 ULP from what it was given (measured, 0.4.24 to 1.5.9).
COSINE_TOLERANCE = 1e-6

# In place of a distance: vectors are equal bit for bit, whatever the collection ranks by.
BITS = "bits"

SAMPLE_IDS = 10
SAMPLE_METADATA = 3


@dataclass
class ComparedBatch:
    """One batch of expected records beside what the other side holds.

    status  for each expected row: added (the other side lacks it), changed or unchanged
    fields  for each changed row: what differs (embedding, document, uri, metadata)
    actual  the other side's records of this batch, in the order of `expected`, absent ones left out
    rows    for each expected row the other side has: its row in `actual`
    """

    expected: RecordBatch
    status: list[str]
    fields: dict[int, tuple[str, ...]]
    actual: RecordBatch
    rows: dict[int, int]

    def different(self) -> ComparedBatch:
        """The part of it that is not unchanged."""
        kept = [row for row, status in enumerate(self.status) if status != UNCHANGED]
        if len(kept) == len(self.status):
            return self
        held = [(position, row) for position, row in enumerate(kept) if row in self.rows]
        return ComparedBatch(
            expected=self.expected.select(kept),
            status=[self.status[row] for row in kept],
            fields={position: self.fields[row] for position, row in enumerate(kept) if row in self.fields},
            actual=self.actual.select([self.rows[row] for _position, row in held]),
            rows={position: place for place, (position, _row) in enumerate(held)},
        )

    def rows_with(self, status: str) -> list[int]:
        return [row for row, found in enumerate(self.status) if found == status]


@dataclass
class Difference:
    """What separates two record sets, counted, with a few ids of each kind, and the metadata of the first of them: what it is, what it should be."""

    added: int = 0
    changed: int = 0
    deleted: int = 0
    unchanged: int = 0
    fields: dict[str, int] = field(default_factory=dict)
    added_ids: list[str] = field(default_factory=list)
    changed_ids: list[str] = field(default_factory=list)
    deleted_ids: list[str] = field(default_factory=list)
    metadata: dict[str, tuple[Metadata | None, Metadata | None]] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        return not (self.added or self.changed or self.deleted)

    @property
    def expected(self) -> int:
        return self.added + self.changed + self.unchanged

    def count(self, batch: ComparedBatch) -> None:
        for row, status in enumerate(batch.status):
            if status == UNCHANGED:
                self.unchanged += 1
            elif status == ADDED:
                self.added += 1
                _sample(self.added_ids, batch.expected.ids[row])
                if self.added <= SAMPLE_METADATA:
                    self.metadata[batch.expected.ids[row]] = (None, batch.expected.metadatas[row])
            else:
                self.changed += 1
                _sample(self.changed_ids, batch.expected.ids[row])
                if self.changed <= SAMPLE_METADATA and METADATA in batch.fields[row]:
                    self.metadata[batch.expected.ids[row]] = (batch.actual.metadatas[batch.rows[row]], batch.expected.metadatas[row])
                for name in batch.fields[row]:
                    self.fields[name] = self.fields.get(name, 0) + 1

    def count_deleted(self, ids: list[str]) -> None:
        self.deleted += len(ids)
        for record_id in ids[:SAMPLE_IDS]:
            _sample(self.deleted_ids, record_id)


def _sample(ids: list[str], record_id: str) -> None:
    if len(ids) < SAMPLE_IDS:
        ids.append(record_id)


class Counterpart:
    """The side that expected records are held against, with all its ids (None: a collection that is not there).

    `space` is the distance by whose rule vectors are equal. The ids of what was expected are gathered on the way,
    so that `surplus` afterwards names what only this side has. `ids` are those that were listed before, in the set "actual";
    what is in their set "expected" counts as compared.
    """

    def __init__(self, actual: FetchableRecordSet | None, space: str, ids: IdSets | None = None) -> None:
        self.actual = actual
        self.space = space
        self._ids = ids or IdSets()
        if ids is not None:
            self.records = ids.count("actual")
        else:
            self.records = 0 if actual is None else self._ids.load("actual", actual.id_pages())

    def close(self) -> None:
        self._ids.close()

    def compare(self, expected: RecordBatch) -> ComparedBatch:
        """Hold one batch against this side; only ids that it has are asked for."""
        self._ids.add("expected", expected.ids)
        known = self._ids.present("actual", expected.ids) if self.records else []
        found = self.actual.fetch(known) if self.actual is not None and known else expected.select([])
        return compare_batch(expected, found, self.space)

    def spare(self, ids: Sequence[str]) -> None:
        """These ids are no surplus here, although nothing of them is expected."""
        known = self._ids.present("actual", ids)
        if known:
            self._ids.add("expected", known)

    def expected_already(self, ids: Sequence[str]) -> list[str]:
        """Those of the ids that were expected before: two records claim one place."""
        return self._ids.present("expected", ids)

    def surplus(self) -> Iterator[list[str]]:
        """The ids that only this side has, in pages; complete once everything expected was compared."""
        return self._ids.only_in("actual", "expected")

    def missing_from(self, pages: Iterable[Sequence[str]]) -> list[str]:
        """A few of the expected ids that these pages lack: this side's, listed once more."""
        self._ids.load("listed", pages)
        return next(self._ids.only_in("expected", "listed", SAMPLE_IDS), [])

    def appeared(self) -> Iterator[list[str]]:
        """The ids that were listed once more and not expected, in pages."""
        return self._ids.only_in("listed", "expected")


def compare_batch(expected: RecordBatch, actual: RecordBatch, space: str) -> ComparedBatch:
    """Hold each expected record against the one of the same id."""
    places = actual.positions()
    rows = {row: places[record_id] for row, record_id in enumerate(expected.ids) if record_id in places}
    fields: dict[int, tuple[str, ...]] = {}
    status = [ADDED] * len(expected)
    if rows:
        pairs = list(rows.items())
        left = np.fromiter((row for row, _place in pairs), dtype=np.intp, count=len(pairs))
        right = np.fromiter((place for _row, place in pairs), dtype=np.intp, count=len(pairs))
        vectors_equal = _vectors_equal(expected, left, actual, right, space)
        for (row, place), same_vector in zip(pairs, vectors_equal):
            differing = [] if same_vector else [EMBEDDING]
            if expected.documents[row] != actual.documents[place]:
                differing.append(DOCUMENT)
            if expected.uris[row] != actual.uris[place]:
                differing.append(URI)
            if not metadata_equal(expected.metadatas[row], actual.metadatas[place]) and not (
                # From 1.0 on, a record with a uri and without metadata reads {} instead of null, however it was written.
                expected.uris[row] is not None and not expected.metadatas[row] and not actual.metadatas[place]
            ):
                differing.append(METADATA)
            if differing:
                fields[row] = tuple(differing)
            status[row] = CHANGED if differing else UNCHANGED
    return ComparedBatch(expected, status, fields, actual, rows)


def _vectors_equal(
    expected: RecordBatch, left: NDArray[np.intp], actual: RecordBatch, right: NDArray[np.intp], space: str
) -> NDArray[np.bool_]:
    has_left = np.ones(len(left), dtype=bool) if expected.embedded is None else expected.embedded[left]
    has_right = np.ones(len(right), dtype=bool) if actual.embedded is None else actual.embedded[right]
    neither = ~has_left & ~has_right
    if expected.dimension != actual.dimension:
        return neither
    equal = vectors_equal(expected.embeddings[left], actual.embeddings[right], space)
    result: NDArray[np.bool_] = (equal & has_left & has_right) | neither
    return result


def vectors_equal(expected: NDArray[np.float32], actual: NDArray[np.float32], space: str) -> NDArray[np.bool_]:
    """Row by row, shape (n, d) against (n, d): bit for bit, or for cosine within a relative 1e-6 of the vector's length.

    A row that is bit-equal is equal in every space, whatever it holds.
    """
    if expected.shape[1] == 0:
        return np.ones(len(expected), dtype=bool)
    same_bits: NDArray[np.bool_] = (np.ascontiguousarray(expected).view("<u4") == np.ascontiguousarray(actual).view("<u4")).all(axis=1)
    if space != "cosine" or same_bits.all():
        return same_bits
    rest = np.flatnonzero(~same_bits)
    wide = expected[rest].astype(np.float64)
    length = np.sqrt((wide * wide).sum(axis=1))
    error = np.abs(wide - actual[rest].astype(np.float64)).max(axis=1)
    # NaN on either side makes this comparison false, which is what it must be.
    same_bits[rest] = error <= COSINE_TOLERANCE * length
    return same_bits


def metadata_equal(expected: Metadata | None, actual: Metadata | None) -> bool:
    """Typed equality: 1, 1.0 and true differ, None and {} differ, and so do 0.0 and -0.0."""
    if expected is None or actual is None:
        return expected is None and actual is None
    if len(expected) != len(actual):
        return False
    for key, value in expected.items():
        other = actual.get(key, _ABSENT)
        if type(value) is not type(other) or value != other:
            return False
        if isinstance(value, float):
            if value == 0.0 and math.copysign(1.0, value) != math.copysign(1.0, other):
                return False
        elif isinstance(value, list) and not _lists_equal(value, other):
            return False
    return True


_ABSENT = object()


def _lists_equal(expected: list[Any], actual: list[Any]) -> bool:
    return len(expected) == len(actual) and all(
        metadata_equal({"": left}, {"": right}) for left, right in zip(expected, actual)
    )
