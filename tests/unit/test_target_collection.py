# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A target collection before the first record: looked at, made, or found to be made by somebody else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils._endpoint import Endpoint
from ansible_collections.infrafabric.chromadb.plugins.module_utils._errors import DriftError, UsageError
from ansible_collections.infrafabric.chromadb.plugins.module_utils._journal import Journal
from ansible_collections.infrafabric.chromadb.plugins.module_utils._operations.target_collection import TargetCollection
from ansible_collections.infrafabric.chromadb.plugins.module_utils._records.collection_spec import CollectionSpec
from ansible_collections.infrafabric.chromadb.plugins.module_utils._server.api_v2 import ServerV2
from ansible_collections.infrafabric.chromadb.plugins.module_utils._server.capabilities import CHROMA_0_5, CHROMA_1_5, Capabilities
from ansible_collections.infrafabric.chromadb.plugins.module_utils._server.http import HttpClient, StatusError
from tests.support.scripted_server import Reply, ScriptedServer

PATH = "/api/v2/tenants/default_tenant/databases/default_database/collections"
THINGS = {"id": "an-id", "name": "things", "configuration_json": {"hnsw": {"space": "l2"}}}


@pytest.fixture
def script() -> Iterator[ScriptedServer]:
    with ScriptedServer() as running:
        yield running


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(str(tmp_path / "journal"), late=True) as opened:
        yield opened


def target(script: ScriptedServer, name: str = "things", capabilities: Capabilities = CHROMA_1_5, **spec: Any) -> TargetCollection:
    server = ServerV2(HttpClient(Endpoint(script.url, retries=0)), "0", capabilities)
    return TargetCollection(server, CollectionSpec(name, None, **{"space": "l2", **spec}), None, False, {name})


def opened(held: TargetCollection, journal: Journal, check_mode: bool = False) -> TargetCollection:
    held.inspect()
    held.open(100, lambda records: None, check_mode, journal)
    held.close()
    return held


def test_a_name_that_the_target_refuses_is_found_before_anything_is_made(script: ScriptedServer) -> None:
    """Releases before 1.0 hold such names; a collection that keeps its name takes it to the target."""
    with pytest.raises(UsageError, match=r"The target collection's name 'a b' may hold only letters.*Give it another one by a route"):
        target(script, "a b").inspect()
    target(script, "a b", CHROMA_0_5).inspect()
    assert script.requests == []


def test_a_collection_that_another_shard_made_meanwhile_is_taken(script: ScriptedServer, journal: Journal) -> None:
    script.answers = {
        ("POST", PATH): Reply(409, {"error": "exists"}),
        ("GET", PATH): [THINGS],
        ("GET", PATH + "/an-id/count"): 0,
        ("POST", PATH + "/an-id/get"): {"ids": []},
    }
    held = opened(target(script), journal)
    assert (held.created, held.changed) == (False, False)
    with pytest.raises(DriftError, match="space is 'l2' instead of 'cosine'"):
        opened(target(script, space="cosine"), journal)


def test_a_collection_that_is_refused_and_that_nobody_made_is_a_failure(script: ScriptedServer, journal: Journal) -> None:
    script.answers = {("POST", PATH): Reply(500, {"error": "out of luck"}), ("GET", PATH): []}
    with pytest.raises(StatusError, match="out of luck"):
        opened(target(script), journal)


def test_in_check_mode_nothing_is_made_and_nothing_is_there_to_prune(script: ScriptedServer, journal: Journal) -> None:
    held = opened(target(script), journal, check_mode=True)
    assert (held.created, held.counterpart.records, script.requests) == (True, 0, [])


def test_nothing_is_compared_with_a_collection_that_was_not_opened(script: ScriptedServer) -> None:
    with pytest.raises(RuntimeError, match="open"):
        _counterpart = target(script).counterpart
