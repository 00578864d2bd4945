# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Three targets are rolled back together while one of their hosts is cut off."""

from __future__ import annotations

import os
import re
import subprocess
import time

import pytest

from .gateway import CHECKOUT, play

if "LAB_DIR" not in os.environ:
    pytest.skip("needs the hosts of the lab", allow_module_level=True)

SCENARIO = CHECKOUT / "extensions" / "molecule" / "fleet"
INVENTORY = ("-i", str(CHECKOUT / "tests" / "lab" / "inventories" / "fleet.yml"))


def network(host: str, state: str) -> None:
    subprocess.run(["ip", "link", "set", host, state], check=True)


def test_the_others_go_back_while_one_is_dead_and_it_follows_later() -> None:
    play(SCENARIO / "prepare.yml", *INVENTORY)
    network("h3", "down")
    began = time.monotonic()
    try:
        output = play("infrafabric.chromadb.fleet_rollback", *INVENTORY, fails=True)
    finally:
        network("h3", "up")
    recap = {line.split(":")[0].strip(): line for line in output.split("PLAY RECAP", 1)[1].splitlines() if " ok=" in line}
    assert "failed=0" in recap["target1"], output
    assert "failed=0" in recap["target2"], output
    # Its row in the playbook's table: host, snapshot, result, records changed, seconds.
    assert re.search(r"\btarget3 +- +unreachable +- +-(?!\S)", output), output
    # Its silence is ignored until the batch has been reported, and counts as a failure then.
    assert "failed=1" in recap["target3"], output
    print("with one host dead: %.0f s" % (time.monotonic() - began))
    play(SCENARIO / "verify.yml", *INVENTORY, "--limit", "target1,target2")
    play(SCENARIO / "verify.yml", *INVENTORY, "--limit", "target3", fails=True)
    play("infrafabric.chromadb.fleet_rollback", *INVENTORY)
    play(SCENARIO / "verify.yml", *INVENTORY)
