# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Do the same searches find the same records before and after?"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .check import shortened
from .neighbours import NEAREST, Neighbour, Query, TrueNeighbours, tolerance

# What an index answered: (id, true distance of that record), nearest first.
Answer = list[tuple[str, float]]


@dataclass(frozen=True)
class QueryResult:
    """One query, judged. Percentages, 0 to 100; recalls 0 to 1; None where it could not be known.

    true_divergence   (1 - Jaccard) of the true ten nearest records of both sides: damage of the data. Where not all records
                      were looked at: of what the source answers and what of it the target holds at the same distance
    index_divergence  (1 - Jaccard) of what both servers answer: damage plus the approximation of both indexes
    recall_source     of the ten truly nearest expected records, the share that the source's index answers
    recall_target     the same of the target
    error             why the target could not be asked
    unanswered        why the source could not be asked
    """

    query: Query
    true_divergence: float | None
    index_divergence: float | None
    recall_source: float | None
    recall_target: float | None
    error: str = ""
    unanswered: str = ""

    def as_dict(self) -> dict[str, Any]:
        return {
            "collection": self.query.collection,
            "query": shortened(self.query.origin),
            "true_divergence_percent": self.true_divergence,
            "index_divergence_percent": self.index_divergence,
            "recall_source": self.recall_source,
            "recall_target": self.recall_target,
            "error": self.error or self.unanswered,
        }


def judge_query(
    query: Query,
    space: str,
    truth: TrueNeighbours | None,
    source: Answer | None,
    target: Answer | None,
    error: str = "",
    held: float | None = None,
    unanswered: str = "",
) -> QueryResult:
    """Compare what was truly nearest and what the servers answer.

    truth  None when not all records were looked at; then `held` is the share (0 to 1) of the source's answers that the
           target holds at the same distance
    """
    true_divergence = None if held is None else 100.0 * (2.0 - 2.0 * held) / (2.0 - held)
    recall_source = recall_target = index_divergence = None
    if truth is not None:
        true_divergence = _true_divergence(query, space, truth)
        recall_source = None if source is None else _recall(query, space, truth.expected, source)
        recall_target = None if target is None else _recall(query, space, truth.actual, target)
    if source is not None and target is not None:
        index_divergence = _index_divergence(query, space, source, target)
    return QueryResult(query, true_divergence, index_divergence, recall_source, recall_target, error, unanswered)


def _true_divergence(query: Query, space: str, truth: TrueNeighbours) -> float:
    """(1 - Jaccard) in percent; a record that ties with the last of the other side counts as one of its ten."""
    if not truth.expected and not truth.actual:
        return 0.0
    if not truth.expected or not truth.actual:
        return 100.0
    far_expected = _reach(query, space, truth.expected)
    far_actual = _reach(query, space, truth.actual)
    kept = sum(1 for neighbour in truth.expected if neighbour.other <= far_actual)
    rightly = sum(1 for neighbour in truth.actual if neighbour.other <= far_expected)
    return _divergence(min(kept, rightly), len(truth.expected), len(truth.actual))


def _index_divergence(query: Query, space: str, source: Answer, target: Answer) -> float:
    if not source and not target:
        return 0.0
    if not source or not target:
        return 100.0
    source, target = source[:NEAREST], target[:NEAREST]
    source_ids, target_ids = {answer[0] for answer in source}, {answer[0] for answer in target}
    # A tie with the last one is no difference, as long as both sides gave as many answers as they could.
    far = min(source[-1][1], target[-1][1])
    edge = far - tolerance(space, query.vector, far)
    kept = sum(1 for record_id, distance in source if record_id in target_ids or distance >= edge)
    rightly = sum(1 for record_id, distance in target if record_id in source_ids or distance >= edge)
    if len(source) != len(target):
        kept = rightly = len(source_ids & target_ids)
    return _divergence(min(kept, rightly), len(source), len(target))


def _recall(query: Query, space: str, truth: Sequence[Neighbour], answer: Answer) -> float:
    if not truth:
        return 1.0
    far = _reach(query, space, truth)
    ids = {neighbour.id for neighbour in truth}
    found = sum(1 for record_id, distance in dict(answer[:NEAREST]).items() if record_id in ids or distance <= far)
    return min(found, len(truth)) / len(truth)


def _reach(query: Query, space: str, neighbours: Sequence[Neighbour]) -> float:
    """Up to which distance a record is as near as one of these; any finite distance while there are fewer than ten."""
    if len(neighbours) < NEAREST:
        return sys.float_info.max
    last = neighbours[-1].distance
    return last + tolerance(space, query.vector, last)


def _divergence(common: int, left: int, right: int) -> float:
    union = left + right - common
    # In whole numbers as long as can be, so that three of ten are 30 % and not a little more.
    return 100.0 * (union - common) / union if union else 0.0
