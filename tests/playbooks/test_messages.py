# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the playbooks tell, from the announcement to the rollback, and that whom to tell changes nothing of what they do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.playbooks.test_runbook import SIZES, Runbook
from tests.support.case import Case
from tests.support.scripted_server import Reply, ScriptedServer

CONTACTS = [{"level": level, "name": f"Team {level}", "address": f"team{level}@example.org"} for level in (1, 2, 3, 4)]
# How fast a busy machine searches is no matter here.
UNHURRIED = {"max_latency_ms": 600_000, "min_queries_per_second": 0}
WINDOW = {"start": "2026-01-02T02:00:00+00:00", "end": "2126-01-02T04:00:00+00:00"}
DISCARD = {"rollback_discard_new_writes": True}


@pytest.fixture
def runbook(case: Case, tmp_path: Path) -> Runbook:
    return Runbook(case, tmp_path)


@pytest.fixture
def webhook() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        server.answers["POST", "/hook"] = Reply(204, b"")
        yield server


def test_each_playbook_tells_what_it_does(runbook: Runbook, webhook: ScriptedServer) -> None:
    hooks = [{"url": f"{webhook.url}/hook"}]
    runbook.write_inventory(
        chromadb_notify_webhooks=hooks, chromadb_contacts=CONTACTS, chromadb_maintenance_window=WINDOW, validate_thresholds=UNHURRIED,
    )  # fmt: skip

    def told(name: str, fails: bool = False, **variables: Any) -> list[str]:
        """The messages of one playbook, in their order."""
        before = len(webhook.bodies("hook"))
        runbook.play(name, "-e", json.dumps(variables), fails=fails)
        return [body["text"] for body in webhook.bodies("hook")[before:]]

    def is_about(message: str, event: str, *words: str) -> None:
        assert message.startswith(f"ChromaDB migration: {event}\nFrom {runbook.source.url} to {runbook.target.url}\n"), message
        assert [part for part in words if part not in message] == [], message

    (window,) = told("precheck")
    is_about(window, "maintenance window", f"From {WINDOW['start']} to {WINDOW['end']}. Reads go on")

    start, decision, escalation, rolled_back = told("execute", fails=True, chromadb_expected_counts={**SIZES, "openwebui_core": SIZES["openwebui_core"] + 30})
    is_about(start, "the migration has started", "The old server stays in use")
    is_about(decision, "NO-GO", "The clients stay where they are.", "openwebui_core")
    is_about(escalation, "escalation, level 4 (critical): the engineer on call is paged", "The decision is no_go", "openwebui_core")
    assert [line for line in escalation.splitlines() if line.startswith("Level")] == [f"Level {n}: Team {n}, team{n}@example.org" for n in (1, 2, 3, 4)]
    is_about(rolled_back, "rolled back", "The clients work with the old server", "openwebui_core")

    start, decision = told("execute", chromadb_operator_decision="hold")
    is_about(start, "the migration has started")
    is_about(decision, "HOLD", "When that is taken back, run execute again.", "- operator: chromadb_operator_decision is hold.", "Report: ")

    start, decision = told("execute")
    is_about(start, "the migration has started")
    is_about(decision, "GO", "The copy is complete and proved.", f"Report: {runbook.directory}/report/the_target/")

    (cutover,) = told("cutover")
    is_about(cutover, "the clients work with the new server", "the way back is the playbook infrafabric.chromadb.rollback")

    (rolled_back,) = told("rollback", rollback_reason="wrong model", **DISCARD)
    is_about(rolled_back, "rolled back", "The clients work with the old server", "- wrong model")


def test_a_list_of_webhooks_that_is_left_empty_ends_no_run(runbook: Runbook) -> None:
    runbook.write_inventory(chromadb_notify_webhooks=None, chromadb_contacts=None, chromadb_maintenance_window=WINDOW, validate_thresholds=UNHURRIED)
    assert "no webhook is set" in " ".join(runbook.play("precheck").stdout.split())
    runbook.play("execute")
    failing = {"chromadb_client_commands": [["sh", "-c", f"! grep -q {runbook.target.url} {runbook.env_file}"]]}
    assert "was taken back" in runbook.play("cutover", "-e", json.dumps(failing), fails=True).stdout
    runbook.client_is_as_before()
    runbook.play("rollback")
    runbook.target_is_as_before()


def test_a_deadline_that_passes_rolls_back_although_the_contacts_cannot_be_read(runbook: Runbook, webhook: ScriptedServer) -> None:
    runbook.write_inventory(chromadb_notify_webhooks=[{"url": f"{webhook.url}/hook"}], notify_contacts=7)
    slow = {"chromadb_migration_deadline": 5, "migrate_max_records_per_second": 2, "chromadb_schema": "none", "chromadb_routes": []}
    said = " ".join(runbook.play("execute", "-e", json.dumps(slow), fails=True).stdout.split())
    assert "was perhaps not sent to anybody" in said
    assert "did not end in time" in said
    runbook.target_is_as_before()
    initiated, completed = runbook.rollbacks()
    assert (initiated[:2], completed[:2]) == (("initiated", "time_based"), ("completed", "time_based"))
    assert "deadline" in completed[2]
