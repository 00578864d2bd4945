# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the preflight role says of a target and its host: too little of anything is named, with what to do."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import trap_data
from tests.support.case import Case
from tests.support.chroma_server import ChromaServer
from tests.support.raw import Record
from tests.support.run_module import ansible_playbook

ENOUGH = {"preflight_min_free_mb": 1, "preflight_min_memory_mb": 1, "preflight_min_cores": 1, "preflight_max_latency_ms": 60_000}


class Preflight:
    """The role's steps source and target, on this machine."""

    def __init__(self, case: Case, directory: Path) -> None:
        self.play = directory / "play.yml"
        self.log = directory / "reports/precheck_localhost.json"
        self.variables = {
            "ansible_python_interpreter": sys.executable, "preflight_steps": ["source", "target"], "preflight_log_directory": str(self.log.parent),
            "preflight_source": case.source_endpoint, "preflight_target": case.target_endpoint,
        }  # fmt: skip
        self.play.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "roles": [{"role": "infrafabric.chromadb.preflight"}]}]))

    def verdict(self, **variables: Any) -> dict[str, str]:
        ansible_playbook("-i", "localhost,", "-c", "local", str(self.play), "-e", json.dumps({**self.variables, **ENOUGH, **variables}))
        found: dict[str, str] = json.loads(self.log.read_text())["verdicts"][1]
        assert found["step"] == "target"
        return found


@pytest.fixture
def preflight(case: Case, tmp_path: Path) -> Preflight:
    vectors = trap_data.vectors(200)
    collection = case.source.create("source")
    case.source.add(collection, [Record("r%d" % n, vectors[n], "text", None) for n in range(200)])
    return Preflight(case, tmp_path)


def test_an_empty_target_on_a_large_host_passes(preflight: Preflight) -> None:
    # Without the directory of the data, since other tests leave ghosts in it.
    found = preflight.verdict()
    assert (found["verdict"], found["next"]) == ("passed", "")
    assert "is empty" in found["details"]


def test_everything_that_is_too_little_is_named_with_what_to_do(preflight: Preflight, case: Case, target_server: ChromaServer) -> None:
    vectors = trap_data.vectors(3)
    for name, value in (("gone", ["a"]), ("there", "a")):
        case.target.add(case.target.create(name), [Record("r%d" % n, vectors[n], "text", {"value": value}) for n in range(3)])
    case.target.delete_collection("gone")
    found = preflight.verdict(
        preflight_target_data_directory=str(target_server.directory / "data"),
        preflight_min_memory_mb=1 << 30,
        preflight_min_cores=1 << 20,
        preflight_max_latency_ms=0,
    )
    assert found["verdict"] == "warning"
    for words in ("holds 3 records already, in there", "list values of deleted collections", "ms to answer", "MB of memory", "cores, of 1048576 wanted"):
        assert words in found["details"]
    assert "The migration finds and mends such records" in found["next"]


def test_too_little_room_for_the_records_is_a_failure(preflight: Preflight) -> None:
    found = preflight.verdict(preflight_min_free_mb=1 << 40)
    assert found["verdict"] == "failed"
    assert "MB free in / (chromadb_target_data_directory is not set), of 1099511627776 needed" in found["details"]
    # The room that the source's records will take counts as well: a petabyte, if the estimate of a record were that.
    found = preflight.verdict(preflight_source_info={"collections": [{"count": 10**12, "dimension": 384}]}, preflight_steps=["window", "target"])
    assert found["verdict"] == "failed"
    assert "of 8665466309 needed" in found["details"]


def test_a_target_that_does_not_answer_fails(preflight: Preflight, case: Case) -> None:
    found = preflight.verdict(preflight_target={**case.target_endpoint, "url": "http://127.0.0.1:9", "retries": 0})
    assert found["verdict"] == "failed"
    assert "127.0.0.1:9" in found["details"]
