# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Find out what answers at an endpoint, and what it can do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from .._endpoint import Endpoint
from .._errors import IntegrityError, UsageError, VersionError
from .._printable import printable
from .api_v1 import ServerV1
from .api_v2 import ServerV2
from .capabilities import CHROMA_0_3, CHROMA_0_4, CHROMA_0_5, CHROMA_1_0, CHROMA_1_5, Capabilities
from .http import HttpClient, StatusError, quoted
from .server import Server

HEARTBEAT = "nanosecond heartbeat"
LONGEST_VERSION = 64


def connect(endpoint: Endpoint) -> Server:
    """The server at this endpoint, proved to be a Chroma that holds the tenant and the database.

    Raises UnreachableError (no answer), VersionError (no supported Chroma), UsageError (unknown tenant or database),
    AuthError, TlsError.
    """
    http = HttpClient(endpoint)
    try:
        if _beats(http, "/api/v2/heartbeat"):
            return _connect_v2(http)
        if _beats(http, "/api/v1/heartbeat"):
            return _connect_v1(http)
    except BaseException:
        http.close()
        raise
    http.close()
    raise VersionError(
        f"{endpoint.url} answers, but not as a Chroma server does (no heartbeat under /api/v2 or /api/v1). "
        "Check the address, the port and any path before /api."
    )


def _beats(http: HttpClient, path: str) -> bool:
    try:
        answer = http.call("GET", path)
    except (StatusError, IntegrityError):
        return False
    return isinstance(answer, dict) and HEARTBEAT in answer


def _connect_v2(http: HttpClient) -> Server:
    endpoint = http.endpoint
    version = _version(http, "/api/v2/version")
    limits = _optional(http, "/api/v2/pre-flight-checks") or {}
    capabilities = _v2_capabilities(http, limits)
    _require(http, f"/api/v2/tenants/{quoted(endpoint.tenant)}", f"the tenant {endpoint.tenant!r}")
    path = f"/api/v2/tenants/{quoted(endpoint.tenant)}/databases/{quoted(endpoint.database)}"
    _require(http, path, f"the database {endpoint.database!r} in the tenant {endpoint.tenant!r}")
    return ServerV2(http, version, capabilities)


def _version(http: HttpClient, path: str) -> str:
    """As the server calls it, which goes into manifests and reports: short, and without a token that it was sent."""
    return printable(http.without_secrets(str(http.call("GET", path))))[:LONGEST_VERSION]


def _v2_capabilities(http: HttpClient, limits: dict[str, Any]) -> Capabilities:
    if not _gone(http, "/api/v1/version"):
        capabilities = CHROMA_0_5
    else:
        # Every 1.x says 1.0.0 of itself, so its own description of the interface tells the releases apart.
        description = _optional(http, "/openapi.json") or {}
        schemas = description.get("components", {}).get("schemas", {})
        values = schemas.get("HashMap", {}).get("additionalProperties", {}).get("oneOf", [])
        takes_lists = any(value.get("type") == "array" for value in values)
        capabilities = CHROMA_1_5 if takes_lists else CHROMA_1_0
        capabilities = replace(capabilities, schemas="schema" in schemas.get("CreateCollectionPayload", {}).get("properties", {}))
    return _limited(capabilities, limits)


def _connect_v1(http: HttpClient) -> Server:
    endpoint = http.endpoint
    version = _version(http, "/api/v1/version")
    limits = _optional(http, "/api/v1/pre-flight-checks")
    if limits is None:
        if (endpoint.tenant, endpoint.database) != ("default_tenant", "default_database"):
            raise UsageError(f"{endpoint.url} is too old to know tenants; it cannot hold {endpoint.tenant}/{endpoint.database}.")
        return ServerV1(http, version, CHROMA_0_3)
    _require(http, f"/api/v1/tenants/{quoted(endpoint.tenant)}", f"the tenant {endpoint.tenant!r}")
    path = f"/api/v1/databases/{quoted(endpoint.database)}?tenant={quoted(endpoint.tenant)}"
    _require(http, path, f"the database {endpoint.database!r} in the tenant {endpoint.tenant!r}")
    return ServerV1(http, version, _limited(CHROMA_0_4, limits))


def _limited(capabilities: Capabilities, limits: dict[str, Any]) -> Capabilities:
    largest = limits.get("max_batch_size")
    batch = largest if isinstance(largest, int) and largest > 0 else capabilities.max_batch
    return replace(capabilities, max_batch=batch, base64_vectors=bool(limits.get("supports_base64_encoding", False)))


def _optional(http: HttpClient, path: str) -> dict[str, Any] | None:
    try:
        answer = http.call("GET", path)
    except StatusError as error:
        _require_an_answer(error)
        return None
    return answer if isinstance(answer, dict) else None


def _gone(http: HttpClient, path: str) -> bool:
    try:
        http.call("GET", path)
    except StatusError as error:
        _require_an_answer(error)
        return error.status in (404, 405, 410)
    return False


def _require_an_answer(error: StatusError) -> None:
    """A server that fails for a moment must not be taken for one of another release, which holds less."""
    if error.status >= 500:
        raise error


def _require(http: HttpClient, path: str, what: str) -> None:
    try:
        http.call("GET", path)
    except StatusError as error:
        # Old servers answer an unknown name with 500 and the words of their exception.
        if error.status in (400, 404) or "not found" in error.reason.lower() or "Could not find" in error.reason:
            raise UsageError(f"{http.endpoint.url} does not have {what}. Create it there, or correct the option.") from None
        raise
