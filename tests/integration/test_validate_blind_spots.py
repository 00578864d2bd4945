# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Damage that every record survives: an index that names others, a source that cannot be searched, copies where nothing goes any more."""

from __future__ import annotations

import contextlib
import pickle
import random
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.support import trap_data
from tests.support.case import Case
from tests.support.chroma_server import ChromaServer
from tests.support.counting_proxy import CountingProxy, Fault
from tests.support.raw import RawChroma, Record


def shuffled_index(server: ChromaServer, seed: int, collection: str | None = None) -> None:
    """Every vector of the server's indexes (or of one collection's) finds the record of another one; the records themselves stay as they are."""
    places = "*" if collection is None else vector_segment(server, collection)
    found = list((server.directory / "data").glob(f"{places}/index_metadata.pickle"))
    assert found
    for path in found:
        content = pickle.loads(path.read_bytes())
        places, ids = list(content["label_to_id"]), list(content["label_to_id"].values())
        random.Random(seed).shuffle(ids)
        content["label_to_id"] = dict(zip(places, ids))
        path.write_bytes(pickle.dumps(content, protocol=4))


def check_named(result: dict[str, Any], name: str) -> dict[str, Any]:
    return next(check for check in result["checks"] if check["name"] == name)


def vector_segment(server: ChromaServer, collection: str) -> str:
    asked = "SELECT s.id FROM segments s JOIN collections c ON c.id = s.collection WHERE c.name = ? AND s.scope = 'VECTOR'"
    with contextlib.closing(sqlite3.connect(server.directory / "data/chroma.sqlite3")) as database:
        return str(database.execute(asked, (collection,)).fetchone()[0])


@pytest.mark.parametrize("sample", [None, {"size": 300, "seed": 1}])
def test_an_index_that_names_the_wrong_records_is_no_go(sample: dict[str, int] | None, case: Case, tmp_path: Path) -> None:
    records = [Record("r%d" % n, row, "text %d" % n, None) for n, row in enumerate(trap_data.vectors(2000, dimension=16, seed=5))]
    case.source.add(case.source.create("things"), records)
    with ChromaServer() as server:
        own = Case(case.source, RawChroma(server.url), tmp_path)
        own.migrate()
        options = {} if sample is None else {"sample": sample}
        assert own.validate(**options)["decision"] in ("go", "marginal")
        server.stop()
        shuffled_index(server, seed=1)
        server.start()
        own = Case(case.source, RawChroma(server.url), tmp_path)
        assert own.differences() == [], "only the index is damaged"
        result = own.validate(**options)
    assert result["decision"] == "no_go"
    found = {check["name"]: check for check in result["checks"]}["semantic_equivalence"]
    assert found["status"] == "failed"
    assert "The target's index of things is damaged" in found["details"]["summary"]


def test_an_index_is_looked_at_whatever_the_user_searches_for(case: Case, tmp_path: Path) -> None:
    rows = trap_data.vectors(1500, dimension=16, seed=5)
    for name in ("looked_at", "left_out"):
        case.source.add(case.source.create(name), [Record("r%d" % n, row, "text", None) for n, row in enumerate(rows)])
    with ChromaServer() as server:
        Case(case.source, RawChroma(server.url), tmp_path).migrate()
        server.stop()
        shuffled_index(server, seed=1, collection="left_out")
        server.start()
        own = Case(case.source, RawChroma(server.url), tmp_path)
        near = [{"embedding": row.tolist(), "collection": "looked_at"} for row in rows[:20]]
        result = own.validate(queries=near)
        assert result["decision"] == "no_go"
        assert any("The target's index of left_out is damaged" in reason for reason in result["reasons"])
        # One search of a collection proves little, and never that all is well.
        result = own.validate(queries=[*near, {"embedding": rows[7].tolist(), "collection": "left_out"}])
    assert result["decision"] == "marginal"
    assert any("The target's index of left_out may be damaged" in reason for reason in result["reasons"])


@pytest.mark.parametrize("sample", [None, {"size": 60}])
def test_documents_that_no_word_finds_any_more_are_no_go(sample: dict[str, int] | None, case: Case, tmp_path: Path) -> None:
    rows = trap_data.vectors(80)
    for name in ("things", "places"):
        case.source.add(case.source.create(name), [Record("r%d" % n, row, "number %d of the documents" % n, None) for n, row in enumerate(rows)])
    options = {} if sample is None else {"sample": sample}
    with ChromaServer() as server:
        own = Case(case.source, RawChroma(server.url), tmp_path)
        own.migrate()
        before = own.validate(**options)
        assert before["decision"] == "go"
        assert check_named(before, "semantic_equivalence")["details"]["text_searches"] == 10
        server.stop()
        with contextlib.closing(sqlite3.connect(server.directory / "data/chroma.sqlite3")) as database:
            database.execute("DELETE FROM embedding_fulltext_search")
            database.commit()
        server.start()
        own = Case(case.source, RawChroma(server.url), tmp_path)
        assert own.differences() == [], "only the index of documents is damaged"
        result = own.validate(**options)
        assert (result["decision"], result["rollback_required"]) == ("no_go", True)
        found = check_named(result, "semantic_equivalence")
        assert "10 searches of 10 by a word of a document do not find it" in found["details"]["summary"]
        assert {example["collection"] for example in found["details"]["examples"]} == {"things", "places"}
        # What the source cannot find either is no damage of the target.
        backwards = Case(own.target, own.target, tmp_path).validate(**options)
    assert check_named(backwards, "semantic_equivalence")["status"] == "passed"


def test_a_source_that_fails_the_searches_proves_nothing(case: Case, source_proxy: CountingProxy) -> None:
    records = [Record("r%d" % n, row, "text", None) for n, row in enumerate(trap_data.vectors(50))]
    case.source.add(case.source.create("things"), records)
    case.through(source=source_proxy).migrate()
    source_proxy.faults = [Fault("status", lambda seen: seen.verb == "query", times=None, status=500)]
    result = case.validate()
    assert result["decision"] == "no_go"
    assert {check["name"]: check["status"] for check in result["checks"]}["semantic_equivalence"] == "not_run"
    assert result["rollback_required"] is False


def test_what_an_earlier_run_left_where_no_record_goes_now_is_found_and_pruned(case: Case) -> None:
    rows = trap_data.vectors(30)
    case.source.add(case.source.create("things"), [Record("r%d" % n, row, "text", {"kind": "old" if n < 10 else "new"}) for n, row in enumerate(rows)])
    rules = {
        "routes": [{"from": "*", "to": "old_things", "where": {"kind": "old"}}, {"from": "*", "to": "new_things"}],
        "schema": {"fields": {"source_collection": {"type": "string", "derive": "source_collection"}}},
    }
    case.migrate(**rules)
    assert case.validate(**rules)["decision"] == "go"
    things = case.source.collection("things")["id"]
    case.source.update(things, ids=["r%d" % n for n in range(10)], metadatas=[{"kind": "new"}] * 10)
    case.migrate(**rules)
    assert case.target.count(case.target.collection("old_things")["id"]) == 10
    result = case.validate(**rules)
    assert result["decision"] == "no_go"
    extra = {check["name"]: check for check in result["checks"]}["records"]["details"]["extra"]
    assert {entry["id"] for entry in extra} == {"r%d" % n for n in range(10)}

    pruned = case.migrate(prune=True, **rules)
    assert pruned["records"]["deleted"] == 10
    assert case.validate(**rules)["decision"] == "go"
    assert case.migrate(prune=True, **rules)["changed"] is False


def test_each_damaged_collection_is_named_by_an_id(case: Case) -> None:
    rows = trap_data.vectors(40)
    for name in ("aaa", "zzz"):
        case.source.add(case.source.create(name), [Record("%s-%d" % (name, n), row, "text", None) for n, row in enumerate(rows)])
    case.migrate()
    case.target.update(case.target.collection("aaa")["id"], ids=["aaa-%d" % n for n in range(40)], documents=["other"] * 40)
    case.target.update(case.target.collection("zzz")["id"], ids=["zzz-7"], documents=["other"])
    details = {check["name"]: check for check in case.validate()["checks"]}["records"]["details"]
    for examples in (details["changed"], details["examples"]):
        assert "zzz-7" in {entry["id"] for entry in examples}


def test_prefixed_targets_that_are_empty_are_a_loss_and_no_collision(case: Case) -> None:
    rows = trap_data.vectors(10)
    for name in ("one", "two"):
        case.source.add(case.source.create("things-" + name), [Record("r%d" % n, row, "text", None) for n, row in enumerate(rows)])
    routes = [{"from": "*", "to": "all_things"}]
    case.migrate(routes=routes, on_collision="prefix")
    assert case.validate(routes=routes)["decision"] == "go"
    everything = case.target.collection("all_things")["id"]
    case.target.delete(everything, list(case.target.records(everything)))
    result = case.validate(routes=routes)
    assert (result["decision"], result["rollback_required"]) == ("no_go", True)
    assert {check["name"]: check["status"] for check in result["checks"]}["records"] == "failed"
