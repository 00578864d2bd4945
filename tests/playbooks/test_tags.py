# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`--tags`: one step of the runbook, and one of the roles of a playbook of one's own, with everything that it includes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.playbooks.test_runbook import Runbook
from tests.support.case import Case


@pytest.fixture
def runbook(case: Case, tmp_path: Path) -> Runbook:
    return Runbook(case, tmp_path)


def test_a_step_of_the_runbook_alone(runbook: Runbook) -> None:
    checked = runbook.play("runbook", "--tags", "precheck").stdout
    assert "PLAY [Open the run]" in checked  # plays are named, and nothing of the others is done
    runbook.target_is_as_before()
    assert runbook.state() is None

    runbook.play("runbook", "--tags", "execute")
    assert (runbook.state() or {})["status"] == "open"
    assert len(runbook.target.names()) > len(runbook.before)
    runbook.client_is_as_before()


def test_a_role_of_ones_own_playbook_alone(runbook: Runbook) -> None:
    roles = [{"role": f"infrafabric.chromadb.{role}", "tags": [tag]} for role, tag in (("snapshot", "backup"), ("migrate", "copy"))]
    playbook = runbook.directory / "own.yml"
    playbook.write_text(json.dumps([{"hosts": "chromadb_target", "gather_facts": False, "roles": roles}]))
    store = runbook.directory / "snapshot" / "the_target" / "snapshots"

    backup = runbook.play(str(playbook), "--tags", "backup").stdout
    assert len(list(store.glob("*.tar.gz"))) == 1, backup
    runbook.target_is_as_before()

    copied = runbook.play(str(playbook), "--skip-tags", "backup").stdout
    assert len(list(store.glob("*.tar.gz"))) == 1, copied
    assert len(runbook.target.names()) > len(runbook.before), copied
