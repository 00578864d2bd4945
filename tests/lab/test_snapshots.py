# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Snapshots on a host with systemd: a timer that prunes, and a service that is stopped for its directory. tests/lab/lab pytest tests/lab."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.support import trap_data
from tests.support.equality import contents_differences
from tests.support.raw import RawChroma, Record
from tests.support.trap_data import CollectionData

from .gateway import CHECKOUT, changes, play

if "LAB_DIR" not in os.environ:
    pytest.skip("needs the hosts of the lab", allow_module_level=True)

from .stage import on_host, poll

LAB = CHECKOUT / "tests" / "lab"
INVENTORY = ("-i", str(LAB / "inventories" / "runbook.yml"), "--limit", "target")
HOST, URL = 2, "http://198.18.0.12:8000"
STORE, DATA = "/var/lib/chromadb/snapshots", "/var/lib/chromadb/data"
UNIT = "chromadb-snapshot-prune"


@pytest.fixture(scope="module")
def server() -> RawChroma:
    play(LAB / "install.yml", *INVENTORY)
    live = RawChroma(URL)
    trap_data.write(live, CollectionData("things", [Record("r%d" % n, row, "text %d" % n) for n, row in enumerate(trap_data.vectors(200))]))
    return live


@pytest.fixture
def role(tmp_path: Path) -> Any:
    """Apply an entry point of a role to the host: its output."""

    def apply(name: str, *arguments: str, entry: str = "main", **variables: object) -> str:
        tasks = [{"ansible.builtin.include_role": {"name": "infrafabric.chromadb." + name, "tasks_from": entry}}]
        with_python = {"ansible_python_interpreter": "{{ chromadb_python }}"}
        playbook = tmp_path / (name + ".yml")
        playbook.write_text(json.dumps([{"hosts": "target", "gather_facts": False, "vars": with_python, "tasks": tasks}]))
        return play(playbook, *INVENTORY, *arguments, variables=variables)

    return apply


def names() -> list[str]:
    """The snapshots that there are, by the names that they were given."""
    found = on_host(HOST, "ls %s/manifests" % STORE).split()
    return [name.split("_", 3)[3].partition(".")[0] for name in sorted(found)]


def test_the_timer_prunes(server: RawChroma, role: Any) -> None:
    on_host(HOST, "rm -rf %s" % STORE)
    ids: dict[str, str] = {}
    for name in ("pinned", "wayback", "old", "base", "newest"):
        base = {"snapshot_base": "latest"} if name == "newest" else {}
        role("snapshot", snapshot_name=name, snapshot_prune=False, **base)
        ids[name] = on_host(HOST, "ls %s/manifests | grep %s" % (STORE, name)).strip().partition(".")[0]
    run_file = "/var/lib/chromadb/state/runbook_target.json"
    on_host(HOST, "mkdir -p -m 700 %s && echo '{\"snapshot_id\": \"%s\"}' > %s" % (os.path.dirname(run_file), ids["wayback"], run_file))
    wanted: dict[str, object] = {
        "snapshot_prune_timer": "present",
        "snapshot_prune_timer_schedule": "*-*-* *:*:0/4",
        "snapshot_keep_max": 1,
        "snapshot_pin": [ids["pinned"]],
    }

    role("snapshot", "--check", "--diff", entry="timer", **wanted)
    assert on_host(HOST, "ls -d /usr/local/lib/%s /etc/systemd/system/%s.* 2>/dev/null || true" % (UNIT, UNIT)) == ""
    role("snapshot", entry="timer", **wanted)
    try:
        poll(lambda: "old" not in names(), 60, "the timer has pruned")
    except AssertionError as late:
        raise AssertionError(on_host(HOST, "journalctl --no-pager -n 40 -u %s.service -u %s.timer" % (UNIT, UNIT))) from late
    poll(lambda: on_host(HOST, "systemctl show --property Result --value %s" % UNIT).strip() == "success", 30, "the run has ended well")
    assert names() == ["pinned", "wayback", "base", "newest"]
    log = on_host(HOST, "journalctl --no-pager -o cat -u %s.service" % UNIT)
    assert "%s: deleted" % ids["old"] in log
    assert "%s: kept, the base of %s" % (ids["base"], ids["newest"]) in log
    audit = [json.loads(line) for line in on_host(HOST, "cat %s/logs/rollback_audit.jsonl" % STORE).splitlines()]
    assert [entry["status"] for entry in audit if entry["action"] == "snapshot_prune"] == ["initiated", "completed"]

    # What cannot be known is no reason to delete.
    on_host(HOST, "echo broken > %s" % run_file)
    poll(lambda: on_host(HOST, "systemctl show --property Result --value %s" % UNIT).strip() == "exit-code", 60, "it refuses")
    assert names() == ["pinned", "wayback", "base", "newest"]

    assert changes(role("snapshot", entry="timer", **wanted))["target"] == 0
    role("snapshot", entry="timer", snapshot_prune_timer="absent")
    places = "/usr/local/lib /etc/systemd/system /etc/systemd/system/timers.target.wants"
    assert on_host(HOST, "find %s -maxdepth 1 -name '%s*'" % (places, UNIT)) == ""
    assert changes(role("snapshot", entry="timer", snapshot_prune_timer="absent"))["target"] == 0


def test_a_service_is_stopped_copied_put_back_and_started(server: RawChroma, role: Any) -> None:
    on_host(HOST, "rm -rf %s /var/lib/chromadb/state" % STORE)
    before = server.contents()
    started = service_started()
    role("snapshot", snapshot_method="files", snapshot_data_directory=DATA, snapshot_service="chromadb")
    assert service_started() != started
    assert contents_differences(before, server.contents()) == []

    server.delete(server.collection("things")["id"], ["r%d" % n for n in range(50)])
    started = service_started()
    role("rollback", rollback_strategy="files", rollback_data_directory=DATA, rollback_service="chromadb")
    assert service_started() != started
    assert contents_differences(before, server.contents()) == []
    assert on_host(HOST, "find %s ! -user chromadb" % DATA) == ""

    # A service that was down before stays down.
    on_host(HOST, "systemctl stop chromadb")
    role("snapshot", snapshot_method="files", snapshot_data_directory=DATA, snapshot_service="chromadb")
    state = on_host(HOST, "systemctl is-active chromadb || true").strip()
    on_host(HOST, "systemctl start chromadb")
    assert state == "inactive"


def service_started() -> str:
    return on_host(HOST, "systemctl show --property ActiveEnterTimestampMonotonic --value chromadb").strip()
