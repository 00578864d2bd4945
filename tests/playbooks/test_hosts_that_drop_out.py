# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts that cannot be reached: the run ends and says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.case import Case

from .test_runbook import Runbook
from .test_ways_back_that_were_cut_short import ONE_TO_ONE, off_the_air


@pytest.fixture
def runbook(case: Case, tmp_path: Path) -> Runbook:
    found = Runbook(case, tmp_path)
    found.write_inventory(**ONE_TO_ONE)
    return found


def test_a_source_that_is_lost_ends_the_check(runbook: Runbook) -> None:
    with off_the_air(runbook, "source"):
        said = " ".join(runbook.play("runbook", fails=True).stdout.split())
    assert "Not ready: the_source could not be reached" in said
    assert runbook.state() is None
    runbook.target_is_as_before()
    runbook.client_is_as_before()
