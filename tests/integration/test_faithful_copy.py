# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The main promise: 9,832 records with every trap arrive whole, and what is already there is not sent again."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support import trap_data
from tests.support.case import Case
from tests.support.chroma_server import ChromaServer
from tests.support.counting_proxy import CountingProxy, Fault, Seen
from tests.support.equality import contents_differences, search_differences
from tests.support.raw import RawChroma, Record

TOTAL = 9832


@pytest.fixture(scope="module")
def migration(source_server: ChromaServer, target_server: ChromaServer, tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, dict[str, Any]]:
    """The whole database, migrated once, and what the module said."""
    source = RawChroma(source_server.url).fresh_database("whole")
    target = RawChroma(target_server.url).fresh_database("whole")
    assert trap_data.build(source, total=TOTAL) == TOTAL
    case = Case(source, target, tmp_path_factory.mktemp("whole"))
    return case, case.migrate()


@pytest.fixture
def copied(migration: tuple[Case, dict[str, Any]]) -> Case:
    """Both sides equal; a test that changes them makes them equal again."""
    return migration[0]


@pytest.fixture
def first_run(migration: tuple[Case, dict[str, Any]]) -> dict[str, Any]:
    return migration[1]


def test_nothing_is_lost_or_changed(copied: Case, first_run: dict[str, Any]) -> None:
    result = first_run
    assert result["changed"] is True
    assert result["records"] == {"read": TOTAL, "valid": TOTAL, "invalid": 0, "added": TOTAL, "changed": 0, "unchanged": 0, "deleted": 0}
    assert copied.differences() == []
    assert search_differences(copied.source, copied.target, copied.source.names()) == []


def test_result_names_every_collection_and_phase(copied: Case, first_run: dict[str, Any]) -> None:
    result = first_run
    assert {row["name"]: row["added"] for row in result["collections"]} == {
        name: len(found.records) for name, found in copied.source.contents().items()
    }
    assert [phase["name"] for phase in result["phases"]] == ["export", "transform", "validate", "import", "verify"]
    assert all(phase["seconds"] >= 0 for phase in result["phases"])
    assert result["resumed"] is False


def test_second_run_sends_no_write(copied: Case, source_proxy: CountingProxy, target_proxy: CountingProxy) -> None:
    result = copied.through(source_proxy, target_proxy).migrate()
    copied.through()
    assert result["changed"] is False
    assert (result["records"]["unchanged"], result["records"]["added"], result["records"]["changed"]) == (TOTAL, 0, 0)
    assert source_proxy.writes == []
    assert target_proxy.writes == []
    assert target_proxy.reads, "the proxy must have seen the run"


def test_change_of_a_thousand_sends_about_a_thousand(copied: Case, source_proxy: CountingProxy, target_proxy: CountingProxy) -> None:
    core = copied.source.collection("openwebui_core")["id"]
    for start in range(0, 1000, 500):
        chosen = copied.source.get(core, limit=500, offset=start)
        copied.source.update(core, ids=chosen["ids"], documents=["rewritten " + text for text in chosen["documents"]])
    result = copied.through(source_proxy, target_proxy).migrate()
    copied.through()
    assert (result["records"]["changed"], result["records"]["unchanged"]) == (1000, TOTAL - 1000)
    assert 1000 <= sum(target_proxy.records_written.values()) <= 1100
    assert source_proxy.writes == []
    assert copied.differences(names=["openwebui_core"]) == []


def test_validate_says_go(copied: Case) -> None:
    result = copied.validate()
    assert (result["decision"], result["rollback_required"]) == ("go", False), result["reasons"]
    assert result["changed"] is False


def test_rollback_to_the_present_sends_no_write_and_then_mends(copied: Case, target_proxy: CountingProxy) -> None:
    """One snapshot, three rollbacks: nothing to do, damage to mend, nothing to do again."""
    before = copied.target.contents()
    taken = copied.snapshot(name="whole")
    assert (taken["changed"], taken["records"], taken["snapshot"]["status"]) == (True, TOTAL, "verified")

    result = copied.through(target=target_proxy).rollback(snapshot_id=taken["snapshot"]["snapshot_id"], safety_snapshot=False)
    assert (result["changed"], target_proxy.writes) == (False, [])
    copied.through()

    damage(copied.target)
    assert contents_differences(before, copied.target.contents()) != []
    result = copied.rollback(snapshot_id=taken["snapshot"]["snapshot_id"])
    assert (result["changed"], result["verified"], result["rollback_type"]) == (True, True, "full")
    assert contents_differences(before, copied.target.contents()) == []

    target_proxy.reset()
    result = copied.through(target=target_proxy).rollback(snapshot_id="latest", safety_snapshot=False)
    copied.through()
    assert (result["changed"], target_proxy.writes) == (False, [])


def damage(place: RawChroma) -> None:
    """Changed documents, deleted records, changed and cleared metadata, wrong vectors, a collection too many and one gone."""
    docs = place.collection("openwebui_docs")["id"]
    page = place.get(docs, limit=60)
    place.update(docs, ids=page["ids"][:20], documents=["damaged"] * 20)
    place.update(docs, ids=page["ids"][20:40], metadatas=[{"language": "xx", "extra": True}] * 20)
    place.update(docs, ids=page["ids"][40:], embeddings=(-trap_data.vectors(20, 32)).tolist())
    careers = place.collection("openwebui_careers")["id"]
    place.delete(careers, place.get(careers, limit=100)["ids"])
    place.add(careers, [Record("stranger", trap_data.vectors(1, 32)[0], "not ours", {"a": 1})])
    place.delete_collection("traps-overlap-a")
    trap_data.write(place, trap_data.CollectionData("intruder", [Record("x", trap_data.vectors(1)[0], "x", {"x": 1})]))


def test_requests_are_filled_up_and_rests_are_not_left_for_the_end(case: Case, source_proxy: CountingProxy, target_proxy: CountingProxy) -> None:
    """A page of vectors this wide is 520 records. What the first collection leaves is written while the second one is read."""
    rows = trap_data.vectors(1600, dimension=384, seed=95)
    for name, part in (("first", rows[:400]), ("second", rows[400:])):
        trap_data.write(case.source, trap_data.CollectionData(name, [Record("r%d" % n, row, "r") for n, row in enumerate(part)]))
    written_before: list[int] = []

    def reads_vectors(seen: Seen) -> bool:
        if b'"embeddings"' not in seen.body:
            return False
        written_before.append(target_proxy.records_written["add"])
        return True

    source_proxy.faults.append(Fault("latency", reads_vectors, times=None, seconds=1.0))
    case.through(source=source_proxy, target=target_proxy).migrate()
    assert [seen.records for seen in target_proxy.writes if seen.verb == "add"] == [400, 1000, 200]
    assert written_before[-1] >= 400
    assert case.differences() == []
