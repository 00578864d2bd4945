# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Taking a port over tells what it replaces in the server's files, and nothing else that they hold. The lab does it for real."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from tests.support.chroma_server import free_port
from tests.support.run_module import ansible_playbook

CANARY = "canary-in-the-unit-4f7"
UNIT = f"""[Service]
Environment=CHROMA_TOKEN={CANARY}
ExecStart=/usr/bin/chroma run --auth {CANARY} --host 0.0.0.0 --port 8020 --other {CANARY}
Environment=AFTER={CANARY}
"""
SYSTEMCTL = """#!/bin/sh
echo FragmentPath={unit}
sed -n 's/^ExecStart/ExecStart/p' {unit}
echo ActiveState=active
echo LoadState=loaded
"""


def test_the_lines_of_a_unit_are_not_shown(tmp_path: Path) -> None:
    unit, command = tmp_path / "chroma.service", tmp_path / "bin/systemctl"
    unit.write_text(UNIT)
    command.parent.mkdir()
    command.write_text(SYSTEMCTL.format(unit=unit))
    command.chmod(0o755)
    variables = {
        "gateway_port": 8020, "gateway_source_url": f"http://127.0.0.1:{free_port()}", "gateway_service_manager": "systemd",
        "gateway_state_directory": str(tmp_path / "state"), "ansible_python_interpreter": sys.executable, "ansible_connection": "local",
    }  # fmt: skip
    role: dict[str, Any] = {"name": "infrafabric.chromadb.gateway", "rolespec_validate": False}
    tasks = [{"ansible.builtin.include_role": {**role, "tasks_from": name}} for name in ("take_over_plan", "take_over_move")]
    playbook = tmp_path / "play.json"
    playbook.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "vars": variables, "tasks": tasks}]))
    result = ansible_playbook(str(playbook), "--check", "--diff", "-vvvv", extra_env={"PATH": f"{command.parent}:{os.environ['PATH']}"})
    output = " ".join((result.stdout + result.stderr).split())
    assert CANARY not in output
    assert "--port 8020 becomes --port" in output, output
    assert "--host 0.0.0.0 becomes --host 127.0.0.1" in output
    assert unit.read_text() == UNIT
