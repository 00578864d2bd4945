# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Compare the target with what the transformed source says it should hold, check it from every side, and decide. Writes to neither server."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from .._endpoint import Endpoint
from .._errors import UsageError
from .._files import absolute_path
from .._numbers import number
from .._records.live import LiveCollection
from .._records.seen_records import SeenRecords, seen_records_path
from .._schema.plan import MigrationPlan
from .._schema.transformation import FAIL, PREFIX, collision_prefix
from .._server.probe import connect
from .._server.server import Server, StoredCollection
from .._validation.census import Census
from .._validation.check import CHECKS, Check
from .._validation.checks_counts import SourceFigures, TargetFigures, check_counts, check_counts_of_sample, check_duplicates, expected_shortfalls
from .._validation.checks_embeddings import EmbeddingsCheck
from .._validation.checks_metadata import MetadataChecks
from .._validation.checks_records import check_records, confidence_bound
from .._validation.checks_search import average_divergence, check_latency, check_semantic_equivalence
from .._validation.checks_specs import check_specs
from .._validation.decision import Totals, decide
from .._validation.embedder import parse_embedder
from .._validation.neighbours import ExactSearch, Query
from .._validation.report import check_report_directory, report_of, write_report
from .._validation.report_data import ReportData, Step
from .._validation.sample import Sample, choose_records, parse_sample
from .._validation.search_quality import QueryResult, judge_query
from .._validation.searches import (
    Answers,
    WantedQuery,
    ask_source,
    ask_target,
    held_shares,
    more_queries,
    parse_queries,
    place_queries,
    sample_ids,
    sample_queries,
)
from .._validation.subject import RecordObserver
from .._validation.text_searches import choose_text_searches, search_texts
from .._validation.thresholds import Thresholds, parse_thresholds
from .._validation.walk import Walk, Walked
from .expected_counts import parse_expected_counts
from .outcome import Context, Outcome
from .planning import make_plan
from .two_databases import doubts

PHASES = ("prepare", "export", "transform", "compare", "surplus", "search", "report")
# Ids that are asked for to learn whether the migration prefixed ids in merged targets.
PROBED_IDS = 20


def validate(
    source: Endpoint,
    target: Endpoint,
    *,
    collections: Sequence[str] | None,
    routes: Any,
    schema: Mapping[str, Any] | None,
    corrections: Any,
    queries: Sequence[Mapping[str, Any]] | None,
    embedder: Mapping[str, Any] | None,
    expected_counts: Mapping[str, Any] | None,
    sample: Mapping[str, Any] | None,
    thresholds: Mapping[str, Any] | None,
    report_directory: str | None,
    state_directory: str | None,
    context: Context,
) -> Outcome:
    """Judge the target; a bad decision is a result, not an error. Reports are written unless in check mode."""
    if collections is not None and not collections:
        raise UsageError("collections is an empty list: nothing would be validated. Leave it out for all of them.")
    limits = parse_thresholds(thresholds)
    counts = parse_expected_counts(expected_counts)
    chosen = parse_sample(sample)
    wanted = parse_queries(queries, parse_embedder(embedder))
    warnings = []
    if report_directory is not None:
        report_directory = absolute_path("report_directory", report_directory)
        warnings = check_report_directory(report_directory, context.check_mode)
    if state_directory is not None:
        state_directory = absolute_path("state_directory", state_directory)
    with ExitStack() as stack:
        source_server, target_server = connect(source), connect(target)
        stack.callback(source_server.close)
        stack.callback(target_server.close)
        rules: dict[str, Any] = {"collections": collections, "routes": routes, "schema": schema, "corrections": corrections}
        stored = {collection.name: LiveCollection(target_server, collection) for collection in target_server.list_collections()}
        plan = make_plan(source_server, target_server, on_collision=FAIL, **rules)
        if _ids_are_prefixed(plan, stored):
            plan = make_plan(source_server, target_server, on_collision=PREFIX, **rules)
        seen = None
        if state_directory is not None:
            seen = SeenRecords.of_last_pass(seen_records_path(state_directory, source.identity, target.identity, plan.transformation.identity))
        if seen is not None:
            stack.callback(seen.close)
        run = _Validation(plan, source_server, target_server, stored, limits, counts, chosen, context, seen)
        stack.callback(run.close)
        outcome = run.run(wanted, None if context.check_mode else report_directory)
        outcome.warnings.extend(warnings)
        return outcome


class _Validation:
    """One run: choose the searches, walk through all records, search, judge, report."""

    def __init__(
        self,
        plan: MigrationPlan,
        source: Server,
        target: Server,
        stored: Mapping[str, LiveCollection],
        limits: Thresholds,
        expected_counts: Mapping[str, int],
        sample: Sample | None,
        context: Context,
        seen: SeenRecords | None,
    ) -> None:
        self.plan = plan
        self.source = source
        self.target = target
        self.stored = stored
        self.limits = limits
        self.expected_counts = dict(expected_counts)
        self.sample = sample
        self.context = context
        self.seen = seen
        self.progress = context.progress
        self.census = Census()
        self.timeline: list[Step] = []
        self._walk: Walk | None = None

    def close(self) -> None:
        if self._walk is not None:
            self._walk.close()

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        start = self.progress.seconds
        try:
            yield
        finally:
            self.timeline.append(Step(name, start, self.progress.seconds - start))

    def run(self, wanted: Sequence[WantedQuery], report_directory: str | None) -> Outcome:
        self.progress.declare(*PHASES)
        with self._step("prepare"), self.progress.phase("prepare"):
            counts = {source.name: source.count() for source in self.plan.sources}
            self.progress.expect(sum(counts.values()) if self.sample is None else min(self.sample.size, sum(counts.values())))
            queries = self._queries(wanted)
            chosen = None if self.sample is None else choose_records(self.plan, self.sample)
        embeddings, metadata = EmbeddingsCheck(self.limits), MetadataChecks(self.plan.transformation.schema is not None, self.limits)
        exact = ExactSearch(queries)
        observers: list[RecordObserver] = [embeddings, metadata]
        if self.sample is None:
            observers.append(exact)
        everything = self.source.list_collections()
        names = [collection.name for collection in everything]
        self._forget_what_is_met_elsewhere([collection for collection in everything if collection.name not in counts])
        self._walk = Walk(self.plan, self.stored, self.census, observers, self.progress, names, chosen, self.seen)
        with self._step("compare all records" if self.sample is None else "compare a sample"):
            walked = self._walk.run()
        with self._step("search"), self.progress.phase("search", len(queries)):
            results, answers = self._search(exact, queries)
            texts = search_texts(self.stored, choose_text_searches(self.plan, self._seed))
        sources = [self._source_figures(source, counts[source.name], walked) for source in self.plan.sources]
        targets = [self._figures(name, distinct) for name, distinct in walked.listed.items()]
        has_vectors = bool(queries) or any(source.stored.dimension for source in self.plan.sources if counts[source.name])
        checks = [
            self._counts(sources, targets, walked),
            embeddings.check(),
            *metadata.checks(),
            check_semantic_equivalence(results, has_vectors, self.limits, texts),
            check_duplicates(targets),
            check_records(self.census, self._sample_details(counts)),
            check_specs(self.plan.target_specs(walked.fed_by), self._actual_specs(walked), self.target.capabilities, self.plan.transformation.merged_targets),
            check_latency(answers.seconds, has_vectors, self.limits, answers.timed_in, answers.first),
        ]
        return self._outcome(checks, walked, sources, targets, results, report_directory)

    def _queries(self, wanted: Sequence[WantedQuery]) -> list[Query]:
        """The user's queries or records of the source, and records of collections that these do not reach: no index is left out."""
        queries = place_queries(wanted, self._dimensions()) if wanted else []
        chosen = {query.collection for query in queries}
        queries += [query for query in sample_queries(self.plan, self._seed) if query.collection not in chosen]
        reached = {query.collection for query in queries}
        for source in self.plan.sources:
            for name in self.plan.reachable(source):
                if name in self.stored and name not in reached and self.stored[name].stored.dimension:
                    reached.add(name)
                    queries.extend(more_queries(self.stored[name], self._seed))
        return queries

    def _forget_what_is_met_elsewhere(self, others: Sequence[StoredCollection]) -> None:
        """Expected counts of source collections that are not validated now: those that the source meets say nothing of this run."""
        for other in others:
            wanted = self.expected_counts.get(other.name)
            held = None if wanted is None else self.source.count(other.id)
            if held == wanted or (held is not None and wanted is not None and self.seen is not None and held > wanted):
                self.expected_counts.pop(other.name, None)

    @property
    def _seed(self) -> int:
        return 0 if self.sample is None else self.sample.seed

    def _dimensions(self) -> dict[str, int | None]:
        """Of every collection that a record could go to, how long its vectors are; None where nothing tells."""
        dimensions: dict[str, int | None] = {}
        for source in self.plan.sources:
            for name in self.plan.reachable(source):
                held = self.stored.get(name)
                dimensions[name] = dimensions.get(name) or source.stored.dimension or (held.stored.dimension if held else None)
        return dimensions

    def _search(self, exact: ExactSearch, queries: Sequence[Query]) -> tuple[list[QueryResult], Answers]:
        if self._walk is None:
            raise RuntimeError("the records were not walked through yet")
        spaces = {name: subject.space for name, subject in self._walk.subjects.items()}
        known = [place for place, query in enumerate(queries) if query.collection in spaces]
        asked = [queries[place] for place in known]
        expected, unanswered = ask_source(self.plan, asked, spaces)
        answers = ask_target(self.stored, asked, spaces)
        truths = [exact.found[place] if self.sample is None else None for place in known]
        held = [None] * len(asked) if self.sample is None else held_shares(self.stored, asked, spaces, expected)
        results = [
            judge_query(query, spaces[query.collection], truths[row], expected[row], answers.target[row], answers.errors[row], held[row], unanswered[row])
            for row, query in enumerate(asked)
        ]
        return results, answers

    def _counts(self, sources: Sequence[SourceFigures], targets: Sequence[TargetFigures], walked: Walked) -> Check:
        if self.sample is None:
            return check_counts(self.census, sources, targets, self.expected_counts, self.seen is not None)
        one_to_one = not self.plan.transformation.routes
        return check_counts_of_sample(sources, targets, one_to_one, bool(walked.invalid), self.expected_counts, self.seen is not None)

    def _source_figures(self, source: LiveCollection, count: int, walked: Walked) -> SourceFigures:
        """What a source collection counts; one that was written to meanwhile has as many records as were read, every id that it listed."""
        invalid, late = walked.invalid.get(source.name, 0), walked.late.get(source.name, 0)
        if self.seen is not None and self.sample is None and (_moved(source) or source.count() != count):
            count = self.census.sources.get(source.name, [0, 0])[0] + invalid + late
        return SourceFigures(source.name, count, invalid, late)

    def _figures(self, name: str, distinct: int) -> TargetFigures:
        held = self.stored.get(name)
        return TargetFigures(name, None if held is None else held.count(), distinct)

    def _actual_specs(self, walked: Walked) -> dict[str, Any]:
        return {name: self.stored[name].spec if name in self.stored else None for name in walked.fed_by}

    def _sample_details(self, counts: Mapping[str, int]) -> dict[str, Any] | None:
        if self.sample is None:
            return None
        compared = self.census.total("expected")
        differing = self.census.total("changed") + self.census.total("lost")
        return {
            "size": self.sample.size,
            "seed": self.sample.seed,
            "compared": compared,
            "of": sum(counts.values()),
            "differing": differing,
            "confidence_percent": 95,
            "may_differ_percent": confidence_bound(compared, differing),
        }

    def _totals(self, walked: Walked, sources: Sequence[SourceFigures], targets: Sequence[TargetFigures]) -> Totals:
        missing = _missing(self.expected_counts, sources, targets, self.census)
        expected, lost, invalid = self.census.total("expected"), self.census.total("lost"), sum(walked.invalid.values())
        if self.sample is not None and expected + invalid:
            # What the sample shows, taken for the whole.
            whole = sum(source.count for source in sources)
            share = whole / (expected + invalid)
            expected, lost, invalid = round(expected * share), round(lost * share), round(invalid * share)
            lost = max(lost, whole - invalid - sum(target.count or 0 for target in targets))
        return Totals(expected, invalid, lost, missing)

    def _outcome(
        self,
        checks: Sequence[Check],
        walked: Walked,
        sources: Sequence[SourceFigures],
        targets: Sequence[TargetFigures],
        results: Sequence[QueryResult],
        report_directory: str | None,
    ) -> Outcome:
        totals = self._totals(walked, sources, targets)
        ordered = sorted(checks, key=lambda check: CHECKS.index(check.name))
        decision = decide(ordered, totals, self.limits)
        divergence = average_divergence(results) if results else None
        warnings = self._warnings()
        data = ReportData(
            created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            source=self.source.endpoint.identity,
            target=self.target.endpoint.identity,
            decision=decision,
            checks=tuple(ordered),
            totals=totals,
            thresholds=self.limits,
            divergence_percent=divergence,
            census=self.census,
            sources=tuple(sources),
            targets=tuple(targets),
            invalid_sample=tuple(walked.invalid_sample),
            fed_by=walked.fed_by,
            sample=self._sample_details({s.name: s.count for s in sources}),
            timeline=tuple(self.timeline),
            warnings=tuple(warnings),
            versions=(self.source.version, self.target.version),
        )
        paths: dict[str, str | None] = dict.fromkeys(("json", "markdown", "html", "junit"))
        if report_directory is not None:
            with self.progress.phase("report"):
                paths.update(write_report(report_directory, report_of(data)))
        returns = {
            "decision": decision.decision,
            "rollback_required": decision.rollback_required,
            "reasons": list(decision.reasons),
            "checks": [check.as_dict() for check in ordered],
            "data_loss_percent": totals.data_loss_percent,
            "divergence_percent": divergence,
            "report": paths,
        }
        return Outcome(False, self.progress.seconds, returns, warnings=warnings)

    def _warnings(self) -> list[str]:
        found = doubts(self.source, self.target)
        late = self.census.total("late")
        if late:
            found.append(
                f"{number(late, 'record was', 'records were')} written to the source, or deleted there, after the last pass of the migration. "
                "What came since is not judged: the pass under the freeze moves and proves it."
            )
            return found
        names = ", ".join(source.name for source in self.plan.sources if _moved(source))
        if names:
            found.append(
                f"{names}: records were written or deleted in the source while it was read; differences may be due to that. Freeze its writers for a proof."
            )
        return found


def _moved(source: LiveCollection) -> bool:
    return bool(source.movement.appeared or source.movement.vanished or source.movement.unsettled)


def _ids_are_prefixed(plan: MigrationPlan, stored: Mapping[str, LiveCollection]) -> bool:
    """Whether the ids in merged targets begin with their source collection's name, found by asking for a few under both ids.

    Where none is there under either, they are taken to: then no two records claim one place, and all of them are found to be missing.
    """
    for source in plan.sources:
        for target in plan.reachable(source):
            if not plan.is_merged(target) or target not in stored:
                continue
            ids = sample_ids((record_id for page in source.id_pages() for record_id in page), PROBED_IDS, 0)
            batch = source.read_without_vectors(ids)
            placed = [plan.transformation.place(source.name, record_id, metadata) for record_id, metadata in zip(batch.ids, batch.metadatas)]
            here = [place.id for place in placed if place.target == target]
            if not here:
                continue
            plain = len(stored[target].read_without_vectors(here).ids)
            prefixed = len(stored[target].read_without_vectors([collision_prefix(source.name) + record_id for record_id in here]).ids)
            if plain or prefixed:
                return prefixed > plain
    return any(plan.is_merged(target) for source in plan.sources for target in plan.reachable(source))


def _missing(expected_counts: Mapping[str, int], sources: Sequence[SourceFigures], targets: Sequence[TargetFigures], census: Census) -> int:
    """Records that the user expected and that not even the source holds. Both sides may be named: the larger figure counts."""
    names = {source.name for source in sources}
    by_source = by_target = 0
    for name, (wanted, held) in expected_shortfalls(expected_counts, sources, targets).items():
        if name in names:
            by_source += max(0, wanted - held)
        else:
            tally = census.tallies.get(name)
            by_target += max(0, wanted - held - (0 if tally is None else tally.lost))
    return max(by_source, by_target)
