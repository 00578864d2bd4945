# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Catching up with the changes that the server's own file names: as good as comparing every record, or not done at all."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.case import Case
from tests.support.changing_source import fill, look, prove_equal_to_a_full_comparison, record, write_somehow
from tests.support.chroma_server import ChromaServer
from tests.support.raw import RawChroma, Record
from tests.support.run_module import run_module

MODULE_UTILS = "ansible_collections.infrafabric.chromadb.plugins.module_utils."
SIZES = {"first": 60, "second": 40}


@pytest.fixture
def own_server() -> Iterator[ChromaServer]:
    """A source that the test may stop, and whose file it may damage."""
    with ChromaServer() as server:
        yield server


@pytest.fixture
def filled(case: Case) -> Case:
    fill(case.source, random.Random(1), SIZES)
    return case


def test_a_faithful_copy(filled: Case, source_server: ChromaServer) -> None:
    prove_equal_to_a_full_comparison(filled, source_server, rounds=3, seed=2, names=list(SIZES))
    assert filled.differences() == []


def test_routes_by_metadata_with_colliding_ids_and_invalid_records(case: Case, source_server: ChromaServer) -> None:
    generator = random.Random(3)
    for name in SIZES:
        collection = case.source.create(name)
        kinds = ("plain", "other", "strange")
        case.source.add(collection, [record(generator, f"same-{number}", kinds[number % 3]) for number in range(30)])
    routes = [{"where": {"kind": "other"}, "to": "others"}, {"from": "first", "to": "mixed"}, {"to": "mixed"}]
    fields = {"kind": {"type": "string", "enum": ["plain", "other"]}, "source_collection": {"type": "string", "derive": "source_collection"}}
    options = {"routes": routes, "schema": {"fields": fields}, "on_collision": "prefix", "on_invalid": "skip", "min_valid_ratio": 0.5}
    prove_equal_to_a_full_comparison(case, source_server, rounds=2, seed=4, names=list(SIZES), **options)


def test_ids_that_several_collections_could_have_put_there(case: Case, source_server: ChromaServer) -> None:
    """Without a prefix, the same id in two collections goes to two targets; then they change places."""
    generator = random.Random(5)
    first, second = case.source.create("first"), case.source.create("second")
    case.source.add(first, [record(generator, "1", "a"), record(generator, "2", "b"), record(generator, "3", "a")])
    case.source.add(second, [record(generator, "1", "b"), record(generator, "2", "a"), record(generator, "4", "c")])
    options: dict[str, Any] = {
        "routes": [{"where": {"kind": "a"}, "to": "target_a"}, {"where": {"kind": "b"}, "to": "target_b"}, {"to": "target_c"}],
        "schema": {"fields": {"source_collection": {"type": "string", "derive": "source_collection"}}},
        "prune": True,
    }
    before = look(source_server, case.source)
    case.migrate(**options)
    case.source.update(first, ids=["1"], metadatas=[{"kind": "b"}])
    case.source.update(second, ids=["1"], metadatas=[{"kind": "a"}])
    case.source.update(first, ids=["3"], metadatas=[{"kind": "c"}])
    passed = case.migrate(changes=look(source_server, case.source, before["mark"])["changes"], **options)
    assert passed["compared"]["only_changes"] is True
    assert case.migrate(check=True, **options)["changed"] is False
    where = {name: sorted((record_id, found.metadata["source_collection"]) for record_id, found in contents.records.items() if found.metadata)
             for name, contents in case.target.contents().items()}
    assert where == {
        "target_a": [("1", "second"), ("2", "second")],
        "target_b": [("1", "first"), ("2", "first")],
        "target_c": [("3", "first"), ("4", "second")],
    }


def test_a_collection_that_is_settled_creates_nothing_elsewhere(case: Case, source_server: ChromaServer) -> None:
    generator = random.Random(6)
    case.source.add(case.source.create("first"), [record(generator, "1", "a")])
    options: dict[str, Any] = {"routes": [{"where": {"kind": "a"}, "to": "target_a"}, {"to": "target_b"}]}
    before = look(source_server, case.source)
    case.migrate(**options)
    passed = case.migrate(changes=look(source_server, case.source, before["mark"])["changes"], **options)
    assert (passed["changed"], passed["records"]["read"], passed["compared"]["settled"]) == (False, 0, 1)
    assert case.target.names() == ["target_a"]


def test_what_is_missing_in_the_target_is_found_although_nobody_wrote_to_the_source(filled: Case, source_server: ChromaServer) -> None:
    before = look(source_server, filled.source)
    filled.migrate()
    filled.target.delete(str(filled.target.collection("first")["id"]), ["first-3"])
    passed = filled.migrate(changes=look(source_server, filled.source, before["mark"])["changes"])
    assert (passed["records"]["read"], passed["records"]["added"]) == (1, 1)
    assert filled.differences() == []


def test_numbers_that_are_given_again_after_a_collection_was_deleted(case: Case, source_server: ChromaServer) -> None:
    """The deleted collection had the highest numbers; the next write to another one gets one of them."""
    generator = random.Random(7)
    fill(case.source, generator, {"kept": 20, "deleted": 50})
    before = look(source_server, case.source)
    case.migrate()
    case.source.delete_collection("deleted")
    case.source.upsert(str(case.source.collection("kept")["id"]), [record(generator, "kept-1")])
    found = look(source_server, case.source, before["mark"])["changes"]
    assert (found["complete"], found["reason"]) == (False, "collection 'deleted' was deleted since the earlier look")
    passed = case.migrate(changes=found)
    assert passed["compared"]["reason"] == found["reason"]
    assert passed["records"]["changed"] == 1

    after = look(source_server, case.source)
    case.migrate()
    case.source.upsert(str(case.source.collection("kept")["id"]), [record(generator, "kept-2")])
    assert [entry["changed"] for entry in look(source_server, case.source, after["mark"])["changes"]["collections"]] == [["kept-2"]]


def test_collections_of_the_target_that_no_record_goes_to_are_not_looked_at(filled: Case, source_server: ChromaServer) -> None:
    before = look(source_server, filled.source)
    filled.migrate()
    filled.target.add(filled.target.create("stranger"), [record(random.Random(16), "first-1")])
    passed = filled.migrate(prune=True, changes=look(source_server, filled.source, before["mark"])["changes"])
    assert (passed["compared"]["only_changes"], passed["changed"]) == (True, False)
    assert [row["name"] for row in passed["collections"]] == list(SIZES)
    assert len(filled.target.contents()["stranger"].records) == 1


def test_a_new_collection(filled: Case, source_server: ChromaServer) -> None:
    before = look(source_server, filled.source)
    filled.migrate()
    fill(filled.source, random.Random(8), {"third": 5})
    filled.source.create("empty")
    passed = filled.migrate(changes=look(source_server, filled.source, before["mark"])["changes"])
    assert (passed["compared"]["only_changes"], passed["records"]["read"]) == (True, 5)
    assert filled.differences() == []


def test_nothing_is_written_to_the_file(filled: Case, source_server: ChromaServer) -> None:
    directory = source_server.directory / "data"
    before = {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}
    found = look(source_server, filled.source)
    assert found["changed"] is False
    assert {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()} == before


class TestItIsNotBelieved:
    """Each time everything is compared, and the reason is said."""

    def expect(self, found: dict[str, Any], *words: str) -> None:
        assert found["changes"]["complete"] is False
        assert all(word in found["changes"]["reason"] for word in words), found["changes"]["reason"]
        assert found["changes"]["collections"] == []

    def test_after_a_restart(self, own_server: ChromaServer) -> None:
        source = RawChroma(own_server.url)
        fill(source, random.Random(9), {"things": 3})
        mark = look(own_server, source)["mark"]
        own_server.restart()
        self.expect(look(own_server, source, mark), "restarted")

    def test_a_mark_that_is_of_another_place_or_damaged(self, filled: Case, source_server: ChromaServer) -> None:
        mark = look(source_server, filled.source)["mark"]
        for name, words in (("path", "another file"), ("tenant", "another tenant"), ("database", "another database")):
            self.expect(look(source_server, filled.source, {**mark, name: "elsewhere"}), "the earlier look was at " + words, "elsewhere")
        self.expect(look(source_server, filled.source, {**mark, "collections": ["first"]}), "names no collections")

    def test_numbers_that_went_back(self, filled: Case, source_server: ChromaServer) -> None:
        """The file was replaced by an older one; the next writes get numbers that the mark has seen already."""
        mark = look(source_server, filled.source)["mark"]
        for collection in mark["collections"].values():
            collection["last"] += 1
        self.expect(look(source_server, filled.source, mark), "the numbers of collection 'first' went back")

    def test_more_writes_than_should_travel(self, filled: Case, source_server: ChromaServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(MODULE_UTILS + "_operations.source_changes.MOST_IDS", 12)
        mark = look(source_server, filled.source)["mark"]
        ids = {name: str(filled.source.collection(name)["id"]) for name in SIZES}
        for name, count in (("first", 7), ("second", 5)):
            filled.source.update(ids[name], ids=[f"{name}-{n}" for n in range(count)], documents=["rewritten"] * count)
        assert look(source_server, filled.source, mark)["changes"]["complete"] is True
        filled.source.update(ids["second"], ids=["second-9"], documents=["one too many"])
        self.expect(look(source_server, filled.source, mark), "more than 12 records were written")

    def test_a_file_that_no_server_has_open(self, own_server: ChromaServer, tmp_path: Path) -> None:
        source = RawChroma(own_server.url)
        fill(source, random.Random(10), {"things": 3})
        shutil.copy(own_server.directory / "data" / "chroma.sqlite3", tmp_path)
        self.expect(look(own_server, source, data_directory=str(tmp_path)), "no process", "open")
        self.expect(look(own_server, source, data_directory=str(tmp_path / "none")), "does not exist")

    def test_a_purged_log(self, own_server: ChromaServer) -> None:
        source = RawChroma(own_server.url)
        fill(source, random.Random(11), {"things": 3})
        mark = look(own_server, source)["mark"]
        with sqlite3.connect(own_server.directory / "data" / "chroma.sqlite3") as database:
            database.execute("DELETE FROM embeddings_queue")
        self.expect(look(own_server, source, mark), "purged", "things")

    def test_tables_of_a_later_release(self, own_server: ChromaServer) -> None:
        source = RawChroma(own_server.url)
        fill(source, random.Random(12), {"things": 3})
        with sqlite3.connect(own_server.directory / "data" / "chroma.sqlite3") as database:
            database.execute("INSERT INTO migrations SELECT dir, 99, filename, sql, hash FROM migrations WHERE dir = 'metadb' AND version = 1")
        self.expect(look(own_server, source), "metadb", "99")

    def test_the_file_of_another_server(self, filled: Case, own_server: ChromaServer) -> None:
        """It has collections of the same names, with other ids."""
        place = {"tenant": filled.source.tenant, "database": filled.source.database}
        other = RawChroma(own_server.url)
        fill(other, random.Random(13), SIZES)
        options = {"data_directory": str(own_server.directory / "data")}
        found = run_module("source_changes_info", {**options, "since": run_module("source_changes_info", options)["mark"]})
        assert found["changes"]["complete"] is True
        assert place["tenant"] != "default_tenant"
        passed = filled.migrate(changes=found["changes"])
        assert passed["compared"]["only_changes"] is False
        assert "'first'" in passed["compared"]["reason"]
        assert filled.differences() == []

    def test_a_target_that_lacks_more_than_memory_should_hold(self, filled: Case, source_server: ChromaServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(MODULE_UTILS + "_operations.narrowing.MOST_LEFT", 10)
        before = look(source_server, filled.source)
        passed = filled.migrate(changes=look(source_server, filled.source, before["mark"])["changes"])
        assert (passed["compared"]["only_changes"], passed["compared"]["reason"]) == (False, "more than 10 records of 'first' must be looked at")
        assert filled.differences() == []

    def test_a_shard(self, filled: Case, source_server: ChromaServer) -> None:
        before = look(source_server, filled.source)
        found = look(source_server, filled.source, before["mark"])
        passed = filled.migrate(changes=found["changes"], shard={"index": 0, "count": 2})
        assert (passed["compared"]["only_changes"], passed["compared"]["reason"]) == (False, "this run works on a shard")


def test_check_mode_says_what_the_run_does(filled: Case, source_server: ChromaServer) -> None:
    before = look(source_server, filled.source)
    filled.migrate()
    for name in SIZES:
        write_somehow(filled.source, name, random.Random(14), 0)
    changes = look(source_server, filled.source, before["mark"])["changes"]
    checked = filled.migrate(prune=True, changes=changes, check=True, diff=True)
    done = filled.migrate(prune=True, changes=changes, diff=True)
    assert checked["records"] == done["records"]
    assert checked["diff"] == done["diff"]
    assert filled.differences() == []


def test_a_record_without_metadata(case: Case, source_server: ChromaServer) -> None:
    collection = case.source.create("plain")
    bare = record(random.Random(15), "bare")._replace(metadata=None)
    case.source.add(collection, [bare])
    before = look(source_server, case.source)
    case.migrate()
    case.source.upsert(collection, [Record("bare", bare.embedding, "another text", None)])
    case.migrate(changes=look(source_server, case.source, before["mark"])["changes"])
    assert case.differences() == []
