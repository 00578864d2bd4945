# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""TLS over real sockets: what cannot be trusted gets no request, and so no token; redirects are never followed."""

from __future__ import annotations

import ssl
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography import x509

from ansible_collections.infrafabric.chromadb.plugins.module_utils._endpoint import Endpoint
from ansible_collections.infrafabric.chromadb.plugins.module_utils._server.http import new_session
from tests.support.authority import DAY, NOW, Authority
from tests.support.chroma_server import ChromaServer
from tests.support.counting_proxy import CountingProxy, Fault, every_request
from tests.support.raw import RawChroma
from tests.support.run_module import run_module

TOKEN = "token-that-must-not-travel"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def doors(authority: Authority, target_server: ChromaServer) -> Iterator[dict[str, CountingProxy]]:
    """One real server behind four certificates."""
    contexts = {
        "good": authority.server("good"),
        "self-signed": authority.server("self-signed", own=True),
        "wrong host": authority.server("wrong-host", names=[x509.DNSName("chroma.example.com")]),
        "expired": authority.server("expired", begin=NOW - 9 * DAY, end=NOW - 2 * DAY),
    }
    proxies = {name: CountingProxy(target_server.url, context) for name, context in contexts.items()}
    yield proxies
    for proxy in proxies.values():
        proxy.close()


def options(module: str, place: RawChroma, door: CountingProxy, directory: Path, **more: Any) -> dict[str, Any]:
    """The module's options with this door as its server, or as its target; a rollback has a snapshot to go back to."""
    endpoint = {**place.endpoint, "url": door.url, "token": TOKEN, "retries": 0, **more}
    if module == "monitor_info":
        return {**endpoint, "duration": 0.2, "interval": 0.1, "searches": 1}
    if module == "rollback":
        run_module("snapshot", {**place.endpoint, "directory": str(directory)})
        endpoint["snapshot_id"] = "latest"
    if module in ("migrate", "validate"):
        both: dict[str, Any] = {"source": place.fresh_database("tls").endpoint, "target": endpoint}
        return {**both, "state_directory": str(directory)} if module == "migrate" else both
    return {**endpoint, "directory": str(directory)} if module in ("snapshot", "rollback") else endpoint


MODULES = ("server_info", "snapshot", "migrate", "validate", "rollback", "monitor_info")


@pytest.mark.parametrize("door", ["self-signed", "wrong host", "expired"])
@pytest.mark.parametrize("module", MODULES)
def test_refused(module: str, door: str, doors: dict[str, CountingProxy], authority: Authority, target: RawChroma, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    proxy = doors[door]
    proxy.reset()
    result = run_module(module, options(module, target, proxy, tmp_path, ca_path=str(authority.path)), fails=True)
    assert result["failure_class"] == "tls", result["msg"]
    assert "127.0.0.1" in result["msg"]
    assert proxy.requests == [], "nothing may be sent to somebody who is not known"
    assert TOKEN not in str(result)


def test_unknown_authority(doors: dict[str, CountingProxy], target: RawChroma, tmp_path: Path) -> None:
    """Without ca_path the good certificate is nobody's."""
    doors["good"].reset()
    assert run_module("server_info", options("server_info", target, doors["good"], tmp_path), fails=True)["failure_class"] == "tls"
    assert doors["good"].requests == []


def test_trusted(doors: dict[str, CountingProxy], authority: Authority, target: RawChroma, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    for module in MODULES:
        doors["good"].reset()
        run_module(module, options(module, target, doors["good"], tmp_path, ca_path=str(authority.path)))
        assert doors["good"].requests, "it must have gone this way"


def test_not_checked_only_when_told_so(doors: dict[str, CountingProxy], target: RawChroma, tmp_path: Path) -> None:
    for door in doors.values():
        run_module("server_info", options("server_info", target, door, tmp_path, validate_certs=False))


def said_of_certificates(result: dict[str, Any]) -> list[str]:
    return [str(warning) for warning in result.get("warnings", []) if "validate_certs" in str(warning)]


@pytest.mark.parametrize("module", MODULES)
def test_not_checked_is_said(module: str, doors: dict[str, CountingProxy], authority: Authority, target: RawChroma, tmp_path: Path) -> None:
    """Where it means something: not without TLS. The audit log remembers it of what was saved and brought back."""
    tmp_path.chmod(0o700)
    door = doors["self-signed"]
    given = options(module, target, door, tmp_path, validate_certs=False)
    if module == "rollback":
        target.create("extra", None)
    (warning,) = said_of_certificates(run_module(module, given))
    for words in (door.url, "ca_path", "token"):
        assert words in warning
    assert ("target: " in warning) == (module in ("migrate", "validate"))
    assert TOKEN not in warning
    for unneeded in ({"ca_path": str(authority.path)}, {"url": target.url, "validate_certs": False}):
        assert said_of_certificates(run_module("server_info", options("server_info", target, doors["good"], tmp_path, **unneeded))) == []
    if module in ("snapshot", "rollback"):
        told = [entry["details"].get("certificates") for entry in run_module("audit_info", {"directory": str(tmp_path)})["entries"]]
        assert "unchecked" in told


def test_not_checked_is_said_of_each_server_and_of_failures(target: RawChroma) -> None:
    nobody = {"url": "https://127.0.0.1:9", "validate_certs": False, "retries": 0}
    result = run_module("validate", {"source": nobody, "target": {**nobody, "database": "other"}}, fails=True)
    assert ["source: " in warning for warning in said_of_certificates(result)] == [True, False]


def test_nothing_older_than_tls_1_2(authority: Authority) -> None:
    """The server and this client's OpenSSL would do it; the lowest version that the client asks for is what keeps it away."""
    old = authority.server("old")
    old.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    for validate_certs in (True, False):
        session = new_session(Endpoint("https://127.0.0.1", ca_path=str(authority.path), validate_certs=validate_certs))
        context = session.get_adapter("https://127.0.0.1").poolmanager.connection_pool_kw["ssl_context"]  # type: ignore[attr-defined]
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2
        context.set_ciphers("ALL:@SECLEVEL=0")
        with CountingProxy("http://127.0.0.1:9", old) as door:
            with pytest.raises(requests.exceptions.SSLError, match=r"(?i)protocol"):
                session.get(door.url)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                context.minimum_version = ssl.TLSVersion.TLSv1_1
            try:
                answered = session.get(door.url).status_code
            except requests.exceptions.SSLError:
                pytest.skip("this OpenSSL has no TLS 1.1 any more")
            assert answered == 502


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("module", MODULES)
def test_a_redirect_takes_no_token_elsewhere(
    module: str, status: int, target: RawChroma, target_proxy: CountingProxy, source_proxy: CountingProxy, tmp_path: Path
) -> None:
    tmp_path.chmod(0o700)
    elsewhere = (("Location", source_proxy.url + "/api/v2/heartbeat"),)
    target_proxy.faults.append(Fault("status", every_request, times=None, status=status, headers=elsewhere))
    result = run_module(module, options(module, target, target_proxy, tmp_path), fails=True)
    assert result["failure_class"] == "version", result["msg"]
    assert "redirect" in result["msg"]
    assert source_proxy.requests == []


def test_plain_http_where_tls_is_asked_for(target: RawChroma) -> None:
    result = run_module("server_info", {"url": target.endpoint["url"].replace("http://", "https://"), "token": TOKEN, "retries": 0}, fails=True)
    assert result["failure_class"] == "tls"
    assert "does not speak TLS" in result["msg"]
    assert "Begin url with http://" in result["msg"]
