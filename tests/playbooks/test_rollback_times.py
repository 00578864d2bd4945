# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role rollback says when it took longer than it may."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support import trap_data
from tests.support.case import Case
from tests.support.raw import Record
from tests.support.run_module import ansible_playbook, run_module
from tests.support.trap_data import CollectionData


class Place:
    """A database with a snapshot, a webhook, and the role."""

    def __init__(self, case: Case, directory: Path, webhook: str) -> None:
        self.case, self.directory = case, directory
        trap_data.write(case.target, CollectionData("things", [Record(f"r{n}", row) for n, row in enumerate(trap_data.vectors(5))]))
        case.snapshot()
        self.inventory = directory / "hosts.json"
        self.inventory.write_text(json.dumps({"all": {
            "vars": {
                "ansible_connection": "local", "ansible_python_interpreter": sys.executable, "chromadb_snapshot_dir": str(case.store),
                "chromadb_state_dir": str(directory / "state"), "chromadb_notify_webhooks": [{"url": webhook}], "notify_delay_seconds": 0,
                **{f"chromadb_target_{option}": value for option, value in case.target.endpoint.items()},
            },
            "children": {"chromadb_target": {"hosts": {"here": {}}}},
        }}))  # fmt: skip
        self.playbook = directory / "rollback.yml"
        self.playbook.write_text(json.dumps([
            {"name": "Test", "hosts": "chromadb_target", "gather_facts": False, "roles": [{"role": "infrafabric.chromadb.rollback"}]}
        ]))  # fmt: skip

    def damage(self) -> None:
        self.case.target.delete(self.case.target.collection("things")["id"], ["r0", "r1"])

    def ids(self) -> int:
        return self.case.target.count(self.case.target.collection("things")["id"])

    def roll_back(self, *arguments: str, fails: bool = False, **variables: Any) -> subprocess.CompletedProcess[str]:
        done = ansible_playbook(str(self.playbook), "-i", str(self.inventory), "-e", json.dumps(variables), *arguments)
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done

    def alarms(self) -> list[dict[str, Any]]:
        entries = run_module("audit_info", {"directory": str(self.case.store)})["entries"]
        return [entry for entry in entries if entry["action"] == "rto_missed"]


@pytest.fixture
def told() -> Iterator[tuple[str, list[str]]]:
    """The address of a webhook, and what it was told."""
    received: list[str] = []

    class Webhook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # noqa: N802
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Webhook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/", received
    server.shutdown()
    server.server_close()


def test_an_alarm_is_raised_only_when_a_figure_is_missed(case: Case, tmp_path: Path, told: tuple[str, list[str]]) -> None:
    webhook, received = told
    place = Place(case, tmp_path, webhook)
    place.damage()
    done = place.roll_back()
    assert "may take" not in done.stdout + done.stderr
    assert (place.ids(), place.alarms(), len(received)) == (5, [], 1)

    place.damage()
    done = place.roll_back(rollback_rto_full=0.0001, rollback_rto_partial=0.0001, rollback_rto_verification=0)
    assert "The rollback took" in " ".join(done.stderr.split()).split("[WARNING]", 1)[1]
    (alarm,) = place.alarms()
    assert alarm["reason"].endswith("s, and may take 0.0001 s (rollback_rto_full).")
    assert [(figure["name"], figure["missed"]) for figure in alarm["details"]["figures"]] == [("full", True), ("verification", False)]
    assert alarm["details"]["figures"][0]["seconds"] > 0.0001
    assert alarm["snapshot_id"].startswith("snapshot_")
    assert [("escalation" in text, "rollback_rto_full" in text) for text in received[1:]] == [(False, False), (True, True)]

    place.damage()
    done = place.roll_back(fails=True, rollback_collections=["things"], rollback_rto_verification=0.0001, rollback_rto_fail=True)
    assert "The verification of the snapshot took" in " ".join(done.stdout.split())
    assert "The data is back, and verified." in " ".join(done.stdout.split())
    assert place.ids() == 5
    assert [figure["name"] for figure in place.alarms()[1]["details"]["figures"]] == ["partial", "verification"]

    place.damage()
    done = place.roll_back("--check", fails=True, rollback_rto_dry_run=0.0001, rollback_rto_full=0.0001, rollback_rto_fail=True)
    assert "The dry run took" in " ".join(done.stdout.split())
    assert (place.ids(), len(place.alarms())) == (3, 2)
