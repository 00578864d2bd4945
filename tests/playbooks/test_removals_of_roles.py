# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a role removes is its own: what another unit of the same host still uses stays.

Of the tasks that remove, those that need systemd are left out here, and the units lie in a directory of the test's own."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.run_module import CHECKOUT, ansible_playbook

ON_FILES = ("ansible.builtin.file", "ansible.builtin.find", "ansible.builtin.user")


def remove(role: str, tasks_file: str, directory: Path, *arguments: str, **variables: Any) -> str:
    """What Ansible shows, task by task."""
    place = CHECKOUT / "roles" / role
    text = (place / "tasks" / tasks_file).read_text(encoding="utf-8").replace("/etc/systemd/system", str(directory / "units"))
    tasks = [task for task in yaml.safe_load(text) if any(module in task for module in ON_FILES)]
    known = yaml.safe_load((place / "defaults/main.yml").read_text(encoding="utf-8")) | yaml.safe_load((place / "vars/main.yml").read_text(encoding="utf-8"))
    everything = {**known, "ansible_python_interpreter": sys.executable, "ansible_facts": {"user_id": "root"}, **variables}
    playbook = directory / "remove.yml"
    playbook.write_text(json.dumps([{"hosts": "localhost", "connection": "local", "gather_facts": False, "vars": everything, "tasks": tasks}]))
    done = ansible_playbook(str(playbook), "-i", "localhost,", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def unit(directory: Path, name: str, *lines: str) -> None:
    (directory / "units").mkdir(exist_ok=True)
    (directory / "units" / f"{name}.service").write_text("\n".join(["[Service]", *lines, ""]))


@pytest.mark.parametrize("check", [False, True])
def test_two_servers_of_one_release_share_what_they_run_from(tmp_path: Path, check: bool) -> None:
    venv, longer = tmp_path / "chroma" / "1.5.9", tmp_path / "chroma" / "1.5.9-rc"
    venv.mkdir(parents=True)
    for name, directory in (("one", venv), ("two", venv), ("third", longer)):
        unit(tmp_path, name, "User=chromadb-of-a-test", f"ExecStart={directory}/bin/chroma run /etc/{name}/config.yaml")

    def remove_server(name: str, *arguments: str) -> str:
        mine = {"server_instance": name, "server_venv": str(venv), "server_user": "chromadb-of-a-test", "server_remove_data": True}
        paths = {f"server_{kind}_directory": str(tmp_path / name / kind) for kind in ("config", "data")}
        return remove("server", "absent.yml", tmp_path, *arguments, **mine, **paths)

    shown = remove_server("one", *(["--check"] if check else []))
    assert venv.exists()
    assert (tmp_path / "units/one.service").exists() == check
    assert shown.count("skipping:") == 2  # the environment, and the user
    if check:
        (tmp_path / "units/two.service").unlink()
        assert remove_server("one", "--check").count("skipping:") == 1  # the third one has the user, and another environment
        assert venv.exists()
    else:
        assert remove_server("two").count("skipping:") == 1
        assert not venv.exists()


@pytest.mark.parametrize("check", [False, True])
def test_two_gateways_share_a_user(tmp_path: Path, check: bool) -> None:
    for name in ("one", "two"):
        unit(tmp_path, name, "User=chromadb-of-a-test")
        unit(tmp_path, f"{name}-router", "User=chromadb-of-a-test")
    unit(tmp_path, "third", "User=chromadb-of-a-test-too")

    def remove_gateway(name: str) -> str:
        paths = {f"gateway_{kind}_directory": str(tmp_path / name / kind) for kind in ("config", "state", "cache", "run")}
        mine = {"gateway_instance": name, "gateway_user": "chromadb-of-a-test", "gateway_command": str(tmp_path / name / "command")}
        return remove("gateway", "remove.yml", tmp_path, *(["--check"] if check else []), gateway_service_manager="systemd", **mine, **paths)

    assert remove_gateway("one").count("skipping:") == 1
    if check:
        for name in ("two", "two-router"):
            (tmp_path / f"units/{name}.service").unlink()
    assert remove_gateway("one" if check else "two").count("skipping:") == 0
