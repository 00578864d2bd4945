# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Addresses and secrets that cannot be right are refused before anything is sent, and no secret is repeated."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils._endpoint import Endpoint, normalized_url, parse_endpoint
from ansible_collections.infrafabric.chromadb.plugins.module_utils._errors import UsageError


@pytest.mark.parametrize(
    ("given", "used"),
    [
        (" HTTP://LocalHost:8000/ ", "http://localhost:8000"),
        ("https://192.0.2.1/chroma/", "https://192.0.2.1/chroma"),
        ("http://[2001:DB8::1]:8000", "http://[2001:db8::1]:8000"),
        ("http://[2001:db8::1]", "http://[2001:db8::1]"),
    ],
)
def test_one_address_has_one_form(given: str, used: str) -> None:
    assert normalized_url(given) == used


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://localhost:port", "cannot be read"),
        ("http://localhost:70000", "cannot be read"),
        ("http://admin:hush-hush@localhost:8000", "user name or password"),
        ("admin:hush-hush@localhost:8000", "user name or password"),
        ("http:/admin:hush-hush@localhost:8000", "user name or password"),
        ("http://admin:hush-hush#p@localhost:8000", "user name or password"),
        ("http://admin:p/hush-hush@localhost:8000", "user name or password"),
        ("http://admin:hush-hush", "cannot be read"),
        ("hush-hush:8000", "must start with http"),
        ("localhost:8000", "must start with http"),
        ("ftp://localhost", "must start with http"),
        ("http://", "name a host"),
        ("http://local host:8000", "holds a space"),
        ("http://localhost:8000?api_key=hush-hush y", "holds a space"),
        ("http://localhost:8000/?", "query or a fragment"),
        ("http://localhost:8000/?tenant=a", "query or a fragment"),
        ("http://localhost:8000/#top", "query or a fragment"),
    ],
)
def test_addresses_that_are_none(url: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        normalized_url(url)
    assert "hush-hush" not in caught.value.message


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"token": "hush-hush", "username": "admin", "password": "p"}, "takes one of them"),
        ({"username": "admin"}, "belong together"),
        ({"password": "hush-hush"}, "belong together"),
        ({"token": "hush-hush\r\nX-Other: 1"}, "token holds a line break"),
        ({"headers": {"X-Key": "hush-hush\n"}}, "headers holds a line break"),
        ({"headers": {"X-Key": 42}}, "headers: X-Key must be text, not int. Put a number into quotes"),
        ({"headers": {"X-Key": ["hush-hush"]}}, "headers: X-Key must be text, not list"),
        ({"headers": {"X\nKey": "hush-hush"}}, "headers holds a line break"),
        ({"token": "hush-hush", "token_header": "cookie"}, "token_header must be one of"),
        ({"timeout": 0}, "timeout must be more than 0"),
        ({"retries": -1}, "retries must not be negative"),
        ({"client_key": __file__}, "without client_cert"),
        ({"ca_path": "/nonexistent/ca.pem"}, "ca_path: /nonexistent/ca.pem does not exist"),
        ({"tenant": ""}, "tenant must be a name"),
        ({"database": "a/b"}, "database must be a name"),
    ],
)
def test_options_that_cannot_work(options: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        parse_endpoint({"url": "http://localhost:8000", **options})
    assert "hush-hush" not in caught.value.message


def test_what_is_given_is_used_and_what_is_secret_is_known(tmp_path: Path) -> None:
    certificate = tmp_path / "client.pem"
    certificate.touch()
    basic = parse_endpoint({"url": "http://LOCALHOST", "username": "admin", "password": "hush", "client_cert": str(certificate), "token": None})
    assert (basic.url, basic.client_cert, basic.identity) == ("http://localhost", str(certificate), "http://localhost default_tenant/default_database")
    # As it is sent as well, and the longest first, so that none is left behind in another.
    assert basic.secrets == ("YWRtaW46aHVzaA==", "hush")
    assert Endpoint(token="t", headers={"X-Key": "longer"}).secrets == ("longer", "t")
    assert "hush" not in repr(basic)
