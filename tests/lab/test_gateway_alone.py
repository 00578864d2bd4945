# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The gateway on this machine, in front of two real servers, and in front of one that shows what reached it."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Callable

import pytest

from tests.support.chroma_server import ChromaServer
from tests.support.raw import RawChroma

from .echo_server import EchoServer
from .gateway import LocalGateway
from .load import Known, Load

DATABASE = "/api/v2/tenants/default_tenant/databases/default_database"


def poll(what: Callable[[], object], seconds: float = 20.0) -> float:
    """Wait until something holds; how long it took."""
    began = time.monotonic()
    while not what():
        assert time.monotonic() - began < seconds, "still not so after %g s" % seconds
        time.sleep(0.02)
    return time.monotonic() - began


class Pair:
    """A source and a target with the same collection under two UUIDs, and the gateway in front."""

    def __init__(self, gateway: LocalGateway, source: RawChroma, target: RawChroma) -> None:
        self.gateway, self.source, self.target = gateway, source, target
        self.on_source = str(source.collection("demo")["id"])
        self.on_target = str(target.collection("demo")["id"])

    def collection(self, uuid: str) -> str:
        return "%s/collections/%s" % (DATABASE, uuid)

    def ids(self, server: RawChroma, uuid: str) -> set[str]:
        answer = server.session.post(server.url + self.collection(uuid) + "/get", json={"include": []}, timeout=60)
        return set(answer.json()["ids"])


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[RawChroma, RawChroma]]:
    with ChromaServer() as first, ChromaServer() as second:
        places = RawChroma(first.url), RawChroma(second.url)
        for place in places:
            uuid = place.create("demo")
            body = {"ids": ["r%d" % n for n in range(100)], "embeddings": [[n, 1.0, 2.0, 3.0] for n in range(100)]}
            place.session.post("%s%s/collections/%s/add" % (place.url, DATABASE, uuid), json=body, timeout=60).raise_for_status()
        yield places


@pytest.fixture(scope="module")
def installed(servers: tuple[RawChroma, RawChroma], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    source, target = servers
    gateway = LocalGateway(tmp_path_factory.mktemp("gateway"), source.url)
    assert gateway.role(gateway_verify=True) > 0
    try:
        yield Pair(gateway, source, target)
    finally:
        gateway.remove()
        assert not gateway.command.exists()


@pytest.fixture
def pair(installed: Pair) -> Iterator[Pair]:
    yield installed
    installed.gateway.call("thaw")
    installed.gateway.call("unswitch")


def test_a_second_installation_changes_nothing(pair: Pair) -> None:
    assert pair.gateway.role() == 0
    assert pair.gateway.role("main", "--check") == 0


def test_the_gateway_without_a_target_refuses_the_switch(pair: Pair) -> None:
    pair.gateway.call("freeze")
    assert "without a target" in str(pair.gateway.call("switch", check=False)["error"])


def test_while_frozen_reads_pass_and_every_write_is_refused(pair: Pair) -> None:
    gateway, at = pair.gateway, pair.collection(pair.on_source)
    record = {"ids": ["new"], "embeddings": [[1.0, 2.0, 3.0, 4.0]]}
    before = pair.ids(pair.source, pair.on_source)
    assert gateway.call("freeze")["changed"] is True
    assert gateway.call("freeze")["changed"] is False
    reads: list[tuple[str, str, object]] = [
        ("GET", "/api/v2/heartbeat", None),
        ("GET", DATABASE + "/collections", None),
        ("GET", DATABASE + "/collections/demo", None),
        ("GET", at + "/count", None),
        ("POST", at + "/get", {"limit": 1}),
        ("POST", at + "/get?limit=1", {"limit": 1}),
        ("POST", at + "/query", {"query_embeddings": [[1.0, 2.0, 3.0, 4.0]], "n_results": 1}),
    ]
    for method, path, body in reads:
        assert gateway.request(method, path, body)[0] == 200, path
    writes: list[tuple[str, str, object]] = [
        ("POST", at + "/add", record),
        ("POST", at + "/upsert", record),
        ("POST", at + "/update", {"ids": ["r1"], "documents": ["changed"]}),
        ("POST", at + "/delete", {"ids": ["r1"]}),
        ("POST", at + "//add", record),
        ("POST", at + "/add/", record),
        ("POST", at + "/add?x=/get", record),
        ("POST", at + "/add%3F/get/../../add", record),
        ("POST", at + "/%61dd", record),
        ("POST", at + "/get/../add", record),
        ("POST", at + "/add/..%2fget", record),
        ("POST", at + "/fork", {"new_name": "copy"}),
        ("POST", DATABASE + "/collections", {"name": "new"}),
        ("POST", DATABASE + "/collections/", {"name": "new"}),
        ("PUT", at, {"new_name": "renamed"}),
        ("DELETE", DATABASE + "/collections/demo", None),
        ("POST", "/api/v2/tenants", {"name": "new"}),
        ("PATCH", "/api/v2/tenants/default_tenant", {"resource_name": "x"}),
        ("POST", "/api/v2/reset", None),
        ("POST", "/api/v1/reset", None),
    ]
    for method, path, body in writes:
        status, text, headers = gateway.request(method, path, body)
        assert (status, headers["content-type"]) == (403, "application/json"), path
        assert json.loads(text)["error"] == "ReadOnly"
    assert pair.ids(pair.source, pair.on_source) == before
    assert pair.source.names() == ["demo"]
    assert gateway.call("thaw")["changed"] is True
    assert gateway.call("thaw")["changed"] is False
    assert gateway.request("POST", at + "/upsert", record)[0] == 200


def test_the_freeze_ends_by_itself_unless_it_is_renewed(pair: Pair) -> None:
    gateway, at = pair.gateway, pair.collection(pair.on_source)
    began = time.monotonic()
    first = gateway.call("freeze", "--seconds", "2")
    poll(lambda: time.monotonic() - began > 1)
    renewed = time.monotonic()
    assert gateway.call("freeze", "--seconds", "3")["token"] == first["token"]
    poll(lambda: time.monotonic() - began > 2.5)
    assert gateway.call("status")["state"] == "read_only"
    poll(lambda: gateway.request("POST", at + "/upsert", {"ids": ["late"], "embeddings": [[1, 2, 3, 4]]})[0] == 200)
    assert 2.9 < time.monotonic() - renewed < 8
    assert gateway.call("status")["state"] == "open"


def test_check_mode_tells_and_does_nothing(pair: Pair) -> None:
    gateway = pair.gateway
    assert gateway.role("freeze", "--check") == 1
    assert gateway.call("status")["state"] == "open"
    assert gateway.role("freeze", gateway_freeze_seconds=600) == 1
    assert gateway.role("thaw", "--check") == 1
    assert gateway.call("status")["state"] == "read_only"
    assert gateway.role("thaw") == 1


def test_clients_notice_nothing_but_the_frozen_seconds(pair: Pair) -> None:
    """Under load: a map is loaded, reads never fail, writes are refused only while frozen and are all where they belong."""
    gateway = pair.gateway
    maps = {
        "gateway_target_url": pair.target.url,
        "gateway_source_collections": [{"name": "demo", "id": pair.on_source}],
        "gateway_target_collections": [{"name": "demo", "id": pair.on_target}],
    }
    gateway.variables.update(maps)
    frozen: list[tuple[float, float]] = []

    def freeze_for(*steps: str) -> None:
        began = time.monotonic()
        token = str(gateway.call("freeze")["token"])
        for step in steps:
            assert gateway.call(*step.split(), *(["--token", token] if step == "switch" else []))["changed"] is True
        poll(lambda: time.monotonic() - began > 0.5)
        gateway.call("thaw")
        frozen.append((began, time.monotonic()))

    known = Known(Known.of(pair.source, pair.on_source).records, 100)
    with Load(gateway.url, pair.on_source, known) as load:
        assert gateway.role("map") > 0
        for _turn in range(5):
            gateway.call("reload", "router")
            seen = len(load.tally.acknowledged)
            poll(lambda seen=seen: len(load.tally.acknowledged) > seen + 5)  # type: ignore[misc]
        freeze_for()
        poll(lambda: len(load.tally.acknowledged) > 60)
        switch_began = time.monotonic()
        freeze_for("switch")
        switched = time.monotonic()
        poll(lambda: max(load.tally.acknowledged.values()) > switched + 1)
        # A client that learned the target's UUID now must be served after the way back, too.
        with Load(gateway.url, pair.on_target, known, readers=1, writers=0) as newcomer:
            freeze_for("unswitch")
            back = time.monotonic()
            poll(lambda: max(load.tally.acknowledged.values()) > back + 1)
    tally = load.tally
    assert tally.failed_reads == newcomer.tally.failed_reads == []
    assert tally.failed_writes == []
    assert newcomer.tally.reads > 5
    assert tally.reads > 100
    # A client's thread may be late to note an answer: half a second of grace.
    assert all(any(start <= moment <= end + 0.5 for start, end in frozen) for moment in tally.refused), (tally.refused, frozen)
    on_source, on_target = pair.ids(pair.source, pair.on_source), pair.ids(pair.target, pair.on_target)
    assert set(tally.acknowledged) <= on_source | on_target
    assert {name for name, moment in tally.acknowledged.items() if moment < switch_began or moment > back + 0.5} <= on_source - on_target
    assert {name for name, moment in tally.acknowledged.items() if switched + 0.5 < moment < frozen[-1][0]} <= on_target - on_source


def test_a_switched_gateway_keeps_its_target_and_its_map(pair: Pair) -> None:
    """The role again, with what it was first installed with: its clients would be at the source, or would not find what they hold."""
    gateway = pair.gateway
    assert gateway.call("--check", "switch", "--without-freeze")["changed"] is True, "the map of a run in check mode is not loaded"
    maps: dict[str, object] = {
        "gateway_target_url": pair.target.url,
        "gateway_source_collections": [{"name": "demo", "id": pair.on_source}],
        "gateway_target_collections": [{"name": "demo", "id": pair.on_target}],
    }
    gateway.role("map", **maps)
    token = str(gateway.call("freeze")["token"])
    gateway.call("switch", "--token", token, "--thaw")
    assert "somebody else has moved the clients" in str(gateway.call("switch", "--token", token, check=False)["error"])
    answered = gateway.request("GET", "/api/v2/tenants/default_tenant/databases/default_database/collections/%s/count" % pair.on_source)
    unknown: dict[str, object] = {"gateway_target_url": pair.target.url, "gateway_source_collections": [], "gateway_target_collections": []}
    for lacking in (unknown, {**unknown, "gateway_target_url": ""}):
        with pytest.raises(AssertionError, match="The gateway is switched, with 1 pairs of collections"):
            gateway.role(**lacking)
    assert gateway.role(**maps) == 0
    assert gateway.role(**maps, gateway_timeout_seconds=77) > 0
    assert gateway.request("GET", "/api/v2/tenants/default_tenant/databases/default_database/collections/%s/count" % pair.on_source)[1] == answered[1]
    assert answered[0] == 200
    assert answered[2]["x-chromadb-gateway"] == "target"


def test_the_switch_needs_the_freeze_that_was_meant(pair: Pair) -> None:
    gateway = pair.gateway
    gateway.variables["gateway_target_url"] = pair.target.url
    gateway.role("map")
    assert "not frozen" in str(gateway.call("switch", check=False)["error"])
    earlier = str(gateway.call("freeze")["token"])
    gateway.call("thaw")
    gateway.call("freeze")
    assert "another one" in str(gateway.call("switch", "--token", earlier, check=False)["error"])
    assert gateway.call("status")["switched"] is False
    assert gateway.call("switch")["changed"] is True
    assert gateway.call("switch")["changed"] is False
    assert gateway.call("unswitch")["changed"] is True
    assert gateway.call("unswitch")["changed"] is False
    gateway.call("freeze")
    assert gateway.call("switch", "--thaw")["changed"] is True
    status = gateway.call("status")
    assert (status["frozen"], status["switched"]) == (False, True)
    assert gateway.call("unswitch")["changed"] is True
    gateway.call("thaw")
    assert gateway.call("switch", "--without-freeze")["changed"] is True


@pytest.fixture(scope="module")
def echoing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LocalGateway, EchoServer, EchoServer]]:
    with EchoServer() as source, EchoServer() as target:
        gateway = LocalGateway(tmp_path_factory.mktemp("gateway"), source.url, target.url)
        gateway.variables["gateway_collections"] = [
            {"source": "%08d-1111-1111-1111-111111111111" % n, "target": "%08d-2222-2222-2222-222222222222" % n} for n in range(3000)
        ]
        gateway.role()
        try:
            yield gateway, source, target
        finally:
            gateway.call("stop")


HELD = "00000007-1111-1111-1111-111111111111"
THERE = "00000007-2222-2222-2222-222222222222"


@pytest.mark.parametrize(
    ("sent", "translated"),
    [
        ("/api/v1/collections/%s/get", True),
        ("/api/v1/collections/%s?tenant=a%%20b", True),
        ("/api/v2/tenants/a%%2Fb/databases/d/collections/%s/query?x=%%2F&y=//", True),
        ("/api/v2/tenants/t/databases/d/collections/by-id/%s", True),
        ("/api/v2/tenants/t/databases/d/collections/%s0/get", False),
        ("/api/v2/tenants/t/databases/d/collections/x?id=/collections/%s", False),
        ("/api/v2/tenants/%s/databases", False),
    ],
)
def test_paths_arrive_as_they_were_sent_but_for_the_uuid(echoing: tuple[LocalGateway, EchoServer, EchoServer], sent: str, translated: bool) -> None:
    gateway, _source, _target = echoing
    assert gateway.request("POST", sent % HELD)[1] == "POST " + sent % HELD
    assert gateway.request("POST", sent % THERE)[1] == "POST " + sent % (HELD if translated else THERE)
    gateway.call("switch", "--without-freeze")
    try:
        assert gateway.request("POST", sent % HELD)[1] == "POST " + sent % (THERE if translated else HELD)
        assert gateway.request("POST", sent % THERE)[1] == "POST " + sent % THERE
    finally:
        gateway.call("unswitch")


def test_the_freeze_waits_for_writes_in_flight(echoing: tuple[LocalGateway, EchoServer, EchoServer]) -> None:
    """Also for a write whose client has gone away: the server is still at work on it."""
    gateway, source, _target = echoing
    source.answering.clear()
    write = "/api/v1/collections/%s/add" % HELD
    content = b'{"ids": ["1"]}'
    with socket.create_connection(("127.0.0.1", gateway.port)) as client:
        client.sendall(b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (write.encode(), len(content), content))
        poll(lambda: any(write in line for line in source.arrived))
    freezing = gateway.start_call("freeze", "--drain-seconds", "30")
    poll(lambda: gateway.call("status")["frozen"])
    assert gateway.request("POST", "/api/v1/collections/%s/get" % HELD)[0] == 200
    assert freezing.poll() is None
    source.answering.set()
    output, _errors = freezing.communicate(timeout=30)
    assert freezing.returncode == 0
    assert json.loads(output)["drain_seconds"] > 0
    assert any(write in line for line in source.finished)
    gateway.call("thaw")


@contextmanager
def a_write_that_does_not_end(gateway: LocalGateway, source: EchoServer) -> Iterator[None]:
    """It is with the server, which does not answer it."""
    source.answering.clear()
    before = len(source.arrived)
    with socket.create_connection(("127.0.0.1", gateway.port)) as client:
        client.sendall(b"DELETE /api/v1/collections/x HTTP/1.1\r\nHost: x\r\n\r\n")
        poll(lambda: len(source.arrived) > before)
        yield


def test_a_write_that_does_not_end_takes_the_freeze_back(echoing: tuple[LocalGateway, EchoServer, EchoServer]) -> None:
    gateway, source, _target = echoing
    with a_write_that_does_not_end(gateway, source):
        answer = gateway.call("freeze", "--drain-seconds", "0.5", check=False)
        assert "still in flight" in str(answer["error"])
        assert "The freeze was taken back." in str(answer["error"])
        assert gateway.call("status")["state"] == "open"
        source.answering.set()


def test_a_freeze_that_stood_before_is_not_taken_back(echoing: tuple[LocalGateway, EchoServer, EchoServer]) -> None:
    gateway, source, _target = echoing
    with a_write_that_does_not_end(gateway, source):
        first = gateway.start_call("freeze", "--drain-seconds", "30")
        poll(lambda: gateway.call("status")["frozen"])
        said = str(gateway.call("freeze", "--drain-seconds", "0.5", check=False)["error"])
        assert "still in flight" in said
        assert "taken back" not in said
        assert "stands" in said
        assert gateway.call("status")["frozen"]
        source.answering.set()
        first.communicate(timeout=30)
    gateway.call("thaw")


def test_a_write_that_is_still_being_sent_is_refused_when_it_is_complete(echoing: tuple[LocalGateway, EchoServer, EchoServer]) -> None:
    """A slow sender neither holds the freeze up nor slips through it."""
    gateway, source, _target = echoing
    with socket.create_connection(("127.0.0.1", gateway.port)) as client:
        client.sendall(b"POST /api/v1/collections/slow/add HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345")
        assert float(str(gateway.call("freeze")["seconds"])) < 5
        client.sendall(b"67890")
        assert b" 403 " in client.recv(4096).splitlines()[0]
    assert not any("/slow/" in line for line in source.arrived)
    gateway.call("thaw")


def test_a_gateway_that_does_not_run_freezes_nothing(echoing: tuple[LocalGateway, EchoServer, EchoServer]) -> None:
    gateway, _source, _target = echoing
    gateway.call("stop")
    try:
        assert "does not run" in str(gateway.call("freeze", check=False)["error"])
        assert gateway.call("status")["frozen"] is False
    finally:
        gateway.call("start")
    assert gateway.call("start")["changed"] is False
