# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whatever happened to a record of the target, `migrate` and `rollback` make it what it should be."""

from __future__ import annotations

from typing import Any, Callable

import pytest

from tests.support import trap_data
from tests.support.case import Case
from tests.support.chroma_server import ChromaServer
from tests.support.equality import contents_differences
from tests.support.raw import RawChroma, Record
from tests.support.trap_data import CollectionData

ROWS = trap_data.vectors(6, seed=50)
RECORDS = [
    Record("full", ROWS[0], "text", {"a": 1, "b": "two", "c": 3.0, "d": True, "list": ["x", "y"]}, "file:///full"),
    Record("no-document", ROWS[1], None, {"a": 1}),
    Record("empty-document", ROWS[2], "", {"a": 1}),
    Record("no-metadata", ROWS[3], "text", None),
    Record("bare", ROWS[4]),
    Record("uri-only", ROWS[5], None, None, "file:///only"),
]
BY_ID = {record.id: record for record in RECORDS}


def changed(record_id: str, **fields: Any) -> Record:
    return BY_ID[record_id]._replace(**fields)


# What somebody may have done to a record: its name, and the records that are there instead (None: gone).
CHANGES: dict[str, tuple[str, Record | None]] = {
    "keys added": ("full", changed("full", metadata={**(BY_ID["full"].metadata or {}), "new": 1, "news": [1, 2]})),
    "keys removed": ("full", changed("full", metadata={"a": 1, "list": ["x", "y"]})),
    "list removed": ("full", changed("full", metadata={"a": 1, "b": "two", "c": 3.0, "d": True})),
    "integer made float": ("full", changed("full", metadata={**(BY_ID["full"].metadata or {}), "a": 1.0})),
    "float made integer": ("full", changed("full", metadata={**(BY_ID["full"].metadata or {}), "c": 3})),
    "boolean made integer": ("full", changed("full", metadata={**(BY_ID["full"].metadata or {}), "d": 1})),
    "text made list": ("full", changed("full", metadata={**(BY_ID["full"].metadata or {}), "b": ["two"]})),
    "list made text": ("full", changed("full", metadata={**(BY_ID["full"].metadata or {}), "list": "x"})),
    "list reordered": ("full", changed("full", metadata={**(BY_ID["full"].metadata or {}), "list": ["y", "x"]})),
    "metadata replaced": ("full", changed("full", metadata={"z": 1})),
    "metadata emptied": ("full", changed("full", metadata=None)),
    "document cleared": ("full", changed("full", document=None)),
    "document emptied": ("full", changed("full", document="")),
    "document changed": ("full", changed("full", document="text ")),
    "uri cleared": ("full", changed("full", uri=None)),
    "uri changed": ("full", changed("full", uri="file:///other")),
    "everything cleared": ("full", changed("full", document=None, metadata=None, uri=None)),
    "vector negated": ("full", changed("full", embedding=-ROWS[0])),
    "vector off by one bit": ("full", changed("full", embedding=(ROWS[0].view("<u4") ^ 1).view("<f4"))),
    "vector changed under a cleared document": ("no-document", changed("no-document", embedding=-ROWS[1], document="text")),
    "record gone": ("full", None),
    "document set where it is null": ("no-document", changed("no-document", document="text")),
    "empty document set where it is null": ("no-document", changed("no-document", document="")),
    "null where the document is empty": ("empty-document", changed("empty-document", document=None)),
    "document set where it is empty": ("empty-document", changed("empty-document", document="text")),
    "metadata set where there is none": ("no-metadata", changed("no-metadata", metadata={"a": 1, "l": ["x"]})),
    "uri set where it is null": ("no-metadata", changed("no-metadata", uri="file:///x")),
    "everything set where there is nothing": ("bare", changed("bare", document="text", metadata={"a": [1]}, uri="file:///x")),
    "uri cleared where there is nothing else": ("uri-only", changed("uri-only", uri=None)),
}


@pytest.mark.parametrize("name", list(CHANGES))
def test_every_change_is_mended(name: str, case: Case) -> None:
    trap_data.write(case.source, CollectionData("things", RECORDS))
    record_id, instead = CHANGES[name]
    there = [instead if record.id == record_id else record for record in RECORDS]
    trap_data.write(case.target, CollectionData("things", [record for record in there if record is not None]))
    assert case.differences() != [], "the change must be one"
    result = case.migrate()
    assert case.differences() == []
    counted = result["records"]
    assert (counted["added"], counted["changed"], counted["unchanged"]) == ((1, 0, 5) if instead is None else (0, 1, 5))
    assert case.migrate()["changed"] is False


def test_all_changes_at_once_are_rolled_back(case: Case) -> None:
    for position, _name in enumerate(CHANGES):
        trap_data.write(case.target, CollectionData("things-%02d" % position, RECORDS))
    before = case.target.contents()
    case.snapshot()
    for position, (record_id, instead) in enumerate(CHANGES.values()):
        collection_id = case.target.collection("things-%02d" % position)["id"]
        case.target.delete(collection_id, [record_id])
        if instead is not None:
            case.target.add(collection_id, [instead])
    assert contents_differences(before, case.target.contents()) != []
    result = case.rollback(snapshot_id="latest")
    assert contents_differences(before, case.target.contents()) == []
    assert result["verified"] is True
    assert sum(row["changed"] for row in result["collections"]) == len(CHANGES) - 1
    assert sum(row["added"] for row in result["collections"]) == 1


def emptied_key_by_key(place: RawChroma) -> None:
    """Metadata that was taken away key by key leaves {}, and the keys of lists must be gone from the index too."""
    collection_id = place.collection("things")["id"]
    place.update(collection_id, ids=["full"], metadatas=[dict.fromkeys(BY_ID["full"].metadata or {})])


def merged_by_upsert(place: RawChroma) -> None:
    """What an upsert without nulls leaves behind: old keys beside new ones."""
    collection_id = place.collection("things")["id"]
    place.upsert(collection_id, [record._replace(metadata={"left": "over", "list": [9]}, document="left over", uri="left://over") for record in RECORDS])


def foreign_settings(place: RawChroma) -> None:
    place.modify(place.collection("things")["id"], new_metadata={"somebody": "else"})


@pytest.mark.parametrize("harm", [emptied_key_by_key, merged_by_upsert, foreign_settings])
def test_what_other_clients_do_is_mended(harm: Callable[[RawChroma], None], case: Case) -> None:
    for place in (case.source, case.target):
        trap_data.write(place, CollectionData("things", RECORDS, {"owner": "me", "n": 1}))
    harm(case.target)
    assert case.differences() != []
    assert case.migrate()["changed"] is True
    assert case.differences() == []
    assert case.migrate()["changed"] is False


def test_metadata_emptied_in_the_source_is_emptied_in_the_target(case: Case) -> None:
    trap_data.write(case.source, CollectionData("things", RECORDS))
    case.migrate()
    emptied_key_by_key(case.source)
    case.source.replace(case.source.collection("things")["id"], [changed("no-document"), changed("uri-only", uri=None)])
    case.migrate()
    assert case.differences() == []
    assert case.migrate()["changed"] is False


def test_copy_into_a_server_with_ghosts_is_exact(case: Case, spare_server: ChromaServer) -> None:
    """Collections with lists were deleted there: new records in the same rows are born with the lists of the dead."""
    haunted = RawChroma(spare_server.url)
    for round_number in range(3):
        dead = [
            Record("dead-%d" % n, row, "dead", {"ghost": ["a", "b"], "list": [n, n + 1], "a": [1], "flags": [True]})
            for n, row in enumerate(trap_data.vectors(300, seed=60))
        ]
        name = "dead-%d" % round_number
        trap_data.write(haunted, CollectionData(name, dead))
    for round_number in range(3):
        haunted.delete_collection("dead-%d" % round_number)
    probe = trap_data.write(haunted, CollectionData("probe", RECORDS))
    assert any("ghost" in (record.metadata or {}) for record in haunted.records(probe).values()), "this server has no ghosts to test with"
    haunted.delete(probe, [record.id for record in RECORDS])
    haunted.delete_collection("probe")
    for round_number in range(2):
        trap_data.write(haunted, CollectionData("dead-again-%d" % round_number, dead))
    for round_number in range(2):
        haunted.delete_collection("dead-again-%d" % round_number)

    trap_data.write(case.source, CollectionData("things", RECORDS))
    trap_data.build(case.source)
    haunted_case = Case(case.source, haunted, case.state.parent)
    haunted_case.migrate()
    assert haunted_case.differences() == []
    # No dead key may be found by a filter either.
    for key, value in (("ghost", "a"), ("flags", True)):
        for collection in haunted.collections():
            body = {"where": {key: {"$contains": value}}, "include": []}
            path = "/api/v2/tenants/default_tenant/databases/default_database/collections/%s/get" % collection["id"]
            assert haunted.session.post(haunted.url + path, json=body).json()["ids"] == []
    assert haunted_case.migrate()["changed"] is False


def test_records_that_the_source_lost_stay_without_prune_and_go_with_it(case: Case) -> None:
    trap_data.write(case.source, CollectionData("things", RECORDS))
    case.migrate()
    case.source.delete(case.source.collection("things")["id"], ["bare", "full"])
    assert case.migrate()["changed"] is False
    assert case.migrate(prune=True)["records"]["deleted"] == 2
    assert case.differences() == []


def test_a_collection_of_the_target_alone_is_left_alone(case: Case) -> None:
    trap_data.write(case.source, CollectionData("things", RECORDS))
    trap_data.write(case.target, CollectionData("others", RECORDS))
    before = case.target.contents(["others"])
    case.migrate(prune=True)
    assert contents_differences(before, case.target.contents(["others"])) == []


def test_only_the_named_collections_are_copied(case: Case) -> None:
    for name in ("one", "two", "three"):
        trap_data.write(case.source, CollectionData(name, RECORDS))
    case.migrate(collections=["one", "three"])
    assert case.target.names() == ["one", "three"]
    assert case.differences(names=["one", "three"]) == []
