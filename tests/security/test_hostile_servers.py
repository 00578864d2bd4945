# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Servers that answer with nonsense: too much, too deep, the wrong shape, the same page for ever. The message names the server, nothing is made of it."""

from __future__ import annotations

import gzip
import json
from typing import Any, Callable

import pytest

from tests.support import trap_data
from tests.support.case import Case
from tests.support.counting_proxy import CountingProxy, Fault, Seen
from tests.support.equality import contents_differences
from tests.support.raw import Record
from tests.support.run_module import Apart, run_module
from tests.support.trap_data import CollectionData

RECORDS = [Record("r%02d" % n, row, "text %d" % n, {"n": n}) for n, row in enumerate(trap_data.vectors(12))]
Changed = Callable[[dict[str, Any]], Any]


def listing(seen: Seen) -> bool:
    return seen.method == "GET" and seen.path.endswith("/collections")


def reading(seen: Seen) -> bool:
    return seen.path.endswith("/get") and b"embeddings" in seen.body


def naming(seen: Seen) -> bool:
    return seen.path.endswith("/get") and b"embeddings" not in seen.body


def counting(seen: Seen) -> bool:
    return seen.path.endswith("/count")


def changed(change: Changed) -> Callable[[bytes], bytes]:
    """A JSON answer after a change."""
    return lambda body: json.dumps(change(json.loads(body))).encode()


def constant(body: bytes) -> Callable[[bytes], bytes]:
    return lambda _body: body


# Always a full page, always the same one.
MANY = json.dumps([{"name": "same-%d" % n, "id": "%032d" % n} for n in range(500)]).encode()


def column(name: str, value: Any) -> Callable[[bytes], bytes]:
    return changed(lambda answer: {**answer, name: value(answer) if callable(value) else value})


def nested(levels: int) -> dict[str, Any]:
    """JSON can be read this deep, and what was read not be written again at the end of a run."""
    value: dict[str, Any] = {}
    for _level in range(levels - 1):
        value = {"in": value}
    return value


def described(name: str) -> Callable[[bytes], bytes]:
    """Of every collection that is listed, one part of its description is nested deep."""
    return changed(lambda page: [{**collection, name: nested(600)} for collection in page])


DEEP = ("metadata", "configuration_json", "schema")

NONSENSE: dict[str, tuple[Callable[[Seen], bool], Callable[[bytes], bytes]]] = {
    "collections: an object": (listing, constant(b'{"collections": []}')),
    "collections: null": (listing, constant(b"null")),
    "collections: texts": (listing, constant(b'["things"]')),
    "collections: no name": (listing, constant(b'[{"id": "x"}]')),
    "collections: a number as name": (listing, constant(b'[{"id": "x", "name": 5}]')),
    "collections: metadata a list": (listing, changed(lambda page: [{**page[0], "metadata": []}])),
    "collections: dimension a text": (listing, changed(lambda page: [{**page[0], "dimension": "8"}])),
    **{f"collections: {name} deep": (listing, described(name)) for name in DEEP},
    "deep": (listing, constant(b"[" * 200_000 + b"]" * 200_000)),
    "not JSON": (listing, constant(b"<html>")),
    "cut off": (listing, lambda body: body[:-3]),
    "ids: null": (naming, column("ids", None)),
    "ids: numbers": (naming, column("ids", [1, 2, 3])),
    "ids: an object": (naming, constant(b"[]")),
    "documents: numbers": (reading, column("documents", lambda answer: [1] * len(answer["ids"]))),
    "documents: too few": (reading, column("documents", lambda answer: (answer["documents"] or [])[1:])),
    "metadata: deep": (reading, column("metadatas", lambda answer: [nested(600)] * len(answer["ids"]))),
    "metadata: texts": (reading, column("metadatas", lambda answer: ["x"] * len(answer["ids"]))),
    "uris: objects": (reading, column("uris", lambda answer: [{}] * len(answer["ids"]))),
    "embeddings: a text": (reading, column("embeddings", "many")),
    "embeddings: texts": (reading, column("embeddings", lambda answer: ["x"] * len(answer["ids"]))),
    "embeddings: rows of texts": (reading, column("embeddings", lambda answer: [["x"] * 8] * len(answer["ids"]))),
    "count: a text": (counting, constant(b'"many"')),
    "count: null": (counting, constant(b"null")),
    "count: negative": (counting, constant(b"-1")),
}


# Who reads, and the side that answers with nonsense.
READERS = [
    ("snapshot", "target"), ("migrate", "source"), ("migrate", "target"), ("rollback", "target"), ("validate", "source"), ("validate", "target"),
    ("server_info", "target"), ("monitor_info", "target"),
]  # fmt: skip
WATCH = {"duration": 0.2, "interval": 0.1, "searches": 2}


@pytest.mark.parametrize(("module", "side"), READERS, ids=["%s-%s" % reader for reader in READERS])
@pytest.mark.parametrize("name", list(NONSENSE))
def test_nonsense(name: str, module: str, side: str, case: Case, source_proxy: CountingProxy, target_proxy: CountingProxy) -> None:
    for place in (case.source, case.target):
        trap_data.write(place, CollectionData("things", RECORDS))
    if module == "rollback":
        case.snapshot()
    if module in ("rollback", "migrate"):
        case.target.delete(case.target.collection("things")["id"], ["r00"])
    manifests, before = manifests_of(case), case.target.contents()
    when, rewrite = NONSENSE[name]
    proxy = source_proxy if side == "source" else target_proxy
    proxy.faults.append(Fault("rewritten", when, times=None, rewrite=rewrite))
    case.through(source_proxy, target_proxy)
    if module == "server_info":
        result = run_module(module, {**case.target_endpoint, "gather": ["health", "collections", "traps"]}, fails=True)
    elif module == "monitor_info":
        result = run_module(module, {**case.target_endpoint, **WATCH}, fails=True)
    else:
        result = getattr(case, module)(fails=True, **({"snapshot_id": "latest"} if module == "rollback" else {}))
    assert proxy.faults[0].acted > 0
    assert result["failure_class"] in ("integrity", "drift"), result["msg"]
    assert "unexpectedly" not in result["msg"], result["msg"]
    assert proxy.url in result["msg"] or "things" in result["msg"]
    proxy.faults.clear()
    assert manifests_of(case) == manifests
    assert contents_differences(before, case.target.contents()) == []


def manifests_of(case: Case) -> list[str]:
    return sorted(path.name for path in (case.store / "manifests").glob("*"))


NAMES = ["notes-1", "notes-2", "notes-3", "notes-4", "notes-5"]


def half(answer: dict[str, Any]) -> dict[str, Any]:
    return {**answer, "ids": answer["ids"][::2]}


@pytest.mark.parametrize("rewrite", [changed(half), column("ids", [])], ids=["half of the ids", "no ids"])
@pytest.mark.parametrize("verb", ["snapshot", "migrate", "rollback"])
def test_a_listing_that_leaves_records_out(
    verb: str, rewrite: Callable[[bytes], bytes], case: Case, source_proxy: CountingProxy, target_proxy: CountingProxy
) -> None:
    """What is believed to be all would be a snapshot that lacks some, or the reason to delete the others."""
    for place in (case.source, case.target):
        trap_data.write(place, CollectionData("things", RECORDS))
    case.snapshot()
    case.target.delete(case.target.collection("things")["id"], ["r00"])
    manifests, contents = manifests_of(case), case.target.contents()
    for proxy in (source_proxy, target_proxy):
        proxy.faults.append(Fault("rewritten", naming, times=None, rewrite=rewrite))
    case.through(source_proxy, target_proxy)
    options: dict[str, Any] = {"migrate": {"prune": True}, "rollback": {"snapshot_id": "latest"}}.get(verb, {})
    failure = getattr(case, verb)(fails=True, **options)
    assert failure["failure_class"] == "integrity", failure["msg"]
    assert "'things'" in failure["msg"]
    assert "some would be left out" in failure["msg"]
    for proxy in (source_proxy, target_proxy):
        proxy.faults.clear()
    assert manifests_of(case) == manifests
    assert contents_differences(contents, case.target.contents()) == []


def test_pages_that_something_keeps_smaller(case: Case, source_proxy: CountingProxy, target_proxy: CountingProxy) -> None:
    """Of records and of collections: what comes is all, asked for in as many requests as it takes."""
    for name in NAMES:
        trap_data.write(case.source, CollectionData(name, RECORDS))
    source_proxy.faults.append(Fault("rewritten", naming, times=None, rewrite=changed(lambda answer: {**answer, "ids": answer["ids"][:5]})))
    source_proxy.faults.append(Fault("rewritten", listing, times=None, rewrite=changed(lambda page: page[:2])))
    case.through(source_proxy, target_proxy)
    assert sorted(collection["name"] for collection in case.migrate(prune=True)["collections"]) == NAMES
    source_proxy.faults.clear()
    assert case.differences() == []


def test_the_same_page_for_ever(case: Case, target_proxy: CountingProxy) -> None:
    """A full page each time makes the reader ask for the next one; it stops when nothing new comes."""
    trap_data.write(case.target, CollectionData("things", RECORDS))
    target_proxy.faults.append(Fault("rewritten", listing, times=None, rewrite=constant(MANY)))
    case.through(None, target_proxy).snapshot(check=True, fails=True)
    assert len([seen for seen in target_proxy.requests if listing(seen)]) <= 3


def test_an_answer_that_is_compressed_unasked(case: Case, target_proxy: CountingProxy) -> None:
    """A small answer could become any size."""
    trap_data.write(case.target, CollectionData("things", RECORDS))
    bomb = gzip.compress(b"[" + b" " * 50_000_000 + b"]")
    fault = Fault("rewritten", listing, times=None, rewrite=constant(bomb), headers=(("Content-Encoding", "gzip"),))
    target_proxy.faults.append(fault)
    result = case.through(None, target_proxy).snapshot(fails=True)
    assert result["failure_class"] == "integrity"
    assert "compressed" in result["msg"]


def test_an_answer_without_end(case: Case, target_proxy: CountingProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit of records is a gigabyte; here it is lowered, so that the test need not send one."""
    from ansible_collections.infrafabric.chromadb.plugins.module_utils._server import server

    trap_data.write(case.target, CollectionData("things", RECORDS))
    monkeypatch.setattr(server, "MAX_RECORDS_BYTES", 5_000_000)
    target_proxy.faults.append(Fault("rewritten", reading, times=None, rewrite=constant(b"[" + b"0," * 10_000_000)))
    result = case.through(None, target_proxy).snapshot(fails=True)
    assert result["failure_class"] == "integrity"
    assert "larger than" in result["msg"]


# What small values take most memory of, below the largest answer and beyond it.
LARGE = {"lists": b"[" + b"[]," * 8_000_000 + b"[]]", "objects": b"[" + b'{"a":1},' * 4_000_000 + b"1]", "beyond": b"[" + b"[]," * 24_000_000 + b"[]]"}


@pytest.mark.parametrize("kind", LARGE)
@pytest.mark.parametrize("when", [listing, reading, counting], ids=lambda when: str(when.__name__))
def test_a_large_answer_takes_little_more_memory_than_its_text(kind: str, when: Callable[[Seen], bool], case: Case, target_proxy: CountingProxy) -> None:
    trap_data.write(case.target, CollectionData("things", RECORDS))
    target_proxy.faults.append(Fault("rewritten", when, times=None, rewrite=constant(LARGE[kind])))
    run = Apart("snapshot", {**case.through(None, target_proxy).target_endpoint, "directory": str(case.store), "retries": 0})
    result = run.result(fails=True)
    assert result["failure_class"] == "integrity"
    assert ("larger than 67108864 bytes" if kind == "beyond" and when is not reading else "holds more than 4,000,000 values") in result["msg"]
    assert run.peak_bytes < (120 << 20) + 4 * len(LARGE[kind])


def test_headers_without_end(case: Case, target_proxy: CountingProxy) -> None:
    trap_data.write(case.target, CollectionData("things", RECORDS))
    headers = tuple(("X-Filler-%d" % n, "x" * 60_000) for n in range(150))
    target_proxy.faults.append(Fault("rewritten", listing, times=None, rewrite=lambda body: body, headers=headers))
    result = case.through(None, target_proxy).snapshot(fails=True, retries=1)
    assert result["failure_class"] == "unreachable", result["msg"]
    assert len(result["msg"]) < 1000
