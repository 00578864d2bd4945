# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook fleet_rollback on three servers, one of them dead: it stops, it reports, and a second run finishes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.chroma_server import ChromaServer
from tests.support.equality import contents_differences
from tests.support.raw import RawChroma, Record
from tests.support.run_module import ansible_playbook, run_module


class Fleet:
    """Three targets that were damaged after a snapshot, each with a store of its own; the second one's server is dead."""

    def __init__(self, places: list[RawChroma], directory: Path) -> None:
        self.places = dict(zip(("one", "two", "three"), places))
        self.directory = directory
        self.before: dict[str, Any] = {}
        for name, place in self.places.items():
            collection = place.create("docs")
            place.add(collection, [Record(f"r{i}", np.full(4, i, "<f4"), f"text {i}", {"i": i}) for i in range(10)])
            self.before[name] = place.contents()
            store = directory / name
            store.mkdir()
            run_module("snapshot", {**place.endpoint, "directory": str(store)})
            place.delete(collection, ["r3"])
            place.update(collection, ids=["r4"], documents=["GARBAGE"])
        hosts = {
            name: {"chromadb_snapshot_dir": str(directory / name), **{f"chromadb_target_{key}": value for key, value in place.endpoint.items()}}
            for name, place in self.places.items()
        }
        variables = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "chromadb_state_dir": str(directory / "state"),
                     "chromadb_target_retries": 0}  # fmt: skip
        self.inventory = directory / "inventory.json"
        self.inventory.write_text(json.dumps({"all": {"vars": variables, "children": {"chromadb_target": {"hosts": hosts}}}}))

    def play(self, code: int, playbook: str = "fleet_rollback", **variables: Any) -> subprocess.CompletedProcess[str]:
        done = ansible_playbook(
            f"infrafabric.chromadb.{playbook}", "-i", str(self.inventory), "-e", json.dumps(variables),
            extra_env={"ANSIBLE_STDOUT_CALLBACK": "infrafabric.chromadb.brief"},
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        return done

    def roll_back(self, code: int, **variables: Any) -> dict[str, str]:
        """What the last table says about each host."""
        done = self.play(code, **variables)
        _before, _header, table = done.stdout.rpartition("records changed   seconds\n")
        return {line.split()[0]: " ".join(line.split()[1:]) for line in table.splitlines() if line.split()[:1] and line.split()[0] in self.places}

    def is_back(self, name: str) -> bool:
        return contents_differences(self.before[name], self.places[name].contents()) == []


@pytest.fixture
def fleet(source: RawChroma, target: RawChroma, spare_server: ChromaServer, tmp_path: Path) -> Fleet:
    fleet = Fleet([source, RawChroma(spare_server.url), target], tmp_path)
    spare_server.stop()
    return fleet


def test_it_stops_at_a_dead_server_and_a_second_run_finishes(fleet: Fleet, spare_server: ChromaServer) -> None:
    table = fleet.roll_back(2)
    assert "rolled back 2 " in table["one"]
    assert "FAILED" in table["two"]
    assert "not started" in table["three"]
    assert (fleet.is_back("one"), fleet.is_back("three")) == (True, False)

    spare_server.start()
    table = fleet.roll_back(0)
    assert "was as the snapshot 0 " in table["one"]
    assert "rolled back 2 " in table["two"]
    assert "rolled back 2 " in table["three"]
    assert all(fleet.is_back(name) for name in fleet.places)


@pytest.mark.parametrize("batches", [0, "half", [1, "0%"], []])
def test_batches_that_are_none_are_refused(fleet: Fleet, batches: Any) -> None:
    refused = " ".join(fleet.play(2, chromadb_fleet_serial=batches).stderr.split())
    assert "chromadb_fleet_serial is" in refused
    assert "must be a number of hosts" in refused
    assert not any(fleet.is_back(name) for name in ("one", "three"))


def test_it_goes_on_as_far_as_it_may(fleet: Fleet) -> None:
    table = fleet.roll_back(2, chromadb_fleet_serial=[2, "100%"], chromadb_fleet_max_fail_percentage=50)
    assert "FAILED" in table["two"]
    assert "rolled back 2 " in table["three"]
    assert (fleet.is_back("one"), fleet.is_back("three")) == (True, True)


def test_clients_that_stay_keep_the_target_from_another_migration(source: RawChroma, target: RawChroma, spare_server: ChromaServer, tmp_path: Path) -> None:
    """They are not moved by it, and what they write from then on must not be overwritten, until `rollback` has brought them back."""
    fleet = Fleet([source, RawChroma(spare_server.url), target], tmp_path)
    run_file = tmp_path / "state" / "runbook_one.json"
    run_file.parent.mkdir()
    run_file.write_text(json.dumps({"id": "20260102t030405", "status": "cut_over", "cut_over_at": "2026-01-02T04:00:00Z", "cutover_begun": "",
                                    "cutover_token": "", "clients": ["webui"], "gateways": [], "moved": ["webui"]}))  # fmt: skip
    fleet.roll_back(0, rollback_discard_new_writes=True)
    assert fleet.is_back("one")
    assert json.loads(run_file.read_text())["status"] == "rolled_back"

    refused = fleet.play(2, "execute")
    assert "The clients have been working with this target since 2026-01-02T04:00:00Z" in " ".join((refused.stdout + refused.stderr).split())
    # Nor are they brought back by an inventory that lacks them.
    refused = fleet.play(2, "rollback", rollback_discard_new_writes=True)
    assert "webui could not be brought back to the source" in " ".join((refused.stdout + refused.stderr).split())
    fleet.play(0, "rollback", rollback_discard_new_writes=True, rollback_given_up_hosts=["webui"])
    refused = fleet.play(2, "execute")
    assert "The clients have been working" not in refused.stdout + refused.stderr
