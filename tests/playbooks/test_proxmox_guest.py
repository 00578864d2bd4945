# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Snapshots of guests, by the real modules of community.proxmox against a fake of the API."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.case import Case
from tests.support.fake_proxmox import SECRET, VMID, FakeProxmox
from tests.support.run_module import COLLECTIONS, ansible_playbook

from .test_runbook import Runbook

MODULE = "ansible_collections/community/proxmox/plugins/modules/proxmox_snap.py"
NAMED = os.environ.get("PROXMOX_COLLECTIONS", "").split(":")
PLACES = [Path(place).expanduser() for place in [*NAMED, "~/.ansible/collections", "/usr/share/ansible/collections", *sys.path] if place]
FOUND = [place for place in PLACES if (place / MODULE).is_file()]

needs_the_modules = pytest.mark.skipif(
    not FOUND or importlib.util.find_spec("proxmoxer") is None,
    reason="needs the collection community.proxmox (PROXMOX_COLLECTIONS names another place) and the package proxmoxer",
)
PATH = {"ANSIBLE_COLLECTIONS_PATH": ":".join(map(str, [COLLECTIONS, *FOUND]))}


@pytest.fixture
def proxmox(tmp_path: Path) -> Iterator[FakeProxmox]:
    with FakeProxmox(tmp_path) as fake:
        yield fake


def play(directory: Path, entry: str, variables: dict[str, Any], *arguments: str, fails: bool = False) -> str:
    """One entry point of the role, for a host that is never connected to."""
    playbook = directory / f"{entry}.yml"
    role = {"ansible.builtin.include_role": {"name": "infrafabric.chromadb.proxmox_guest", "tasks_from": entry}}
    playbook.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "vars": variables, "tasks": [role]}]))
    done = ansible_playbook(str(playbook), "-i", "192.0.2.20,", *arguments, extra_env=PATH)
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    assert SECRET not in done.stdout
    return " ".join(done.stdout.split())


@needs_the_modules
def test_a_snapshot_is_taken_once_gone_back_to_and_deleted(proxmox: FakeProxmox, tmp_path: Path) -> None:
    variables = {"chromadb_proxmox": proxmox.api, "chromadb_proxmox_vmid": VMID}
    assert "changed=1" in play(tmp_path, "main", variables, "--check")
    assert proxmox.snapshots == {}
    assert "does not exist" in play(tmp_path, "rollback", variables, fails=True)

    assert "changed=1" in play(tmp_path, "main", variables)
    assert proxmox.snapshots["before_migration"]["description"] == "Before the ChromaDB migration"
    assert "changed=0" in play(tmp_path, "main", variables)

    assert "changed=1" in play(tmp_path, "rollback", variables, "--check")
    assert proxmox.rolled_back == []
    assert "changed=1" in play(tmp_path, "rollback", variables)
    assert proxmox.rolled_back == ["before_migration"]

    assert "changed=1" in play(tmp_path, "remove", variables)
    assert proxmox.snapshots == {}
    assert "changed=0" in play(tmp_path, "remove", variables)


@needs_the_modules
def test_a_task_that_fails_is_a_failure(proxmox: FakeProxmox, tmp_path: Path) -> None:
    proxmox.fails = True
    variables = {"chromadb_proxmox": proxmox.api, "chromadb_proxmox_vmid": VMID, "proxmox_guest_timeout": 2}
    play(tmp_path, "main", variables, fails=True)


@needs_the_modules
def test_execute_takes_a_snapshot_of_a_guest_before_it_writes_and_the_guest_can_be_brought_back(proxmox: FakeProxmox, case: Case, tmp_path: Path) -> None:
    runbook = Runbook(case, tmp_path)
    guest = f"{{{{ {VMID} if inventory_hostname == 'the_target' else 0 }}}}"
    runbook.write_inventory(chromadb_proxmox=proxmox.api, chromadb_proxmox_vmid=guest, proxmox_guest_timeout=20, chromadb_schema="none", chromadb_routes=[])

    def run(name: str, *arguments: str, fails: bool = False) -> str:
        done = ansible_playbook(f"infrafabric.chromadb.{name}", "-i", str(runbook.inventory), *arguments, extra_env=PATH)
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        assert SECRET not in done.stdout
        return " ".join(done.stdout.split())

    # Where it cannot be taken, nothing is begun.
    proxmox.fails = True
    run("execute", fails=True)
    runbook.target_is_as_before()
    assert not list(tmp_path.glob("snapshot/*/snapshots/*"))
    proxmox.fails = False
    proxmox.snapshots.clear()

    held: list[int] = []
    proxmox.on_snapshot = lambda: held.append(len(runbook.target.names()))
    run("execute")
    assert held == [1], "it was taken once, of a target that held its own collection"
    assert list(proxmox.snapshots) == ["before_migration"]
    assert len(runbook.target.names()) > 1

    assert "Name them with --limit" in run("guest_rollback", fails=True)
    run("guest_rollback", "--limit", "the_source")
    assert proxmox.rolled_back == []
    run("guest_rollback", "--limit", "the_target")
    assert proxmox.rolled_back == ["before_migration"]


def test_a_host_that_is_no_guest_is_left_alone(tmp_path: Path) -> None:
    assert "changed=0" in play(tmp_path, "main", {})


@pytest.mark.skipif(bool(FOUND), reason="the collection is installed here")
def test_what_is_missing_is_named(tmp_path: Path) -> None:
    assert "ansible-galaxy collection install community.proxmox" in play(tmp_path, "main", {"chromadb_proxmox_vmid": 1}, fails=True)
