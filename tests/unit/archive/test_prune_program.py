# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The timer that the role snapshot installs: its program, and its units as the role writes them."""

from __future__ import annotations

import json
import os
import pwd
import re
import shlex
import shutil
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
import yaml

from ansible_collections.infrafabric.chromadb.plugins.module_utils._audit import audit_path, read_audit
from tests.support.run_module import CHECKOUT, ansible_playbook

from .conftest import make_records

ROLE = CHECKOUT / "roles" / "snapshot"
NOW = datetime.now(timezone.utc)


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """Packed as the role packs it."""
    path = tmp_path_factory.mktemp("program") / "prune.pyz"
    command = [sys.executable, str(ROLE / "files/pack_prune_program.py"), str(CHECKOUT / "plugins/module_utils")]
    subprocess.run([*command, str(path)], check=True)
    again = path.with_name("again.pyz")
    subprocess.run([*command, str(again)], check=True)
    assert again.read_bytes() == path.read_bytes()
    return path


def run(program, store, *arguments, code=0):
    # Isolated, as in the service: nothing of this checkout is in reach.
    words = [sys.executable, "-I", "-B", str(program), "--directory", store.directory, *arguments]
    done = subprocess.run(words, check=False, capture_output=True, text=True, cwd="/")
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def snapshots(write):
    """Twelve to eight days old; each was to be kept for seven."""
    return [write({"c": [make_records(3)]}, name=f"day{days}", now=NOW - timedelta(days=days)).snapshot_id for days in (12, 11, 10, 9, 8)]


def left(store):
    return sorted(path.stem for path in Path(store.manifests).iterdir())


def test_it_keeps_the_newest_the_pinned_and_the_way_back(program, store, snapshots, tmp_path):
    run_file = tmp_path / "run.json"
    run_file.write_text(json.dumps({"status": "open", "snapshot_id": snapshots[1]}))
    said = run(program, store, "--pin", snapshots[0], "--run-file", str(run_file))
    assert left(store) == [snapshots[0], snapshots[1], snapshots[4]]
    assert f"{snapshots[2]}: deleted" in said
    assert f"{snapshots[1]}: kept, pinned" in said
    entries = read_audit(store.directory).entries
    assert [(entry["status"], entry["action"]) for entry in entries[-2:]] == [("initiated", "snapshot_prune"), ("completed", "snapshot_prune")]


def test_a_run_that_was_taken_back_keeps_its_snapshot(program, store, snapshots, tmp_path):
    """It may have been taken back to another one, or in part."""
    run_file = tmp_path / "run.json"
    run_file.write_text(json.dumps({"status": "rolled_back", "rolled_back_to": snapshots[3], "snapshot_id": snapshots[1]}))
    run(program, store, "--run-file", str(run_file))
    assert left(store) == [snapshots[1], snapshots[4]]


def test_numbers_are_those_of_the_module(program, store, snapshots, write):
    run(program, store, "--keep-min", "3", "--run-file", "/nowhere/run.json")
    assert left(store) == snapshots[2:]
    young = [write({"c": [make_records(3)]}, name=f"hour{hours}", now=NOW - timedelta(hours=hours)).snapshot_id for hours in (3, 2, 1)]
    run(program, store)
    assert left(store) == young
    run(program, store, "--keep-max", "2")
    assert left(store) == young[1:]


@pytest.mark.parametrize("content", ["", "{", "[]", '"text"'])
def test_nothing_goes_when_the_way_back_is_not_known(program, store, snapshots, tmp_path, content):
    run_file = tmp_path / "run.json"
    run_file.write_text(content)
    assert "was not cleared" in run(program, store, "--run-file", str(run_file), code=1)
    assert left(store) == snapshots


def test_it_fails_where_a_damaged_log_kept_what_should_have_gone(program, store, snapshots):
    log = Path(audit_path(store.directory))
    log.parent.mkdir(exist_ok=True)
    log.write_text("no line of a log\n")
    assert f"{snapshots[0]}: kept, the audit log is damaged" in run(program, store, code=1)
    assert left(store) == snapshots
    run(program, store, "--keep-min", "5")  # ends with 0: nothing was to go


@pytest.fixture
def units(tmp_path, program):
    """The units for a store with an unpleasant name, where the role writes them."""
    directory = tmp_path / 'a "store" of $HOME, 100 %h'
    directory.mkdir()
    variables = {
        **yaml.safe_load((ROLE / "defaults/main.yml").read_text()), **yaml.safe_load((ROLE / "vars/main.yml").read_text()),
        "snapshot_directory": str(directory), "snapshot_prune_program": str(program), "snapshot_keep_max": 7, "snapshot_pin": ["one", "two"],
        "settings_run_file": "/var/lib/chromadb/state/runbook.json", "snapshot_store_now": {"stat": {"pw_name": pwd.getpwuid(os.geteuid()).pw_name}},
        "ansible_python_interpreter": sys.executable,
    }  # fmt: skip
    tasks = [
        {"ansible.builtin.setup": {"gather_subset": ["!all", "!min", "python"]}},
        *({"ansible.builtin.template": {"src": str(ROLE / f"templates/prune.{kind}.j2"), "dest": str(tmp_path / f"chromadb-snapshot-prune.{kind}")}}
          for kind in ("service", "timer")),
    ]  # fmt: skip
    playbook = tmp_path / "render.yml"
    playbook.write_text(json.dumps([{"hosts": "localhost", "connection": "local", "gather_facts": False, "vars": variables, "tasks": tasks}]))
    done = ansible_playbook(str(playbook), "-i", "localhost,")
    assert done.returncode == 0, done.stdout + done.stderr
    return directory, tmp_path / "chromadb-snapshot-prune.service", tmp_path / "chromadb-snapshot-prune.timer"


def test_the_units_are_right_and_hardened(units):
    directory, service, timer = units
    text = service.read_text()
    (line,) = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)
    words = [word.replace("$$", "$").replace("%%", "%") for word in shlex.split(line)]
    assert words[:3] == [sys.executable, "-I", "-B"]
    assert words[4:] == ["--directory", str(directory), "--keep-min", "1", "--run-file", "/var/lib/chromadb/state/runbook.json", "--keep-max", "7",
                         "--pin", "one", "--pin", "two"]  # fmt: skip
    assert "OnCalendar=daily" in timer.read_text()
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze on this machine: the units were read, and not verified")
    for unit in (service, timer):
        verified = subprocess.run(["systemd-analyze", "verify", "--man=no", str(unit)], check=False, capture_output=True, text=True)
        assert [line for line in verified.stderr.splitlines() if "chromadb-snapshot-prune" in line] == []
        assert verified.returncode == 0, verified.stderr
    # In tenths: 2.0 is what systemd calls OK; a service without any protection has 9.6.
    rated = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", str(service)], check=False, capture_output=True, text=True
    )  # fmt: skip
    assert rated.returncode == 0, rated.stdout[-600:] + rated.stderr
