# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Paths that a unit, or nginx, would read as something else are refused before anything is done."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.run_module import CHECKOUT, ansible_playbook

ASSERTIONS = "ansible.builtin.assert"
SERVERS = {"gateway_source_url": "http://192.0.2.10:8000", "gateway_target_url": ""}


def check(role: str, tasks_file: str, directory: Path, **variables: Any) -> str:
    """The assertions that the role begins with. Nothing else of it is done; what Ansible says, or nothing where all is well."""
    place = CHECKOUT / "roles" / role
    read = {name: yaml.safe_load((place / name / "main.yml").read_text(encoding="utf-8")) for name in ("defaults", "vars")}
    tasks = [task for task in yaml.safe_load((place / "tasks" / tasks_file).read_text(encoding="utf-8")) if ASSERTIONS in task]
    everything = {**read["defaults"], **read["vars"], "ansible_python_interpreter": sys.executable, **variables}
    playbook = directory / "check.yml"
    playbook.write_text(json.dumps([{"hosts": "localhost", "connection": "local", "gather_facts": False, "vars": everything, "tasks": tasks}]))
    done = ansible_playbook(str(playbook), "-i", "localhost,")
    assert tasks
    return "" if done.returncode == 0 else " ".join(done.stdout.split())


@pytest.mark.parametrize(("role", "tasks_file", "option"), [
    ("server", "present.yml", "server_venv"),
    ("server", "present.yml", "server_data_directory"),
    ("gateway", "settings.yml", "gateway_config_directory"),
    ("gateway", "settings.yml", "gateway_command"),
])  # fmt: skip
def test_a_path_that_is_no_single_word_is_refused(role: str, tasks_file: str, option: str, tmp_path: Path) -> None:
    assert check(role, tasks_file, tmp_path, **SERVERS, **{option: "/srv/plain_1.5-rc~2/ärger"}) == ""
    for path in ("/srv/with blank", "/srv/100%h", "/srv/$HOME", "relative", "/srv/a;b"):
        said = check(role, tasks_file, tmp_path, **SERVERS, **{option: path})
        assert "cannot be used" in said
        assert "nothing was changed" in said


def test_the_run_directory_is_where_systemd_makes_it(tmp_path: Path) -> None:
    elsewhere = {**SERVERS, "gateway_run_directory": "/srv/run"}
    assert check("gateway", "settings.yml", tmp_path, gateway_service_manager="none", **elsewhere) == ""
    assert "must be below /run" in check("gateway", "settings.yml", tmp_path, gateway_service_manager="systemd", **elsewhere)
    assert check("gateway", "settings.yml", tmp_path, gateway_service_manager="systemd", **SERVERS) == ""
