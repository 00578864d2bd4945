# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A cutover that would move nobody is refused before it changes anything, unless the inventory says that something else moves the clients."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.case import Case
from tests.support.counting_proxy import CountingProxy, Fault, Seen
from tests.support.equality import contents_differences
from tests.support.run_module import run_module

from .test_runbook import Runbook

ELSEWHERE = ("-e", '{"cutover_clients_elsewhere": true}')
NOBODY = "Nobody was moved by this run: cutover_clients_elsewhere is set."


@pytest.fixture
def runbook(case: Case, tmp_path: Path) -> Runbook:
    return Runbook(case, tmp_path)


def with_groups(runbook: Runbook, **groups: dict[str, Any]) -> None:
    """These in the place of the clients' group."""
    inventory = json.loads(runbook.inventory.read_text())
    del inventory["all"]["children"]["chromadb_client"]
    inventory["all"]["children"].update(groups)
    runbook.inventory.write_text(json.dumps(inventory))


@pytest.mark.parametrize(
    ("group", "variables", "named"),
    [
        ("chromadb_clients", {}, "no host is in the group chromadb_client, and none is in chromadb_gateway"),
        (
            "chromadb_client", {"chromadb_client_files": []},
            "the_client of the group chromadb_client has no chromadb_client_files, and none is in chromadb_gateway",
        ),
    ],
    ids=["misspelled", "without files"],
)
def test_it_is_refused_before_anything_is_changed(runbook: Runbook, group: str, variables: dict[str, Any], named: str) -> None:
    runbook.decided()
    with_groups(runbook, **{group: {"hosts": {"the_client": variables}}})
    state = runbook.state()
    for arguments in (("--check",), ()):
        refused = " ".join(runbook.play("cutover", *arguments, fails=True).stdout.split())
        assert f"The cutover would move nobody: {named}." in refused
        for name in ("in chromadb_client, with", "chromadb_client_files", "in chromadb_gateway;", "cutover_clients_elsewhere=true"):
            assert name in refused
    assert runbook.state() == state
    runbook.client_is_as_before()
    runbook.target_is_as_before()


def test_files_that_a_playbook_gives_to_the_role_are_something_to_move(runbook: Runbook) -> None:
    runbook.decided()
    with_groups(runbook, chromadb_client={"hosts": {"the_client": {"chromadb_client_files": []}}})
    files = [{"path": str(runbook.env_file), "key": "CHROMADB_URL"}]
    own = runbook.directory / "own.yml"
    role = {"role": "infrafabric.chromadb.cutover", "cutover_files": files}
    hosts = "chromadb_source:chromadb_target:chromadb_client"
    own.write_text(json.dumps([{"hosts": hosts, "gather_facts": False, "any_errors_fatal": True, "roles": [role]}]))
    assert "Nobody was moved" not in runbook.play(str(own)).stdout
    assert runbook.target.url.encode() in runbook.env_file.read_bytes()
    assert (runbook.state() or {})["moved"] == ["the_client"]


def test_it_goes_on_where_something_else_moves_them_and_says_so(runbook: Runbook) -> None:
    runbook.decided()
    with_groups(runbook)
    store = runbook.directory / "snapshot/the_target"
    store.mkdir(parents=True, exist_ok=True, mode=0o700)
    run_module("snapshot", {**runbook.target.endpoint, "directory": str(store)})
    said = runbook.play("cutover", *ELSEWHERE).stdout
    verdict = said[said.index("decision  GO") :]
    assert NOBODY in verdict
    assert "frozen" not in verdict
    timeline = said[said.index("RUNBOOK") : said.index("decision  GO")]
    assert [line.split()[0] for line in timeline.splitlines()[2:] if line.strip()][:3] == ["approve", "cutover", "watch"]
    assert "freeze" not in timeline
    state = runbook.state()
    assert state is not None
    assert (state["status"], state["moved"]) == ("cut_over", [])
    assert len(runbook.target.names()) > len(runbook.before)
    entries = run_module("audit_info", {"directory": str(store)})["entries"]
    [event] = [entry for entry in entries if entry["action"] == "cutover"]
    assert event["reason"].startswith(NOBODY)

    # Afterwards nothing says that clients were moved.
    again = " ".join(runbook.play("cutover", *ELSEWHERE).stdout.split())
    assert "A cutover that moved nobody itself is on record for" in again
    refused = " ".join(runbook.play("execute", fails=True).stdout.split())
    assert "A cutover that moved nobody itself is on record since" in refused
    assert "clients have been working" not in again + refused
    short = {"monitor_seconds": 0.4, "monitor_interval": 0.2, "monitor_max_latency_ms": 10000, "monitor_min_queries_per_second": 0.1}
    watched = runbook.play("monitor", "-e", json.dumps(short))
    verdict = watched.stdout[watched.stdout.index("decision  GO") :]
    assert "The cutover moved nobody itself." in verdict

    # Whether they are back, only a person knows.
    discard = {"rollback_discard_new_writes": True}
    refused = " ".join(runbook.play("rollback", "-e", json.dumps(discard), fails=True).stdout.split())
    assert "The cutover on record moved nobody itself. Have what moved the clients bring them back" in refused
    assert len(runbook.target.names()) > len(runbook.before)
    runbook.play("rollback", "-e", json.dumps({**discard, "rollback_clients_back": True}))
    runbook.target_is_as_before()
    assert (runbook.state() or {})["status"] == "rolled_back"


def test_one_that_moved_nobody_is_not_finished_by_one_that_would_move_clients(runbook: Runbook) -> None:
    """What clients wrote to the source since then is not in the target, and their files would be switched over that."""
    runbook.decided()
    path = runbook.directory / "state/the_target/runbook_the_target.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "status": "cut_over", "cut_over_at": "2026-01-10T03:00:00Z", "moved": []}))
    assert "The cutover on record moved nobody" in " ".join(runbook.play("cutover", fails=True).stdout.split())
    runbook.client_is_as_before()
    runbook.play("cutover", *ELSEWHERE)
    assert runbook.target.url.encode() in runbook.env_file.read_bytes()


def test_a_failure_that_passes_is_tried_again_and_one_that_stays_brings_nobody_back(runbook: Runbook, target_proxy: CountingProxy) -> None:
    def searches(seen: Seen) -> bool:
        return seen.path.endswith("/query") and json.loads(seen.body)["n_results"] == 3

    runbook.write_inventory(chromadb_target_url=target_proxy.url, chromadb_schema="none", chromadb_routes=[])
    with_groups(runbook)
    path = runbook.directory / "state/the_target/runbook_the_target.json"
    runbook.decided()
    path.write_text(json.dumps({**json.loads(path.read_text()), "target": target_proxy.url}))
    target_proxy.faults.append(Fault("refused", searches, times=None))
    said = " ".join(runbook.play("cutover", *ELSEWHERE, fails=True).stdout.split())
    assert "was taken back: it had moved nobody." in said
    assert "the clients use the source as before" not in said
    target_proxy.faults[:] = [Fault("refused", searches)]
    before = runbook.source.contents()
    said = " ".join(runbook.play("cutover", *ELSEWHERE).stdout.split())
    assert "went well when it was tried again" in said
    assert contents_differences(before, runbook.source.contents()) == []
    assert (runbook.state() or {})["status"] == "cut_over"
