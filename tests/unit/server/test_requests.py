# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Requests about collections and records: how each version of the interface wants them, and answers of the wrong shape."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils._bounded_json import MAX_NESTING
from ansible_collections.infrafabric.chromadb.plugins.module_utils._endpoint import Endpoint
from ansible_collections.infrafabric.chromadb.plugins.module_utils._errors import DriftError, IntegrityError, InvalidDataError, LockedError, PartialError
from ansible_collections.infrafabric.chromadb.plugins.module_utils._server import server as server_module
from ansible_collections.infrafabric.chromadb.plugins.module_utils._server import stuck_batch
from ansible_collections.infrafabric.chromadb.plugins.module_utils._server.api_v1 import ServerV1
from ansible_collections.infrafabric.chromadb.plugins.module_utils._server.api_v2 import ServerV2
from ansible_collections.infrafabric.chromadb.plugins.module_utils._server.capabilities import (
    CHROMA_0_3,
    CHROMA_0_4,
    CHROMA_0_5,
    CHROMA_1_0,
    CHROMA_1_5,
    Capabilities,
)
from ansible_collections.infrafabric.chromadb.plugins.module_utils._server.http import HttpClient, StatusError
from ansible_collections.infrafabric.chromadb.plugins.module_utils._server.server import RecordColumns, Server, StoredCollection
from tests.support.scripted_server import Reply, ScriptedServer, Turns

V1 = "/api/v1/collections"
V2 = "/api/v2/tenants/t%2Fx/databases/d/collections"


@pytest.fixture
def script() -> Iterator[ScriptedServer]:
    with ScriptedServer() as running:
        yield running


def connected(script: ScriptedServer, capabilities: Capabilities = CHROMA_0_4) -> Server:
    kind = ServerV1 if capabilities in (CHROMA_0_3, CHROMA_0_4) else ServerV2
    return kind(HttpClient(Endpoint(script.url, "t/x", "d", retries=0)), "0", capabilities)


def columns(count: int, embedded: Any = None, uri: Any = None) -> RecordColumns:
    ids = ["r%d" % number for number in range(count)]
    vectors = np.arange(count * 2, dtype="<f4").reshape(count, 2)
    return RecordColumns(ids, vectors, ["text"] * count, [uri] * count, [None] * count, embedded)


@pytest.mark.parametrize(
    ("capabilities", "path", "item"),
    [
        (CHROMA_0_3, V1, V1 + "/c1"),
        (CHROMA_0_4, V1 + "?tenant=t%2Fx&database=d", V1 + "/c1"),
        (CHROMA_0_5, V2, V2 + "/c1"),
    ],
)
def test_paths_of_each_interface(script: ScriptedServer, capabilities: Capabilities, path: str, item: str) -> None:
    bare, named = path.partition("?")[0], path.partition("/collections")[2]
    script.answers = {
        ("POST", bare): {"id": "c1", "name": "a/b"},
        ("GET", bare): [{"id": "c1", "name": "a/b", "metadata": {"a": 1}, "dimension": 2}],
        ("PUT", item): None,
        ("DELETE", bare + "/a%2Fb"): None,
        ("POST", item + "/delete"): None,
        ("GET", item + "/count"): 3,
    }
    server = connected(script, capabilities)
    created = server.create_collection("a/b", {"a": 1}, {"hnsw": {"space": "ip"}}, {"defaults": {}})
    assert created == StoredCollection("c1", "a/b")
    assert server.find_collection("a/b") == StoredCollection("c1", "a/b", {"a": 1}, dimension=2)
    server.modify_collection("c1", name="new", metadata={"b": 2}, configuration={"hnsw": {}})
    assert server.count("c1") == 3
    server.delete("c1", ["r1"])
    server.delete_collection(created)
    sent = [(request.method, request.path, request.body) for request in script.requests]
    page = path + ("&" if "?" in path else "?") + "limit=500&offset="
    assert sent == [
        ("POST", path, {"name": "a/b", "metadata": {"a": 1}}),
        ("GET", page + "0", None),
        ("GET", page + "1", None),
        ("PUT", item, {"new_name": "new", "new_metadata": {"b": 2}, "new_configuration": {"hnsw": {}}}),
        ("GET", item + "/count", None),
        ("POST", item + "/delete", {"ids": ["r1"]}),
        ("DELETE", bare + "/a%2Fb" + named, None),
    ]


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [(CHROMA_0_5, {}), (CHROMA_1_0, {"configuration": {"hnsw": {}}}), (CHROMA_1_5, {"schema": {"defaults": {}}})],
)
def test_a_collection_is_created_by_what_the_release_takes(script: ScriptedServer, capabilities: Capabilities, expected: dict[str, Any]) -> None:
    script.answers["POST", V2] = {"id": "c1", "name": "a"}
    connected(script, capabilities).create_collection("a", None, {"hnsw": {}}, {"defaults": {}})
    assert script.requests[0].body == {"name": "a", "metadata": None, **expected}


@pytest.mark.parametrize(("status", "kind"), [(400, InvalidDataError), (422, InvalidDataError), (500, StatusError)])
def test_a_collection_that_is_refused(script: ScriptedServer, status: int, kind: type[Exception]) -> None:
    script.answers["POST", V1] = Reply(status, {"error": "no such name"})
    with pytest.raises(kind, match="no such name"):
        connected(script).create_collection("a")


@pytest.mark.parametrize(
    "page",
    [
        {"collections": []},
        ["a"],
        [{"id": 1, "name": "a"}],
        [{"id": "c"}],
        [{"id": "c", "name": "a", "metadata": []}],
        [{"id": "c", "name": "a", "configuration_json": "{}"}],
        [{"id": "c", "name": "a", "dimension": "384"}],
    ],
)
def test_lists_of_collections_that_are_none(script: ScriptedServer, page: Any) -> None:
    script.answers["GET", V1] = page
    with pytest.raises(IntegrityError, match=r"was asked for a .*which cannot be that"):
        connected(script).list_collections()


def test_a_list_is_read_to_its_end_and_one_that_repeats_itself_is_left(script: ScriptedServer) -> None:
    first = [{"id": "c%03d" % number, "name": "n%03d" % number} for number in range(500)]
    script.answers["GET", V1] = Turns([first, [{"id": "last", "name": "n500"}], []])
    assert len(connected(script).list_collections()) == 501
    script.answers["GET", V1] = first
    script.requests.clear()
    assert len(connected(script, CHROMA_0_3).list_collections()) == 500
    assert len(script.requests) == 2


def test_a_list_whose_pages_something_keeps_smaller_is_read_to_its_end(script: ScriptedServer) -> None:
    entries = [{"id": "c%d" % number, "name": "n%d" % number} for number in range(5)]
    script.answers["GET", V1] = Turns([entries[:2], entries[2:4], entries[4:], []])
    assert [collection.name for collection in connected(script).list_collections()] == ["n0", "n1", "n2", "n3", "n4"]
    assert [request.path.rpartition("offset=")[2] for request in script.requests] == ["0", "2", "4", "5"]


@pytest.mark.parametrize("answer", [-1, True, "3", None, [3]])
def test_numbers_of_records_that_are_none(script: ScriptedServer, answer: Any) -> None:
    script.answers["GET", V1 + "/c1/count"] = answer
    with pytest.raises(IntegrityError, match="a number of records"):
        connected(script).count("c1")


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        ([], "records"),
        ({}, "records"),
        ({"ids": [1]}, "records"),
        ({"ids": ["a"], "documents": [1]}, "documents of records"),
        ({"ids": ["a"], "metadatas": "none"}, "metadatas of records"),
        ({"ids": ["a"], "uris": [{}]}, "uris of records"),
        ({"ids": ["a"], "embeddings": "AAAA"}, "embeddings of records"),
        ({"ids": ["a"], "embeddings": [1.0]}, "embeddings of records"),
    ],
)
def test_records_that_are_none(script: ScriptedServer, answer: Any, what: str) -> None:
    script.answers["POST", V1 + "/c1/get"] = answer
    with pytest.raises(IntegrityError, match=f"was asked for {what}, and answered"):
        connected(script).get("c1", ("embeddings",), where_document={"$contains": "a"})
    assert script.requests[0].body == {"include": ["embeddings"], "where_document": {"$contains": "a"}}


@pytest.mark.parametrize(
    ("answer", "gone"),
    [
        (Reply(404, {"error": "NotFoundError", "message": "Collection [c1] does not exist"}), True),
        (Reply(500, {"error": "RuntimeError('coroutine raised StopIteration')"}), True),
        (Reply(404, {"detail": "Not Found"}), False),
    ],
)
def test_a_collection_that_is_gone_is_told_from_a_question_that_is_not_understood(script: ScriptedServer, answer: Reply, gone: bool) -> None:
    script.answers["GET", V1] = [{"id": "c1", "name": "things"}]
    script.answers["GET", V1 + "/c1/count"] = answer
    server = connected(script)
    server.list_collections()
    with pytest.raises(DriftError if gone else StatusError) as caught:
        server.count("c1")
    if gone:
        assert (caught.value.details["collection"], "Collection 'things' on" in caught.value.message) == ("things", True)


def test_a_freeze_by_triggers_is_a_lock(script: ScriptedServer) -> None:
    words = "error returned from database: (code: 1811) read-only: a migration is in progress"
    script.answers["POST", V1 + "/c1/upsert"] = Reply(500, {"error": "InternalError", "message": words})
    with pytest.raises(LockedError, match=r"is held read-only: .* Wait until the freeze is over"):
        connected(script).upsert("c1", columns(2))
    assert len(script.bodies("upsert")) == 1


def test_a_terminal_does_not_obey_what_a_server_says(script: ScriptedServer) -> None:
    script.answers["GET", V1 + "/c1/count"] = Reply(500, {"error": "\x1b[2J\x9b31m gone"})
    with pytest.raises(StatusError) as caught:
        connected(script).count("c1")
    assert caught.value.message.endswith("\\x1b[2J\\x9b31m gone")


def test_vectors_are_sent_as_the_release_takes_them(script: ScriptedServer) -> None:
    for path in (V1, V2):
        script.answers["POST", path + "/c1/upsert"] = True
    connected(script).upsert("c1", columns(2, uri="file:///a"))
    connected(script, CHROMA_1_0).upsert("c1", columns(1))
    old, new = script.bodies("upsert")
    assert old["embeddings"] == [[0.0, 1.0], [2.0, 3.0]]
    assert old["uris"] == ["file:///a", "file:///a"]
    assert (new["embeddings"], "uris" in new) == (["AAAAAAAAgD8="], False)


def test_records_with_and_without_vectors_travel_apart(script: ScriptedServer) -> None:
    script.answers["POST", V1 + "/c1/add"] = True
    connected(script).add("c1", columns(3, embedded=np.array([True, False, True])))
    assert [(body["ids"], body["embeddings"]) for body in script.bodies("add")] == [(["r0", "r2"], [[0.0, 1.0], [4.0, 5.0]]), (["r1"], None)]


def test_a_body_that_is_too_large_is_halved(script: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def most_three(body: Any) -> Any:
        return True if len(body["ids"]) <= 3 else Reply(413, {"error": "too large"})

    script.answers["POST", V1 + "/c1/upsert"] = most_three
    connected(script).upsert("c1", columns(8))
    assert [len(body["ids"]) for body in script.bodies("upsert")] == [8, 4, 2, 2, 4, 2, 2]
    # Where the client knows the bound, nothing is sent in vain.
    monkeypatch.setattr(server_module, "MAX_BODY_BYTES", 150)
    script.requests.clear()
    connected(script).upsert("c1", columns(8))
    sent = script.bodies("upsert")
    assert all(len(body["ids"]) <= 3 for body in sent)
    assert [record for body in sent for record in body["ids"]] == ["r%d" % number for number in range(8)]


@pytest.mark.parametrize(("status", "kind"), [(422, InvalidDataError), (500, PartialError)])
def test_the_record_that_is_refused_is_named_and_the_others_are_written(script: ScriptedServer, status: int, kind: type[InvalidDataError]) -> None:
    written: set[str] = set()

    def without_r5(body: Any) -> Any:
        if "r5" in body["ids"]:
            return Reply(status, {"error": "no"})
        written.update(body["ids"])
        return True

    script.answers["POST", V1 + "/c1/upsert"] = without_r5
    with pytest.raises(kind, match="does not take 1 of a batch of 8 records: 'r5': no") as caught:
        connected(script).upsert("c1", columns(8))
    assert caught.value.details["ids"] == ["r5"]
    assert written == {"r%d" % number for number in range(8)} - {"r5"}


def test_a_collection_that_is_gone_is_no_fault_of_a_record(script: ScriptedServer) -> None:
    with pytest.raises(StatusError) as caught:
        connected(script).upsert("c1", columns(8))
    assert caught.value.status == 404
    assert len(script.requests) == 1


def test_a_single_record_that_is_refused_is_sent_once_more_and_named(script: ScriptedServer) -> None:
    """Once more alone: what was refused may have been the moment, and there is nothing left to halve."""
    script.answers["POST", V1 + "/c1/upsert"] = Reply(500, {"error": "no"})
    with pytest.raises(PartialError, match="does not take 1 of a batch of 1 records: 'r0': no") as caught:
        connected(script).upsert("c1", columns(1))
    assert caught.value.details["ids"] == ["r0"]
    assert [body["ids"] for body in script.bodies("upsert")] == [["r0"], ["r0"]]
    script.answers["POST", V1 + "/c1/upsert"] = Turns([Reply(500, {"error": "a moment"}), True])
    connected(script).upsert("c1", columns(1))


def test_records_that_are_not_found_in_time_are_named_by_the_ends_of_their_part(script: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large batch of which the server takes nothing would be halved for hours."""
    monkeypatch.setattr(stuck_batch, "NARROWING_REQUESTS", 4)
    script.answers["POST", V1 + "/c1/upsert"] = Reply(422, {"error": "no"})
    with pytest.raises(InvalidDataError, match="does not take an unknown number of a batch of 64 records: between 'r32' and 'r47': no") as caught:
        connected(script).upsert("c1", columns(64))
    assert caught.value.details["ids"] == ["r%d" % number for number in range(32, 42)]
    assert len(script.requests) == 5


def nested(levels: int) -> Any:
    return {"a": nested(levels - 1)} if levels else 1


def test_what_is_nested_so_deeply_that_reading_it_would_fail_later_is_refused_where_it_is(script: ScriptedServer) -> None:
    script.answers["POST", V1 + "/c1/get"] = {"ids": ["flat", "deep"], "metadatas": [{"a": 1}, nested(MAX_NESTING + 1)]}
    with pytest.raises(IntegrityError, match="the metadata of the record 'deep'"):
        connected(script).get("c1", ("metadatas",))
    script.answers["POST", V1 + "/c1/get"] = {"ids": ["ok"], "metadatas": [nested(MAX_NESTING)]}
    assert connected(script).get("c1", ("metadatas",))["ids"] == ["ok"]
    for key, what in (("metadata", "metadata"), ("configuration_json", "configuration"), ("schema", "schema")):
        script.answers["GET", V1] = [{"id": "c1", "name": "things", key: nested(MAX_NESTING + 1)}]
        with pytest.raises(IntegrityError, match=f"the {what} of the collection 'things'"):
            connected(script).list_collections()
