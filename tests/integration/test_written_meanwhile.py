# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Clients that write while a rollback, a migration or a snapshot is at work: what they were told is kept is kept, and nothing false is called verified."""

from __future__ import annotations

import json
import time
from typing import Callable

import numpy as np
import pytest

from tests.support import trap_data
from tests.support.case import Case
from tests.support.counting_proxy import CountingProxy, Fault, Seen, once
from tests.support.raw import RawChroma, Record
from tests.support.run_module import Apart, run_module

VECTORS = trap_data.vectors(20)


def filled(place: RawChroma, name: str, text: str, space: str = "l2") -> str:
    collection_id: str = place.create(name, {"hnsw:space": space})
    place.add(collection_id, [Record(f"r{row}", VECTORS[row], text, {"n": row}) for row in range(12)])
    return collection_id


def last_look(seen: Seen) -> bool:
    """At what is about to be overwritten; the comparison and the safety snapshot ask for more at once."""
    return seen.path.endswith("/get") and json.loads(seen.body).get("ids") == ["r0"]


def first_write(seen: Seen) -> bool:
    return bool(seen.records)


def kept(case: Case) -> set[str | None]:
    """Every document that the database or a snapshot of it holds."""
    places = [case.target]
    for snapshot in run_module("snapshot_info", {"directory": str(case.store)})["snapshots"]:
        places.append(RawChroma(case.source.url).fresh_database("saved"))
        run_module("rollback", {**places[-1].endpoint, "directory": str(case.store), "snapshot_id": snapshot["snapshot_id"]})
    return {record.document for place in places for held in place.contents().values() for record in held.records.values()}


@pytest.mark.parametrize(
    ("written", "strategy", "when", "words"),
    [
        ("r0", "auto", last_look, "would be lost"),
        ("r5", "auto", first_write, "is not the snapshot's after the rollback"),
        ("new", "auto", first_write, "is not the snapshot's after the rollback"),
        ("surplus", "auto", first_write, "would be lost"),
        ("extra", "auto", first_write, "would be lost"),
        ("r5", "swap", first_write, "would be lost"),
        ("new", "swap", first_write, "would be lost"),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)).replace(" ", "-"),
)
def test_what_a_client_was_told_during_a_rollback_is_kept(
    written: str, strategy: str, when: Callable[[Seen], bool], words: str, case: Case, target_proxy: CountingProxy
) -> None:
    things = filled(case.target, "things", "as it was")
    snapshot_id = case.snapshot()["snapshot"]["snapshot_id"]
    case.target.update(things, ids=["r0"], documents=["damaged"])
    case.target.add(things, [Record("surplus", VECTORS[13], "came later", {})])
    extra = filled(case.target, "extra", "came later, too")

    def client() -> None:
        if written == "new":
            case.target.add(things, [Record("new", VECTORS[12], "acknowledged", {})])
        elif written == "extra":
            case.target.update(extra, ids=["r3"], documents=["acknowledged"])
        else:
            case.target.update(things, ids=[written], documents=["acknowledged"])

    done = once(target_proxy, when, client)
    result = case.through(target=target_proxy).rollback(snapshot_id=snapshot_id, strategy=strategy, fails=True)
    assert done
    assert (result["failure_class"], words in result["msg"]) == ("drift", True), result["msg"]
    assert "acknowledged" in kept(case)
    target_proxy.faults.clear()
    assert case.rollback(snapshot_id=snapshot_id, strategy=strategy)["verified"]
    assert {name: {record.document for record in held.records.values()} for name, held in case.target.contents().items()} == {"things": {"as it was"}}
    assert "acknowledged" in kept(case)


def test_a_write_that_changes_nothing_is_no_failure(case: Case, target_proxy: CountingProxy) -> None:
    things = filled(case.target, "things", "as it was")
    snapshot_id = case.snapshot()["snapshot"]["snapshot_id"]
    case.target.update(things, ids=["r0"], documents=["damaged"])
    done = once(target_proxy, first_write, lambda: case.target.update(things, ids=["r5"], documents=["as it was"]))
    assert case.through(target=target_proxy).rollback(snapshot_id=snapshot_id)["verified"]
    assert done


@pytest.mark.parametrize("space", ["cosine", "l2"])
def test_another_rounding_is_a_write_where_the_collection_ranks_by_more_than_the_angle(space: str, case: Case, target_proxy: CountingProxy) -> None:
    """Servers answer with the vectors of a cosine collection rounded one way and later another, and nobody wrote."""
    things = filled(case.target, "things", "as it was", space)
    snapshot_id = case.snapshot()["snapshot"]["snapshot_id"]
    case.target.update(things, ids=["r0"], documents=["damaged"])
    rounded = [float(np.nextafter(np.float32(value), np.float32(np.inf))) for value in VECTORS[0]]
    done = once(target_proxy, last_look, lambda: case.target.update(things, ids=["r0"], embeddings=[rounded]))
    result = case.through(target=target_proxy).rollback(snapshot_id=snapshot_id, fails=space == "l2")
    assert done
    if space == "l2":
        assert (result["failure_class"], "would be lost" in result["msg"]) == ("drift", True), result["msg"]
    else:
        assert result["verified"]
        assert case.target.contents()["things"].records["r0"].document == "as it was"


def test_a_record_that_somebody_deletes_after_it_was_migrated_is_missed(case: Case, target_proxy: CountingProxy) -> None:
    filled(case.source, "things", "as it is")

    def last_listing(seen: Seen) -> bool:
        """Of the ids, after all was written and read back."""
        return target_proxy.records_written["add"] > 0 and seen.path.endswith("/get") and json.loads(seen.body).get("ids") is None

    done = once(target_proxy, last_listing, lambda: case.target.delete(case.target.collection("things")["id"], ["r5"]))
    result = case.through(target=target_proxy).migrate(fails=True)
    assert done
    assert (result["failure_class"], result["ids"]) == ("partial", ["r5"]), result["msg"]
    assert "'things' of the target lacks 'r5' at the end: somebody else deletes there" in result["msg"]
    assert case.migrate()["records"]["added"] == 1
    assert case.differences() == []


def late(case: Case, proxy: CountingProxy) -> Fault:
    """A migration of three records was killed while the request that adds them was on its way: it arrives when `until` is set."""
    collection_id: str = case.source.create("things", {"hnsw:space": "l2"})
    case.source.add(collection_id, [Record(name, VECTORS[row], "gone", {"n": row}) for row, name in enumerate(("late-0", "late-1", "late-2"))])
    held = Fault("held", first_write)
    proxy.faults.append(held)
    case.through(target=proxy)
    run = Apart("migrate", {"source": case.source_endpoint, "target": case.target_endpoint, "state_directory": str(case.state)})
    try:
        until(lambda: held.acted == 1 or run.process.poll() is not None)
    finally:
        run.kill()
    case.source.delete(collection_id, ["late-0", "late-1", "late-2"])
    return held


def until(condition: Callable[[], bool]) -> None:
    last = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < last
        time.sleep(0.01)


@pytest.mark.parametrize("kept", [0, 3], ids=["nothing-else-to-do", "other-records"])
def test_what_a_killed_migration_sent_and_arrives_late_is_said_and_pruned_by_the_next(kept: int, case: Case, target_proxy: CountingProxy) -> None:
    held = late(case, target_proxy)
    things = case.source.collection("things")["id"]
    if kept:
        case.source.add(things, [Record(f"r{row}", VECTORS[row], "is there", {"n": row}) for row in range(kept)])
    listings: list[Seen] = []

    def arrives() -> None:
        held.until.set()
        until(lambda: case.target.count(case.target.collection("things")["id"]) == kept + 3)

    def last_listing(seen: Seen) -> bool:
        """Of the ids: the first one is for the comparison."""
        if seen.path.endswith("/get") and json.loads(seen.body).keys() & {"ids", "include"} == {"include"} and not json.loads(seen.body)["include"]:
            listings.append(seen)
        return len(listings) == 2

    done = once(target_proxy, last_listing, arrives)
    result = case.migrate(prune=True, fails=True)
    assert done
    assert (result["failure_class"], result["ids"]) == ("drift", ["late-0", "late-1", "late-2"]), result["msg"]
    assert "'things' of the target has 'late-0' at the end, which the source has not" in result["msg"]
    target_proxy.reset()
    assert case.migrate(prune=True)["records"]["deleted"] == 3
    assert case.differences() == []


def test_what_arrives_late_and_is_not_to_be_pruned_is_left(case: Case, target_proxy: CountingProxy) -> None:
    held = late(case, target_proxy)
    things = case.source.collection("things")["id"]
    case.source.add(things, [Record("r0", VECTORS[0], "is there", {})])

    def arrives() -> None:
        held.until.set()
        until(lambda: case.target.count(case.target.collection("things")["id"]) == 3)

    done = once(target_proxy, first_write, arrives)
    assert case.migrate()["records"]["added"] == 1
    assert done
    assert case.target.count(case.target.collection("things")["id"]) == 4


def test_a_consistent_snapshot_is_of_one_moment_across_collections(case: Case, target_proxy: CountingProxy) -> None:
    first, second = filled(case.target, "first", "old"), filled(case.target, "second", "old")

    def client() -> None:
        for collection_id in (first, second):
            case.target.update(collection_id, ids=["r0"], documents=["new"])

    def reads_the_second(seen: Seen) -> bool:
        return second in seen.path and seen.path.endswith("/get") and b"embeddings" in seen.body

    done = once(target_proxy, reads_the_second, client)
    result = case.through(target=target_proxy).snapshot(require_consistent=True, fails=True)
    assert done
    assert (result["failure_class"], sorted(result["changed_ids"])) == ("drift", ["first"])
    assert case.snapshot(require_consistent=True)["snapshot"]["consistency"]["state"] == "consistent"
