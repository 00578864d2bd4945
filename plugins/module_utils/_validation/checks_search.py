# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""The checks about searching: do searches find what they found, and fast enough?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .._libraries import np
from .._numbers import number
from .check import FAILED, LATENCY, NOT_APPLICABLE, NOT_RUN, PASSED, SEMANTIC_EQUIVALENCE, WARNING, Check, mean, shortened
from .search_quality import QueryResult
from .text_searches import TextSearches
from .thresholds import Thresholds

# Of fewer searches nothing is concluded about an index.
LEAST_FOR_INDEX = 5
# Of the true nearest records, what an index finds that is of use whatever the source's finds.
LEAST_RECALL = 0.2
# (1 - Jaccard) in percent where half of ten answers are others.
HALF_IS_OTHERS = 100 * (1 - 5 / 15)

if TYPE_CHECKING:
    from numpy.typing import NDArray


def check_semantic_equivalence(
    results: Sequence[QueryResult], has_records: bool, thresholds: Thresholds, texts: TextSearches | None = None
) -> Check:
    """The figure is the average divergence of the searches in percent.

    A query's divergence is that of its true neighbours on both sides: damage of the data and nothing else. What the
    indexes answer is approximate, differs each time an index is built, and gets less exact when collections merge: it is
    held against the target only when its index finds far less than the source's. An index of documents (`texts`) is exact.
    """
    limits = thresholds
    if texts is not None and texts.missed:
        summary = f"{number(texts.missed, 'search', 'searches')} of {texts.asked} by a word of a document do not find it, although the target holds it."
        figure = average_divergence(results) if results else None
        return Check(SEMANTIC_EQUIVALENCE, FAILED, figure, limits.max_divergence_percent, "%", summary, _details(results, limits, texts))
    if not results:
        if has_records:
            summary = "No search could be compared although there are records."
            return Check(SEMANTIC_EQUIVALENCE, NOT_RUN, None, limits.max_divergence_percent, "%", summary)
        return Check(SEMANTIC_EQUIVALENCE, NOT_APPLICABLE, None, limits.max_divergence_percent, "%", "There are no vectors to search.")
    average = average_divergence(results)
    by_collection = {name: average_divergence(own) for name, own in _grouped(results).items()}
    worst_collection, worst_average = max(by_collection.items(), key=lambda item: item[1])
    worst = max(results, key=query_divergence)
    recall_source, recall_target = _recalls(results)
    details = _details(results, limits, texts)

    def verdict(status: str, summary: str) -> Check:
        return Check(SEMANTIC_EQUIVALENCE, status, average, limits.max_divergence_percent, "%", summary, details)

    errors = [result for result in results if result.error]
    if errors:
        return verdict(FAILED, f"{number(len(errors), 'search', 'searches')} of {len(results)} failed; the first: {errors[0].error}")
    unanswered = [result for result in results if result.unanswered]
    if unanswered:
        words = f"The source failed {number(len(unanswered), 'search', 'searches')} of {len(results)}, so that nothing can be said of them; the first: "
        return verdict(NOT_RUN, words + unanswered[0].unanswered)
    if average > limits.max_divergence_percent:
        return verdict(FAILED, f"Searches diverge by {average:.1f} % on average, more than {limits.max_divergence_percent:g} %.")
    if query_divergence(worst) > limits.max_query_divergence_percent:
        words = f"A search in {worst.query.collection} diverges by {query_divergence(worst):.1f} %, more than {limits.max_query_divergence_percent:g} %."
        return verdict(FAILED, words)
    if worst_average > limits.max_divergence_percent:
        return verdict(FAILED, f"Searches in {worst_collection} diverge by {worst_average:.1f} % on average, more than {limits.max_divergence_percent:g} %.")
    for name, own in _grouped(results).items():
        if len(own) >= LEAST_FOR_INDEX and _index_is_broken(own):
            return verdict(FAILED, f"The target's index of {name} is damaged: {_what_it_finds(own)}.")
    if average > limits.warn_divergence_percent:
        return verdict(WARNING, f"Searches diverge by {average:.1f} % on average, more than {limits.warn_divergence_percent:g} %.")
    for name, own in _grouped(results).items():
        doubt = _doubt_about_index(own, limits)
        if doubt:
            return verdict(WARNING, f"The target's index of {name} {doubt}.")
    summary = f"{number(len(results), 'search finds', 'searches find')} the same records: divergence {average:.1f} % on average."
    if recall_target is not None:
        beside = "" if recall_source is None else f", the source's {100 * recall_source:.0f} %"
        summary += f" The target's index finds {100 * recall_target:.0f} % of the true nearest records{beside}."
    return verdict(PASSED, summary)


def _details(results: Sequence[QueryResult], limits: Thresholds, texts: TextSearches | None) -> dict[str, Any]:
    recall_source, recall_target = _recalls(results)
    worst = sorted(results, key=query_divergence, reverse=True)
    examples: list[Mapping[str, object]] = [
        {"collection": r.query.collection, "query": shortened(r.query.origin), "divergence_percent": query_divergence(r), "error": r.error}
        for r in worst[:10]
        if query_divergence(r) > 0
    ]
    return {
        "queries": [result.as_dict() for result in results],
        "collections": {name: average_divergence(own) for name, own in _grouped(results).items()},
        "worst_query_percent": query_divergence(worst[0]) if worst else None,
        "max_query_divergence_percent": limits.max_query_divergence_percent,
        "index_divergence_percent": mean([r.index_divergence for r in results]),
        "recall_at_10": {"source": recall_source, "target": recall_target},
        "exact": all(result.recall_target is not None for result in results),
        "text_searches": 0 if texts is None else texts.asked,
        "text_searches_missed": 0 if texts is None else texts.missed,
        "examples": [*(() if texts is None else texts.examples[:10]), *examples],
    }


def query_divergence(result: QueryResult) -> float:
    """What is held against a single query; one that failed, or that nothing is known of, is as far off as can be."""
    return 100.0 if result.error or result.true_divergence is None else result.true_divergence


def average_divergence(results: Sequence[QueryResult]) -> float:
    """The average of some queries; 0 for none."""
    return sum(map(query_divergence, results)) / len(results) if results else 0.0


def _index_is_broken(results: Sequence[QueryResult]) -> bool:
    source, target = _recalls(results)
    if target is None:
        # Not all records were looked at, so what is truly nearest is not known: the source's answers have to do.
        apart = mean([r.index_divergence for r in results])
        return apart is not None and apart > HALF_IS_OTHERS
    return target < 0.5 * (1.0 if source is None else source)


def _doubt_about_index(results: Sequence[QueryResult], limits: Thresholds) -> str:
    """What makes an index doubtful that is not plainly broken, or that too few searches tell of; "" for nothing."""
    if _index_is_broken(results):
        return f"may be damaged, and {number(len(results), 'search tells', 'searches tell')} too little: {_what_it_finds(results)}"
    source, target = _recalls(results)
    if target is None:
        return ""
    beside = "" if source is None else f", the source's {100 * source:.0f} %"
    found = f"finds {100 * target:.0f} % of the true nearest records{beside}"
    # The source's index is no excuse for one that finds next to nothing.
    far_apart = 100 * ((1.0 if source is None else source) - target) > limits.max_divergence_percent
    return found if far_apart or target < LEAST_RECALL else ""


def _what_it_finds(results: Sequence[QueryResult]) -> str:
    found = mean([r.recall_target for r in results])
    if found is None:
        return f"its answers are {mean([r.index_divergence for r in results]) or 0.0:.0f} % others than the source's"
    return f"it finds {100 * found:.0f} % of the true nearest records, less than half of what the source's finds"


def _recalls(results: Sequence[QueryResult]) -> tuple[float | None, float | None]:
    """The average recall of the source's indexes and of the target's."""
    return mean([r.recall_source for r in results]), mean([r.recall_target for r in results])


def _grouped(results: Sequence[QueryResult]) -> dict[str, list[QueryResult]]:
    groups: dict[str, list[QueryResult]] = {}
    for result in results:
        groups.setdefault(result.query.collection, []).append(result)
    return groups


def check_latency(
    samples: Sequence[float], has_records: bool, thresholds: Thresholds, collections: Sequence[str] = (), first: Mapping[str, float] | None = None
) -> Check:
    """`samples` are the seconds that single searches took on the target, one after the other. The figure is the 95th percentile in ms.

    collections  the one that each of them was made in: a slow one does not hide among others
    first        the seconds of each collection's first search, which are told and not judged
    """
    limits = thresholds
    if not samples:
        if has_records:
            return Check(LATENCY, NOT_RUN, None, limits.max_latency_ms, "ms", "No search of the target could be timed although there are records.")
        return Check(LATENCY, NOT_APPLICABLE, None, limits.max_latency_ms, "ms", "There are no vectors to search.")
    milliseconds: NDArray[np.float64] = 1000.0 * np.asarray(samples, dtype=np.float64)
    p50, p95, p99 = (float(np.percentile(milliseconds, share)) for share in (50, 95, 99))
    medians = {name: float(np.median(milliseconds[[other == name for other in collections]])) for name in dict.fromkeys(collections)}
    rate = len(samples) / max(float(milliseconds.sum()) / 1000.0, 1e-9)
    slowest_first = max((1000.0 * seconds for seconds in (first or {}).values()), default=None)
    details = {
        "searches": len(samples),
        "p50_ms": p50,
        "p95_ms": p95,
        "p99_ms": p99,
        "queries_per_second": rate,
        "collections_p50_ms": medians,
        "slowest_first_ms": slowest_first,
        "min_queries_per_second": limits.min_queries_per_second,
        "samples_ms": [round(float(value), 3) for value in milliseconds[:500]],
    }
    faults = []
    if p95 > limits.max_latency_ms:
        faults.append(f"one search in twenty takes longer than {p95:.0f} ms, and {limits.max_latency_ms:g} ms are allowed")
    slowest = max(medians, key=lambda name: medians[name], default="")
    if slowest and medians[slowest] > limits.max_latency_ms:
        faults.append(f"half of the searches in {slowest} take longer than {medians[slowest]:.0f} ms, and {limits.max_latency_ms:g} ms are allowed")
    if rate < limits.min_queries_per_second:
        faults.append(f"one client gets {rate:.1f} searches a second, and at least {limits.min_queries_per_second:g} are asked for")
    if faults:
        text = "; ".join(faults)
        return Check(LATENCY, FAILED, p95, limits.max_latency_ms, "ms", f"{text[0].upper()}{text[1:]}.", details)
    summary = f"Searches take {p50:.1f} ms (median), {p95:.1f} ms (95th percentile): {rate:,.0f} a second for one client."
    if slowest_first is not None and slowest_first > limits.max_latency_ms:
        summary += f" The first search of a collection took {slowest_first:.0f} ms, as long as its index was being loaded."
    return Check(LATENCY, PASSED, p95, limits.max_latency_ms, "ms", summary, details)
