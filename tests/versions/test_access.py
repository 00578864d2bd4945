# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ways to a server: every scheme of authentication that releases had, TLS with a private authority, tenants and databases."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

import pytest
from cryptography import x509

from tests.support import trap_data
from tests.support.authority import Authority
from tests.support.case import ANY_SPEED
from tests.support.chroma_server import ChromaServer
from tests.support.counting_proxy import CountingProxy
from tests.support.equality import differences
from tests.support.raw import RawChroma, Record
from tests.support.run_module import run_module
from tests.support.server_versions import CURRENT, environment
from tests.support.trap_data import CollectionData

# No colon: 0.4.24 splits name and password at every one.
TOKEN, USER, PASSWORD = "a-long-token", "admin", "p\u00e4ss word"


@dataclass(frozen=True)
class Scheme:
    """`settings` of the server, given a directory for its files; `options` of the endpoint; `headers` for the tests' own client."""

    name: str
    release: str
    settings: Callable[[Path], Mapping[str, str]]
    options: Mapping[str, str]
    headers: Mapping[str, str]


def old_token(header: str) -> Callable[[Path], Mapping[str, str]]:
    return lambda _directory: {
        "CHROMA_SERVER_AUTH_PROVIDER": "chromadb.auth.token.TokenAuthServerProvider",
        "CHROMA_SERVER_AUTH_CREDENTIALS_PROVIDER": "chromadb.auth.token.TokenConfigServerAuthCredentialsProvider",
        "CHROMA_SERVER_AUTH_CREDENTIALS": TOKEN,
        "CHROMA_SERVER_AUTH_TOKEN_TRANSPORT_HEADER": header,
    }


def new_token(header: str) -> Callable[[Path], Mapping[str, str]]:
    return lambda _directory: {
        "CHROMA_SERVER_AUTHN_PROVIDER": "chromadb.auth.token_authn.TokenAuthenticationServerProvider",
        "CHROMA_SERVER_AUTHN_CREDENTIALS": TOKEN,
        "CHROMA_AUTH_TOKEN_TRANSPORT_HEADER": header,
    }


def password_file(release: str, directory: Path) -> Path:
    """One line as htpasswd writes it, hashed by the library that the server has."""
    code = "import bcrypt, sys; print(sys.argv[1] + ':' + bcrypt.hashpw(sys.argv[2].encode(), bcrypt.gensalt(4)).decode())"
    done = subprocess.run([str(environment(release) / "bin/python"), "-c", code, USER, PASSWORD], check=True, capture_output=True, text=True)
    path = directory / "htpasswd"
    path.write_text(done.stdout)
    return path


def old_basic(directory: Path) -> Mapping[str, str]:
    return {
        "CHROMA_SERVER_AUTH_PROVIDER": "chromadb.auth.basic.BasicAuthServerProvider",
        "CHROMA_SERVER_AUTH_CREDENTIALS_PROVIDER": "chromadb.auth.providers.HtpasswdFileServerAuthCredentialsProvider",
        "CHROMA_SERVER_AUTH_CREDENTIALS_FILE": str(password_file("0.4.24", directory)),
    }


def new_basic(directory: Path) -> Mapping[str, str]:
    return {
        "CHROMA_SERVER_AUTHN_PROVIDER": "chromadb.auth.basic_authn.BasicAuthenticationServerProvider",
        "CHROMA_SERVER_AUTHN_CREDENTIALS_FILE": str(password_file("0.5.23", directory)),
    }


BEARER = {"options": {"token": TOKEN}, "headers": {"Authorization": "Bearer " + TOKEN}}
OWN_HEADER = {"options": {"token": TOKEN, "token_header": "x-chroma-token"}, "headers": {"X-Chroma-Token": TOKEN}}
BASIC = {
    "options": {"username": USER, "password": PASSWORD},
    "headers": {"Authorization": "Basic " + base64.b64encode(("%s:%s" % (USER, PASSWORD)).encode()).decode()},
}
SCHEMES = (
    Scheme("Authorization", "0.4.24", old_token("AUTHORIZATION"), **BEARER),
    Scheme("X-Chroma-Token", "0.4.24", old_token("X_CHROMA_TOKEN"), **OWN_HEADER),
    Scheme("basic", "0.4.24", old_basic, **BASIC),
    Scheme("Authorization", "0.5.23", new_token("Authorization"), **BEARER),
    Scheme("X-Chroma-Token", "0.5.23", new_token("X-Chroma-Token"), **OWN_HEADER),
    Scheme("basic", "0.5.23", new_basic, **BASIC),
    Scheme("Authorization", "0.6.3", new_token("Authorization"), **BEARER),
    Scheme("X-Chroma-Token", "0.6.3", new_token("X-Chroma-Token"), **OWN_HEADER),
    Scheme("basic", "0.6.3", new_basic, **BASIC),
)


@pytest.fixture(scope="module")
def plain() -> Iterator[ChromaServer]:
    """A server of the current release; it has no authentication of its own."""
    with ChromaServer() as server:
        yield server


def fill(place: RawChroma, names: tuple[str, ...] = ("one", "two")) -> None:
    for position, name in enumerate(names):
        rows = trap_data.vectors(20, seed=60 + position)
        trap_data.write(place, CollectionData(name, [Record("%s%d" % (name, n), row, "text", {"n": n}) for n, row in enumerate(rows)], {"hnsw:space": "ip"}))


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: "%s-%s" % (scheme.release, scheme.name))
def test_every_scheme_as_source_and_wrong_secrets_are_named(scheme: Scheme, plain: ChromaServer, tmp_path: Path) -> None:
    with ChromaServer(scheme.release, extra_env=scheme.settings(tmp_path)) as server:
        source = RawChroma(server.url, headers=scheme.headers)
        fill(source)
        target = RawChroma(plain.url).fresh_database("access")
        options = {"source": {"url": server.url, **scheme.options}, "target": target.endpoint}
        state = {"state_directory": str(tmp_path)}
        assert run_module("migrate", {**options, **state})["records"]["added"] == 40
        assert differences(source, target, index_settings=False) == []
        assert run_module("migrate", {**options, **state})["changed"] is False
        assert run_module("validate", {**options, "thresholds": ANY_SPEED})["decision"] == "go"

        wrong = {name: value + "x" if name in ("token", "password") else value for name, value in scheme.options.items()}
        for endpoint in ({"url": server.url}, {"url": server.url, **wrong}):
            result = run_module("migrate", {**options, **state, "source": endpoint}, fails=True)
            assert result["failure_class"] == "auth", result["msg"]
            assert run_module("server_info", endpoint, fails=True)["failure_class"] == "auth"


@pytest.mark.parametrize("scheme", SCHEMES[3:], ids=lambda scheme: "%s-%s" % (scheme.release, scheme.name))
def test_every_scheme_as_target(scheme: Scheme, plain: ChromaServer, tmp_path: Path) -> None:
    source = RawChroma(plain.url).fresh_database("access")
    fill(source)
    with ChromaServer(scheme.release, extra_env=scheme.settings(tmp_path)) as server:
        options: dict[str, Any] = {"source": source.endpoint, "state_directory": str(tmp_path)}
        assert run_module("migrate", {**options, "target": {"url": server.url}}, fails=True)["failure_class"] == "auth"
        assert run_module("migrate", {**options, "target": {"url": server.url, **scheme.options}})["records"]["added"] == 40
        assert differences(source, RawChroma(server.url, headers=scheme.headers), index_settings=False) == []


def test_headers_of_the_users_own(plain: ChromaServer, tmp_path: Path) -> None:
    """What stands before a server may want a header of its own."""
    scheme = SCHEMES[4]
    with ChromaServer(scheme.release, extra_env=scheme.settings(tmp_path)) as server:
        assert run_module("server_info", {"url": server.url, "headers": dict(scheme.headers)})["server"]["version"] == scheme.release


@pytest.mark.parametrize("release", ["0.3.29", "0.4.24", "0.5.23", CURRENT])
def test_tls_with_a_private_authority(release: str, plain: ChromaServer, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    target = RawChroma(plain.url).fresh_database("tls")
    with ChromaServer(release) as server, CountingProxy(server.url, authority.server()) as tls, CountingProxy(plain.url, authority.server()) as before_target:
        source = RawChroma(server.url)
        fill(source)
        trusting = {"ca_path": str(authority.path)}
        options = {"target": {**target.endpoint, "url": before_target.url, **trusting}, "state_directory": str(tmp_path)}
        for endpoint in ({"url": tls.url}, {"url": tls.url.replace("127.0.0.1", "localhost"), **trusting}):
            assert run_module("migrate", {**options, "source": endpoint}, fails=True)["failure_class"] == "tls"
        assert run_module("migrate", {**options, "source": {"url": tls.url, **trusting}})["records"]["added"] == 40
        assert differences(source, target, index_settings=False) == []
        assert run_module("server_info", {"url": tls.url, "validate_certs": False})["server"]["api"] == ("v1" if release[:3] in ("0.3", "0.4") else "v2")


def test_a_client_certificate_where_it_is_demanded(plain: ChromaServer, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    own = str(authority.certify("client", [x509.DNSName("client")]))
    with CountingProxy(plain.url, authority.server(demand_a_certificate=True)) as tls:
        endpoint = {"url": tls.url, "ca_path": str(authority.path)}
        assert run_module("server_info", {**endpoint, "retries": 0}, fails=True)["failure_class"] in ("tls", "unreachable")
        assert run_module("server_info", {**endpoint, "client_cert": own, "client_key": own})["server"]["api"] == "v2"


@pytest.mark.parametrize("release", ["0.4.24", "0.5.23", "0.6.3", "1.0.21"])
def test_databases_of_one_tenant_are_migrated_one_by_one(release: str, plain: ChromaServer, tmp_path: Path) -> None:
    """The same collection names in several databases: each goes to its own, and none to another's."""
    with ChromaServer(release) as server:
        default = RawChroma(server.url)
        api = "/api/v2" if default.v2 else "/api/v1"
        default._call("POST", api + "/tenants", {"name": "ours"})
        pairs = []
        for number, database in enumerate(("first", "second")):
            path = "/tenants/ours/databases" if default.v2 else "/databases?tenant=ours"
            default._call("POST", api + path, {"name": database})
            source = RawChroma(server.url, "ours", database)
            fill(source, (("one", "two"), ("one", "three"))[number])
            # The same name, other records.
            source.add(source.collection("one")["id"], [Record("only in " + database, trap_data.vectors(1)[0], database)])
            pairs.append((source, RawChroma(plain.url).fresh_database(database)))
        for source, target in pairs:
            options = {"source": source.endpoint, "target": target.endpoint, "state_directory": str(tmp_path)}
            assert run_module("migrate", options)["records"]["added"] == 41
        for source, target in pairs:
            assert differences(source, target, index_settings=False) == []
        assert default.names() == []
        missing = {"source": {**pairs[0][0].endpoint, "database": "third"}, "target": pairs[0][1].endpoint, "state_directory": str(tmp_path)}
        assert run_module("migrate", missing, fails=True)["failure_class"] == "usage"
