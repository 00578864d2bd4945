# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the options of validate do, on real servers: samples, queries, thresholds, merged targets, refused records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.case import Case
from tests.support.raw import RawChroma, Record

ROUTES = [{"from": "*", "to": "all-of-them"}]
SCHEMA = {
    "fields": {
        "score": {"type": "number", "required": True, "maximum": 1.0, "default": 0.5},
        "source_collection": {"type": "string", "derive": "source_collection"},
    }
}


def check_named(result: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(check for check in result["checks"] if check["name"] == name)
    return found


def fill(place: RawChroma, records: int = 60, same_ids: bool = False, **metadata: Any) -> None:
    """Two collections; with `same_ids` their ids are alike."""
    for number, name in enumerate(("first", "second")):
        rows = np.random.default_rng(number).normal(size=(records, 8)).astype("<f4")
        prefix = "r" if same_ids else name
        place.add(place.create(name), [Record(f"{prefix}-{row}", vector, f"{row} of {name}", {"row": row, **metadata}) for row, vector in enumerate(rows)])


def test_a_sample_says_what_it_proves(case: Case) -> None:
    for place in (case.source, case.target):
        fill(place)
    result = case.validate(sample={"size": 50, "seed": 4})
    assert (result["decision"], result["reasons"]) == ("go", [])
    sample = check_named(result, "records")["details"]["sample"]
    assert (sample["compared"], sample["of"], sample["differing"], sample["may_differ_percent"]) == (50, 120, 0, pytest.approx(6))


def test_a_sample_sees_what_it_looks_at_and_the_counts(case: Case) -> None:
    for place in (case.source, case.target):
        fill(place)
    second = case.target.collection("second")["id"]
    records = list(case.target.records(second).values())
    case.target.upsert(second, [record._replace(document="GARBAGE") for record in records])
    result = case.validate(sample={"size": 50, "seed": 4})
    assert (result["decision"], check_named(result, "records")["status"]) == ("no_go", "failed")
    assert check_named(result, "records")["details"]["sample"]["may_differ_percent"] > 30
    case.target.upsert(second, records)
    case.target.delete(second, [records[0].id])
    assert check_named(case.validate(sample={"size": 5, "seed": 1}), "counts")["status"] == "failed"


def test_a_sample_that_no_record_of_a_small_target_is_in(case: Case) -> None:
    rows = np.random.default_rng(3).normal(size=(600, 8)).astype("<f4")
    records = [Record(f"r{row}", vector, "text", {"kind": "rare" if row < 3 else "usual"}) for row, vector in enumerate(rows)]
    case.source.add(case.source.create("things"), records)
    routes = [{"from": "*", "where": {"kind": "rare"}, "to": "rare"}, {"from": "*", "to": "usual"}]
    case.migrate(routes=routes)
    sample = {"size": 40, "seed": 1}
    result = case.validate(routes=routes, sample=sample)
    assert (result["decision"], result["reasons"]) == ("go", [])
    assert "rare" in {query["collection"] for query in check_named(result, "semantic_equivalence")["details"]["queries"]}
    case.target.delete(case.target.collection("rare")["id"], ["r1"])
    assert check_named(case.validate(routes=routes, sample=sample), "counts")["status"] == "failed"


def test_a_sample_of_a_few_records_is_no_go_by_itself(case: Case) -> None:
    for place in (case.source, case.target):
        fill(place)
    result = case.validate(sample={"size": 5})
    assert result["decision"] == "marginal"
    assert "A sample of 5 records proves little: as many as 60 % of 120 may differ." in result["reasons"][0]
    assert case.validate(sample={"size": 30})["decision"] == "go"


def test_what_is_left_of_a_record_that_is_refused_now_is_a_doubt(case: Case) -> None:
    fill(case.source)
    case.migrate(routes=ROUTES, schema=SCHEMA)
    first = case.source.collection("first")["id"]
    case.source.update(first, ids=["first-3"], metadatas=[{"score": 1.7}])
    held = case.target.collection("all-of-them")["id"]
    case.target.update(held, ids=["first-3"], documents=["GARBAGE"])
    result = case.validate(routes=ROUTES, schema=SCHEMA)
    assert (result["decision"], result["rollback_required"]) == ("marginal", False)
    assert "1 record in the target is invalid in the source now" in result["reasons"][0]
    assert [example["id"] for example in check_named(result, "records")["details"]["refused"]] == ["first-3"]
    case.target.delete(held, ["first-3"])
    assert case.validate(routes=ROUTES, schema=SCHEMA)["decision"] == "go"


def test_a_database_beside_itself_proves_nothing(case: Case, tmp_path: Path) -> None:
    fill(case.source)
    result = Case(case.source, case.source, tmp_path).validate(report_directory=str(tmp_path))
    warnings = json.loads(Path(result["report"]["json"]).read_text())["warnings"]
    assert warnings == ["source and target are the same database: this proves nothing about a copy."]


def test_queries_of_the_user(case: Case) -> None:
    for place in (case.source, case.target):
        fill(place)
    vector = [0.5] * 8
    result = case.validate(queries=[{"embedding": vector}, {"embedding": vector, "collection": "second"}])
    queries = check_named(result, "semantic_equivalence")["details"]["queries"]
    assert sorted(query["collection"] for query in queries) == ["first", "second", "second"]
    assert all(query["true_divergence_percent"] == 0 and query["recall_target"] == 1 for query in queries)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"queries": [{"text": "hello"}]}, "embedding"),
        ({"queries": [{"embedding": [1, 2, 3]}]}, "3 numbers"),
        ({"queries": [{"embedding": [1] * 8, "collection": "third"}]}, "third"),
        ({"sample": {"size": 0}}, "size"),
        ({"thresholds": {"min_valid_ratio": 95}}, "min_valid_ratio"),
        ({"expected_counts": {"first": "many"}}, "first"),
        ({"collections": ["third"]}, "third"),
        ({"collections": []}, "collections is an empty list: nothing would be validated. Leave it out for all of them."),
    ],
)
def test_options_that_cannot_be(case: Case, options: dict[str, Any], word: str) -> None:
    for place in (case.source, case.target):
        fill(place, 3)
    result = case.validate(fails=True, **options)
    assert result["failure_class"] == "usage"
    assert word in result["msg"]


def test_a_report_directory_that_is_not_there(case: Case, tmp_path: Path) -> None:
    result = case.validate(fails=True, report_directory=str(tmp_path / "nowhere"))
    assert result["failure_class"] == "disk"
    assert "nowhere" in result["msg"]


def test_a_report_directory_that_others_can_change(case: Case, tmp_path: Path) -> None:
    for place in (case.source, case.target):
        fill(place, 3)
    directory = tmp_path / "shared"
    directory.mkdir()
    directory.chmod(0o777)
    result = case.validate(report_directory=str(directory))
    assert f"The report directory {directory} can be changed by others (mode 0777)" in str(result["warnings"])
    assert json.loads(Path(result["report"]["json"]).read_text())["decision"] == result["decision"], "it is written all the same"


def test_a_merged_target_with_prefixed_ids(case: Case) -> None:
    fill(case.source, same_ids=True)
    case.migrate(routes=ROUTES, on_collision="prefix")
    result = case.validate(routes=ROUTES)
    assert (result["decision"], result["reasons"]) == ("go", [])
    rows = {row["collection"]: row["found_in_target"] for row in check_named(result, "counts")["details"]["sources"]}
    assert rows == {"first": 60, "second": 60}


def test_sources_are_counted_apart_in_a_merged_target(case: Case) -> None:
    fill(case.source)
    case.migrate(routes=ROUTES, schema=SCHEMA)
    held = case.target.collection("all-of-them")["id"]
    case.target.delete(held, ["second-1", "second-2"])
    result = case.validate(routes=ROUTES, schema=SCHEMA)
    rows = {row["collection"]: row["found_in_target"] for row in check_named(result, "counts")["details"]["sources"]}
    assert rows == {"first": 60, "second": 58}
    assert {"second-1", "second-2"} == {case["id"] for case in check_named(result, "records")["details"]["lost"]}


def test_one_collection_of_a_merged_target_alone(case: Case) -> None:
    fill(case.source)
    case.migrate(routes=ROUTES, schema=SCHEMA)
    assert case.validate(routes=ROUTES, schema=SCHEMA, collections=["second"])["decision"] == "go"


@pytest.mark.parametrize(("refused", "decision", "rollback"), [(0, "go", False), (3, "marginal", False), (7, "no_go", True)])
def test_refused_records_are_invalid_and_not_lost(case: Case, refused: int, decision: str, rollback: bool) -> None:
    fill(case.source)
    first = case.source.collection("first")["id"]
    if refused:
        case.source.update(first, ids=[f"first-{row}" for row in range(refused)], metadatas=[{"score": 1.7}] * refused)
    case.migrate(routes=ROUTES, schema=SCHEMA, on_invalid="skip", min_valid_ratio=0.5)
    result = case.validate(routes=ROUTES, schema=SCHEMA)
    assert (result["decision"], result["rollback_required"]) == (decision, rollback)
    assert (result["data_loss_percent"], check_named(result, "records")["status"]) == (0, "passed")


def test_a_slow_target_is_no_reason_to_roll_back(case: Case) -> None:
    for place in (case.source, case.target):
        fill(place)
    result = case.validate(thresholds={"max_latency_ms": 0.001})
    assert (result["decision"], result["rollback_required"]) == ("no_go", False)


def test_the_report_tells_what_the_module_returns(case: Case, tmp_path: Path) -> None:
    for place in (case.source, case.target):
        fill(place)
    result = case.validate(report_directory=str(tmp_path))
    report = json.loads(Path(result["report"]["json"]).read_text())
    assert {key: report[key] for key in ("decision", "reasons", "checks", "data_loss_percent")} == {
        key: result[key] for key in ("decision", "reasons", "checks", "data_loss_percent")
    }
    assert report["totals"]["expected"] == 120


def test_whose_a_surplus_record_of_a_target_with_prefixed_ids_is(case: Case) -> None:
    """Its id tells; one that begins with no collection's prefix is somebody else's, and no fault."""
    fill(case.source, same_ids=True)
    case.migrate(routes=ROUTES, on_collision="prefix")
    held = case.target.collection("all-of-them")["id"]
    prefix = next(one for one in case.target.records(held) if one.startswith("second")).partition("r-")[0]
    vector = np.ones(8, dtype="<f4")
    case.target.add(held, [Record(f"{prefix}surplus", vector, "text"), Record("strangers", vector, "text")])
    details = check_named(case.validate(routes=ROUTES), "records")["details"]
    assert ([one["id"] for one in details["extra"]], [one["id"] for one in details["foreign"]]) == ([f"{prefix}surplus"], ["strangers"])


def test_a_surplus_record_that_nothing_tells_the_source_of_is_a_fault(case: Case) -> None:
    fill(case.source)
    case.migrate(routes=ROUTES)
    case.target.add(case.target.collection("all-of-them")["id"], [Record("surplus", np.ones(8, dtype="<f4"), "text")])
    result = case.validate(routes=ROUTES)
    assert result["decision"] == "no_go"
    assert [one["id"] for one in check_named(result, "records")["details"]["extra"]] == ["surplus"]


def test_refused_records_of_a_target_that_is_not_there_are_not_lost(case: Case) -> None:
    fill(case.source)
    first = case.source.collection("first")["id"]
    case.source.update(first, ids=["first-1"], metadatas=[{"n": "no number"}])
    result = case.validate(schema={"fields": {"n": {"type": "integer"}}})
    assert (result["decision"], result["rollback_required"]) == ("no_go", True)
    # The refused one is not among the lost.
    rows = check_named(result, "records")["details"]["collections"]
    assert {row["collection"]: (row["lost"], row["refused"]) for row in rows} == {"first": (59, 0), "second": (60, 0)}


def test_two_records_that_claim_one_place_are_refused_by_name(case: Case) -> None:
    """The target took the ids of one collection as they are, so that those of the other have no place."""
    fill(case.source, same_ids=True)
    case.migrate(routes=ROUTES, collections=["first"])
    result = case.validate(routes=ROUTES, fails=True)
    assert result["failure_class"] == "invalid_data"
    assert "two records of the source claim one place" in result["msg"]
    assert "id_prefix" in result["msg"]
