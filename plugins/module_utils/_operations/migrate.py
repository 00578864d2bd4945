# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Reconcile a target with the transformed source. Running it again is the catch-up, and the resume after a crash."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Any

from .._checkpoint import COMPLETE, ERROR, IMPORT, VALIDATE, VALIDATION_FAILED, VERIFY, CheckpointFile, begin_checkpoint
from .._endpoint import Endpoint
from .._errors import DiskError, DriftError, InvalidDataError, OperationError, TimeoutExceededError, UsageError
from .._files import absolute_path, wait_for_free_space
from .._journal import Journal
from .._lock import server_lock
from .._numbers import number
from .._records.compare import ComparedBatch
from .._records.live import LiveCollection, Throttle
from .._records.read_ahead import read_ahead
from .._records.seen_records import SeenRecords, seen_records_path
from .._same_server import same_database
from .._schema.plan import MigrationPlan, TransformedBatch
from .._server.probe import connect
from .._server.server import Server, StoredCollection
from .migration_settings import Settings, parsed_shard, positive, ratio
from .narrowing import Narrowed, narrow
from .outcome import Context, Outcome
from .planning import make_plan, require_readable
from .quarantine import Quarantine, as_dict, look_at_place, require_valid
from .target_collection import TargetCollection
from .two_databases import doubts, require_two_databases

BATCH_SIZE = 1000
PATIENCE_SECONDS = 60.0
# Below this, the state could soon no longer be written; and where the target is on this host, neither could the records.
MIN_FREE_BYTES = 100 * 1000 * 1000
SAMPLE_IDS = 10
# While a batch is written, a slow source reads about two pages of it and one more.
PAGES_AHEAD = 3
PHASES = ("export", "transform", "validate", "import", "verify")


def migrate(
    source: Endpoint,
    target: Endpoint,
    *,
    collections: Sequence[str] | None,
    routes: Any,
    schema: Mapping[str, Any] | None,
    corrections: Any,
    on_collision: str,
    on_invalid: str,
    quarantine_file: str | None,
    min_valid_ratio: float,
    prune: bool,
    shard: Mapping[str, int] | None,
    max_records_per_second: float | None,
    batch_size: int | None,
    state_directory: str,
    deadline: float | None,
    changes: Mapping[str, Any] | None,
    context: Context,
) -> Outcome:
    """Bring the target to what the transformed source is; in check mode, say what that would change."""
    if same_database(source.identity, target.identity):
        raise UsageError(f"source and target are the same database ({source.identity}, {target.identity}).")
    settings = Settings(
        on_invalid=on_invalid,
        quarantine_file=None if quarantine_file is None else absolute_path("quarantine_file", quarantine_file),
        min_valid_ratio=ratio(min_valid_ratio),
        prune=prune,
        shard=parsed_shard(shard),
        batch_size=positive("batch_size", batch_size) or BATCH_SIZE,
        state_directory=absolute_path("state_directory", state_directory),
        until=None if deadline is None else time.monotonic() + positive("deadline", deadline),
    )
    throttle = Throttle(positive("max_records_per_second", max_records_per_second))
    if collections is not None and not collections:
        raise UsageError("collections is an empty list: nothing would be migrated. Leave it out for all of them.")
    with ExitStack() as stack:
        source_server, target_server = connect(source), connect(target)
        stack.callback(source_server.close)
        stack.callback(target_server.close)
        plan = make_plan(
            source_server, target_server, collections=collections, routes=routes, schema=schema, corrections=corrections,
            on_collision=on_collision, shard=settings.shard, throttle=throttle,
        )
        source_server.http.patience = target_server.http.patience = PATIENCE_SECONDS
        label = None if settings.shard is None else f"{settings.shard.index}/{settings.shard.count}"
        if not context.check_mode:
            stack.enter_context(server_lock(target.identity, "migrate", exclusive=label is None))
            if label is not None:
                stack.enter_context(server_lock(f"{target.identity} shard {label}", "migrate"))
            require_two_databases(source_server, target_server, alone=label is None)
        rules = plan.transformation.rules_identity
        checkpoint = begin_checkpoint(settings.state_directory, source.identity, target.identity, rules, label, write=not context.check_mode)
        seen = None
        if not context.check_mode and label is None:
            seen = SeenRecords.begin(seen_records_path(settings.state_directory, source.identity, target.identity, plan.transformation.identity))
            stack.callback(seen.close)
        run = _Migration(plan, target_server, settings, checkpoint, context, seen)
        run.warnings += doubts(source_server, target_server) if context.check_mode else []
        stack.callback(run.close)
        try:
            return run.run(changes)
        except OperationError as error:
            # On a full disk this fails as well, and what went wrong first is what somebody must know.
            with suppress(DiskError):
                checkpoint.fail(error.message, VALIDATION_FAILED if isinstance(error, InvalidDataError) else ERROR)
            raise


class _Migration:
    """One run: survey, prepare the targets, stream, prune, prove."""

    def __init__(
        self, plan: MigrationPlan, server: Server, settings: Settings, checkpoint: CheckpointFile, context: Context, seen: SeenRecords | None
    ) -> None:
        self.plan = plan
        self.sources = sorted(source.name for source in plan.sources)
        self.server = server
        self.settings = settings
        self.checkpoint = checkpoint
        self.context = context
        self.seen = seen
        self.progress = context.progress
        self.targets: dict[str, TargetCollection] = {}
        self.quarantine = self._new_quarantine()
        self.journal = Journal(os.path.join(settings.state_directory, self._file_name("journal")), late=True)
        self.total = 0
        self.read = 0
        self.elsewhere = (0, 0)
        self.batches = 0
        self.warnings: list[str] = []
        self.narrowed: Narrowed | None = None
        self.why_everything: str | None = None

    def _new_quarantine(self) -> Quarantine:
        return Quarantine(self._quarantine_path(), self.checkpoint.checkpoint.owner)

    def _quarantine_path(self) -> str | None:
        if self.context.check_mode or self.settings.on_invalid == "fail":
            return None
        return self.settings.quarantine_file or os.path.join(self.settings.state_directory, self._file_name("quarantine"))

    def _file_name(self, what: str) -> str:
        shard = self.settings.shard
        part = "" if shard is None else f"_shard_{shard.index}_of_{shard.count}"
        return f"{what}_{self.checkpoint.checkpoint.migration_id}{part}.jsonl"

    def close(self) -> None:
        self.quarantine.close()
        self.journal.close()
        for target in self.targets.values():
            target.close()
        if self.narrowed is not None:
            self.narrowed.close()

    def run(self, changes: Mapping[str, Any] | None) -> Outcome:
        self.progress.declare(*PHASES)
        if self.context.check_mode and self.settings.quarantine_file is not None and self.settings.on_invalid != "fail":
            self.warnings += look_at_place(self.settings.quarantine_file)
        self.quarantine.require_place()
        if changes is not None:
            self._narrow(changes)
        fed_by = self._survey()
        self.progress.expect(self.total)
        self.checkpoint.checkpoint.total_chunks = self.total
        self._prepare(fed_by)
        self._stream()
        self._prune()
        self._prove()
        return self._outcome()

    @property
    def settled(self) -> int:
        """Records that need not be looked at."""
        return 0 if self.narrowed is None else self.narrowed.settled_records

    def _narrow(self, changes: Mapping[str, Any]) -> None:
        found = narrow(self.plan, self.server, changes)
        if isinstance(found, str):
            self.why_everything = found
            self.warnings.append(f"Every record was compared, not only what was written since: {found}.")
        else:
            self.narrowed, self.plan = found, found.plan

    def _survey(self) -> dict[str, dict[str, int]]:
        """Judge what can be judged without vectors; how many records each source collection gives each target."""
        self.checkpoint.save(VALIDATE)
        if not self.plan.needs_survey():
            fed_by = self.plan.unsurveyed_targets()
            self.total = sum(sum(feeding.values()) for feeding in fed_by.values()) if self.plan.shard is None else self.plan.records_of_shard()
            return self._with_settled(fed_by)
        # What is found invalid here is written down only if it stops the run; otherwise all of it is found again, vectors included.
        found = self._new_quarantine()
        try:
            return self._judged(found)
        finally:
            found.close()

    def _with_settled(self, fed_by: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
        for target, sources in ({} if self.narrowed is None else self.narrowed.settled).items():
            for source, records in sources.items():
                feeding = fed_by.setdefault(target, {})
                feeding[source] = feeding.get(source, 0) + records
        return fed_by

    def _judged(self, found: Quarantine) -> dict[str, dict[str, int]]:
        survey = self.plan.survey(self.progress, found, self._keep_deadline)
        self.total, self.elsewhere = survey.read_here, (survey.read_elsewhere, survey.invalid_elsewhere)
        require_readable(survey)
        if survey.collisions:
            raise InvalidDataError(
                f"{number(survey.collisions, 'id')} would collide in the target, among them {survey.collision_sample[0]}. Nothing was written. "
                "Use on_collision: prefix, or routes with an id_prefix.",
                collisions=survey.collision_sample,
            )
        self._require_valid(found, survey.read, "Nothing was written.", 0)
        fed_by = self._with_settled(survey.targets)
        self.plan.empty_targets(fed_by)
        return fed_by

    def _require_valid(self, invalid: Quarantine, read: int, state: str, elsewhere: int) -> None:
        require_valid(invalid, read + self.settled, state, self.settings.on_invalid, self.settings.min_valid_ratio, elsewhere)

    def _prepare(self, fed_by: dict[str, dict[str, int]]) -> None:
        """Look at every target collection before the first write, then make or mend them."""
        existing = {stored.name: stored for stored in self.server.list_collections()}
        for name, spec in self.plan.target_specs(fed_by).items():
            target = TargetCollection(self.server, spec, existing.get(name), self.plan.is_merged(name), set(fed_by[name]))
            target.inspect()
            self.targets[name] = target
        self.checkpoint.begin_writing()
        if self.settings.prune and self.narrowed is None:
            self.targets.update(self._unfed(existing))
        for target in self.targets.values():
            ids = None if self.narrowed is None else self.narrowed.places.get(target.name)
            target.open(self.settings.batch_size, self._verified, self.context.check_mode, self.journal, ids)

    def _unfed(self, existing: Mapping[str, StoredCollection]) -> dict[str, TargetCollection]:
        """Targets that a route leads to and no record takes now: what an earlier run brought there is to be pruned as well."""
        found = {}
        for source in self.plan.sources:
            for name in self.plan.reachable(source):
                if name in existing and name not in self.targets:
                    spec = LiveCollection(self.server, existing[name]).spec
                    found[name] = TargetCollection(self.server, spec, existing[name], self.plan.is_merged(name), {source.name})
        return found

    def _verified(self, records: int) -> None:
        self.checkpoint.checkpoint.successful_chunks += records
        self.checkpoint.save(IMPORT)

    def _stream(self) -> None:
        self.checkpoint.save(IMPORT)
        with self.progress.phase("import") as importing:
            for parts in read_ahead(self._compared(), PAGES_AHEAD):
                if isinstance(parts, LiveCollection):
                    # Its rest is written while the next one is read: at the end, nothing could be read meanwhile.
                    for name in self.plan.last_of(parts) & set(self.targets):
                        self.targets[name].flush()
                    continue
                for batch, compared in parts:
                    self._take(batch, compared)
                    importing.records += len(batch.records)
            for target in self.targets.values():
                target.finish()
        self._require_valid(self.quarantine, self.read + self.elsewhere[0], "What was valid is written.", self.elsewhere[1])

    def _compared(self) -> Iterator[list[tuple[TransformedBatch, ComparedBatch]] | LiveCollection]:
        """Runs in a thread of its own: read, transform, compare; the writing happens meanwhile. Each source collection follows its last batch.

        Handed over by what was read at once, not by target: with many targets the parts are small, and one part ahead would be nothing.
        """
        for source in self.plan.sources:
            for parts in self.plan.batches_of(source, self.progress):
                yield [(batch, self._compare(batch)) for batch in parts]
            yield source

    def _compare(self, batch: TransformedBatch) -> ComparedBatch:
        target = self.targets.get(batch.target)
        if target is None:
            raise DriftError(
                f"A record of {batch.source} that appeared meanwhile belongs to {batch.target!r}, which is not prepared yet. Run the same task again.",
                collection=batch.target,
            )
        taken = target.counterpart.expected_already(batch.records.ids)
        if taken:
            raise InvalidDataError(f"Id {taken[0]!r} of {batch.source} collides in the target collection {batch.target!r}.", ids=taken[:SAMPLE_IDS])
        target.counterpart.spare(batch.invalid_ids)
        if self.seen is not None:
            self.seen.note(batch.target, batch.records, target.spec.space)
        return target.counterpart.compare(batch.records)

    def _take(self, batch: TransformedBatch, compared: ComparedBatch) -> None:
        self._keep_deadline()
        if not self.context.check_mode:
            wait_for_free_space(self.settings.state_directory, MIN_FREE_BYTES, PATIENCE_SECONDS)
        records = len(batch.records) + len(batch.invalid)
        self.read += records
        self.batches += 1
        self.quarantine.add(batch.invalid)
        if batch.invalid and self.settings.on_invalid == "fail":
            self._require_valid(self.quarantine, self.read, "What came before this batch is written.", 0)
        self.targets[batch.target].take(compared)
        state = self.checkpoint.checkpoint
        state.processed_chunks, state.failed_chunks, state.last_batch_index = self.read, self.quarantine.count, self.batches - 1
        self.checkpoint.save(IMPORT)
        self.progress.advance(records)

    def _keep_deadline(self) -> None:
        if self.settings.until is None or time.monotonic() <= self.settings.until:
            return
        if self.progress.total is None:
            raise TimeoutExceededError("The deadline passed before all records were judged. Nothing was written.")
        done = f"The deadline passed after {self.read} of {self.progress.total} records."
        raise TimeoutExceededError(f"{done} What was written is complete and proved; the same task again sends the rest.")

    def _prune(self) -> None:
        if not self.settings.prune:
            return
        for name, target in self.targets.items():
            pages = target.owned_surplus(self.plan)
            if pages is None:
                self.warnings.append(
                    f"prune: several collections go to {name!r}, and its records do not say where they came from (no source_collection, no prefix). "
                    "Nothing was deleted there."
                )
                continue
            for ids in pages:
                target.delete(ids)

    def _prove(self) -> None:
        if self.context.check_mode:
            return
        self.checkpoint.save(VERIFY)
        pruned = self.plan if self.settings.prune else None
        with self.progress.phase("verify") as phase:
            for target in self.targets.values():
                phase.records += target.prove(pruned, everything=self.narrowed is None)
        if self.seen is not None:
            self.seen.complete(everything=self.narrowed is None)
        self.checkpoint.save(COMPLETE)

    def _warn_of_corrections(self) -> None:
        """Corrections that met no record; only a run that reads everything can tell."""
        if self.narrowed is not None or self.settings.shard is not None:
            return
        missed = self.plan.transformation.uncorrected([source.name for source in self.plan.sources])
        if missed:
            first = f"{missed[0][0]}: {missed[0][1]!r}"
            self.warnings.append(f"corrections name {number(len(missed), 'id')} that the source does not have, such as {first}. They changed nothing.")

    def _outcome(self) -> Outcome:
        unsettled = [source.name for source in self.plan.sources if source.movement.unsettled]
        if unsettled:
            self.warnings.append(f"{', '.join(unsettled)}: records still appeared after the last round of reading; run the same task again to catch up.")
        self._warn_of_corrections()
        quarantined = self.quarantine.finish()
        if quarantined is not None:
            self.warnings.append(f"{number(self.quarantine.count, 'invalid record was', 'invalid records were')} left out; see {quarantined}.")
        targets = [self.targets[name] for name in sorted(self.targets)]
        differences = [target.difference for target in targets]
        returns = {
            "migration_id": self.checkpoint.checkpoint.migration_id,
            "phases": [phase.as_dict() for phase in self.progress.phases],
            "records": {
                "read": self.read,
                "valid": self.read - self.quarantine.count,
                "invalid": self.quarantine.count,
                "added": sum(difference.added for difference in differences),
                "changed": sum(difference.changed for difference in differences),
                "unchanged": sum(difference.unchanged for difference in differences),
                "deleted": sum(difference.deleted for difference in differences),
            },
            "sources": self.sources,
            "collections": [target.result() for target in targets],
            "invalid_sample": [as_dict(fault) for fault in self.quarantine.sample],
            "invalid_reasons": self.quarantine.reasons,
            "quarantine_file": quarantined,
            "compared": {"only_changes": self.narrowed is not None, "settled": self.settled, "reason": self.why_everything},
            "resumed": self.checkpoint.resumed,
        }
        changed = [target for target in targets if target.changed]
        return Outcome(bool(changed), self.progress.seconds, returns, [target.diff() for target in changed], self.warnings)
