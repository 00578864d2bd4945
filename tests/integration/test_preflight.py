# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is looked at on a target before anything is migrated to it; of sources, see tests/versions."""

from __future__ import annotations

from pathlib import Path

from tests.support import trap_data
from tests.support.case import Case
from tests.support.chroma_server import ChromaServer
from tests.support.raw import Record
from tests.support.run_module import run_module


def test_what_deleted_collections_left_is_counted(case: Case, target_server: ChromaServer) -> None:
    asked = {**case.target_endpoint, "data_directory": str(target_server.directory / "data")}
    before = run_module("server_info", asked)["ghosts"]
    vectors = trap_data.vectors(5)
    collection = case.target.create("gone")
    case.target.add(collection, [Record("r%d" % n, vectors[n], "text", {"list": ["a", "b"]} if n < 3 else {"plain": "a"}) for n in range(5)])
    assert run_module("server_info", asked)["ghosts"] == before
    case.target.delete_collection("gone")
    assert run_module("server_info", asked)["ghosts"] == before + 3


def test_a_directory_that_is_no_servers_is_named(case: Case, tmp_path: Path) -> None:
    failed = run_module("server_info", {**case.target_endpoint, "data_directory": str(tmp_path)}, fails=True)
    assert failed["failure_class"] == "usage"
    assert str(tmp_path) in failed["msg"]


def test_the_latency_is_measured(case: Case) -> None:
    found = run_module("server_info", case.target_endpoint)
    assert 0 < found["server"]["latency_ms"] < 1000 * found["seconds"]
    assert "ghosts" not in found
