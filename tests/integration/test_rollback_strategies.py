# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ways of a rollback: in place, by a swap, and by finishing or clearing away what an earlier run left."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

import pytest

from tests.support import trap_data
from tests.support.case import Case
from tests.support.counting_proxy import CountingProxy, Fault, Seen, once
from tests.support.equality import contents_differences
from tests.support.raw import RawChroma, Record
from tests.support.run_module import run_module
from tests.support.trap_data import CollectionData

VECTORS = trap_data.vectors(20)


def records(count: int = 12, text: str = "as it was") -> list[Record]:
    return [Record(f"r{row}", VECTORS[row], text, {"n": row}) for row in range(count)]


class Damaged(Case):
    """A collection of the target, a snapshot of it, and the damage since."""

    def prepare(self) -> None:
        trap_data.write(self.target, CollectionData("things", records(), {"owner": "tests"}))
        self.before = self.target.contents()
        self.snapshot_id = str(self.snapshot()["snapshot"]["snapshot_id"])
        self.damage("r0")

    def damage(self, record_id: str) -> None:
        self.target.update(self.things, ids=[record_id], documents=["damaged"])

    @property
    def things(self) -> str:
        return str(self.target.collection("things")["id"])

    def back(self, proxy: CountingProxy | None = None, **options: Any) -> dict[str, Any]:
        return self.through(target=proxy).rollback(snapshot_id=self.snapshot_id, **options)

    def is_back(self) -> bool:
        return contents_differences(self.before, self.target.contents()) == []

    def dies_at(self, proxy: CountingProxy, when: Callable[[Seen], bool], skip: int = 0, **options: Any) -> None:
        proxy.faults.append(Fault("status", when=when, skip=skip, times=None, status=500))
        self.back(proxy, fails=True, **options)
        proxy.reset()

    def states(self) -> list[str]:
        """Of the rollbacks in the audit log."""
        entries = run_module("audit_info", {"directory": str(self.store)})["entries"]
        return [entry["status"] for entry in entries if entry["action"] == "rollback"]


@pytest.fixture
def damaged(source: RawChroma, target: RawChroma, tmp_path: Path) -> Damaged:
    case = Damaged(source, target, tmp_path)
    case.prepare()
    return case


def renames(seen: Seen) -> bool:
    return seen.method == "PUT"


def collection_deletions(seen: Seen) -> bool:
    return seen.method == "DELETE"


def made_again_with(case: Damaged, space: str) -> None:
    case.target.delete_collection("things")
    trap_data.write(case.target, CollectionData("things", records(), {"owner": "tests"}, {"hnsw": {"space": space}}))


def test_in_place_refuses_what_cannot_be_changed_in_place(damaged: Damaged) -> None:
    made_again_with(damaged, "cosine")
    found = damaged.target.contents()
    failure = damaged.back(strategy="in_place", fails=True)
    assert (failure["failure_class"], failure["collection"]) == ("drift", "things")
    assert "cannot be brought back in place: space is 'cosine' instead of 'l2'. Use strategy: auto or swap" in failure["msg"]
    assert contents_differences(found, damaged.target.contents()) == []
    assert damaged.back()["strategy"] == "swap"
    assert damaged.is_back()


def test_metadata_of_a_collection_is_changed_back_in_place(damaged: Damaged) -> None:
    held = damaged.things
    damaged.target.modify(held, new_metadata={"owner": "somebody", "more": 1})
    assert damaged.back()["strategy"] == "in_place"
    assert damaged.things == held
    assert damaged.is_back()


def test_what_a_swap_that_died_has_built_is_used_by_the_next_and_removed_by_one_in_place(damaged: Damaged, target_proxy: CountingProxy) -> None:
    damaged.dies_at(target_proxy, renames, strategy="swap")
    (built,) = [name for name in damaged.target.names() if "__rb_" in name]
    assert damaged.back(strategy="in_place")["strategy"] == "in_place"
    assert damaged.target.names() == ["things"]
    damaged.damage("r1")
    damaged.dies_at(target_proxy, renames, strategy="swap")
    held = damaged.target.collection(built)["id"]
    damaged.back(target_proxy, strategy="swap")
    assert damaged.things == held, "not copied a second time"
    assert target_proxy.records_written["add"] == 0
    assert damaged.is_back()


def test_what_stands_in_the_place_of_a_swap_and_was_made_otherwise_is_made_anew(damaged: Damaged, target_proxy: CountingProxy) -> None:
    damaged.dies_at(target_proxy, renames, strategy="swap")
    (built,) = [name for name in damaged.target.names() if "__rb_" in name]
    damaged.target.delete_collection(built)
    damaged.target.create(built, {"owner": "another release"}, {"hnsw": {"space": "cosine"}})
    held = damaged.target.collection(built)["id"]
    assert damaged.back(strategy="swap")["strategy"] == "swap"
    assert damaged.things != held
    assert damaged.is_back()


def test_a_swap_that_died_between_its_two_renames_is_finished(damaged: Damaged, target_proxy: CountingProxy) -> None:
    """The collection has no name at that moment: what was built gets it, whatever the strategy of the next run."""
    damaged.dies_at(target_proxy, renames, skip=1, strategy="swap")
    assert "things" not in damaged.target.names()
    assert len(damaged.target.names()) == 2
    damaged.back(strategy="in_place")
    assert damaged.target.names() == ["things"]
    assert damaged.is_back()


@pytest.mark.parametrize("strategy", ["in_place", "swap"])
def test_an_old_collection_that_was_put_aside_goes_with_and_without_a_safety_snapshot(strategy: str, damaged: Damaged, target_proxy: CountingProxy) -> None:
    for safety_snapshot in (False, True):
        damaged.dies_at(target_proxy, collection_deletions, strategy="swap")
        assert any("__old_" in name for name in damaged.target.names())
        damaged.damage("r1")
        result = damaged.back(strategy=strategy, safety_snapshot=safety_snapshot)
        assert (result["safety_snapshot_id"] is not None) is safety_snapshot
        assert damaged.target.names() == ["things"]
        assert damaged.is_back()
        damaged.damage("r2")


def test_without_a_safety_snapshot_what_came_later_goes_for_good(damaged: Damaged) -> None:
    trap_data.write(damaged.target, CollectionData("newer", records(3)))
    result = damaged.back(safety_snapshot=False)
    assert (result["safety_snapshot_id"], result["verified"]) == (None, True)
    assert [(row["name"], row["deleted"]) for row in result["collections"]] == [("newer", 3), ("things", 0)]
    assert damaged.is_back()
    assert len(list((damaged.store / "manifests").iterdir())) == 1


def test_after_a_cutover_check_mode_tells_and_the_run_refuses(damaged: Damaged) -> None:
    run_module("audit_event", {**damaged.target_endpoint, "directory": str(damaged.store), "action": "cutover", "status": "completed"})
    planned = damaged.back(check=True)
    assert planned["changed"]
    assert "discard_new_writes: true if that is meant" in str(planned["warnings"])
    assert damaged.back(fails=True)["failure_class"] == "drift"
    # What is given up then is saved, whether that was asked for or not.
    assert damaged.back(discard_new_writes=True, safety_snapshot=False)["safety_snapshot_id"] is not None


def test_a_run_that_died_after_its_last_change_is_written_down_as_finished_by_the_next(damaged: Damaged, target_proxy: CountingProxy) -> None:
    def lists_after_writing(seen: Seen) -> bool:
        return bool(target_proxy.records_written) and seen.method == "GET" and seen.path.endswith("/collections")

    damaged.dies_at(target_proxy, lists_after_writing, strategy="in_place")
    assert damaged.is_back()
    assert damaged.states() == ["initiated", "failed"]
    # By the same address: another one is another server.
    assert damaged.back(target_proxy, check=True)["changed"] is False
    assert damaged.states() == ["initiated", "failed"]
    assert damaged.back(target_proxy)["changed"] is False
    assert damaged.states() == ["initiated", "failed", "initiated", "completed"]
    assert damaged.back(target_proxy)["changed"] is False
    assert len(damaged.states()) == 4


def test_collections_that_the_snapshot_lacks_and_an_empty_list_are_refused(damaged: Damaged) -> None:
    unknown = damaged.back(collections=["things", "thinks"], fails=True)
    assert (unknown["failure_class"], "has no collection 'thinks'. It has: 'things'" in unknown["msg"]) == ("usage", True)
    assert "collections is an empty list" in damaged.back(collections=[], fails=True)["msg"]
    assert damaged.target.contents()["things"].records["r0"].document == "damaged"


def test_a_collection_that_is_brought_back_while_somebody_writes_to_it_is_not_called_verified(damaged: Damaged, target_proxy: CountingProxy) -> None:
    """All of it was just written and read back, so that only its ids are asked for again."""
    damaged.target.delete_collection("things")
    done = once(
        target_proxy, lambda seen: bool(seen.records), lambda: damaged.target.add(damaged.things, [Record("stranger", VECTORS[15], "acknowledged", None)])
    )
    failure = damaged.back(target_proxy, fails=True)
    assert done
    assert (failure["failure_class"], failure["ids"]) == ("drift", ["stranger"])
    assert "has gained 'stranger' after the rollback" in failure["msg"]


def test_a_write_that_is_taken_back_while_the_result_is_proved_is_no_failure(damaged: Damaged, target_proxy: CountingProxy) -> None:
    """The sums say that something differs; the records, held against the snapshot once more, say that nothing does."""

    def rewrite(document: str) -> None:
        damaged.target.update(damaged.things, ids=["r5"], documents=[document])

    def reads_texts(seen: Seen) -> bool:
        return target_proxy.records_written["upsert"] > 0 and seen.verb == "get" and b"documents" in seen.body and b"embeddings" not in seen.body

    written = once(target_proxy, reads_texts, lambda: rewrite("for a moment"))
    taken_back = once(target_proxy, lambda seen: bool(written) and b"embeddings" in seen.body, lambda: rewrite("as it was"))
    assert damaged.back(target_proxy)["verified"]
    assert written
    assert taken_back
    assert damaged.is_back()


@pytest.mark.parametrize("whole", [False, True], ids=["few of them", "most of them"])
def test_more_damage_than_memory_should_hold_is_read_again_and_mended(
    whole: bool, case: Case, target_proxy: CountingProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By their ids where they are few, and otherwise together with all others: only what differs is written either way."""
    monkeypatch.setattr("ansible_collections.infrafabric.chromadb.plugins.module_utils._operations.restoration.KEPT_BYTES", 1000)
    monkeypatch.setattr("ansible_collections.infrafabric.chromadb.plugins.module_utils._operations.restoration.BATCH_SIZE", 300)
    rows = trap_data.vectors(2100)
    trap_data.write(case.target, CollectionData("things", [Record(f"r{row}", vector, f"text {row}", None) for row, vector in enumerate(rows)]))
    before = case.target.contents()
    case.snapshot()
    ids = [f"r{row}" for row in range(2100) if (row % 3 == 0) is not whole]
    case.target.update(str(case.target.collection("things")["id"]), ids=ids, documents=["damaged"] * len(ids))
    result = case.through(target=target_proxy).rollback(snapshot_id="latest", safety_snapshot=False)
    assert (result["collections"][0]["changed"], result["collections"][0]["unchanged"]) == (len(ids), 2100 - len(ids))
    assert target_proxy.records_written["upsert"] == len(ids)
    assert contents_differences(before, case.target.contents()) == []
