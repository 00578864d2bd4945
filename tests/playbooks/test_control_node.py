# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tasks of the control node take no privileges there, which it may not have: also where the inventory wants them of every host."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.support.run_module import ansible_playbook

# All hosts are this machine, as is the control node: what the others have instead of sudo runs the command that follows its options.
SUDO = '#!/bin/sh\necho used >> "$0.used"\nwhile [ "$1" != /bin/sh ]; do shift; done\nexec "$@"\n'


def test_what_it_does_without_sudo(tmp_path: Path) -> None:
    """The playbook that takes a cutover back, and a test of the user's own, while the hosts' tasks take the privileges."""
    sudo, reverse = tmp_path / "sudo", tmp_path / "playbooks" / "reverse.yml"
    sudo.write_text(SUDO)
    sudo.chmod(0o755)
    inventory = tmp_path / "inventory.json"
    inventory.write_text(json.dumps({"all": {
        "vars": {
            "ansible_connection": "local", "ansible_python_interpreter": sys.executable, "ansible_become": True, "ansible_become_exe": "/bin/false",
            "chromadb_source_url": "http://192.0.2.10:8000", "chromadb_target_url": "http://192.0.2.20:8000",
        },
        "children": {"chromadb_target": {"hosts": {"the_target": {"ansible_become_exe": str(sudo)}}}},
    }}))  # fmt: skip

    def include(role: str, entry: str) -> dict[str, object]:
        return {"ansible.builtin.include_role": {"name": f"infrafabric.chromadb.{role}", "tasks_from": entry}}

    variables = {
        "cutover_reverse_playbook": str(reverse), "settings_run": {}, "monitor_test_results": [],
        "monitor_test": {"name": "here", "command": ["touch", str(tmp_path / "tested")], "run_on": "control_node"},
    }  # fmt: skip
    tasks = [{"ansible.builtin.command": "true"}, include("cutover", "reverse"), include("monitor", "test")]
    playbook = tmp_path / "play.yml"
    playbook.write_text(json.dumps([{"hosts": "chromadb_target", "gather_facts": False, "vars": variables, "tasks": tasks}]))
    # Whoever runs this may be root already, and is to ask for it all the same.
    done = ansible_playbook(str(playbook), "-i", str(inventory), extra_env={"ANSIBLE_BECOME_ALLOW_SAME_USER": "true"})
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "sudo.used").read_text() == "used\n"
    assert "import_playbook: infrafabric.chromadb.rollback" in reverse.read_text()
    assert (tmp_path / "tested").exists()
