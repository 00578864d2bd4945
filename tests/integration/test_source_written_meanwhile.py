# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A source that clients write to while it is migrated, validated or saved: what was judged before does not hold for what came since, and that is said."""

from __future__ import annotations

import json
from itertools import count
from typing import Any

import pytest

from tests.support import trap_data
from tests.support.case import Case
from tests.support.counting_proxy import CountingProxy, Fault, Seen, once
from tests.support.raw import RawChroma, Record
from tests.support.run_module import run_module

VECTORS = trap_data.vectors(60)
KINDS = {"fields": {"kind": {"type": "string", "enum": ["a"], "required": True}}}


def records(start: int, number: int, kind: str = "a") -> list[Record]:
    return [Record(f"r{row}", VECTORS[row % 60], f"text {row}", {"kind": kind}) for row in range(start, start + number)]


def filled(place: RawChroma, name: str, start: int = 0, number: int = 12) -> str:
    collection = place.create(name)
    place.add(collection, records(start, number))
    return collection


def reads_vectors(seen: Seen) -> bool:
    """A page of whole records, after their ids were listed and they were judged by what else they hold."""
    return seen.verb == "get" and all(word in seen.body for word in (b"embeddings", b"documents", b"limit"))


def lists(seen: Seen) -> bool:
    return seen.method == "POST" and seen.verb == "get" and json.loads(seen.body).get("include") == []


def test_a_record_that_belongs_to_a_collection_nobody_expected_is_drift(case: Case, source_proxy: CountingProxy) -> None:
    collection = filled(case.source, "things")
    routes = [{"where": {"kind": "b"}, "to": "of_b"}, {"to": "of_a"}]
    done = once(source_proxy, reads_vectors, lambda: case.source.update(collection, ids=["r3"], metadatas=[{"kind": "b"}]))
    result = case.through(source=source_proxy).migrate(routes=routes, fails=True)
    assert done
    assert (result["failure_class"], result["collection"]) == ("drift", "of_b")
    assert "appeared meanwhile belongs to 'of_b', which is not prepared yet. Run the same task again" in result["msg"]
    assert case.migrate(routes=routes)["records"]["valid"] == 12
    assert {name: len(held.records) for name, held in case.target.contents().items()} == {"of_a": 11, "of_b": 1}


def test_an_id_that_comes_to_collide_is_not_written_over(case: Case, source_proxy: CountingProxy) -> None:
    filled(case.source, "first")
    second = filled(case.source, "second", start=20)
    taken = Record("r3", VECTORS[50], "another text", {"kind": "a"})
    done = once(source_proxy, reads_vectors, lambda: case.source.add(second, [taken]))
    result = case.through(source=source_proxy).migrate(routes=[{"to": "both"}], fails=True)
    assert done
    assert (result["failure_class"], result["ids"]) == ("invalid_data", ["r3"])
    assert "Id 'r3' of second collides in the target collection 'both'" in result["msg"]
    assert "another text" not in {record.document for record in case.target.contents()["both"].records.values()}


def test_a_record_that_becomes_invalid_stops_a_run_that_takes_none(case: Case, source_proxy: CountingProxy) -> None:
    collection = filled(case.source, "things")
    done = once(source_proxy, reads_vectors, lambda: case.source.update(collection, ids=["r3"], metadatas=[{"kind": "z"}]))
    result = case.through(source=source_proxy).migrate(schema=KINDS, fails=True)
    assert done
    assert result["failure_class"] == "invalid_data"
    assert "What came before this batch is written" in result["msg"]
    assert [fault["id"] for fault in result["invalid_sample"]] == ["r3"]


def test_records_that_never_cease_to_come_are_told_and_the_next_run_brings_them(case: Case, source_proxy: CountingProxy) -> None:
    collection = filled(case.source, "things")
    new = count(12)

    def one_more_before_each_listing(seen: Seen) -> bool:
        if lists(seen):
            case.source.add(collection, records(next(new), 1))
        return False

    source_proxy.faults.append(Fault("status", when=one_more_before_each_listing))
    result = case.through(source=source_proxy).migrate()
    assert "things: records still appeared after the last round of reading; run the same task again to catch up" in str(result["warnings"])
    case.through().migrate()
    assert case.differences() == []


def test_a_validation_without_notes_says_that_its_source_moved(case: Case, source_proxy: CountingProxy) -> None:
    collection = filled(case.source, "things")
    case.migrate()
    done = once(source_proxy, reads_vectors, lambda: case.source.add(collection, records(12, 1)))
    result = case.through(source=source_proxy).validate()
    assert done
    assert "things: records were written or deleted in the source while it was read" in str(result["warnings"])
    assert "Freeze its writers for a proof" in str(result["warnings"])
    assert "Freeze its writers" not in str(case.through().validate().get("warnings"))


def test_a_validation_with_notes_does_not_miss_what_came_while_it_read(case: Case, source_proxy: CountingProxy) -> None:
    """The source counted fewer records before: what it listed while it was read is what must have arrived."""
    collection = filled(case.source, "things", number=40)
    case.through(source=source_proxy).migrate()
    done = once(source_proxy, reads_vectors, lambda: case.source.add(collection, records(40, 1)))
    result = case.validate(state_directory=str(case.state))
    assert done
    checks: dict[str, Any] = {check["name"]: check for check in result["checks"]}
    assert (result["decision"], checks["counts"]["status"]) == ("go", "passed"), result["reasons"]
    assert checks["records"]["details"]["late"] == 1


def test_a_snapshot_of_what_moves_is_called_fuzzy_and_names_it(case: Case, target_proxy: CountingProxy) -> None:
    collection = filled(case.target, "things")
    done = once(target_proxy, reads_vectors, lambda: case.target.add(collection, records(12, 1)))
    taken = case.through(target=target_proxy).snapshot(name="nightly")
    assert done
    snapshot_id = taken["snapshot"]["snapshot_id"]
    assert taken["snapshot"]["consistency"] == {"state": "fuzzy", "changed_ids": {"things": ["r12"]}}
    assert f"{snapshot_id} is fuzzy: records or collections came or went while they were read" in str(taken["warnings"])
    assert taken["records"] == 13


def test_a_collection_that_comes_while_others_are_saved_is_named(case: Case, target_proxy: CountingProxy) -> None:
    filled(case.target, "things")
    done = once(target_proxy, reads_vectors, lambda: case.target.create("late.of-night"))
    taken = case.through(target=target_proxy).snapshot(name="nightly")
    assert done
    assert taken["snapshot"]["name"] == "nightly"
    named = {"late.of-night": ["(the collection came while others were read, and is not in the snapshot)"]}
    assert taken["snapshot"]["consistency"] == {"state": "fuzzy", "changed_ids": named}
    again = once(target_proxy, reads_vectors, lambda: case.target.create("later"))
    # Who chose some did not ask for it.
    assert case.snapshot(collections=["things"])["snapshot"]["consistency"]["state"] == "consistent"
    assert again
    assert case.through().snapshot()["snapshot"]["consistency"]["state"] == "consistent"


def test_a_collection_that_comes_during_a_safety_snapshot_does_not_give_it_its_name(case: Case, target_proxy: CountingProxy) -> None:
    things = filled(case.target, "things")
    taken = case.snapshot()["snapshot"]["snapshot_id"]
    case.target.add(things, records(12, 3))
    # Its archive is begun, and not there yet.
    done = once(target_proxy, lambda seen: reads_vectors(seen) and any(case.store.rglob("*_before_rollback*")), lambda: case.target.create("late"))
    result = case.through(target=target_proxy).rollback(snapshot_id="latest", fails=True)
    assert done
    assert result["failure_class"] == "drift"
    names = {found["snapshot_id"]: found["name"] for found in run_module("snapshot_info", {"directory": str(case.store)})["snapshots"]}
    assert sorted(names.values(), key=str) == [None, "before_rollback"]
    assert case.through().rollback(snapshot_id="latest")["snapshot_id"] == taken


def test_a_collection_that_comes_or_goes_is_refused_where_one_moment_is_required(case: Case, target_proxy: CountingProxy) -> None:
    filled(case.target, "first")
    second = filled(case.target, "second")

    def exchange() -> None:
        case.target.delete_collection("first")
        filled(case.target, "first")
        case.target.create("third")

    # The last look at all: both were read twice, and are the same both times.
    looks = count()
    done = once(target_proxy, lambda seen: second in seen.path and reads_vectors(seen) and next(looks) == 1, exchange)
    result = case.through(target=target_proxy).snapshot(require_consistent=True, fails=True)
    assert done
    assert (result["failure_class"], result["changed_ids"]) == (
        "drift",
        {
            "first": ["(the collection was deleted or replaced after it was read)"],
            "third": ["(the collection came while others were read, and is not in the snapshot)"],
        },
    )
    assert "Collections first, third came, went or were written to during the reading" in result["msg"]
    assert case.through().snapshot(require_consistent=True)["snapshot"]["consistency"]["state"] == "consistent"


@pytest.mark.parametrize("verb", ["snapshot", "migrate"])
def test_a_collection_that_is_deleted_while_it_is_read_is_not_called_damaged(verb: str, case: Case, source_proxy: CountingProxy) -> None:
    filled(case.source, "kept")
    filled(case.source, "things")
    done = once(source_proxy, reads_vectors, lambda: case.source.delete_collection("things"))
    case.through(source=source_proxy)
    options = {"source": case.source_endpoint, "target": case.target_endpoint, "state_directory": str(case.state)}
    if verb == "snapshot":
        options = {**case.source_endpoint, "directory": str(case.store)}
    result = run_module(verb, options, fails=True)
    assert done
    assert (result["failure_class"], result["collection"]) == ("drift", "things")
    assert f"Collection 'things' on {source_proxy.url} was there, and is not any more: it was deleted, or another one took its place" in result["msg"]
    assert not list(case.store.glob("manifests/*"))
    run_module(verb, options)


def test_a_deadline_that_passes_leaves_what_is_written_proved(case: Case) -> None:
    filled(case.source, "things")
    result = case.migrate(deadline=0.001, fails=True)
    assert result["failure_class"] == "timeout"
    assert "The deadline passed after 0 of 12 records. What was written is complete and proved; the same task again sends the rest" in result["msg"]
    case.migrate()
    assert case.differences() == []
