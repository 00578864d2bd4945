# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""After the switch clients write to the target: a failure that passes takes nothing back, one that stays takes everything back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.case import Case
from tests.support.counting_proxy import CountingProxy, Fault, Seen

from .test_runbook import Runbook


@pytest.fixture
def runbook(case: Case, tmp_path: Path) -> Runbook:
    return Runbook(case, tmp_path)


def searches(seen: Seen) -> bool:
    """Those after the switch."""
    return seen.path.endswith("/query") and json.loads(seen.body)["n_results"] == 3


def through(runbook: Runbook, proxy: CountingProxy) -> None:
    """The target by way of the proxy, a faithful copy in it, and a decision."""
    runbook.write_inventory(chromadb_target_url=proxy.url, chromadb_schema="none", chromadb_routes=[])
    runbook.play("execute")


def test_one_that_passes_takes_nothing_back(runbook: Runbook, target_proxy: CountingProxy) -> None:
    through(runbook, target_proxy)
    target_proxy.faults.append(Fault("refused", searches))
    said = " ".join(runbook.play("cutover").stdout.split())
    assert "After the switch this failed, and went well when it was tried again: Status code was -1" in said
    assert "was taken back" not in said
    assert target_proxy.url.encode() in runbook.env_file.read_bytes()
    state = runbook.state()
    assert state is not None
    assert (state["status"], state["cutover_begun"]) == ("cut_over", "")
    # The clients' file was switched once, and what reads it restarted once.
    assert runbook.restarts.read_text().count(target_proxy.url) == 1


def test_one_that_stays_takes_everything_back(runbook: Runbook, target_proxy: CountingProxy) -> None:
    through(runbook, target_proxy)
    target_proxy.faults.append(Fault("refused", searches, times=None))
    said = " ".join(runbook.play("cutover", fails=True).stdout.split())
    assert "was taken back: the clients use the source as before. Status code was -1" in said
    runbook.client_is_as_before()
    state = runbook.state()
    assert state is not None
    assert (state["status"], state["cutover_begun"]) == ("open", "")
