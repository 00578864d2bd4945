# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Passwords in the addresses of the inventory: each playbook says which variable is wrong, and nothing of what it holds, to nobody."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.chroma_server import free_port
from tests.support.run_module import CHECKOUT, ansible_environment, ansible_playbook
from tests.support.scripted_server import Reply, ScriptedServer

CANARY = "canary-5be038"
# As somebody writes them who means well, or hits a wrong key.
URLS = [
    f"http://admin:{CANARY}@192.0.2.10:8000",
    f"admin:{CANARY}@192.0.2.10:8000",
    f"http:/admin:{CANARY}@192.0.2.10:8000",
    f"http://192.0.2.10:8000/?api_key={CANARY} y",
    f"http://192.0.2.10:8000?token={CANARY}",
    f"http://admin:p#{CANARY}@192.0.2.10:8000",
    f"http://admin:s3/{CANARY}@192.0.2.10:8000",
    f"http://admin:{CANARY}",
]
PLAYBOOKS = [
    "precheck", "execute", "cutover", "rollback", "status", "health", "check_setup", "snapshot", "snapshot_list", "snapshot_prune", "audit_log",
    "monitor", "fleet_rollback",
]  # fmt: skip


def play(directory: Path, playbook: str, variables: dict[str, Any], hosts: dict[str, dict[str, dict[str, Any]]], *arguments: str) -> str:
    """What the playbook said at -vvvv. Nothing of that, of what it left, and of what it told the webhook holds the password."""
    left, inventory = directory / "left", directory / "inventory.json"
    left.mkdir(exist_ok=True)
    with ScriptedServer() as webhook:
        webhook.answers["POST", "/"] = Reply(200, {})
        variables = {
            "ansible_connection": "local", "ansible_python_interpreter": sys.executable, "chromadb_source_retries": 0, "chromadb_target_retries": 0,
            "chromadb_notify_webhooks": [{"url": webhook.url + "/"}], "notify_retries": 0, "preflight_min_free_mb": 1, "chromadb_source_timeout": 2,
            **{f"chromadb_{kind}_dir": f"{left}/{kind}/{{{{ inventory_hostname }}}}" for kind in ("snapshot", "state", "report")}, **variables,
        }  # fmt: skip
        groups = {f"chromadb_{name}": {"hosts": members} for name, members in hosts.items()}
        inventory.write_text(json.dumps({"all": {"vars": variables, "children": groups}}))
        done = ansible_playbook("-vvvv", "-i", str(inventory), f"infrafabric.chromadb.{playbook}", *arguments, extra_env={"TMPDIR": str(left)})
    said = done.stdout + done.stderr
    assert "PLAY RECAP" in done.stdout, said[-3000:]
    assert [line for line in said.splitlines() if CANARY in line] == []
    assert [str(path) for path in left.rglob("*") if path.is_file() and CANARY in path.read_text(errors="replace")] == []
    assert CANARY not in str(webhook.requests)
    return re.sub(r"\s+", " ", said)


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_no_playbook_repeats_a_password_in_an_address(playbook: str, tmp_path: Path) -> None:
    """Each target has the mistake of its own, and what has none yet is left as it is."""
    targets: dict[str, dict[str, Any]] = {f"new_{number}": {"chromadb_target_url": url} for number, url in enumerate(URLS)}
    variables = {"chromadb_source_url": f"http://127.0.0.1:{free_port()}"}
    said = play(tmp_path, playbook, variables, {"source": {"old": {}}, "target": targets})
    if not playbook.startswith(("snapshot_", "audit")):
        assert "chromadb_target_url must be an address like http://HOST:8000" in said


@pytest.mark.parametrize("playbook", ["precheck", "execute", "cutover", "status", "health", "snapshot"])
def test_nor_one_in_the_address_of_the_source(playbook: str, tmp_path: Path) -> None:
    hosts: dict[str, dict[str, dict[str, Any]]] = {"source": {"old": {}}, "target": {"new": {}}}
    said = play(tmp_path, playbook, {"chromadb_source_url": URLS[0], "chromadb_target_url": f"http://127.0.0.1:{free_port()}"}, hosts)
    if playbook != "cutover":  # which ends before: nothing was decided yet
        assert "chromadb_source_url must be an address like http://HOST:8000" in said


def test_nor_one_in_the_address_that_clients_get(tmp_path: Path) -> None:
    settings = tmp_path / "client.env"
    settings.write_text("CHROMA=http://192.0.2.1:8000\n")
    files = {"chromadb_client_files": [{"path": str(settings), "key": "CHROMA"}], "chromadb_source_url": "http://192.0.2.1:8000"}
    hosts = {f"app_{number}": {"chromadb_client_url": url, **files} for number, url in enumerate(URLS)}
    said = role(tmp_path, "cutover", "client_switch", {**hosts, "no_mistake": {"chromadb_client_url": "chroma:8000", **files}})
    assert said.count("failed=1") == len(URLS)
    assert "chromadb_client_url, or without it chromadb_target_url of the first target, must be an address" in said
    assert settings.read_text() == "CHROMA=chroma:8000\n"


def test_nor_one_in_the_address_of_a_gateway(tmp_path: Path) -> None:
    for tasks in ("main", "take_over", "map"):
        said = role(tmp_path, "gateway", tasks, {f"door_{number}": {"gateway_source_url": url} for number, url in enumerate(URLS)}, "--check")
        assert said.count("failed=1") == len(URLS)
        assert "gateway_source_url and gateway_target_url" in said


@pytest.mark.parametrize(
    ("name", "sides"),
    [
        ("migrate", ["migrate_source", "migrate_target"]), ("monitor", ["monitor_server"]), ("preflight", ["preflight_source", "preflight_target"]),
        ("rollback", ["rollback_server"]), ("snapshot", ["snapshot_server"]), ("validate", ["validate_source", "validate_target"]),
    ],
)  # fmt: skip
def test_nor_one_in_a_server_that_a_role_is_given(name: str, sides: list[str], tmp_path: Path) -> None:
    kept = {f"chromadb_{kind}_dir": str(tmp_path / kind) for kind in ("snapshot", "report")}
    (tmp_path / "snapshot").mkdir(mode=0o700)
    hosts = {f"new_{number}": {**{side: {"url": url, "retries": 0} for side in sides}, **kept} for number, url in enumerate(URLS[::7])}
    assert role(tmp_path, name, "main", hosts).count("failed=1") == len(hosts)


def role(directory: Path, name: str, tasks: str, hosts: dict[str, dict[str, Any]], *arguments: str) -> str:
    """What these tasks of a role said at -vvvv, which holds no password."""
    book, inventory = directory / "play.yml", directory / "inventory.json"
    book.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [
        {"ansible.builtin.include_role": {"name": f"infrafabric.chromadb.{name}", "tasks_from": tasks}}]}]))  # fmt: skip
    variables = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "chromadb_state_dir": str(directory)}
    for host in hosts:
        (directory / f"cutover_{host}").mkdir(exist_ok=True)
    inventory.write_text(json.dumps({"all": {"vars": variables, "children": {"chromadb_target": {"hosts": hosts}}}}))
    done = ansible_playbook("-vvvv", "--diff", "-i", str(inventory), str(book), *arguments)
    said = done.stdout + done.stderr
    assert [line for line in said.splitlines() if CANARY in line] == []
    return re.sub(r"\s+", " ", said)


@pytest.mark.parametrize("words", [["rollback", "latest"], ["rollback", "latest", "--yes"], ["cleanup"], ["status"], ["validate"]])
def test_the_command_refuses_one_before_it_asks(words: list[str], tmp_path: Path) -> None:
    for url in URLS:
        environment = {**ansible_environment(), "CHROMADB_URL": url, "SNAPSHOT_DIR": str(tmp_path)}
        done = subprocess.run(
            [str(CHECKOUT / "bin/chromadb-rollback.sh"), *words], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        assert done.returncode == 2
        assert "CHROMADB_URL must be an address" in done.stderr
        assert CANARY not in done.stdout + done.stderr
