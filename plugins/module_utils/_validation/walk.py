# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""The one walk through all records: what the source says the target should hold, beside what it holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

from .._errors import InvalidDataError
from .._progress import Progress
from .._records.compare import UNCHANGED, ComparedBatch, Counterpart, compare_batch
from .._records.live import LiveCollection
from .._records.read_ahead import read_ahead
from .._records.record_batch import RecordBatch
from .._records.seen_records import SeenRecords
from .._schema.fields import SOURCE_COLLECTION, fields_for
from .._schema.plan import MigrationPlan, TransformedBatch
from .._schema.transformation import PREFIX, Invalid, collision_prefix
from .census import Census
from .subject import RecordObserver, Subject

INVALID_SAMPLE = 20


@dataclass
class Walked:
    """What the walk itself learns.

    fed_by   target → source collection → valid records that it should get from there
    read     source collection → records read
    late     source collection → records that were written since the last pass of the migration, and are not judged
    invalid  source collection → records that the schema, or the target's server, refuses
    listed   target → ids that the target lists
    """

    fed_by: dict[str, dict[str, int]] = field(default_factory=dict)
    read: dict[str, int] = field(default_factory=dict)
    late: dict[str, int] = field(default_factory=dict)
    invalid: dict[str, int] = field(default_factory=dict)
    invalid_sample: list[Invalid] = field(default_factory=list)
    listed: dict[str, int] = field(default_factory=dict)


class Walk:
    """Reads both sides once and shows every record to the observers; memory does not grow with the records."""

    def __init__(
        self,
        plan: MigrationPlan,
        stored: Mapping[str, LiveCollection],
        census: Census,
        observers: Sequence[RecordObserver],
        progress: Progress,
        source_names: Sequence[str],
        chosen: Mapping[str, Sequence[str]] | None,
        seen: SeenRecords | None,
    ) -> None:
        """`stored` are the target's collections by name, `source_names` all collections of the source server.

        chosen  source collection → ids, when only these records are to be looked at
        seen    what the last pass of the migration saw; with it, what was written to the source since is not judged
        """
        self.result = Walked()
        self.subjects: dict[str, Subject] = {}
        self._plan = plan
        self._stored = stored
        self._census = census
        self._observers = [census, *observers]
        self._progress = progress
        self._chosen = chosen
        self._seen = seen
        self._counterparts: dict[str, Counterpart] = {}
        self._selected = {source.name for source in plan.sources}
        self._elsewhere = set(source_names) - self._selected

    def close(self) -> None:
        for counterpart in self._counterparts.values():
            counterpart.close()

    def run(self) -> Walked:
        """Walk; InvalidDataError where two records of the source claim one place in the target."""
        with self._progress.phase("compare") as phase:
            for part, compared in read_ahead(self._compared()):
                subject = self.subjects[part.target]
                for observer in self._observers if len(part.records) else ():
                    observer.observe(subject, part.source, compared)
                phase.records += len(part.records)
                self._progress.advance(len(part.records) + len(part.invalid))
        self._plan.empty_targets(self.result.fed_by)
        for source in self._plan.sources:
            for target, feeding in self.result.fed_by.items():
                if source.name in feeding:
                    self._subject(target, source.name)
        self._visit_unfed()
        if self._chosen is not None:
            return self.result
        with self._progress.phase("surplus"):
            for target, counterpart in self._counterparts.items():
                self._look_at_surplus(self.subjects[target], counterpart)
        return self.result

    def _visit_unfed(self) -> None:
        """Targets that a route leads to and no record takes now: what an earlier run brought there is one too many."""
        for source in self._plan.sources:
            for target in self._plan.reachable(source):
                if target in self._stored and target not in self.subjects:
                    self._subject(target, source.name)

    def _compared(self) -> Iterator[tuple[TransformedBatch, ComparedBatch]]:
        """Runs in a thread of its own, so that reading goes on while the observers think."""
        parts = chain.from_iterable(self._plan.batches(self._progress)) if self._chosen is None else self._chosen_parts(self._chosen)
        # One thread reads the source while another reads the target.
        for part in read_ahead(parts):
            subject = self._subject(part.target, part.source)
            counterpart = self._counterparts[part.target]
            taken = counterpart.expected_already(part.records.ids)
            if taken:
                raise InvalidDataError(
                    f"Id {taken[0]!r} of {part.source} collides in the target collection {part.target!r}: two records of the source claim one place. "
                    "Give the records of one collection an id_prefix by a route.",
                    ids=taken[:INVALID_SAMPLE],
                )
            compared = counterpart.compare(part.records)
            part, compared = self._without_late(part, compared, subject)
            self._count(part, subject, counterpart)
            yield part, compared

    def _without_late(self, part: TransformedBatch, compared: ComparedBatch, subject: Subject) -> tuple[TransformedBatch, ComparedBatch]:
        """Leave out the records that differ because the source was written to since the last pass."""
        differing = [] if self._seen is None else [row for row, status in enumerate(compared.status) if status != UNCHANGED]
        if self._seen is None or not differing:
            return part, compared
        late = set(self._seen.rows_written_since(part.target, part.records, differing, subject.space))
        if not late:
            return part, compared
        tally = self._census.tally(subject)
        tally.late += len(late)
        tally.spared += len(late & compared.rows.keys())
        self.result.late[part.source] = self.result.late.get(part.source, 0) + len(late)
        rows = [row for row in range(len(part.records)) if row not in late]
        part = replace(part, records=part.records.select(rows), source_ids=[part.source_ids[row] for row in rows])
        actual = compared.actual.select([compared.rows[row] for row in rows if row in compared.rows])
        return part, compare_batch(part.records, actual, subject.space)

    def _chosen_parts(self, chosen: Mapping[str, Sequence[str]]) -> Iterator[TransformedBatch]:
        for source in self._plan.sources:
            ids = chosen.get(source.name, ())
            for start in range(0, len(ids), source.page_size):
                yield from self._plan.transform(source, source.fetch(ids[start : start + source.page_size]))

    def _count(self, part: TransformedBatch, subject: Subject, counterpart: Counterpart) -> None:
        result = self.result
        feeding = result.fed_by.setdefault(part.target, {})
        feeding[part.source] = feeding.get(part.source, 0) + len(part.records)
        result.read[part.source] = result.read.get(part.source, 0) + len(part.records) + len(part.invalid)
        if part.invalid:
            result.invalid[part.source] = result.invalid.get(part.source, 0) + len(part.invalid)
            result.invalid_sample.extend(part.invalid[: max(0, INVALID_SAMPLE - len(result.invalid_sample))])
            counterpart.spare(part.invalid_ids)
            if part.target in self._stored and counterpart.records:
                self._census.count_refused(subject, self._stored[part.target].read_without_vectors(part.invalid_ids).ids)

    def _subject(self, target: str, source: str) -> Subject:
        if target not in self.subjects:
            plan = self._plan
            sources = tuple(other.name for other in plan.sources if target in plan.reachable(other))
            space = next(other.spec.space for other in plan.sources if other.name == source)
            schema = plan.transformation.schema
            subject = Subject(target, sources, space, None if schema is None else fields_for(schema, target))
            counterpart = Counterpart(self._stored.get(target), space)
            self._counterparts[target] = counterpart
            self._census.tally(subject)
            self.result.listed[target] = counterpart.records
            self.subjects[target] = subject
        return self.subjects[target]

    def _look_at_surplus(self, subject: Subject, counterpart: Counterpart) -> None:
        if counterpart.actual is None:
            return
        for page in counterpart.surplus():
            deleted = set() if self._seen is None else self._seen.seen(subject.target, page)
            self._census.tally(subject).late += len(deleted)
            self._census.tally(subject).spared += len(deleted)
            page = [record_id for record_id in page if record_id not in deleted]
            if not page:
                continue
            records = counterpart.actual.fetch(page)
            owners = [self._owner(subject, records, row) for row in range(len(records))]
            judged = [row for row, owner in enumerate(owners) if owner not in self._elsewhere]
            self._census.tally(subject).spared += len(records) - len(judged)
            if judged:
                owned = [owners[row] in self._selected for row in judged]
                for observer in self._observers:
                    observer.observe_extra(subject, records.select(judged), owned)

    def _owner(self, subject: Subject, records: RecordBatch, row: int) -> str | None:
        """The source collection that a surplus record is from, as far as it can be told; None: somebody else's.

        What nothing can tell counts as this migration's, so that it is not overlooked.
        """
        transformation = self._plan.transformation
        if subject.target not in transformation.merged_targets:
            return subject.sources[0]
        if transformation.states_source(subject.target):
            stated = (records.metadatas[row] or {}).get(SOURCE_COLLECTION)
            return stated if isinstance(stated, str) else None
        if transformation.on_collision == PREFIX:
            return next((name for name in (*self._selected, *self._elsewhere) if records.ids[row].startswith(collision_prefix(name))), None)
        return subject.sources[0]
