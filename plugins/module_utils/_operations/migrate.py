# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Reconcile a target with the transformed source. Running it again is the catch-up, and the resume after a crash."""

from __future__ import annotations

import json
import os
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Iterator, Mapping, Optional, Sequence

from .._checkpoint import COMPLETE, IMPORT, VALIDATE, VALIDATION_FAILED, VERIFY, CheckpointFile, begin_checkpoint
from .._endpoint import Endpoint
from .._errors import DriftError, InvalidDataError, OperationError, PartialError, TimeoutExceededError, UsageError
from .._files import atomic_write
from .._lock import server_lock
from .._records.collection_changes import create, mend, require_mendable
from .._records.collection_name import collection_name_fault
from .._records.collection_spec import CollectionSpec
from .._records.compare import ComparedBatch, Counterpart, Difference
from .._records.live import LiveCollection, Throttle
from .._records.read_ahead import read_ahead
from .._records.reconcile import Reconciler
from .._records.spec_translation import spec_differences
from .._schema.plan import MigrationPlan, Shard, Survey, TransformedBatch
from .._schema.transformation import Invalid
from .._server.probe import connect
from .._server.server import Server, StoredCollection
from .differences import record_diff
from .outcome import Context, Outcome
from .planning import make_plan

BATCH_SIZE = 1000
PATIENCE_SECONDS = 60.0
SAMPLE_INVALID = 20
PHASES = ("export", "transform", "validate", "import", "verify")


@dataclass
class _Target:
    """One target collection while it is brought up to date."""

    spec: CollectionSpec
    stored: Optional[StoredCollection]
    differences: dict[str, tuple[Any, Any]]
    merged: bool
    created: bool = False
    counterpart: Optional[Counterpart] = None
    reconciler: Optional[Reconciler] = None
    difference: Difference = field(default_factory=Difference)
    sources: set[str] = field(default_factory=set)

    @property
    def changed(self) -> bool:
        return self.created or bool(self.differences) or not self.difference.empty


def migrate(
    source: Endpoint,
    target: Endpoint,
    *,
    collections: Optional[Sequence[str]],
    routes: Any,
    schema: Optional[Mapping[str, Any]],
    corrections: Any,
    on_collision: str,
    on_invalid: str,
    quarantine_file: Optional[str],
    min_valid_ratio: float,
    prune: bool,
    shard: Optional[Mapping[str, int]],
    max_records_per_second: Optional[float],
    batch_size: Optional[int],
    state_directory: str,
    deadline: Optional[float],
    context: Context,
) -> Outcome:
    """Bring the target to what the transformed source is; in check mode, say what that would change."""
    if source.identity == target.identity:
        raise UsageError(f"source and target are the same database ({source.identity}).")
    settings = _Settings(
        on_invalid=on_invalid,
        quarantine_file=quarantine_file,
        min_valid_ratio=_ratio(min_valid_ratio),
        prune=prune,
        shard=_shard(shard),
        batch_size=_positive("batch_size", batch_size) or BATCH_SIZE,
        state_directory=state_directory,
        until=None if deadline is None else time.monotonic() + deadline,
    )
    throttle = Throttle(_positive("max_records_per_second", max_records_per_second))
    with ExitStack() as stack:
        source_server, target_server = connect(source), connect(target)
        stack.callback(source_server.close)
        stack.callback(target_server.close)
        plan = make_plan(
            source_server, target_server, collections=collections, routes=routes, schema=schema, corrections=corrections,
            on_collision=on_collision, shard=settings.shard, throttle=throttle,
        )
        label = None if settings.shard is None else f"{settings.shard.index}/{settings.shard.count}"
        if not context.check_mode:
            stack.enter_context(server_lock(target.identity, "migrate", exclusive=label is None))
            if label is not None:
                stack.enter_context(server_lock(f"{target.identity} shard {label}", "migrate"))
        checkpoint = begin_checkpoint(state_directory, source.identity, target.identity, plan.transformation.identity, label, write=not context.check_mode)
        source_server.http.patience = target_server.http.patience = PATIENCE_SECONDS
        run = _Migration(plan, target_server, settings, checkpoint, context)
        stack.callback(run.close)
        try:
            return run.run()
        except OperationError as error:
            checkpoint.fail(error.message, VALIDATION_FAILED if isinstance(error, InvalidDataError) else "error")
            raise


@dataclass(frozen=True)
class _Settings:
    on_invalid: str
    quarantine_file: Optional[str]
    min_valid_ratio: float
    prune: bool
    shard: Optional[Shard]
    batch_size: int
    state_directory: str
    until: Optional[float]


class _Migration:
    """One run: survey, prepare the targets, stream, prune, prove."""

    def __init__(self, plan: MigrationPlan, server: Server, settings: _Settings, checkpoint: CheckpointFile, context: Context) -> None:
        self.plan = plan
        self.server = server
        self.settings = settings
        self.checkpoint = checkpoint
        self.context = context
        self.progress = context.progress
        self.targets: dict[str, _Target] = {}
        self.invalid: list[Invalid] = []
        self.invalid_count = 0
        self.read = 0
        self.batches = 0
        self.warnings: list[str] = []

    def close(self) -> None:
        for target in self.targets.values():
            if target.reconciler is not None:
                target.reconciler.__exit__()
            if target.counterpart is not None:
                target.counterpart.close()

    def run(self) -> Outcome:
        self.progress.declare(*PHASES)
        fed_by = self._survey()
        total = sum(sum(feeding.values()) for feeding in fed_by.values())
        self.progress.expect(total)
        self.checkpoint.checkpoint.total_chunks = total
        self._prepare(fed_by)
        self._stream()
        self._prune()
        self._prove()
        return self._outcome()

    def _survey(self) -> dict[str, dict[str, int]]:
        """Judge what can be judged without vectors; returns how many records each source collection gives each target."""
        self.checkpoint.save(VALIDATE)
        if not self.plan.needs_survey():
            return self.plan.unsurveyed_targets()
        survey = self.plan.survey(self.progress)
        self._judge(survey)
        self.plan.empty_targets(survey.targets)
        return survey.targets

    def _judge(self, survey: Survey) -> None:
        if survey.collisions:
            raise InvalidDataError(
                f"{survey.collisions} ids would collide in the target, among them {survey.collision_sample[0]}. Nothing was written. "
                "Use on_collision: prefix, or routes with an id_prefix.",
                collisions=survey.collision_sample,
            )
        self._require_valid(survey.invalid, survey.read, survey.invalid_sample, "Nothing was written.")

    def _require_valid(self, invalid: int, read: int, sample: Sequence[Invalid], state: str) -> None:
        if not invalid:
            return
        reasons = _by_reason(sample)
        first = sample[0]
        found = f"{invalid} of {read} records are invalid, such as {first.source_collection}: {first.id!r}: {first.reasons[0]}. {state}"
        if self.settings.on_invalid == "fail":
            raise InvalidDataError(f"{found} Correct them (corrections), or use on_invalid: skip.", invalid_sample=_plain(sample), reasons=reasons)
        ratio = (read - invalid) / read
        if ratio < self.settings.min_valid_ratio:
            raise InvalidDataError(
                f"{found} That leaves {ratio:.2%} valid, less than min_valid_ratio {self.settings.min_valid_ratio:.2%}.",
                invalid_sample=_plain(sample), reasons=reasons,
            )

    def _prepare(self, fed_by: dict[str, dict[str, int]]) -> None:
        """Look at every target collection before the first write, then make or mend them."""
        existing = {stored.name: stored for stored in self.server.list_collections()}
        for name, spec in self.plan.target_specs(fed_by).items():
            fault = collection_name_fault(name) if self.server.capabilities.configuration else None
            if fault:
                raise UsageError(f"The target collection's name {name!r} {fault}. Give it another one by a route.")
            stored = existing.get(name)
            differences: dict[str, tuple[Any, Any]] = {}
            merged = self.plan.is_merged(name)
            if stored is not None:
                live = LiveCollection(self.server, stored)
                differences = spec_differences(spec, live.spec, self.server.capabilities)
                if merged:
                    # What merged collections agree on depends on which of them take part: it is set once, at creation.
                    differences = {part: values for part, values in differences.items() if part != "metadata"}
                require_mendable(self.server, spec, differences)
            self.targets[name] = _Target(spec, stored, differences, merged, created=stored is None, sources=set(fed_by[name]))
        for name, target in self.targets.items():
            self._open(name, target)

    def _open(self, name: str, target: _Target) -> None:
        if not self.context.check_mode:
            if target.stored is None:
                target.stored = create(self.server, target.spec)
            elif target.differences:
                target.stored = mend(self.server, target.stored, target.spec, target.differences)
        live = None if target.stored is None else LiveCollection(self.server, target.stored)
        target.counterpart = Counterpart(None if target.created and self.context.check_mode else live, target.spec.space)
        if live is not None and not self.context.check_mode:
            target.reconciler = Reconciler(live, target.spec.space, self.settings.batch_size, on_verified=self._verified)

    def _verified(self, records: int) -> None:
        self.checkpoint.checkpoint.successful_chunks += records
        self.checkpoint.save(IMPORT)

    def _stream(self) -> None:
        with self.progress.phase("import", 0) as importing:
            for batch, compared in read_ahead(self._compared()):
                self._take(batch, compared)
                importing.records += len(batch.records)
            for target in self.targets.values():
                if target.reconciler is not None:
                    target.difference = target.reconciler.finish()
        self._require_valid(self.invalid_count, max(1, self.read), self.invalid, "What was valid is written.")

    def _compared(self) -> Iterator[tuple[TransformedBatch, ComparedBatch]]:
        """Runs in a thread of its own: read, transform, compare; the writing happens meanwhile."""
        for batch in self.plan.batches(self.progress):
            target = self.targets.get(batch.target)
            if target is None or target.counterpart is None:
                raise DriftError(
                    f"A record of {batch.source} that appeared meanwhile belongs to {batch.target!r}, which is not prepared yet. Run the same task again.", collection=batch.target
                )
            taken = target.counterpart.expected_already(batch.records.ids)
            if taken:
                raise InvalidDataError(f"Id {taken[0]!r} of {batch.source} collides in the target collection {batch.target!r}.", ids=taken[:SAMPLE_INVALID])
            target.counterpart.spare(batch.invalid_ids)
            yield batch, target.counterpart.compare(batch.records)

    def _take(self, batch: TransformedBatch, compared: ComparedBatch) -> None:
        self._check_deadline()
        target = self.targets[batch.target]
        if batch.invalid:
            self.invalid_count += len(batch.invalid)
            self.invalid.extend(batch.invalid)
            if self.settings.on_invalid == "fail":
                self._require_valid(len(batch.invalid), len(batch.records) + len(batch.invalid), batch.invalid, "What came before this batch is written.")
        records = len(batch.records) + len(batch.invalid)
        self.read += records
        self.batches += 1
        if target.reconciler is None:
            target.difference.count(compared)
        else:
            target.reconciler.apply(compared)
        state = self.checkpoint.checkpoint
        state.processed_chunks, state.failed_chunks, state.last_batch_index = self.read, self.invalid_count, self.batches - 1
        self.checkpoint.save(IMPORT)
        self.progress.advance(records)

    def _check_deadline(self) -> None:
        if self.settings.until is not None and time.monotonic() > self.settings.until:
            raise TimeoutExceededError(
                f"The deadline passed after {self.read} of {self.progress.total} records. What was written is complete and proved; the same task again sends the rest."
            )

    def _prune(self) -> None:
        if not self.settings.prune:
            return
        for name, target in self.targets.items():
            if target.counterpart is None or target.counterpart.actual is None:
                continue
            for page in self._owned(name, target):
                if target.reconciler is None:
                    target.difference.count_deleted(page)
                else:
                    target.reconciler.delete([page])

    def _owned(self, name: str, target: _Target) -> Iterator[list[str]]:
        """The surplus ids of a target that this migration put there."""
        assert target.counterpart is not None and isinstance(target.counterpart.actual, LiveCollection)
        selected = {source.name for source in self.plan.sources}
        by_field = self.plan.transformation.states_source(name)
        by_prefix = self.plan.transformation.on_collision == "prefix" and target.merged
        if target.merged and not by_field and not by_prefix:
            self.warnings.append(
                f"prune: several collections go to {name!r}, and its records do not say where they came from (no source_collection, no prefix). Nothing was deleted there."
            )
            return
        for page in target.counterpart.surplus():
            owned = [record_id for record_id in page if self.plan.shard is None or self.plan.shard.takes(record_id)]
            if by_field and owned:
                texts = target.counterpart.actual.read_without_vectors(owned)
                owned = [record_id for record_id, metadata in zip(texts.ids, texts.metadatas) if (metadata or {}).get("source_collection") in selected]
            elif by_prefix:
                owned = [record_id for record_id in owned if any(record_id.startswith(f"{source}:") for source in selected)]
            if owned:
                yield owned

    def _prove(self) -> None:
        """Every written record was read back; here the ids are listed once more, so that none is missing at the end."""
        if self.context.check_mode:
            return
        self.checkpoint.save(VERIFY)
        with self.progress.phase("verify", 0) as phase:
            for name, target in self.targets.items():
                assert target.counterpart is not None and target.reconciler is not None
                if target.difference.empty:
                    continue
                assert isinstance(target.counterpart.actual, LiveCollection)
                missing = target.counterpart.missing_from(target.counterpart.actual.id_pages())
                phase.records += target.reconciler.written
                if missing:
                    raise PartialError(f"Collection {name!r} of the target lacks {missing[0]!r} at the end: somebody else deletes there. Run the same task again.", ids=missing)
        self.checkpoint.save(COMPLETE)

    def _outcome(self) -> Outcome:
        unsettled = [source.name for source in self.plan.sources if source.movement.unsettled]
        if unsettled:
            self.warnings.append(f"{', '.join(unsettled)}: records still appeared after the last round of reading; run the same task again to catch up.")
        if self.invalid and not self.context.check_mode:
            self._write_quarantine()
        differences = [target.difference for target in self.targets.values()]
        returns = {
            "migration_id": self.checkpoint.checkpoint.migration_id,
            "phases": [phase.as_dict() for phase in self.progress.phases],
            "records": {
                "read": self.read,
                "valid": self.read - self.invalid_count,
                "invalid": self.invalid_count,
                "added": sum(difference.added for difference in differences),
                "changed": sum(difference.changed for difference in differences),
                "unchanged": sum(difference.unchanged for difference in differences),
                "deleted": sum(difference.deleted for difference in differences),
            },
            "collections": [_collection_result(name, target) for name, target in sorted(self.targets.items())],
            "invalid_sample": _plain(self.invalid[:SAMPLE_INVALID]),
            "resumed": self.checkpoint.resumed,
        }
        diff = [
            record_diff(name, target.difference, None if not target.created else "created", target.differences)
            for name, target in sorted(self.targets.items())
            if target.changed
        ]
        return Outcome(any(target.changed for target in self.targets.values()), self.progress.seconds, returns, diff, self.warnings)

    def _write_quarantine(self) -> None:
        name = f"quarantine_{self.checkpoint.checkpoint.migration_id.split('_', 1)[1]}.jsonl"
        path = self.settings.quarantine_file or os.path.join(self.settings.state_directory, name)
        lines = (json.dumps({"collection": fault.source_collection, "id": fault.id, "reasons": list(fault.reasons)}) for fault in self.invalid)
        atomic_write(path, "".join(f"{line}\n" for line in lines).encode("ascii"))
        self.warnings.append(f"{self.invalid_count} invalid records were left out; {path} names them.")


def _collection_result(name: str, target: _Target) -> dict[str, Any]:
    difference = target.difference
    return {
        "name": name,
        "sources": sorted(target.sources),
        "created": target.created,
        "added": difference.added,
        "changed": difference.changed,
        "unchanged": difference.unchanged,
        "deleted": difference.deleted,
    }


def _by_reason(sample: Sequence[Invalid]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for fault in sample:
        for reason in fault.reasons:
            kind = getattr(reason, "kind", str(reason))
            counts[kind] = counts.get(kind, 0) + 1
    return counts


def _plain(faults: Sequence[Invalid]) -> list[dict[str, Any]]:
    return [{"collection": fault.source_collection, "id": fault.id, "reasons": [str(reason) for reason in fault.reasons]} for fault in faults[:SAMPLE_INVALID]]


def _ratio(value: float) -> float:
    if not 0 <= value <= 1:
        raise UsageError(f"min_valid_ratio must lie between 0 and 1, not {value}.")
    return value


def _positive(name: str, value: Any) -> Any:
    if value is not None and value <= 0:
        raise UsageError(f"{name} must be more than 0, not {value}.")
    return value


def _shard(value: Optional[Mapping[str, int]]) -> Optional[Shard]:
    if value is None:
        return None
    if value["count"] < 1 or not 0 <= value["index"] < value["count"]:
        raise UsageError(f"shard: index must lie between 0 and count - 1, but is {value['index']} of {value['count']}.")
    return Shard(value["index"], value["count"])
