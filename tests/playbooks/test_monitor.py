# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook monitor on a real server: the user's tests, the watch, the verdict, and what is remembered of it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.raw import RawChroma, Record
from tests.support.run_module import ansible_playbook, run_module

PASSES = {"name": "finds it", "command": [sys.executable, "-c", "import os, sys; sys.exit(os.environ['CHROMADB_DATABASE'] not in sys.argv[1])"]}


class Monitored:
    """A target that clients were moved to, as the cutover leaves it."""

    def __init__(self, place: RawChroma, directory: Path) -> None:
        self.directory = directory
        rows = np.random.default_rng(1).normal(size=(30, 8)).astype("<f4")
        place.add(place.create("docs"), [Record(f"r{row}", vector, "text", None) for row, vector in enumerate(rows)])
        (directory / "store").mkdir(mode=0o700)
        (directory / "state").mkdir()
        self.state_file = directory / "state/runbook_the_target.json"
        self.state_file.write_text(json.dumps({"status": "cut_over", "id": "1"}))
        variables = {
            "ansible_connection": "local", "ansible_python_interpreter": sys.executable, "chromadb_source_url": "http://192.0.2.10:8000",
            **{f"chromadb_target_{key}": value for key, value in place.endpoint.items()}, "chromadb_target_retries": 0,
            "chromadb_snapshot_dir": str(directory / "store"), "chromadb_state_dir": str(directory / "state"),
            "chromadb_report_dir": str(directory / "reports"), "chromadb_textfile": str(directory / "chroma.prom"),
            "monitor_seconds": 0.4, "monitor_interval": 0.2,
        }  # fmt: skip
        self.inventory = directory / "inventory.json"
        self.inventory.write_text(json.dumps({"all": {"vars": variables, "children": {"chromadb_target": {"hosts": {"the_target": {}}}}}}))
        self.database = place.endpoint["database"]

    def monitor(self, *arguments: str, fails: bool = False, **variables: Any) -> subprocess.CompletedProcess[str]:
        done = ansible_playbook("infrafabric.chromadb.monitor", "-i", str(self.inventory), "-e", json.dumps(variables), *arguments)
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done

    @property
    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.state_file.read_text())
        return found

    @property
    def verdict(self) -> dict[str, Any]:
        """The newest."""
        found: dict[str, Any] = json.loads(max((self.directory / "reports").glob("monitoring_*.json")).read_text())
        return found

    @property
    def event(self) -> dict[str, Any]:
        found: dict[str, Any] = run_module("audit_info", {"directory": str(self.directory / "store"), "limit": 1})["entries"][-1]
        return found


@pytest.fixture
def monitored(target: RawChroma, tmp_path: Path) -> Monitored:
    return Monitored(target, tmp_path)


def test_a_target_that_does_well_is_signed_off(monitored: Monitored) -> None:
    log = monitored.directory / "chroma.log"
    log.write_text("ERROR: long ago\n")
    check = monitored.monitor("--check")
    assert re.search(r"^the_target +: .*changed=[1-9]", check.stdout, re.MULTILINE)
    assert "signed_off_at" not in monitored.state
    on_target = {**PASSES, "command": [*PASSES["command"], monitored.database]}
    here = {"name": "not through a shell", "command": ["test", "$(id) ; exit 1", "=", "$(id) ; exit 1"], "run_on": "control_node"}
    not_required = {"name": "a pity", "command": ["false"], "required": False}
    monitored.monitor(monitor_tests=[on_target, here, not_required], chromadb_log_files=[str(log)])
    assert (monitored.state["monitoring"], monitored.state["status"]) == ("go", "cut_over")
    assert monitored.state["signed_off_at"]
    assert (monitored.verdict["decision"], len(monitored.verdict["rounds"]) >= 2) == ("go", True)
    assert [test["outcome"] for test in monitored.verdict["tests"]] == ["passed", "passed", "ended with 1"]
    assert all(monitored.verdict["sign_off"].values())
    assert (monitored.event["action"], monitored.event["status"]) == ("sign_off", "completed")
    assert "chromadb_monitor_healthy" in (monitored.directory / "chroma.prom").read_text()


@pytest.mark.parametrize(
    ("test", "outcome"),
    [
        ({"command": ["sh", "-c", "echo it was not found; exit 3"]}, "ended with 3"),
        ({"command": ["sleep", "60"], "timeout": 0.2}, "did not end within 0.2 s"),
        ({"command": ["/nowhere/test"]}, "could not be started"),
        ({"command": ["true"], "chdir": "/nowhere"}, "could not be started"),
    ],
)
def test_a_test_that_fails_is_not_signed_off(monitored: Monitored, test: dict[str, Any], outcome: str) -> None:
    refused = monitored.monitor(fails=True, monitor_tests=[{"name": "the application works", **test}])
    assert "is not signed off: integration tests: the application works" in " ".join(refused.stdout.split())
    assert outcome in monitored.verdict["reasons"][0]
    assert monitored.verdict["sign_off"]["integration_tests_pass"] is False
    assert monitored.verdict["rounds"] == []
    assert (monitored.state["monitoring"], monitored.state["signed_off_at"]) == ("no_go", None)
    assert (monitored.event["action"], monitored.event["status"]) == ("sign_off", "failed")


def test_a_target_that_does_not_well_is_not_signed_off(monitored: Monitored) -> None:
    monitored.monitor()
    # No test of the application's was named: that is no reason against it, and nobody signs that they pass.
    assert (monitored.verdict["decision"], monitored.verdict["sign_off"]["integration_tests_pass"]) == ("go", False)
    assert monitored.state["signed_off_at"]
    monitored.monitor(fails=True, monitor_expected_counts={"docs": 31})
    assert (monitored.state["monitoring"], monitored.state["signed_off_at"]) == ("no_go", None)
    assert "docs fell from 31 records to 30" in monitored.verdict["reasons"][0]
    refused = monitored.monitor(fails=True, chromadb_target_url="http://127.0.0.1:9")
    assert "does not answer" in refused.stdout
    assert monitored.verdict["decision"] == "no_go"


def test_the_operator_wins(monitored: Monitored) -> None:
    said = monitored.directory / "operator"
    said.write_text("abort wrong model\n")
    monitored.monitor(fails=True, chromadb_operator_file=str(said))
    assert monitored.verdict["decision"] == "no_go"
    assert 'means abort, it reads "abort wrong model"' in monitored.verdict["reasons"][0]
