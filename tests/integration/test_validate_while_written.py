# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A source that is in use while its migration is validated: what was written since is not held against the target, what was lost is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.support.case import ANY_SPEED, Case
from tests.support.changing_source import look
from tests.support.chroma_server import ChromaServer
from tests.support.raw import RawChroma, Record
from tests.support.run_module import Apart

RECORDS = 60


def filled(case: Case, space: str) -> str:
    random = np.random.default_rng(11)
    collection = case.source.create("docs", configuration={"hnsw": {"space": space}})
    case.source.add(collection, [Record(f"r{n}", random.normal(size=6).astype("<f4"), f"text {n}", {"n": n}) for n in range(RECORDS)])
    case.migrate(prune=True)
    return collection


def write_on(source: RawChroma, collection: str) -> None:
    """What clients do: three records more, two changed, one gone."""
    random = np.random.default_rng(12)
    source.add(collection, [Record(f"new{n}", random.normal(size=6).astype("<f4"), f"new {n}", {"n": n}) for n in range(3)])
    source.update(collection, ids=["r1", "r2"], documents=["rewritten", "rewritten too"])
    source.delete(collection, ["r3"])


def check(result: dict[str, Any], name: str) -> dict[str, Any]:
    [found] = [one for one in result["checks"] if one["name"] == name]
    return dict(found)


def test_expected_counts_are_the_least_of_a_source_in_use(case: Case) -> None:
    collection = filled(case, "l2")
    live, counts = {"state_directory": str(case.state)}, {"docs": RECORDS}
    case.source.add(collection, [Record("new", np.ones(6, dtype="<f4"), "new", None)])
    assert case.validate(expected_counts=counts, **live)["decision"] == "go"
    case.migrate(prune=True)
    assert case.validate(expected_counts=counts, **live)["decision"] == "go"
    assert case.validate(expected_counts=counts)["decision"] == "no_go", "without notes of a migration they are exact"
    case.source.delete(collection, ["r1", "r2"])
    case.migrate(prune=True)
    result = case.validate(expected_counts=counts, **live)
    assert (result["decision"], check(result, "counts")["status"]) == ("no_go", "failed")
    assert "expected to hold 60 records and holds 59" in check(result, "counts")["details"]["summary"]


def test_expected_counts_of_collections_that_are_left_out(case: Case) -> None:
    filled(case, "l2")
    case.source.add(case.source.create("other"), [Record("a", np.ones(6, dtype="<f4"), "text", None)])
    chosen = {"collections": ["docs"], "expected_counts": {"docs": RECORDS, "other": 1}}
    assert case.validate(**chosen)["decision"] == "go"
    chosen["expected_counts"] = {"docs": RECORDS, "other": 2}
    assert case.validate(**chosen)["decision"] == "no_go"


@pytest.mark.parametrize("space", ["l2", "cosine"])
def test_what_was_written_since_the_last_pass_is_no_fault(case: Case, space: str) -> None:
    collection = filled(case, space)
    write_on(case.source, collection)
    result = case.validate(state_directory=str(case.state))
    assert result["decision"] == "go", result["reasons"]
    assert result["data_loss_percent"] == 0
    assert check(result, "records")["details"]["late"] == 6
    assert check(result, "counts")["status"] == "passed"
    # A process of its own: within one, Ansible gives the same warning only once, and as a line if its display is loaded.
    options = {"source": case.source_endpoint, "target": case.target_endpoint, "thresholds": ANY_SPEED, "state_directory": str(case.state)}
    assert "6 records were written to the source" in str(Apart("validate", options).result()["warnings"])

    strict = case.validate()
    assert strict["decision"] == "no_go"
    assert check(strict, "records")["figure"] == 6

    case.migrate(prune=True)
    again = case.validate(state_directory=str(case.state))
    assert (again["decision"], "late" in check(again, "records")["details"]) == ("go", False)


def test_what_was_lost_or_changed_in_the_target_is_found_all_the_same(case: Case) -> None:
    collection = filled(case, "l2")
    write_on(case.source, collection)
    held = str(case.target.collection("docs")["id"])
    case.target.delete(held, ["r10"])
    case.target.update(held, ids=["r11"], documents=["damaged"])
    case.target.add(held, [Record("stranger", np.zeros(6, "<f4"), "was never in the source")])
    result = case.validate(state_directory=str(case.state))
    assert result["decision"] == "no_go"
    details = check(result, "records")["details"]
    assert ([one["id"] for one in details["lost"]], [one["id"] for one in details["changed"]], details["late"]) == (["r10"], ["r11"], 6)
    assert [one["id"] for one in details["extra"]] == ["stranger"]


def test_a_pass_over_what_was_written_keeps_in_mind_what_was_seen_before(case: Case, source_server: ChromaServer) -> None:
    collection = filled(case, "l2")
    before = look(source_server, case.source)
    write_on(case.source, collection)
    passed = case.migrate(prune=True, changes=look(source_server, case.source, before["mark"])["changes"])
    assert passed["compared"]["only_changes"] is True
    assert case.validate(state_directory=str(case.state))["decision"] == "go"
    case.target.delete(str(case.target.collection("docs")["id"]), ["r10"])
    result = case.validate(state_directory=str(case.state))
    assert result["decision"] == "no_go"
    assert [one["id"] for one in check(result, "records")["details"]["lost"]] == ["r10"]


def test_a_pass_that_did_not_end_excuses_nothing(case: Case) -> None:
    collection = filled(case, "l2")
    write_on(case.source, collection)
    for place, space in ((case.source, "l2"), (case.target, "cosine")):
        place.create("other", configuration={"hnsw": {"space": space}})
    assert case.migrate(prune=True, fails=True)["failure_class"] == "drift"
    case.target.delete_collection("other")
    result = case.validate(state_directory=str(case.state))
    assert result["decision"] == "no_go"
    assert check(result, "records")["figure"] == 6
    assert "late" not in check(result, "records")["details"]


def test_where_most_was_written_since_nothing_is_proved(case: Case) -> None:
    collection = filled(case, "l2")
    case.source.update(collection, ids=[f"r{n}" for n in range(40)], documents=[f"rewritten {n}" for n in range(40)])
    result = case.validate(state_directory=str(case.state))
    assert result["decision"] != "go"
    assert check(result, "records")["status"] == "not_run"
