# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The directory of a server through the roles, which stop it and start it again: here by commands; in the lab it is a service."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import trap_data
from tests.support.chroma_server import answers, free_port
from tests.support.equality import contents_differences
from tests.support.raw import RawChroma, Record
from tests.support.run_module import ansible_playbook, run_module
from tests.support.server_versions import CURRENT, environment
from tests.support.trap_data import CollectionData


class Place:
    """A server that two scripts stop and start, and the roles with these scripts."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.data, self.store = directory, directory / "data", directory / "store"
        self.pid_file = directory / "pid"
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        chroma = environment(CURRENT) / "bin" / "chroma"
        self.start, self.stop = directory / "start", directory / "stop"
        run = f"'{chroma}' run --path '{self.data}' --host 127.0.0.1 --port {port}"
        called = f"#!/bin/sh\necho ${{0##*/}} >> '{directory}/calls'\n"
        self.start.write_text(f"{called}setsid {run} > '{directory}/log' 2>&1 < /dev/null &\necho $! > '{self.pid_file}'\n")
        self.stop.write_text(f"{called}kill $(cat '{self.pid_file}')\n")
        for script in (self.start, self.stop):
            script.chmod(0o755)
        self.inventory = directory / "hosts.json"
        self.inventory.write_text(json.dumps({"all": {
            "vars": {
                "ansible_connection": "local", "ansible_python_interpreter": sys.executable, "chromadb_target_url": self.url,
                "chromadb_snapshot_dir": str(self.store), "chromadb_state_dir": str(directory / "state"),
            },
            "children": {"chromadb_target": {"hosts": {"here": {}}}},
        }}))  # fmt: skip

    @property
    def live(self) -> RawChroma:
        return RawChroma(self.url)

    def role(self, name: str, *arguments: str, fails: bool = False, **variables: Any) -> str:
        commands = {f"{name}_stop_command": [str(self.stop)], f"{name}_start_command": [str(self.start)], f"{name}_data_directory": str(self.data)}
        task = {"name": name, "ansible.builtin.include_role": {"name": f"infrafabric.chromadb.{name}"}, "vars": {**commands, **variables}}
        playbook = self.directory / f"{name}.yml"
        playbook.write_text(json.dumps([{"name": "Test", "hosts": "chromadb_target", "gather_facts": False, "tasks": [task]}]))
        done = ansible_playbook(str(playbook), "-i", str(self.inventory), *arguments)
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return " ".join(done.stdout.split())

    def calls(self) -> list[str]:
        """What the scripts were called for since the last time."""
        log = self.directory / "calls"
        found = log.read_text().split() if log.exists() else []
        log.unlink(missing_ok=True)
        return found

    def close(self) -> None:
        if self.pid_file.exists():
            try:
                os.kill(int(self.pid_file.read_text()), signal.SIGKILL)
            except ProcessLookupError:
                pass


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    try:
        subprocess.run([str(place.start)], check=True)
        until = time.monotonic() + 120
        while not answers(place.url):
            assert time.monotonic() < until, (tmp_path / "log").read_text()
            time.sleep(0.1)
        yield place
    finally:
        place.close()


def test_a_server_is_stopped_copied_put_back_and_started(place: Place) -> None:
    assert place.calls() == ["start"]
    rows = trap_data.vectors(300, seed=4)
    trap_data.write(place.live, CollectionData("things", [Record(f"r{n}", row, f"text {n}", {"n": n}) for n, row in enumerate(rows)]))
    before = place.live.contents()

    place.role("snapshot", snapshot_method="files", snapshot_name="whole")
    assert place.calls() == ["stop", "start"]
    assert contents_differences(before, place.live.contents()) == []
    taken = run_module("snapshot_info", {"directory": str(place.store), "verify": "full"})["snapshots"]
    assert [(one["method"], one["problems"], one["total_chunks"]) for one in taken] == [("files", [], 300)]

    place.live.delete(place.live.collection("things")["id"], [f"r{n}" for n in range(50)])
    place.live.create("newer")
    place.role("rollback", rollback_strategy="files", rollback_reason="A test damaged it")
    assert place.calls() == ["stop", "start"]
    assert contents_differences(before, place.live.contents()) == []

    # What cannot be done leaves the server up all the same.
    said = place.role("rollback", rollback_strategy="files", rollback_collections=["things"], fails=True)
    assert "they come back together" in said
    assert place.calls() == ["stop", "start"]
    assert answers(place.url)
    assert contents_differences(before, place.live.contents()) == []
