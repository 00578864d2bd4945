# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""After the switch clients write to the target: a failure that passes takes nothing back, one that stays takes everything back."""

from __future__ import annotations

import json
import threading
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


def test_the_watch_ends_with_the_first_look_that_fails(runbook: Runbook, target_proxy: CountingProxy) -> None:
    """The looks that are left would keep the clients of a dead target waiting."""
    runbook.write_inventory(chromadb_target_url=target_proxy.url, cutover_watch_seconds=2, cutover_watch_interval=0.1)
    steps = [{"ansible.builtin.include_role": {"name": "infrafabric.chromadb.cutover", "tasks_from": entry, "rolespec_validate": False}}
             for entry in ("smoke", "watch")]  # fmt: skip
    playbook = runbook.directory / "steps.yml"
    playbook.write_text(json.dumps([{"hosts": "chromadb_target", "gather_facts": False, "vars": {"cutover_held_at_first": []}, "tasks": steps}]))

    def looks() -> list[Seen]:
        """Each lists the collections, those of the watch after a search."""
        first = next((number for number, seen in enumerate(target_proxy.requests) if searches(seen)), len(target_proxy.requests))
        return [seen for seen in target_proxy.requests[first:] if seen.method == "GET" and seen.path.endswith("/collections")]

    target_proxy.faults.append(Fault("status", lambda seen: len(looks()) == 3 and seen is looks()[-1], status=500))
    said = runbook.play(str(playbook), fails=True).stdout
    assert [seen.status for seen in looks()] == [200, 200, 500], said


@pytest.mark.parametrize("share", [0.05, 1.0])
def test_clients_may_delete_during_the_watch_and_a_target_may_not_lose_its_records(share: float, runbook: Runbook, target_proxy: CountingProxy) -> None:
    through(runbook, target_proxy)
    collection = str(runbook.target.collection("openwebui_core")["id"])
    held = sorted(runbook.target.records(collection))
    gone = held[: int(len(held) * share)]
    before, ended = len(target_proxy.requests), threading.Event()

    def delete() -> None:
        # At the first search what the target held has been noted.
        while not any(searches(seen) for seen in target_proxy.requests[before:]):
            if ended.wait(0.05):
                return
        runbook.target.delete(collection, gone)

    client = threading.Thread(target=delete, daemon=True)
    client.start()
    watch = json.dumps({"cutover_watch_seconds": 8, "cutover_watch_interval": 1})
    said = " ".join(runbook.play("cutover", "-e", watch, fails=share == 1).stdout.split())
    ended.set()
    client.join(10)
    if share == 1:
        assert "was taken back" in said
        runbook.client_is_as_before()
    else:
        assert set(gone).isdisjoint(runbook.target.records(collection))
        assert target_proxy.url.encode() in runbook.env_file.read_bytes()
