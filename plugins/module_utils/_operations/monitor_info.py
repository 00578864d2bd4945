# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Watch a server that clients use: searches, counts and log files, round after round, and a verdict at the end. Changes nothing in it."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import cycle, islice
from re import Pattern
from typing import Any

from .._endpoint import Endpoint
from .._errors import DiskError, OperationError, PartialError, UsageError
from .._prometheus import Metric, check_textfile, write_textfile
from .._records.live import LiveCollection
from .._server.probe import connect
from .._server.server import Server
from .._validation.decision import GO
from .._validation.neighbours import Query
from .._validation.searches import first_queries, search
from .._validation.watch import Limits, Round, Watched, judge_watch, percentile
from .._watched_log import WatchedLog
from .expected_counts import parse_expected_counts
from .outcome import Context, Outcome
from .planning import select_collections

# Of a watch of many hours the last rounds are returned; the checks are about all of them.
RETURNED_ROUNDS = 120


def monitor_info(
    endpoint: Endpoint,
    *,
    duration: float,
    interval: float,
    searches: int,
    collections: Sequence[str] | None,
    expected_counts: Mapping[str, Any] | None,
    log_files: Sequence[str] | None,
    log_pattern: str,
    log_ignore: str | None,
    max_latency_ms: float,
    min_queries_per_second: float,
    max_lost_records: int,
    max_new_records: int | None,
    stop_early: bool,
    textfile: str | None,
    context: Context,
) -> Outcome:
    """Measure at once and then every `interval` seconds until `duration` has passed. A bad verdict is a result, not an error."""
    if collections is not None and not collections:
        raise UsageError("collections is an empty list: nothing would be watched. Leave it out for all of them.")
    numbers: dict[str, tuple[float | None, float]] = {
        "duration": (duration, 0), "interval": (interval, 0.01), "searches": (searches, 1), "max_latency_ms": (max_latency_ms, 0),
        "min_queries_per_second": (min_queries_per_second, 0), "max_lost_records": (max_lost_records, 0), "max_new_records": (max_new_records, 0),
    }  # fmt: skip
    for name, (value, least) in numbers.items():
        if value is not None and (not math.isfinite(value) or value < least):
            raise UsageError(f"{name}: must be {least} or more, not {value}.")
    errors, ignored = _pattern("log_pattern", log_pattern), None if log_ignore is None else _pattern("log_ignore", log_ignore)
    if context.check_mode:
        # One look says whether the watch could be kept.
        duration, textfile = 0.0, None
    if textfile is not None:
        check_textfile(textfile)
    with ExitStack() as stack:
        logs = []
        for path in dict.fromkeys(log_files or ()):
            logs.append(WatchedLog(path))
            stack.callback(logs[-1].close)
        server = connect(endpoint)
        stack.callback(server.close)
        held = select_collections(server, collections)
        queries = _queries(held, searches)
        before = {**{collection.name: collection.count() for collection in held}, **parse_expected_counts(expected_counts)}
        watched = Watched(before, len(queries), tuple(log.path for log in logs))
        limits = Limits(max_latency_ms, min_queries_per_second, max_lost_records, max_new_records)
        run = _Watch(server, queries, searches, logs, errors, ignored, watched)
        warnings: list[str] = []
        planned = math.ceil(duration / interval - 1e-9) + 1
        context.progress.expect(planned)
        with context.progress.phase("watch"):
            begun, due, ended = time.monotonic(), 0.0, False
            while not ended:
                time.sleep(max(0.0, begun + due - time.monotonic()))
                run.round(time.monotonic() - begun)
                context.progress.advance(1)
                ended = due >= duration or (stop_early and watched.is_lost_already(limits))
                if ended:
                    run.read_last_lines()
                if textfile is not None and not warnings:
                    warnings += _publish(textfile, endpoint, watched, limits, ended)
                # A round that should have begun while another was still busy is left out; the last one is at the very end.
                busy_until = math.floor((time.monotonic() - begun) / interval) * interval
                due = min(max(due + interval, busy_until), duration)
        decision, reasons, checks = judge_watch(watched, limits)
        return Outcome(
            False,
            context.progress.seconds,
            {
                "decision": decision,
                "reasons": reasons,
                "checks": [check.as_dict() for check in checks],
                "planned_rounds": planned,
                "rounds": [one.as_dict() for one in watched.rounds[-RETURNED_ROUNDS:]],
                "textfile": textfile,
            },
            warnings=warnings,
        )


class _Watch:
    """The rounds of one watch."""

    def __init__(
        self,
        server: Server,
        queries: Sequence[Query],
        searches: int,
        logs: Sequence[WatchedLog],
        errors: Pattern[str],
        ignored: Pattern[str] | None,
        watched: Watched,
    ) -> None:
        self._server = server
        self._searches: Iterator[Query] = cycle(queries)
        self._number = searches if queries else 0
        self._logs = logs
        self._errors, self._ignored = errors, ignored
        self._watched = watched
        self._is_warm: set[str] = set()

    def round(self, started: float) -> None:
        """Count, search, read the logs. What goes wrong with the server is part of what is measured."""
        latencies: list[float] = []
        counts: dict[str, int | None] = {}
        error = ""
        try:
            live = {stored.name: LiveCollection(self._server, stored) for stored in self._server.list_collections()}
            found = {name: live[name].count() if name in live else None for name in self._watched.before}
            counts = found
            for query in islice(self._searches, self._number):
                collection = live.get(query.collection)
                if collection is None or not found.get(query.collection):
                    continue  # the counts tell
                if query.collection not in self._is_warm:
                    # The first search of a collection loads its index; what is timed is the searching after that.
                    search(collection, query, 1)
                    self._is_warm.add(query.collection)
                begun = time.monotonic()
                answer = search(collection, query, min(10, found[query.collection] or 1))
                latencies.append(time.monotonic() - begun)
                if not answer:
                    raise PartialError(f"{query.collection} answers a search with nothing although it holds records.")
        except OperationError as failure:
            error = failure.message
        self._watched.rounds.append(Round(started, tuple(latencies), counts, self._read_logs(), error))

    def read_last_lines(self) -> None:
        """Lines that are not ended yet count as well when nobody will see their end."""
        for log in self._logs:
            self._note_errors(log.path, log.last_line())

    def _read_logs(self) -> int:
        found = sum(self._note_errors(log.path, log.new_lines()) for log in self._logs)
        self._watched.unread = tuple(log.path for log in self._logs if not log.is_there)
        return found

    def _note_errors(self, path: str, lines: Iterable[str]) -> int:
        found = 0
        for line in lines:
            if self._errors.search(line) and not (self._ignored and self._ignored.search(line)):
                found += 1
                self._watched.note_error(path, line)
        return found


def _queries(collections: Sequence[LiveCollection], searches: int) -> list[Query]:
    """Records of the server itself, searched for in turn: one collection after the other, so that a few searches reach many collections."""
    of_each = [first_queries(collection) for collection in collections[: max(searches, 50)] if collection.stored.dimension]
    longest = max(map(len, of_each), default=0)
    return [own[place] for place in range(longest) for own in of_each if place < len(own)]


def _pattern(option: str, text: str) -> Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise UsageError(f"{option}: {text!r} is no regular expression: {error}.") from None


def _publish(path: str, endpoint: Endpoint, watched: Watched, limits: Limits, ended: bool) -> list[str]:
    """Write the figures; a warning when that is no longer possible, since the watch itself goes on."""
    try:
        write_textfile(path, _metrics(endpoint, watched, limits, ended))
    except DiskError as error:
        return [f"The figures for Prometheus are not written any more: {error.message}"]
    return []


def _metrics(endpoint: Endpoint, watched: Watched, limits: Limits, ended: bool) -> list[Metric]:
    where = {"url": endpoint.url, "tenant": endpoint.tenant, "database": endpoint.database}
    newest, seconds = watched.rounds[-1], watched.latencies
    latency = Metric("chromadb_monitor_search_seconds", "Time of a search, over the whole watch.")
    for quantile in (0.5, 0.95, 0.99):
        latency.add(percentile(seconds, quantile), **where, quantile=f"{quantile:g}")
    records = Metric("chromadb_monitor_records", "Records of a collection.")
    for name, count in newest.counts.items():
        records.add(float(count or 0), **where, collection=name)
    log_errors = Metric("chromadb_monitor_log_errors_total", "New lines in a log file that look like an error.", "counter")
    for file in watched.log_files:
        log_errors.add(float(watched.log_lines.get(file, 0)), **where, file=file)

    def single(name: str, words: str, value: float | None, kind: str = "gauge") -> Metric:
        return Metric(f"chromadb_monitor_{name}", words, kind).add(value, **where)

    verdict = float(judge_watch(watched, limits)[0] == GO)
    return [
        single("up", "Whether the server answered in the newest round.", float(not newest.error)),
        latency,
        single("queries_per_second", "Searches a second of one client.", len(seconds) / max(sum(seconds), 1e-9) if seconds else None),
        records,
        log_errors,
        single("rounds_total", "Rounds of measuring.", float(len(watched.rounds)), "counter"),
        single("failed_rounds_total", "Rounds in which the server did not answer as it should.", float(sum(1 for r in watched.rounds if r.error)), "counter"),
        single("healthy", "Whether everything that was seen so far is as it should be.", verdict),
        single("finished", "Whether the watch has ended.", float(ended)),
        single("last_round_timestamp_seconds", "When the newest round ended.", time.time()),
    ]
