# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Secrets that can be recognised, given to every module and to the playbooks at -vvvv, with failures among them: afterwards they
are in no output, no file, no command line of any process and no report."""

from __future__ import annotations

import base64
import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import trap_data
from tests.support.case import Case
from tests.support.chroma_server import free_port
from tests.support.raw import Record
from tests.support.run_module import ansible_playbook

TOKEN, PASSWORD, HEADER = "canary-token-91c7d2", "canary-password-5be038", "canary-header-e4410f"
ENCODED = base64.b64encode(f"somebody:{PASSWORD}".encode()).decode()
NEEDLES = [needle.encode() for needle in (TOKEN, PASSWORD, HEADER, ENCODED)]
# The secrets come from the environment, as from a vault: no file of the test holds them.
SECRETS = {"CANARY_TOKEN": TOKEN, "CANARY_PASSWORD": PASSWORD, "CANARY_HEADER": HEADER}
WITH_TOKEN = {"token": "{{ lookup('env', 'CANARY_TOKEN') }}", "headers": {"x-other": "{{ lookup('env', 'CANARY_HEADER') }}"}}
WITH_PASSWORD = {"username": "somebody", "password": "{{ lookup('env', 'CANARY_PASSWORD') }}"}
APPROVALS = [{"role": role, "name": "Somebody", "time": "2026-01-02T09:00:00+00:00"} for role in ("operations", "dba", "security", "engineering", "on_call")]


class CommandLines(threading.Thread):
    """Reads the arguments of every process, which everybody may read, again and again, and keeps those that hold a secret."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.found: set[bytes] = set()
        self.looks = 0
        self.stopped = threading.Event()

    def run(self) -> None:
        while not self.stopped.wait(0.02):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    line = path.read_bytes()
                except OSError:
                    continue
                if any(needle in line for needle in NEEDLES):
                    self.found.add(line)
            self.looks += 1


@pytest.fixture
def command_lines() -> Iterator[CommandLines]:
    watch = CommandLines()
    watch.start()
    yield watch
    watch.stopped.set()
    watch.join()


def found_in(directory: Path) -> list[str]:
    return [str(path) for path in directory.rglob("*") if path.is_file() and any(needle in path.read_bytes() for needle in NEEDLES)]


def play(directory: Path, command_lines: CommandLines, *arguments: str, fails: bool = False) -> None:
    """Run it at -vvvv. Nothing that it said or left holds a secret."""
    # The temporary files of this run lie where they are looked at.
    temporary = directory / "tmp"
    temporary.mkdir(exist_ok=True)
    environment = {**SECRETS, "TMPDIR": str(temporary), "ANSIBLE_LOCAL_TEMP": str(temporary), "ANSIBLE_REMOTE_TEMP": str(temporary)}
    done = ansible_playbook("-vvvv", *arguments, extra_env=environment)
    said = (done.stdout + done.stderr).encode()
    assert "PLAY RECAP" in done.stdout, done.stdout[-3000:]
    assert [line for line in said.splitlines() if any(needle in line for needle in NEEDLES)] == []
    assert found_in(directory) == []
    assert command_lines.found == set()
    assert command_lines.looks > 10
    assert (done.returncode != 0) == fails, done.stdout[-6000:]


def tasks(case: Case, directory: Path) -> list[dict[str, Any]]:
    """Every module: as it should be, against a port where nobody listens, and against something that is no database."""
    source, target = {**case.source.endpoint, **WITH_PASSWORD}, {**case.target.endpoint, **WITH_TOKEN}
    nobody = {**target, "url": f"http://127.0.0.1:{free_port()}", "retries": 0, "timeout": 2}
    absent = {**target, "database": "absent"}
    store, state = {"directory": str(case.store)}, {"state_directory": str(case.state)}
    modules: list[tuple[str, dict[str, Any]]] = []
    for place in (target, nobody, absent):
        modules += [
            ("server_info", {**place, "gather": ["health", "collections", "traps"]}),
            ("snapshot", {**place, **store}),
            ("migrate", {"source": source, "target": place, **state}),
            ("migrate", {"source": place, "target": source, **state}),
            ("validate", {"source": source, "target": place, "report_directory": str(directory)}),
            ("rollback", {**place, **store, "snapshot_id": "latest"}),
            ("monitor_info", {**place, "duration": 0.2, "interval": 0.1, "searches": 2}),
            ("audit_event", {**place, **store, "action": "freeze", "reason": "a test"}),
        ]
    modules += [("snapshot_info", {**store, "verify": "full"}), ("snapshot_prune", store), ("audit_info", store)]
    return [{"name": f"{name} {number}", f"infrafabric.chromadb.{name}": options, "ignore_errors": True} for number, (name, options) in enumerate(modules)]


@pytest.fixture
def filled(case: Case) -> Case:
    rows = trap_data.vectors(30)
    for place in (case.source, case.target):
        place.add(place.create("things"), [Record("r%d" % n, row, "text", {"n": n}) for n, row in enumerate(rows)])
    return case


def test_no_module_tells_its_secrets(filled: Case, tmp_path: Path, command_lines: CommandLines) -> None:
    book = tmp_path / "play.yml"
    book.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": tasks(filled, tmp_path)}]))
    play(tmp_path, command_lines, "-i", "localhost,", "-c", "local", "-e", f"ansible_python_interpreter={sys.executable}", str(book))
    assert len(list((filled.store / "snapshots").glob("*.tar.gz"))) >= 1, "the modules worked, and did not all fail at once"


def test_no_playbook_tells_its_secrets(filled: Case, tmp_path: Path, command_lines: CommandLines) -> None:
    places = {"source": {**filled.source.endpoint, **WITH_PASSWORD}, "target": {**filled.target.endpoint, **WITH_TOKEN}}
    variables = {f"chromadb_{side}_{option}": value for side, place in places.items() for option, value in place.items()}
    variables |= {f"chromadb_{kind}_dir": f"{tmp_path}/{kind}/{{{{ inventory_hostname }}}}" for kind in ("snapshot", "state", "report")}
    variables |= {
        "ansible_connection": "local", "ansible_python_interpreter": sys.executable, "chromadb_approvals": APPROVALS, "preflight_min_free_mb": 1,
        "chromadb_schema": None, "chromadb_routes": None, "cutover_watch_seconds": 0.2, "cutover_watch_interval": 0.2,
        "chromadb_client_files": [], "cutover_reverse_playbook": str(tmp_path / "reverse.yml"),
    }  # fmt: skip
    hosts = {f"chromadb_{role}": {"hosts": {f"the_{role}": {}}} for role in ("source", "target")}
    inventory = tmp_path / "inventory.json"
    inventory.write_text(json.dumps({"all": {"vars": variables, "children": hosts}}))
    nobody = json.dumps({"chromadb_target_url": f"http://127.0.0.1:{free_port()}", "chromadb_target_retries": 0})
    play(tmp_path, command_lines, "-i", str(inventory), "infrafabric.chromadb.precheck", "-e", nobody, fails=True)
    play(tmp_path, command_lines, "-i", str(inventory), "infrafabric.chromadb.execute")
    play(tmp_path, command_lines, "-i", str(inventory), "infrafabric.chromadb.rollback")
    play(tmp_path, command_lines, "-i", str(inventory), "infrafabric.chromadb.status")
    assert list((tmp_path / "report").rglob("*.html"))
