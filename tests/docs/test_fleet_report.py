# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report of a fleet of which one server is down and one host cannot be reached, as the guide shows it.

No story of one machine has a host that cannot be reached: here its ssh is a port of this machine on which nothing listens.
"""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path

from tests.support.raw import RawChroma, Record
from tests.support.run_module import CHECKOUT, ansible_playbook, run_module

from .scenes import Servers
from .shown import difference

GUIDE = CHECKOUT / "docs/docsite/rst/guide_fleets.rst"


def test_the_report_that_is_shown_is_what_is_printed(servers: Servers, tmp_path: Path) -> None:
    text = GUIDE.read_text(encoding="utf-8").split("\nThe report\n", 1)[1].split(".. code-block:: text\n\n", 1)[1]
    shown = textwrap.dedent(text.split("\n\nThe exit code", 1)[0]).splitlines()
    assert shown[0].startswith("host   snapshot")

    place = RawChroma(servers.target.url)
    place.add(place.create("docs"), [Record("r1", [1.0, 2.0], "text", None)])
    run_module("snapshot", {**place.endpoint, "directory": str(tmp_path), "name": "wednesday"})
    local = {"ansible_connection": "local"}
    hosts = {
        "one": {**local, "chromadb_target_url": servers.target.url},
        "two": {**local, "chromadb_target_url": "http://127.0.0.1:9"},
        "three": {"ansible_host": "127.0.0.1", "ansible_port": 9, "chromadb_target_url": servers.target.url},
        "four": {**local, "chromadb_target_url": servers.target.url},
    }
    variables = {"chromadb_snapshot_dir": str(tmp_path), "chromadb_state_dir": str(tmp_path / "state"), "chromadb_target_retries": 0,
                 "ansible_python_interpreter": sys.executable, "chromadb_fleet_serial": [1, 2]}  # fmt: skip
    inventory = tmp_path / "inventory.json"
    inventory.write_text(json.dumps({"all": {"vars": variables, "children": {"chromadb_target": {"hosts": hosts}}}}))
    done = ansible_playbook("infrafabric.chromadb.fleet_rollback", "-i", str(inventory), extra_env={"ANSIBLE_STDOUT_CALLBACK": "infrafabric.chromadb.brief"})
    assert done.returncode == 2, done.stdout + done.stderr
    printed = done.stdout[done.stdout.rindex("host   snapshot") :].split("\n\n")[0]
    assert difference(shown, printed.splitlines()) is None, done.stdout
