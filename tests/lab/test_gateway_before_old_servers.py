# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The gateway in front of real servers of API v1: what is a read, what is refused, and whose UUIDs are whose."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.chroma_server import ChromaServer
from tests.support.raw import RawChroma, Record

from .gateway import LocalGateway

VERSION = "0.4.24"
COLLECTIONS = "/api/v1/collections"
VECTOR = [1.0, 2.0, 3.0]


def filled(url: str, held: str) -> tuple[RawChroma, str]:
    """A server with one record, whose document says where it is."""
    server = RawChroma(url)
    uuid = server.create("demo")
    server.add(uuid, [Record("r", VECTOR, held, {"n": 1})])
    return server, uuid


def test_every_state_before_servers_of_api_v1(tmp_path: Path) -> None:
    with ChromaServer(VERSION) as first, ChromaServer(VERSION) as second:
        (source, on_source), (target, on_target) = filled(first.url, "old"), filled(second.url, "new")
        assert not source.v2
        gateway = LocalGateway(tmp_path, source.url, target.url)
        gateway.variables["gateway_collections"] = [{"source": on_source, "target": on_target}]
        gateway.role(gateway_verify=True)

        def ask(verb: str, uuid: str, body: dict[str, object]) -> tuple[int, object]:
            status, text, _headers = gateway.request("POST", "%s/%s/%s" % (COLLECTIONS, uuid, verb), body)
            return status, json.loads(text)

        def documents(uuid: str) -> object:
            """By `get` and by `query`, which have to agree."""
            status, answer = ask("get", uuid, {"include": ["documents"], "ids": ["r"]})
            assert status == 200, answer
            status, found = ask("query", uuid, {"query_embeddings": [VECTOR], "n_results": 1, "include": ["documents"]})
            assert status == 200, found
            assert isinstance(answer, dict)
            assert isinstance(found, dict)
            assert found["documents"] == [answer["documents"]]
            return answer["documents"]

        def write(identifier: str) -> int:
            return ask("add", on_source, {"ids": [identifier], "embeddings": [VECTOR], "documents": ["w"], "metadatas": [{"n": 2}]})[0]

        try:
            # Open. A client of either server is served.
            assert documents(on_source) == documents(on_target) == ["old"]
            assert write("while open") == 201

            # Frozen.
            gateway.call("freeze")
            assert documents(on_source) == ["old"]
            for path in ("/api/v1/heartbeat", "/api/v1/version", COLLECTIONS, COLLECTIONS + "/demo", "%s/%s/count" % (COLLECTIONS, on_source)):
                assert gateway.request("GET", path)[0] == 200, path
            # What every client of these releases asks for before anything else.
            assert gateway.request("GET", "/api/v1/tenants/default_tenant")[0] == 200
            assert write("while frozen") == 403
            at = "%s/%s" % (COLLECTIONS, on_source)
            for method, path in (
                ("POST", COLLECTIONS),
                ("PUT", at),
                ("DELETE", COLLECTIONS + "/demo"),
                ("POST", at + "/upsert"),
                ("POST", at + "/update"),
                ("POST", at + "/delete"),
                ("POST", "/api/v1/reset"),
                ("POST", "/api/v1/tenants"),
                ("POST", "/api/v1/databases"),
            ):
                status, text, _headers = gateway.request(method, path, {"name": "x", "new_name": "x", "ids": ["r"]})
                assert (status, json.loads(text)["error"]) == (403, "ReadOnly"), path

            # Switched, by both UUIDs.
            gateway.call("switch", "--thaw")
            assert documents(on_source) == documents(on_target) == ["new"]
            assert write("while switched") == 201

            # And back.
            gateway.call("freeze")
            gateway.call("unswitch")
            gateway.call("thaw")
            assert documents(on_source) == documents(on_target) == ["old"]
        finally:
            gateway.remove()
        assert set(source.records(on_source)) == {"r", "while open"}
        assert set(target.records(on_target)) == {"r", "while switched"}
        assert source.names() == target.names() == ["demo"]
