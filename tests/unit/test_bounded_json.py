# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How many values JSON holds, without making them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils._bounded_json import MAX_VALUES, UnusableJsonError, bounded_json, holds_more
from ansible_collections.infrafabric.chromadb.plugins.module_utils._endpoint import Endpoint
from ansible_collections.infrafabric.chromadb.plugins.module_utils._errors import IntegrityError
from ansible_collections.infrafabric.chromadb.plugins.module_utils._server.api_v1 import ServerV1
from ansible_collections.infrafabric.chromadb.plugins.module_utils._server.capabilities import CHROMA_0_3
from ansible_collections.infrafabric.chromadb.plugins.module_utils._server.http import HttpClient
from tests.support.scripted_server import Reply, ScriptedServer

TEXT = 'a, "b", [c], {d} \\ and so on \\'
MANY = [
    pytest.param([0] * 100, id="numbers"),
    pytest.param([[]] * 100, id="lists"),
    pytest.param([{}] * 100, id="objects"),
    pytest.param({str(number): None for number in range(100)}, id="keys"),
    pytest.param([TEXT] * 100, id="texts"),
]


@pytest.mark.parametrize("value", MANY)
def test_values_are_counted(value: Any) -> None:
    content = json.dumps(value).encode()
    assert holds_more(content, 99)
    assert not holds_more(content, 400)


def test_what_stands_in_a_text_is_none() -> None:
    assert not holds_more(json.dumps([TEXT * 100, {"key" + TEXT * 100: ',"' * 100}]).encode(), 10)


@pytest.mark.parametrize("content", [b'""' * 200 + b"," * 200, b'"' * 399 + b"," * 200, b"[" * 200, b'["' + b"," * 150 + b'",' + b"1," * 100])
def test_what_is_no_json_is_counted_as_well(content: bytes) -> None:
    assert holds_more(content, 99)


def test_a_text_that_does_not_end() -> None:
    assert not holds_more(b'"\\"' + b"," * 200, 99)


def test_too_many_are_not_decoded() -> None:
    assert bounded_json(b"[" + b"1," * 30 + b"1]", 50) == bounded_json("[" + "1," * 30 + "1]", 50) == [1] * 31
    for content in (b"[" + b"1," * 60 + b"1]", "[" + "1," * 60 + "1]", b"[" + b"1," * 60):
        with pytest.raises(UnusableJsonError, match="holds more than 50 values"):
            bounded_json(content, 50)


def test_a_server_that_gives_a_collection_as_a_whole_may_give_more() -> None:
    with ScriptedServer() as script:
        script.answers["POST", "/api/v1/collections/c/get"] = Reply(200, b'{"ids": [], "x": [' + b"1," * (MAX_VALUES + 10) + b"1]}")
        server = ServerV1(HttpClient(Endpoint(script.url, retries=0)), "0.3.29", CHROMA_0_3)
        assert server.get("c", ())["ids"] == []
        for page in ({"limit": 10}, {"ids": ["r"]}):
            with pytest.raises(IntegrityError, match="holds more than 4,000,000 values"):
                server.get("c", (), **page)
        server.close()


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
def test_another_encoding_is_not_read(encoding: str) -> None:
    """In it, a character that stands in no text could hide what separates values."""
    with pytest.raises(ValueError):  # noqa: PT011
        bounded_json("[1, 2]".encode(encoding))
