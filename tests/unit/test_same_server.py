# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names of one server, of this host's real names and addresses."""

from __future__ import annotations

import socket

import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils import _same_server
from ansible_collections.infrafabric.chromadb.plugins.module_utils._same_server import (
    by_one_name,
    perhaps_same_database,
    perhaps_same_server,
    same_database,
)

HERE = "http://localhost:8000 t/d"


def own_address() -> str:
    """One that is not loopback; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this host has no address but loopback's")
        return str(probe.getsockname()[0])


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "0.0.0.0", "localhost"])
def test_loopback_by_any_name_is_this_host(host: str) -> None:
    assert by_one_name(f"http://{host}:8000 t/d") == HERE
    assert same_database(f"http://{host}:8000 t/d", HERE)


def test_another_address_of_this_host_may_have_a_server_of_its_own() -> None:
    for host in (own_address(), "127.0.0.10"):
        assert not same_database(f"http://{host}:8000 t/d", HERE)
        assert perhaps_same_database(f"http://{host}:8000 t/d", HERE)


@pytest.mark.parametrize("other", ["http://localhost:8001 t/d", "http://localhost:8000 t/e", "http://localhost:8000/path t/d", "http://192.0.2.1:8000 t/d"])
def test_another_port_path_database_or_host_is_another_one(other: str) -> None:
    assert not same_database(HERE, other)
    assert not perhaps_same_database(HERE, other)


@pytest.mark.parametrize("odd", ["http://localhost:80o0 t/d", "http://[::1 t/d", "", "t/d"])
def test_whatever_a_log_holds_is_a_name(odd: str) -> None:
    assert by_one_name(odd) == odd
    assert not perhaps_same_database(odd, HERE)
    assert same_database(odd, odd)


def test_a_name_may_be_told_apart_from_its_address_by_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """So what would be refused for good needs more than an address in common; what would lose records does not."""
    known = {"old.example.org": "127.0.0.1", "far.example.org": "192.0.2.7", "192.0.2.7": "192.0.2.7", "127.0.0.1": "127.0.0.1", "localhost": "127.0.0.1"}

    def looked_up(host: str, *_more: object, **_named: object) -> list[tuple[object, ...]]:
        if host not in known:
            raise socket.gaierror("no such name")
        return [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", (known[host], 0))]

    monkeypatch.setattr(_same_server.socket, "getaddrinfo", looked_up)
    _same_server._addresses.cache_clear()
    try:
        assert not same_database("http://old.example.org:8000 t/d", HERE)
        assert perhaps_same_server("http://old.example.org:8000", "http://127.0.0.1:8000")
        assert perhaps_same_database("http://far.example.org t/d", "http://192.0.2.7:80 t/d")
        assert not perhaps_same_database("http://far.example.org t/d", "https://192.0.2.7 t/d")
        assert not perhaps_same_database("http://unknown.example.org:8000 t/d", HERE)
    finally:
        _same_server._addresses.cache_clear()
