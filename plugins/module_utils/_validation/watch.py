# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""What a server in use showed while it was watched, and the verdict on it: fast enough, nothing lost, no errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .._numbers import number
from .check import COUNTS, FAILED, LATENCY, NOT_APPLICABLE, NOT_RUN, PASSED, Check, Examples, shortened
from .checks_search import check_latency
from .decision import GO, NO_GO
from .thresholds import Thresholds

ANSWERS, LOGS = "answers", "logs"
# So many rounds without an answer, one after the other, are no passing trouble.
LASTING_SILENCE = 3


@dataclass(frozen=True)
class Round:
    """One round of measuring. `counts` is None for what was not found, and empty when the server did not answer."""

    started: float
    latencies: tuple[float, ...]
    counts: dict[str, int | None]
    log_errors: int
    error: str = ""

    def as_dict(self) -> dict[str, Any]:
        known = [count for count in self.counts.values() if count is not None]
        return {
            "started": round(self.started, 3),
            "searches": len(self.latencies),
            "slowest_ms": round(1000 * max(self.latencies), 3) if self.latencies else None,
            "records": sum(known) if self.counts else None,
            "log_errors": self.log_errors,
            "error": shortened(self.error),
        }


@dataclass(frozen=True)
class Limits:
    """What is allowed. `max_new_records` of None: as many as come."""

    max_latency_ms: float
    min_queries_per_second: float
    max_lost_records: int = 0
    max_new_records: int | None = None


@dataclass
class Watched:
    """Everything that was seen.

    before    collection → records when the watch began, or as the user expects
    searched  how many different searches are made in turn
    log_lines  log file → lines that look like an error
    unread    log files that could not be read at the end
    """

    before: dict[str, int]
    searched: int
    log_files: tuple[str, ...] = ()
    rounds: list[Round] = field(default_factory=list)
    log_lines: dict[str, int] = field(default_factory=dict)
    log_examples: Examples = field(default_factory=Examples)
    unread: tuple[str, ...] = ()

    def note_error(self, path: str, line: str) -> None:
        self.log_lines[path] = self.log_lines.get(path, 0) + 1
        self.log_examples.add(file=path, line=line)

    @property
    def latencies(self) -> list[float]:
        return [seconds for one in self.rounds for seconds in one.latencies]

    @property
    def newest_counts(self) -> dict[str, int | None]:
        return next((one.counts for one in reversed(self.rounds) if one.counts), {})

    def lowest(self, name: str) -> int | None:
        """The smallest count that was seen; 0 where the collection was away."""
        seen = [one.counts.get(name) or 0 for one in self.rounds if one.counts]
        return min(seen) if seen else None

    def is_lost_already(self, limits: Limits) -> bool:
        """Whether no later round can mend it."""
        silent = len(self.rounds) >= LASTING_SILENCE and all(one.error for one in self.rounds[-LASTING_SILENCE:])
        return silent or bool(self.log_lines) or _counts(self, limits).status == FAILED


def judge_watch(watched: Watched, limits: Limits) -> tuple[str, list[str], list[Check]]:
    """The decision (go or no_go), its reasons, and the checks behind it. What could not be seen is no_go."""
    checks = [_answers(watched), _latency(watched, limits), _counts(watched, limits), _logs(watched)]
    reasons = [f"{check.name}: {check.summary}" for check in checks if check.status in (FAILED, NOT_RUN)]
    return (NO_GO if reasons else GO), reasons, checks


def _answers(watched: Watched) -> Check:
    failed = [one for one in watched.rounds if one.error]
    details = {"rounds": len(watched.rounds), "examples": [{"after_seconds": round(one.started), "error": shortened(one.error)} for one in failed[:10]]}
    if failed:
        summary = f"In {len(failed)} of {number(len(watched.rounds), 'round')} the server did not answer as it should; the first: {failed[0].error}"
        return Check(ANSWERS, FAILED, float(len(failed)), 0.0, "rounds", summary, details)
    if not watched.rounds:
        return Check(ANSWERS, NOT_RUN, None, 0.0, "rounds", "The server was not asked.", details)
    return Check(ANSWERS, PASSED, 0.0, 0.0, "rounds", f"The server answered in {number(len(watched.rounds), 'round')} out of {len(watched.rounds)}.", details)


def _latency(watched: Watched, limits: Limits) -> Check:
    if not watched.searched:
        summary = "There is nothing to search: no collection holds vectors. Is it the right tenant and database?"
        return Check(LATENCY, NOT_RUN, None, limits.max_latency_ms, "ms", summary)
    allowed = Thresholds(max_latency_ms=limits.max_latency_ms, min_queries_per_second=limits.min_queries_per_second)
    return check_latency(watched.latencies, True, allowed)


def _counts(watched: Watched, limits: Limits) -> Check:
    rows, faults, off = [], [], 0
    now = watched.newest_counts
    for name, before in watched.before.items():
        lowest, newest = watched.lowest(name), now.get(name)
        rows.append({"collection": name, "before": before, "lowest": lowest, "now": newest})
        if lowest is None:
            continue
        if before - lowest > limits.max_lost_records:
            off += before - lowest
            went = "is not there any more" if now and newest is None else f"fell from {before:,} records to {lowest:,}"
            faults.append(f"{name} {went}")
        elif limits.max_new_records is not None and newest is not None and newest - before > limits.max_new_records:
            off += newest - before
            faults.append(f"{name} grew from {before:,} records to {newest:,}")
    details = {"collections": rows, "max_lost_records": limits.max_lost_records, "max_new_records": limits.max_new_records}
    if not now:
        return Check(COUNTS, NOT_RUN, None, 0.0, "records", "No round could count the records.", details)
    if faults:
        return Check(COUNTS, FAILED, float(off), 0.0, "records", "; ".join(faults) + ".", details)
    total, was = sum(count or 0 for count in now.values()), sum(watched.before.values())
    grown = f", {total - was:,} more than before" if total > was else ""
    return Check(COUNTS, PASSED, 0.0, 0.0, "records", f"{number(len(watched.before), 'collection')} with {number(total, 'record')}{grown}.", details)


def _logs(watched: Watched) -> Check:
    if not watched.log_files:
        return Check(LOGS, NOT_APPLICABLE, None, 0.0, "lines", "No log file was named.")
    found = sum(watched.log_lines.values())
    details = {"files": [{"file": path, "errors": watched.log_lines.get(path, 0)} for path in watched.log_files], "examples": watched.log_examples.kept}
    if found:
        where = ", ".join(watched.log_lines)
        first = watched.log_examples.kept[0]["line"]
        return Check(LOGS, FAILED, float(found), 0.0, "lines", f"{number(found, 'new error')} in {where}; the first: {first}", details)
    if watched.unread:
        words = f"{', '.join(watched.unread)} cannot be read any more; what was written there is not known."
        return Check(LOGS, NOT_RUN, None, 0.0, "lines", words, details)
    return Check(LOGS, PASSED, 0.0, 0.0, "lines", f"No new error in {number(len(watched.log_files), 'log file')}.", details)


def percentile(values: Sequence[float], share: float) -> float | None:
    """The value below which that share (0 to 1) lies, by rank; None of nothing."""
    if not values:
        return None
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(share * len(ranked)))]
