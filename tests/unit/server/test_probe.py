# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which release a server is, told from what it answers; a server in trouble is not taken for an older one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils._endpoint import Endpoint
from ansible_collections.infrafabric.chromadb.plugins.module_utils._errors import OperationError, UsageError, VersionError
from ansible_collections.infrafabric.chromadb.plugins.module_utils._server.http import StatusError
from ansible_collections.infrafabric.chromadb.plugins.module_utils._server.probe import connect
from tests.support.scripted_server import Reply, ScriptedServer

HEARTBEAT = {"nanosecond heartbeat": 1}
DATABASE = "/tenants/default_tenant/databases/default_database"
ANCIENT = {"/api/v1/heartbeat": HEARTBEAT, "/api/v1/version": "0.3.29"}
OLD = {
    **ANCIENT,
    "/api/v1/version": "0.4.24",
    "/api/v1/pre-flight-checks": {"max_batch_size": 166},
    "/api/v1/tenants/default_tenant": {},
    "/api/v1/databases/default_database": {},
}
NEW = {
    "/api/v2/heartbeat": HEARTBEAT,
    "/api/v2/version": "1.0.0",
    "/api/v2/pre-flight-checks": {"max_batch_size": 1000, "supports_base64_encoding": True},
    "/api/v2/tenants/default_tenant": {},
    "/api/v2" + DATABASE: {},
}
MIDDLE = {**NEW, "/api/v2/version": "0.6.3", "/api/v2/pre-flight-checks": {"max_batch_size": 166}, "/api/v1/version": Reply(200, "0.6.3")}
LISTS = {"components": {"schemas": {"HashMap": {"additionalProperties": {"oneOf": [{"type": "string"}, {"type": "array"}]}}}}}


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as running:
        yield running


def script(server: ScriptedServer, answers: dict[str, Any]) -> Endpoint:
    server.answers = {("GET", path): answer for path, answer in answers.items()}
    return Endpoint(server.url, retries=0)


@pytest.mark.parametrize(
    ("answers", "api", "generation", "batch", "base64"),
    [
        (ANCIENT, "v1", "0.3", 5461, False),
        (OLD, "v1", "0.4", 166, False),
        ({**OLD, "/api/v1/pre-flight-checks": {"max_batch_size": "many"}}, "v1", "0.4", 5461, False),
        (MIDDLE, "v2", "0.5", 166, False),
        ({**MIDDLE, "/api/v1/version": Reply(401, {})}, "v2", None, 0, False),
        (NEW, "v2", "1.0", 1000, True),
        ({**NEW, "/api/v1/version": Reply(410, {}), "/openapi.json": LISTS}, "v2", "1.5", 1000, True),
        ({**NEW, "/openapi.json": ["no description"]}, "v2", "1.0", 1000, True),
    ],
)
def test_releases_are_told_apart(server: ScriptedServer, answers: dict[str, Any], api: str, generation: Any, batch: int, base64: bool) -> None:
    endpoint = script(server, answers)
    if generation is None:
        with pytest.raises(OperationError):
            connect(endpoint)
        return
    found = connect(endpoint)
    found.close()
    known = found.capabilities
    assert (found.api, known.generation, known.max_batch, known.base64_vectors) == (api, generation, batch, base64)
    assert found.version == answers["/api/%s/version" % api]
    assert known.tenants is (answers is not ANCIENT)


@pytest.mark.parametrize("answers", [{}, {"/api/v2/heartbeat": "pong"}, {"/api/v1/heartbeat": {"status": "up"}}, {"/api/v2/heartbeat": Reply(200, b"<html>")}])
def test_what_is_no_chroma_is_not_used(server: ScriptedServer, answers: dict[str, Any]) -> None:
    with pytest.raises(VersionError, match="not as a Chroma server does"):
        connect(script(server, answers))


@pytest.mark.parametrize(
    ("answers", "missing"),
    [
        ({**OLD, "/api/v1/tenants/default_tenant": Reply(500, {"error": "NotFoundError('Tenant default_tenant not found')"})}, "the tenant 'default_tenant'"),
        ({**OLD, "/api/v1/databases/default_database": Reply(404, {})}, "the database 'default_database' in the tenant 'default_tenant'"),
        ({**NEW, "/api/v2/tenants/default_tenant": Reply(400, {"message": "unknown"})}, "the tenant 'default_tenant'"),
        ({**MIDDLE, "/api/v2" + DATABASE: Reply(500, {"error": "Could not find the database"})}, "the database 'default_database'"),
    ],
)
def test_a_tenant_or_database_that_is_not_there_is_named(server: ScriptedServer, answers: dict[str, Any], missing: str) -> None:
    with pytest.raises(UsageError, match=f"does not have {missing}"):
        connect(script(server, answers))


def test_a_release_without_tenants_holds_no_other_than_the_default(server: ScriptedServer) -> None:
    script(server, ANCIENT)
    with pytest.raises(UsageError, match="too old to know tenants; it cannot hold ours/default_database"):
        connect(Endpoint(server.url, tenant="ours"))


@pytest.mark.parametrize("path", ["/api/v1/pre-flight-checks", "/api/v1/tenants/default_tenant", "/api/v1/databases/default_database"])
def test_trouble_is_not_taken_for_an_older_release(server: ScriptedServer, path: str) -> None:
    with pytest.raises(StatusError, match="answered 500 to GET " + path):
        connect(script(server, {**OLD, path: Reply(500, {"error": "database is locked"})}))


@pytest.mark.parametrize("path", ["/api/v1/version", "/openapi.json", "/api/v2/pre-flight-checks"])
def test_trouble_of_a_new_server_is_not_taken_for_an_older_release(server: ScriptedServer, path: str) -> None:
    with pytest.raises(StatusError, match="answered 500 to GET " + path):
        connect(script(server, {**NEW, path: Reply(500, {"error": "internal"})}))


@pytest.mark.parametrize("answers", [NEW, OLD], ids=["v2", "v1"])
def test_a_version_that_repeats_a_token_is_not_kept(server: ScriptedServer, answers: dict[str, Any]) -> None:
    path = next(path for path in answers if path.endswith("/version"))
    endpoint = replace(script(server, {**answers, path: "1.0.0 \x1b[2J of a-token-51c4 " + "x" * 1000}), token="a-token-51c4")
    found = connect(endpoint)
    found.close()
    assert found.version == ("1.0.0 \\x1b[2J of ******** " + "x" * 1000)[:64]
