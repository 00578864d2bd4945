# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The status of a fleet at a glance, with a server that does not answer and a host that cannot be reached."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

from tests.support.case import Case
from tests.support.changing_source import fill
from tests.support.chroma_server import free_port
from tests.support.run_module import ansible_playbook


def test_every_host_has_its_line(case: Case, tmp_path: Path) -> None:
    fill(case.source, random.Random(1), {"first": 7, "second": 5})
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    source = {f"chromadb_source_{option}": value for option, value in case.source.endpoint.items()}
    targets = {
        "silent": {**local, "chromadb_target_url": f"http://127.0.0.1:{free_port()}", "chromadb_target_retries": 0},
        "dead": {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": free_port(), "chromadb_target_url": "http://127.0.0.1:1"},
    }
    inventory = tmp_path / "inventory.json"
    directories = {f"chromadb_{kind}_dir": str(tmp_path / kind) for kind in ("snapshot", "state", "report")}
    inventory.write_text(json.dumps({"all": {
        "vars": {**source, **directories},
        "children": {"chromadb_source": {"hosts": {"the_source": local}}, "chromadb_target": {"hosts": targets}},
    }}))
    done = ansible_playbook("infrafabric.chromadb.status", "-i", str(inventory))
    shown = " ".join(done.stdout.split("Show all at a glance")[1].split())
    assert "the_source Chroma 1.0.0 2 collections 12 records run: none" in shown, done.stdout
    assert "silent no answer" in shown, done.stdout
    assert "dead UNREACHABLE" in shown, done.stdout
