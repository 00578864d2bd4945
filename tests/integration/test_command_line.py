# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The real commands: what a user types, with Ansible's own machinery around the modules."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.support import trap_data
from tests.support.case import Case
from tests.support.run_module import ansible, ansible_playbook
from tests.support.server_versions import CURRENT

TASKS = """
- hosts: localhost
  gather_facts: false
  tasks:
    - name: Save the target
      infrafabric.chromadb.snapshot:
        url: "{{ target.url }}"
        tenant: "{{ target.tenant }}"
        database: "{{ target.database }}"
        directory: "{{ store }}"
        name: before
    - name: Copy everything
      infrafabric.chromadb.migrate:
        source: "{{ source }}"
        target: "{{ target }}"
        state_directory: "{{ state }}"
    - name: Prove it
      infrafabric.chromadb.validate:
        source: "{{ source }}"
        target: "{{ target }}"
      register: proof
    - name: Insist
      ansible.builtin.assert:
        that: proof.decision == 'go'
"""


def test_server_info(case: Case) -> None:
    trap_data.build(case.source)
    result = ansible("server_info", case.source.endpoint)
    assert result["changed"] is False
    assert (result["server"]["api"], result["server"]["version"], result["server"]["read_only"]) == ("v2", "1.0.0", False)
    counts = {name: len(found.records) for name, found in case.source.contents().items()}
    assert {found["name"]: found["count"] for found in result["collections"]} == counts
    tuned = next(found for found in result["collections"] if found["name"] == "traps-tuned-by-metadata")
    assert tuned["space"] == "ip"


def test_url_from_the_environment_and_failure_for_a_user(case: Case) -> None:
    result = ansible("server_info", {**case.source.endpoint, "database": "nothing"}, fails=True)
    assert (result["failure_class"], "nothing" in result["msg"]) == ("usage", True)


def test_secrets_are_not_shown(case: Case) -> None:
    secrets = {"token": "t0psecret-token", "headers": {"X-Extra": "t0psecret-header"}}
    result = ansible("server_info", {**case.source.endpoint, **secrets}, "-vvv")
    assert "t0psecret" not in json.dumps(result)


def test_playbook_copies_proves_and_is_idempotent(case: Case, tmp_path: Path) -> None:
    for collection in (trap_data.ids_trap(CURRENT), trap_data.metadata_trap(CURRENT)):
        trap_data.write(case.source, collection)
    playbook, variables = tmp_path / "copy.yml", tmp_path / "vars.json"
    playbook.write_text(TASKS)
    variables.write_text(
        json.dumps({
            "source": case.source.endpoint, "target": case.target.endpoint, "store": str(case.store), "state": str(case.state),
            "ansible_python_interpreter": sys.executable,
        })
    )
    arguments = ["-i", "localhost,", "-c", "local", "-e", "@%s" % variables, str(playbook)]

    first = ansible_playbook(*arguments)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "changed=2" in first.stdout
    assert case.differences() == []

    second = ansible_playbook(*arguments)
    assert second.returncode == 0, second.stdout + second.stderr
    assert "changed=0" in second.stdout
