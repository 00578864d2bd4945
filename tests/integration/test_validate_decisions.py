# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The decision: no_go for every kind of damage that loses or falsifies data, go for what is right."""

from __future__ import annotations

from typing import Any, Callable

import pytest

from tests.support import trap_data
from tests.support.case import Case
from tests.support.raw import RawChroma, Record

RECORDS = 600


@pytest.fixture
def copied(case: Case) -> Case:
    """Six collections of ordinary records, and an equal target; written raw, so that validation alone is on trial."""
    for place in (case.source, case.target):
        for collection in trap_data.bulk_collections(RECORDS, dimension=16, characters=80, space="l2"):
            trap_data.write(place, collection)
    return case


def each_collection(place: RawChroma) -> list[tuple[str, dict[str, Record]]]:
    return [(collection["id"], place.records(collection["id"])) for collection in place.collections()]


def negate_every_vector(place: RawChroma) -> None:
    for collection_id, records in each_collection(place):
        place.upsert(collection_id, [record._replace(embedding=-record.embedding) for record in records.values()])


def replace_every_document(place: RawChroma) -> None:
    for collection_id, records in each_collection(place):
        place.upsert(collection_id, [record._replace(document="Something else altogether.") for record in records.values()])


def lose_five_percent(place: RawChroma) -> None:
    for collection_id, records in each_collection(place):
        place.delete(collection_id, list(records)[: len(records) * 5 // 100 + 1])


def lose_a_collection(place: RawChroma) -> None:
    place.delete_collection("openwebui_careers")


def swap_two_collections(place: RawChroma) -> None:
    """The same counts in sum, every id in the server, everything in the wrong place."""
    docs, core = (place.collection(name)["id"] for name in ("openwebui_docs", "openwebui_core"))
    place.modify(docs, new_name="for-a-moment")
    place.modify(core, new_name="openwebui_docs")
    place.modify(docs, new_name="openwebui_core")


def empty_every_collection(place: RawChroma) -> None:
    for collection_id, records in each_collection(place):
        place.delete(collection_id, list(records))


@pytest.mark.parametrize(
    "harm",
    [negate_every_vector, replace_every_document, lose_five_percent, lose_a_collection, swap_two_collections, empty_every_collection],
    ids=lambda harm: harm.__name__,
)
def test_damage_is_no_go_and_wants_a_rollback(harm: Callable[[RawChroma], None], copied: Case) -> None:
    harm(copied.target)
    result = copied.validate()
    assert (result["decision"], result["rollback_required"]) == ("no_go", True)
    assert result["reasons"]
    assert result["changed"] is False


def test_one_changed_character_is_found_and_named(copied: Case) -> None:
    careers = copied.target.collection("openwebui_careers")["id"]
    record = next(iter(copied.target.records(careers).values()))
    copied.target.upsert(careers, [record._replace(document=str(record.document) + ".")])
    result = copied.validate()
    assert result["decision"] == "no_go"
    check = check_named(result, "records")
    assert check["status"] == "failed"
    assert record.id in str(check["details"])


def test_clean_copy_is_go(copied: Case) -> None:
    result = copied.validate()
    assert (result["decision"], result["rollback_required"], result["reasons"]) == ("go", False, [])
    assert (result["data_loss_percent"], result["changed"]) == (0, False)


def test_server_against_itself_is_go(copied: Case) -> None:
    result = Case(copied.source, copied.source, copied.state.parent).validate()
    assert (result["decision"], result["reasons"]) == ("go", [])


def test_every_trap_copied_is_go(case: Case) -> None:
    trap_data.build(case.source)
    case.migrate()
    result = case.validate()
    assert (result["decision"], result["reasons"]) == ("go", [])


def test_two_empty_servers_are_no_go_when_data_was_expected(case: Case) -> None:
    result = case.validate(expected_counts={"openwebui_core": 3000})
    assert (result["decision"], result["rollback_required"]) == ("no_go", True)
    assert any("openwebui_core" in reason for reason in result["reasons"])


def test_expected_counts_that_are_met_are_go(copied: Case) -> None:
    counts = {collection["name"]: copied.source.count(collection["id"]) for collection in copied.source.collections()}
    assert copied.validate(expected_counts=counts)["decision"] == "go"
    counts["openwebui_core"] += 1
    assert copied.validate(expected_counts=counts)["decision"] == "no_go"


def test_validation_writes_nothing(copied: Case, source_proxy: Any, target_proxy: Any) -> None:
    copied.through(source_proxy, target_proxy).validate()
    assert source_proxy.writes == []
    assert target_proxy.writes == []
    assert target_proxy.reads


def test_reports_are_written_where_they_were_wanted(copied: Case, tmp_path: Any) -> None:
    (tmp_path / "reports").mkdir()
    result = copied.validate(report_directory=str(tmp_path / "reports"))
    written = {path for path in result["report"].values() if path}
    assert written
    for path in written:
        assert (tmp_path / "reports" / path).stat().st_size > 0


def check_named(result: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(check for check in result["checks"] if check["name"] == name)
    return found
