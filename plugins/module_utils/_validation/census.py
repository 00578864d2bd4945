# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""The census: every record counted once, by target collection, by source collection and by what became of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from .._records.compare import ADDED, CHANGED, UNCHANGED, ComparedBatch
from .._records.record_batch import RecordBatch
from .check import Examples
from .subject import Subject


@dataclass
class Tally:
    """The records of one target collection, counted.

    unchanged  expected records that it holds as they should be
    changed    expected records that it holds differently; `fields`: how many of them differ in what
    lost       expected records that it does not hold
    extra      records that belong to this migration but that the source does not have
    foreign    records that belong to somebody else
    spared     records that are no fault and no proof: the source's are invalid, or of a collection that is not validated now
    refused    the spared ones whose record in the source is invalid: what they hold is an older version of it, or anything
    late       records that were written to the source, or deleted there, since the last pass; those that the target holds are spared
    """

    subject: Subject
    unchanged: int = 0
    changed: int = 0
    lost: int = 0
    extra: int = 0
    foreign: int = 0
    spared: int = 0
    refused: int = 0
    late: int = 0
    fields: Counter[str] = field(default_factory=Counter)

    @property
    def expected(self) -> int:
        return self.unchanged + self.changed + self.lost

    @property
    def differing(self) -> int:
        return self.changed + self.lost + self.extra


class Census:
    """Counts all records and keeps a few ids of each kind.

    sources  by source collection: [records expected in the target, records found there]. Found are those that say in
             `source_collection` that they come from it or, without that field, those that are there under their id.
    """

    def __init__(self) -> None:
        self.tallies: dict[str, Tally] = {}
        self.sources: dict[str, list[int]] = {}
        self.changed = Examples()
        self.lost = Examples()
        self.extra = Examples()
        self.foreign = Examples()
        self.refused = Examples()

    def tally(self, subject: Subject) -> Tally:
        """The tally of a target collection; one without records begins with zeros."""
        return self.tallies.setdefault(subject.target, Tally(subject))

    def observe(self, subject: Subject, source: str, batch: ComparedBatch) -> None:
        tally = self.tally(subject)
        tally.unchanged += batch.status.count(UNCHANGED)
        tally.changed += batch.status.count(CHANGED)
        tally.lost += batch.status.count(ADDED)
        for row, names in batch.fields.items():
            tally.fields.update(names)
            self.changed.add(collection=subject.target, id=batch.expected.ids[row], fields=list(names))
        if len(batch.rows) < len(batch.expected):
            for row in batch.rows_with(ADDED):
                self.lost.add(collection=subject.target, id=batch.expected.ids[row])
        self._count(source, 0, len(batch.expected))
        self._count_found(subject, source, batch.actual)

    def observe_extra(self, subject: Subject, records: RecordBatch, owned: Sequence[bool]) -> None:
        tally = self.tally(subject)
        for record_id, is_ours in zip(records.ids, owned):
            examples = self.extra if is_ours else self.foreign
            examples.add(collection=subject.target, id=record_id)
        ours = [row for row, is_ours in enumerate(owned) if is_ours]
        tally.extra += len(ours)
        tally.foreign += len(owned) - len(ours)
        if ours:
            self._count_found(subject, subject.only_source, records.select(ours))

    def count_refused(self, subject: Subject, ids: Sequence[str]) -> None:
        """The target holds these ids, and what the source has under them is invalid."""
        tally = self.tally(subject)
        tally.spared += len(ids)
        tally.refused += len(ids)
        for record_id in ids:
            self.refused.add(collection=subject.target, id=record_id)

    def total(self, kind: str) -> int:
        """One of the figures of `Tally`, over all target collections."""
        return sum(getattr(tally, kind) for tally in self.tallies.values())

    def _count_found(self, subject: Subject, source: str | None, records: RecordBatch) -> None:
        if not subject.states_source:
            if source is not None:
                self._count(source, 1, len(records))
            return
        for name, count in Counter(subject.stated_sources(records.metadatas)).items():
            # What is no name of a source was damaged; the comparison of the record says so.
            if name in subject.sources:
                self._count(name, 1, count)

    def _count(self, source: str, place: int, records: int) -> None:
        self.sources.setdefault(source, [0, 0])[place] += records
