# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Clients are moved with the Python that they have: no module of the collection runs there, and so its libraries are not asked for."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.playbooks.test_runbook import Runbook
from tests.support.case import Case


@pytest.fixture
def runbook(case: Case, tmp_path: Path) -> Runbook:
    return Runbook(case, tmp_path)


def test_a_client_without_the_runtime_is_moved_and_brought_back(runbook: Runbook) -> None:
    """The inventory names the runtime for all hosts, and it is only on those of the servers."""
    runtime = f"{{{{ '/nonexistent/bin/python' if inventory_hostname == 'the_client' else {json.dumps(sys.executable)} }}}}"
    runbook.write_inventory(chromadb_python=runtime, validate_thresholds={"max_latency_ms": 600_000, "min_queries_per_second": 0})
    runbook.play("execute")
    runbook.play("cutover")
    assert runbook.target.url.encode() in runbook.env_file.read_bytes()
    runbook.play("rollback", "-e", '{"rollback_discard_new_writes": true}')
    runbook.client_is_as_before()
    runbook.target_is_as_before()
