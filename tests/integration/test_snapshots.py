# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Snapshots of real servers, and the way back: whole, in part, and to a moment."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import tarfile
from pathlib import Path
from typing import Any, Callable

import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.manifest import own_sha256, render_manifest
from tests.support import trap_data
from tests.support.archives import contents_of
from tests.support.case import Case
from tests.support.counting_proxy import CountingProxy, Fault, Seen
from tests.support.equality import contents_differences
from tests.support.raw import RawChroma, Record
from tests.support.run_module import run_module
from tests.support.trap_data import CollectionData


@pytest.fixture
def filled(case: Case) -> Case:
    trap_data.build(case.target)
    return case


def test_manifest_and_archive_are_what_they_say(filled: Case) -> None:
    taken = filled.snapshot(name="traps")
    manifest = taken["snapshot"]
    archive = Path(taken["path"])
    assert re.fullmatch(r"snapshot_\d{8}_\d{6}_traps", manifest["snapshot_id"])
    assert archive == filled.store / "snapshots" / (manifest["snapshot_id"] + ".tar.gz")
    assert archive.stat().st_mode & 0o777 == 0o600
    contents = filled.target.contents()
    assert {name: found["total_documents"] for name, found in manifest["collections"].items()} == {
        name: len(found.records) for name, found in contents.items()
    }
    assert manifest["total_chunks"] == sum(len(found.records) for found in contents.values())
    assert manifest["total_collections"] == len(contents)
    assert manifest["status"] == "verified"
    assert manifest["chromadb_url"] == filled.target.url
    stored = json.loads((filled.store / "manifests" / (manifest["snapshot_id"] + ".json")).read_text())
    assert {key: stored[key] for key in ("snapshot_id", "total_chunks", "checksum_sha256")} == {
        key: manifest[key] for key in ("snapshot_id", "total_chunks", "checksum_sha256")
    }
    assert hashlib.sha256(archive.read_bytes()).hexdigest() == manifest["checksum_sha256"]
    assert len(gzip.decompress(archive.read_bytes())) > 0
    with tarfile.open(archive, "r:gz") as whole, tarfile.open(archive, "r|gz") as streamed:
        assert whole.getnames() == [member.name for member in streamed]
    assert list(filled.store.rglob("*.partial*")) == []


def test_two_snapshots_of_an_unchanged_server_have_equal_digests(filled: Case) -> None:
    first, second = filled.snapshot(name="one")["snapshot"], filled.snapshot(name="two")["snapshot"]
    digests = [{name: found["digest"] for name, found in manifest["collections"].items()} for manifest in (first, second)]
    assert digests[0] == digests[1]
    assert all(digests[0].values())


def test_empty_database(case: Case) -> None:
    taken = case.snapshot()
    assert (taken["records"], taken["snapshot"]["total_collections"]) == (0, 0)
    trap_data.write(case.target, CollectionData("late", [Record("x", trap_data.vectors(1)[0])]))
    case.rollback(snapshot_id="latest")
    assert case.target.names() == []


def test_after_the_loss_of_everything(filled: Case) -> None:
    before = filled.target.contents()
    filled.snapshot()
    for name in filled.target.names():
        filled.target.delete_collection(name)
    result = filled.rollback(snapshot_id="latest")
    assert (result["changed"], result["verified"]) == (True, True)
    assert contents_differences(before, filled.target.contents()) == []


def test_collection_with_another_dimension_and_distance_in_its_place(filled: Case) -> None:
    before = filled.target.contents()
    filled.snapshot()
    filled.target.delete_collection("traps-ids")
    rows = trap_data.vectors(4, dimension=3)
    impostor = CollectionData("traps-ids", [Record("i%d" % n, row) for n, row in enumerate(rows)], {"hnsw:space": "cosine"})
    trap_data.write(filled.target, impostor)
    filled.rollback(snapshot_id="latest")
    assert contents_differences(before, filled.target.contents()) == []


def test_collections_keep_their_uuid_where_only_records_changed(filled: Case) -> None:
    before = {collection["name"]: collection["id"] for collection in filled.target.collections()}
    filled.snapshot()
    ids = filled.target.collection("traps-uris")["id"]
    filled.target.delete(ids, ["u0", "u1"])
    filled.rollback(snapshot_id="latest", strategy="in_place")
    assert {collection["name"]: collection["id"] for collection in filled.target.collections()} == before


def test_partial_rollback_touches_nothing_else(filled: Case) -> None:
    before = filled.target.contents()
    filled.snapshot()
    for name in ("traps-uris", "traps-documents"):
        collection = filled.target.collection(name)["id"]
        filled.target.delete(collection, filled.target.get(collection)["ids"][:2])
    trap_data.write(filled.target, CollectionData("newer", [Record("x", trap_data.vectors(1)[0])]))
    result = filled.rollback(snapshot_id="latest", collections=["traps-uris"])
    assert (result["rollback_type"], [row["name"] for row in result["collections"]]) == ("partial", ["traps-uris"])
    after = filled.target.contents()
    assert contents_differences({"traps-uris": before["traps-uris"]}, {"traps-uris": after["traps-uris"]}) == []
    assert len(after["traps-documents"].records) == len(before["traps-documents"].records) - 2
    assert "newer" in after


@pytest.mark.parametrize(("remove", "stays"), [(None, False), (True, False), (False, True)])
def test_collections_that_came_later(remove: bool | None, stays: bool, filled: Case) -> None:
    filled.snapshot()
    trap_data.write(filled.target, CollectionData("newer", [Record("x", trap_data.vectors(1)[0])]))
    options: dict[str, Any] = {} if remove is None else {"remove_extra_collections": remove}
    filled.rollback(snapshot_id="latest", **options)
    assert ("newer" in filled.target.names()) is stays


def test_a_snapshot_of_some_collections_leaves_the_others_alone(filled: Case) -> None:
    """What such a snapshot lacks did not come later: it was not asked for."""
    before = filled.target.contents()
    filled.snapshot(collections=["traps-uris"])
    collection = filled.target.collection("traps-uris")["id"]
    filled.target.delete(collection, filled.target.get(collection)["ids"][:2])
    result = filled.rollback(snapshot_id="latest")
    assert (result["rollback_type"], [row["name"] for row in result["collections"]]) == ("partial", ["traps-uris"])
    assert "some collections only" in str(result["warnings"])
    assert contents_differences(before, filled.target.contents()) == []
    filled.rollback(snapshot_id="latest", remove_extra_collections=True)
    assert filled.target.names() == ["traps-uris"]


def test_what_went_since_the_base_is_gone_in_the_difference_as_well(filled: Case) -> None:
    filled.snapshot(name="whole")
    collection = str(filled.target.collection("traps-uris")["id"])
    filled.target.delete(collection, ["u0"])
    filled.target.update(collection, ids=["u1"], documents=["rewritten"])
    later = filled.target.contents()
    taken = filled.snapshot(name="difference", base="latest")["snapshot"]
    assert taken["base"]["snapshot_id"].endswith("_whole")
    assert contents_of(filled.store, taken["snapshot_id"])["traps-uris"].records.keys() == later["traps-uris"].records.keys()
    filled.target.delete_collection("traps-uris")
    filled.rollback(snapshot_id=taken["snapshot_id"])
    assert contents_differences(later, filled.target.contents()) == []


def test_a_name_that_is_taken_by_another_snapshot(filled: Case) -> None:
    filled.snapshot(name="some", collections=["traps-uris"])
    assert filled.snapshot(name="some", collections=["traps-uris"])["changed"] is False
    for options in ({}, {"collections": ["traps-documents"]}, {"collections": ["traps-uris", "traps-documents"]}):
        failure = filled.snapshot(name="some", fails=True, **options)
        assert (failure["failure_class"], "another name" in failure["msg"]) == ("usage", True)
    filled.snapshot(name="all")
    assert filled.snapshot(name="all", collections=["traps-uris"])["changed"] is False


def _swapped(place: RawChroma, snapshot_id: str, name: str, mark: str) -> str:
    """A collection such as an interrupted swap leaves; its name."""
    helper = "%s__%s_%s" % (name, mark, snapshot_id)
    trap_data.write(place, CollectionData(helper, [Record("x", trap_data.vectors(1)[0])]))
    return helper


def _dies_at(case: Case, proxy: CountingProxy, options: dict[str, Any], when: Callable[[Seen], bool], skip: int = 0) -> None:
    proxy.faults.append(Fault("status", when=when, skip=skip, times=None, status=500))
    case.through(target=proxy).rollback(fails=True, **options)
    proxy.reset()


def _renames(seen: Seen) -> bool:
    return seen.method == "PUT"


def _collection_deletions(seen: Seen) -> bool:
    return seen.method == "DELETE"


def test_a_swap_that_died_before_it_removed_the_old_collection(filled: Case, target_proxy: CountingProxy) -> None:
    """The next one needs the name again, because there is new damage by then."""
    before = filled.target.contents()
    options = {"snapshot_id": filled.snapshot()["snapshot"]["snapshot_id"], "strategy": "swap"}
    collection = filled.target.collection("traps-uris")["id"]
    filled.target.delete(collection, ["u0"])
    _dies_at(filled, target_proxy, options, _collection_deletions)
    assert any("__old_" in name for name in filled.target.names())
    filled.target.delete(filled.target.collection("traps-uris")["id"], ["u1"])
    assert filled.through().rollback(**options)["strategy"] == "swap"
    assert contents_differences(before, filled.target.contents()) == []


def test_auto_says_why(case: Case) -> None:
    trap_data.write(case.target, CollectionData("things", [Record("x", trap_data.vectors(1)[0])]))
    case.snapshot()
    assert "Nothing differs" in case.rollback(snapshot_id="latest")["strategy_reason"]
    case.target.delete(case.target.collection("things")["id"], ["x"])
    assert "as they are" in case.rollback(snapshot_id="latest", check=True)["strategy_reason"]
    case.target.delete_collection("things")
    trap_data.write(case.target, CollectionData("things", [Record("x", trap_data.vectors(1, 3)[0])], {"hnsw:space": "cosine"}))
    reason = case.rollback(snapshot_id="latest", check=True)["strategy_reason"]
    for words in ("'things'", "space is 'cosine' instead of 'l2'", "dimension is 3"):
        assert words in reason
    result = case.rollback(snapshot_id="latest", strategy="swap")
    assert (result["strategy"], result["strategy_reason"]) == ("swap", "It was asked for.")


def test_a_moment_while_the_snapshot_was_taken(filled: Case) -> None:
    """What it holds may have been written after that moment."""
    path = filled.store / "manifests" / (filled.snapshot()["snapshot"]["snapshot_id"] + ".json")
    values = json.loads(path.read_text())
    values.update(timestamp="2026-01-02T03:00:00+00:00", finished="2026-01-02T03:10:00+00:00")
    path.write_bytes(render_manifest({**values, "manifest_sha256": own_sha256(values)}))
    assert "still being taken" not in str(filled.rollback(point_in_time="2026-01-02T04:10:00+01:00").get("warnings"))
    assert "03:10:00" in str(filled.rollback(point_in_time="2026-01-02T04:05:00+01:00")["warnings"])
    assert filled.rollback(point_in_time="2026-01-02T03:59:59+01:00", fails=True)["failure_class"] == "usage"
    values.update(timestamp="2126-01-02T03:00:00+00:00", finished="2126-01-02T03:10:00+00:00")
    path.write_bytes(render_manifest({**values, "manifest_sha256": own_sha256(values)}))
    assert "from the future" in str(filled.rollback(snapshot_id="latest")["warnings"])


@pytest.mark.parametrize("mark", ["rb", "old"])
def test_a_collection_that_only_has_such_a_name_is_not_taken(mark: str, filled: Case) -> None:
    snapshot_id = filled.snapshot()["snapshot"]["snapshot_id"]
    filled.target.delete(filled.target.collection("traps-uris")["id"], ["u0"])
    helper = _swapped(filled.target, snapshot_id, "traps-uris", mark)
    for strategy in ("in_place", "swap"):
        failure = filled.rollback(snapshot_id=snapshot_id, collections=["traps-uris"], strategy=strategy, safety_snapshot=False, fails=True)
        assert (failure["failure_class"], helper in failure["msg"]) == ("usage", True)
    assert helper in filled.target.names()


@pytest.mark.parametrize("when", [_renames, _collection_deletions], ids=["renames", "deletions"])
def test_a_server_that_says_yes_and_does_nothing(when: Callable[[Seen], bool], filled: Case, target_proxy: CountingProxy) -> None:
    snapshot_id = filled.snapshot()["snapshot"]["snapshot_id"]
    filled.target.delete(filled.target.collection("traps-uris")["id"], ["u0"])
    trap_data.write(filled.target, CollectionData("newer", [Record("x", trap_data.vectors(1)[0])]))
    target_proxy.faults.append(Fault("status", when=when, times=None, status=200, rewrite=lambda _headers: b"{}"))
    failure = filled.through(target=target_proxy).rollback(snapshot_id=snapshot_id, strategy="swap", fails=True)
    assert failure["failure_class"] == "integrity", failure["msg"]


def test_a_collection_that_comes_during_a_rollback(filled: Case, target_proxy: CountingProxy) -> None:
    snapshot_id = filled.snapshot()["snapshot"]["snapshot_id"]
    filled.target.delete(filled.target.collection("traps-uris")["id"], ["u0"])

    def somebody_creates_one(seen: Seen) -> bool:
        if seen.is_write and "newer" not in filled.target.names():
            filled.target.create("newer")
        return False

    target_proxy.faults.append(Fault("status", when=somebody_creates_one))
    failure = filled.through(target=target_proxy).rollback(snapshot_id=snapshot_id, fails=True)
    assert (failure["failure_class"], failure["collection"]) == ("drift", "newer")
    target_proxy.reset()
    assert filled.rollback(snapshot_id=snapshot_id)["changed"]
    assert "newer" not in filled.target.names()


def test_a_record_that_comes_during_a_rollback(filled: Case, target_proxy: CountingProxy) -> None:
    """It is in no page that was compared before, and nobody would delete it: success would not be true."""
    snapshot_id = filled.snapshot()["snapshot"]["snapshot_id"]
    collection = filled.target.collection("traps-uris")["id"]
    filled.target.delete(collection, ["u0"])
    added = []

    def somebody_adds_one(seen: Seen) -> bool:
        if seen.records and not added:
            added.append(seen.path)
            dimension = len(filled.target.contents()["traps-uris"].records["u1"].embedding)
            filled.target.add(collection, [Record("gained", [1.0] * dimension)])
        return False

    target_proxy.faults.append(Fault("status", when=somebody_adds_one))
    failure = filled.through(target=target_proxy).rollback(snapshot_id=snapshot_id, strategy="in_place", fails=True)
    assert (failure["failure_class"], failure["collection"], failure["ids"]) == ("drift", "traps-uris", ["gained"]), failure
    target_proxy.reset()
    assert filled.rollback(snapshot_id=snapshot_id)["changed"]
    assert "gained" not in filled.target.contents()["traps-uris"].records


def test_a_swap_of_a_collection_with_the_longest_name(case: Case) -> None:
    name = "n" * 512
    trap_data.write(case.target, CollectionData(name, [Record("x%d" % n, row) for n, row in enumerate(trap_data.vectors(3))]))
    before = case.target.contents()
    case.snapshot()
    case.target.delete(case.target.collection(name)["id"], ["x1"])
    assert case.rollback(snapshot_id="latest", strategy="swap")["strategy"] == "swap"
    assert contents_differences(before, case.target.contents()) == []


def test_a_rollback_of_one_collection_leaves_the_guard_of_the_others(filled: Case) -> None:
    """After a cutover, what clients wrote to one collection was given up; what they wrote to others was not."""
    snapshot_id = filled.snapshot()["snapshot"]["snapshot_id"]
    told = {**filled.target_endpoint, "directory": str(filled.store)}
    run_module("audit_event", {**told, "action": "cutover", "status": "completed"})
    for name in ("traps-uris", "traps-documents"):
        collection = filled.target.collection(name)
        filled.target.add(collection["id"], [Record("new", trap_data.vectors(1, collection["dimension"])[0])])
    filled.rollback(snapshot_id=snapshot_id, collections=["traps-uris"], discard_new_writes=True)
    assert filled.rollback(snapshot_id=snapshot_id, fails=True)["failure_class"] == "drift"
    assert "new" in filled.target.get(filled.target.collection("traps-documents")["id"])["ids"]
    filled.rollback(snapshot_id=snapshot_id, discard_new_writes=True)
    filled.target.delete(filled.target.collection("traps-uris")["id"], ["u0"])
    assert filled.rollback(snapshot_id=snapshot_id)["changed"]


@pytest.mark.parametrize("line", [b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", b'{"status": "initiated", "action": "snapshot", "run_id": "x"}'])
def test_a_damaged_audit_log_keeps_nobody_from_a_rollback(line: bytes, filled: Case) -> None:
    before = filled.target.contents()
    filled.snapshot()
    with open(filled.store / "logs" / "rollback_audit.jsonl", "ab") as log:
        log.write(line + b"\n")
    filled.target.delete(filled.target.collection("traps-uris")["id"], ["u0"])
    result = filled.rollback(snapshot_id="latest")
    assert "cannot be read" in str(result["warnings"])
    assert contents_differences(before, filled.target.contents()) == []
    told = run_module("audit_info", {"directory": str(filled.store)})
    assert (told["chain_intact"], told["entries"][-1]["status"]) == (False, "completed")
    assert filled.snapshot()["changed"]
    assert run_module("snapshot_prune", {"directory": str(filled.store)})["kept"]


def test_a_snapshot_goes_by_its_name_or_its_id(filled: Case) -> None:
    unnamed = filled.snapshot()["snapshot"]["snapshot_id"]
    damaged = filled.snapshot(name="damaged")["snapshot"]["snapshot_id"]
    filled.snapshot(name="named")
    (filled.store / "manifests" / (damaged + ".json")).write_text("{}")
    for name in (unnamed, damaged, "named"):
        assert filled.snapshot(state="absent", name=name, check=True)["changed"]
        assert filled.snapshot(state="absent", name=name)["changed"]
        assert filled.snapshot(state="absent", name=name)["changed"] is False
    assert [path for folder in ("manifests", "snapshots") for path in (filled.store / folder).iterdir()] == []


def test_safety_snapshot_brings_the_damage_back(filled: Case) -> None:
    filled.snapshot(name="good")
    collection = filled.target.collection("traps-metadata")["id"]
    filled.target.update(collection, ids=["m05"], documents=["damaged"])
    damaged = filled.target.contents()
    filled.rollback(snapshot_id="latest")
    taken = run_module("snapshot_info", {"directory": str(filled.store)})["snapshots"]
    assert len(taken) == 2
    safety = next(one["snapshot_id"] for one in taken if not one["snapshot_id"].endswith("_good"))
    filled.rollback(snapshot_id=safety)
    assert contents_differences(damaged, filled.target.contents()) == []


def test_latest_is_of_the_same_database(filled: Case, target_server: object) -> None:
    """A newer snapshot of another database in the same store is not what `latest` means here."""
    mine = filled.snapshot(name="mine")["snapshot"]["snapshot_id"]
    other = RawChroma(filled.target.url).fresh_database("other")
    trap_data.write(other, CollectionData("foreign", [Record("x", trap_data.vectors(1)[0])]))
    run_module("snapshot", {**other.endpoint, "directory": str(filled.store), "name": "theirs"})
    before = filled.target.contents()
    result = filled.rollback(snapshot_id="latest")
    assert (result["snapshot_id"], result["changed"]) == (mine, False)
    assert contents_differences(before, filled.target.contents()) == []


def test_snapshot_restores_into_another_server(filled: Case, source_proxy: CountingProxy) -> None:
    """The store holds one other server's snapshots only: `latest` is that one's, which is said: it may be a mistake."""
    snapshot_id = filled.snapshot()["snapshot"]["snapshot_id"]
    result = run_module("rollback", {**filled.source.endpoint, "directory": str(filled.store), "snapshot_id": "latest"})
    assert filled.differences() == []
    warning = str(result["warnings"])
    assert "%s was taken of" % snapshot_id in warning
    assert warning.index(filled.target.database) < warning.index(filled.source.database)
    filled.target.delete_collection("traps-uris")
    assert "was taken of" not in str(filled.rollback(snapshot_id=snapshot_id).get("warnings"))


def test_what_was_done_is_in_the_audit(filled: Case) -> None:
    snapshot_id = filled.snapshot()["snapshot"]["snapshot_id"]
    filled.target.delete_collection("traps-uris")
    filled.rollback(snapshot_id=snapshot_id, reason="A test wanted it", trigger="automatic")
    audit = run_module("audit_info", {"directory": str(filled.store)})
    assert audit["chain_intact"] is True
    mine = [entry for entry in audit["entries"] if entry.get("snapshot_id") == snapshot_id and entry["action"] == "rollback"]
    assert {"initiated", "completed"} <= {entry["status"] for entry in mine}
    assert all(entry["trigger"] == "automatic" for entry in mine)
    assert "A test wanted it" in json.dumps(mine)
    assert run_module("audit_info", {"directory": str(filled.store), "limit": 1})["entries"] == audit["entries"][-1:]

    log = next(filled.store.rglob("rollback_audit.jsonl"))
    log.write_text(log.read_text().replace("A test wanted it", "Somebody else did"))
    assert run_module("audit_info", {"directory": str(filled.store)})["chain_intact"] is False
