# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Workers that do not do their part, and hosts that cannot be reached: the target gets every record, or the run ends and says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.case import Case

from .test_runbook import SIZES, Runbook
from .test_ways_back_that_were_cut_short import ONE_TO_ONE, add_to_source, in_target, off_the_air, without_the_client

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def runbook(case: Case, tmp_path: Path) -> Runbook:
    found = Runbook(case, tmp_path)
    found.write_inventory(**ONE_TO_ONE)
    return found


def give_workers(runbook: Runbook, **workers: dict[str, Any]) -> None:
    inventory = json.loads(runbook.inventory.read_text())
    inventory["all"]["children"]["chromadb_worker"] = {"hosts": workers}
    runbook.inventory.write_text(json.dumps(inventory))


def everything_is_there(runbook: Runbook) -> bool:
    contents = runbook.target.contents()
    return {name: len(contents[name].records) for name in contents if name != "there_before"} == SIZES


def decision(runbook: Runbook) -> tuple[str, str]:
    state = runbook.state()
    assert state is not None
    return state["status"], state.get("decision", "")


def words(output: str) -> str:
    return " ".join(output.split())


def test_a_target_that_is_a_worker_too_gets_every_record(runbook: Runbook) -> None:
    """Also those of a worker that is dead, and those that were written before the cutover, whatever the inventory says of parts."""
    give_workers(runbook, the_target={"migrate_only_own_part": True}, the_worker={})
    with off_the_air(runbook, "worker"):
        said = words(runbook.play("execute", fails=True).stdout)
    assert everything_is_there(runbook)
    assert decision(runbook) == ("open", "go")
    assert "the_worker (lost or failed, see above)" in said
    since = [f"since-{number}" for number in range(12)]
    for name in since:
        add_to_source(runbook, name)
    without_the_client(runbook)
    runbook.play("cutover", "-e", json.dumps({"cutover_smoke_collections": 0, "cutover_watch_seconds": 0, "cutover_clients_elsewhere": True}))
    assert [name for name in since if not in_target(runbook, name)] == []


def test_what_dead_workers_left_undone_the_target_does(runbook: Runbook) -> None:
    """And a runbook stops, also for the clients, which had no part in it so far."""
    give_workers(runbook, the_worker={})
    with off_the_air(runbook, "worker"):
        said = words(runbook.play("runbook", "--tags", "execute,cutover", fails=True).stdout)
    assert everything_is_there(runbook)
    assert decision(runbook) == ("open", "go")
    assert "Stopped here, since the step before did not succeed on" in said
    runbook.client_is_as_before()


def test_what_workers_failed_to_do_the_target_does(runbook: Runbook) -> None:
    """It comes to its decision, the failure is shown, and a runbook stops before its next step."""
    give_workers(runbook, one={"chromadb_source_url": NOWHERE}, another={})
    said = words(runbook.play("runbook", fails=True).stdout)
    assert everything_is_there(runbook)
    assert decision(runbook) == ("open", "go")
    assert f"one ({NOWHERE} does not answer" in said
    runbook.client_is_as_before()
    assert runbook.rollbacks() == []


def test_a_deadline_that_passes_on_the_workers_rolls_back(runbook: Runbook) -> None:
    give_workers(runbook, one={}, another={})
    slow = {"chromadb_migration_deadline": 5, "migrate_max_records_per_second": 2}
    said = words(runbook.play("execute", "-e", json.dumps(slow), fails=True).stdout)
    assert "The migration did not end in time" in said
    runbook.target_is_as_before()
    assert decision(runbook) == ("rolled_back", "")
    initiated, completed = runbook.rollbacks()
    assert (initiated[:2], completed[:2]) == (("initiated", "time_based"), ("completed", "time_based"))
    assert "deadline" in completed[2]
    # On the target's own host it had not begun.
    assert runbook.migrations() == []


def test_a_source_that_is_lost_ends_the_check(runbook: Runbook) -> None:
    with off_the_air(runbook, "source"):
        said = words(runbook.play("runbook", fails=True).stdout)
    assert "Not ready: the_source could not be reached" in said
    assert runbook.state() is None
    runbook.target_is_as_before()
    runbook.client_is_as_before()


def test_a_side_that_was_lost_before_is_missed_by_execute(runbook: Runbook) -> None:
    """By then it takes no part any more, so that nobody notices. But a side that --limit leaves out was not to be saved."""
    reach = {"hosts": "chromadb_source:chromadb_target", "gather_facts": False, "tasks": [{"name": "Reach it", "ansible.builtin.command": "true"}]}
    larger = runbook.directory / "larger.yml"
    larger.write_text(json.dumps([reach, {"import_playbook": "infrafabric.chromadb.execute"}]))
    with off_the_air(runbook, "source"):
        said = words(runbook.play(str(larger), fails=True).stdout)
        assert "Nothing was copied, since the_source could not be saved" in said
        runbook.target_is_as_before()
        assert runbook.rollbacks() == []
        assert decision(runbook) == ("open", "")
        said = words(runbook.play("execute", "--limit", "!the_source").stdout)
        assert "WARNING: the_source is left out by --limit" in said
    assert everything_is_there(runbook)
    assert decision(runbook) == ("open", "go")


def test_workers_copy_nothing_into_a_target_that_was_not_saved(runbook: Runbook) -> None:
    give_workers(runbook, one={}, another={})
    with off_the_air(runbook, "source"):
        said = words(runbook.play("execute", fails=True).stdout)
    assert "Nothing was copied, since" in said
    runbook.target_is_as_before()


def test_an_only_target_that_cannot_be_reached_is_named(runbook: Runbook) -> None:
    with off_the_air(runbook, "target"):
        said = words(runbook.play("execute", fails=True).stdout)
    assert "None of the targets (the_target) takes part, and nothing was done. If it could not be reached or failed, see above." in said
    assert not (runbook.directory / "snapshot").exists()
