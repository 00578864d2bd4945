# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Searches of a target that two collections were merged into, held against neighbours that this test finds itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.support.case import Case
from tests.support.raw import Record

RECORDS, DIMENSION, NEAREST = 60, 8, 10
ROUTES = [{"from": "first", "to": "all", "id_prefix": "a-"}, {"from": "*", "to": "all"}]
QUERIES = np.random.default_rng(7).normal(size=(3, DIMENSION)).astype("<f4")


@pytest.fixture
def merged(case: Case) -> Case:
    """Both collections use the same ids."""
    for seed, name in enumerate(("first", "second")):
        rows = np.random.default_rng(seed).normal(size=(RECORDS, DIMENSION)).astype("<f4")
        created = case.source.create(name, None, {"hnsw": {"space": "l2"}})
        case.source.add(created, [Record(f"r{row}", vector, "text", None) for row, vector in enumerate(rows)])
    case.migrate(routes=ROUTES)
    return case


def nearest(records: list[Record], query: Any) -> list[str]:
    far = [float(((record.embedding.astype("f8") - query) ** 2).sum()) for record in records]
    return [records[place].id for place in np.argsort(far)[:NEAREST]]


def divergence(left: list[str], right: list[str]) -> float:
    return 100 * (1 - len(set(left) & set(right)) / len(set(left) | set(right)))


def searches(case: Case) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    result = case.validate(routes=ROUTES, queries=[{"embedding": query.tolist()} for query in QUERIES])
    check: dict[str, Any] = next(check for check in result["checks"] if check["name"] == "semantic_equivalence")
    return check, check["details"]["queries"]


def test_both_sources_together_answer_as_the_target_does(merged: Case) -> None:
    check, queries = searches(merged)
    assert (check["status"], check["figure"]) == ("passed", 0)
    assert check["details"]["recall_at_10"] == {"source": 1, "target": 1}
    # Both servers' answers, not only the true neighbours: the source's are merged by distance and carry the target's ids.
    assert [query["index_divergence_percent"] for query in queries] == [0, 0, 0]
    records = list(merged.target.records(merged.target.collection("all")["id"]).values())
    for query in QUERIES:
        assert {record_id.startswith("a-") for record_id in nearest(records, query)} == {True, False}


def test_damage_diverges_as_far_as_it_does_and_is_not_taken_for_the_index(merged: Case) -> None:
    held = merged.target.collection("all")["id"]
    before = list(merged.target.records(held).values())
    gone = nearest(before, QUERIES[0])[:4]
    damaged = [record._replace(embedding=record.embedding + np.float32(50)) if record.id in gone else record for record in before]
    merged.target.upsert(held, [record for record in damaged if record.id in gone])
    check, queries = searches(merged)
    wanted = [divergence(nearest(before, query), nearest(damaged, query)) for query in QUERIES]
    assert wanted[0] == pytest.approx(100 * (1 - 6 / 14))
    assert [query["true_divergence_percent"] for query in queries] == pytest.approx(wanted)
    assert check["status"] == "failed"
    assert check["details"]["recall_at_10"] == {"source": 1, "target": 1}
