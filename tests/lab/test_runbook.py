# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The whole runbook between real hosts while clients read and write through the gateway: 9,832 records, one to one."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from tests.support.raw import RawChroma

from .gateway import CHECKOUT, play
from .load import Known, Load

if "LAB_DIR" not in os.environ:
    pytest.skip("needs the hosts of the lab", allow_module_level=True)

from .stage import GATEWAY, INVENTORY, SOURCE, TARGET, clear, install

RECORDS = 9832
LONGEST_FREEZE = float(os.environ.get("LAB_LONGEST_FREEZE", "5"))


def test_no_reader_notices_the_migration_and_no_write_is_lost() -> None:
    install()
    clear()
    source, target = RawChroma(SOURCE), RawChroma(TARGET)
    sample_data = CHECKOUT / "playbooks" / "files" / "demo" / "sample_data.py"
    subprocess.run([sys.executable, str(sample_data), "load", "--url", SOURCE], check=True, timeout=600)
    held = str(source.collection("openwebui_core")["id"])
    assert sum(source.count(str(collection["id"])) for collection in source.collections()) == RECORDS

    with Load(GATEWAY, held, Known.of(source, held), pause=0.05, limit=3000) as load:
        play("infrafabric.chromadb.execute", *INVENTORY)
        before_cutover = len(load.tally.refused)
        output = play("infrafabric.chromadb.cutover", *INVENTORY)
        done = time.monotonic()
        while not any(moment > done + 1 for moment in load.tally.acknowledged.values()):
            assert time.monotonic() - done < 30
            time.sleep(0.1)
    tally = load.tally
    frozen = max(tally.refused) - min(tally.refused)
    print("%.0f requests/s, %d reads, %d writes, frozen for %.1f s" % (tally.requests_per_second, tally.reads, len(tally.acknowledged), frozen))
    assert tally.failed_reads == []
    assert tally.failed_writes == []
    assert before_cutover == 0
    assert tally.requests_per_second >= 50
    target_ids = set(target.records(str(target.collection("openwebui_core")["id"])))
    assert set(tally.acknowledged) <= target_ids
    assert frozen <= LONGEST_FREEZE
    # The gateway's map is made before the freeze, and not again under it.
    assert output.count(": List the collections of the source]") == 1
