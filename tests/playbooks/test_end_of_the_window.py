# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The maintenance window ends while a cutover is on its way: before the freeze and before the switch that is the end of it, after the switch it is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable

import pytest

from tests.support.case import Case
from tests.support.counting_proxy import CountingProxy, Fault, Seen

from .test_failures_after_the_switch import searches
from .test_runbook import Runbook

DISCARD = json.dumps({"rollback_discard_new_writes": True})
ENDED = "chromadb_maintenance_window is 2026-01-01T00:00:00Z to 2026-01-02T00:00:00Z"

# What the playbooks ask of a gateway that was switched before its control node died.
SWITCHED_GATEWAY = """#!/bin/sh
case " $* " in
  *" status "*) echo '{"switched": true, "running": true, "frozen": false, "target": "http://192.0.2.20:8000"}' ;;
  *) echo '{"changed": false}' ;;
esac
"""


class Window:
    """A runbook that was decided go, whose window is open until the file `over` is there."""

    def __init__(self, runbook: Runbook, proxy: CountingProxy, side: str) -> None:
        self.runbook, self.proxy = runbook, proxy
        self.over, self.frozen = runbook.directory / "over", runbook.directory / "frozen"
        self.variables = {
            "chromadb_maintenance_window": f"{{{{ {{'start': '2026-01-01T00:00:00Z', 'end': '{self.over}' is exists"
                                           " | ternary('2026-01-02T00:00:00Z', '2126-01-02T00:00:00Z')} }}",
            f"chromadb_{side}_url": proxy.url, "chromadb_schema": "none", "chromadb_routes": [],
        }  # fmt: skip
        self.write_inventory()
        runbook.play("execute")

    def write_inventory(self, **variables: Any) -> None:
        self.runbook.write_inventory(**self.variables, **variables)

    def freezes(self) -> dict[str, str]:
        """Tasks that freeze, which leave a file for what they did, and that thaw."""
        tasks = {}
        for name, script in (("freeze", f"touch {self.frozen}"), ("thaw", f"touch {self.frozen}.thawed")):
            path = self.runbook.directory / f"{name}.yml"
            path.write_text(json.dumps([{"ansible.builtin.command": {"argv": ["sh", "-c", script]}}]))
            tasks[f"cutover_{name}_tasks"] = str(path)
        return tasks

    def ends_at(self, request: Callable[[Seen], bool]) -> None:
        """At the first such request since the cutover wrote down that it has begun."""

        def now(seen: Seen) -> bool:
            if (self.runbook.state() or {}).get("cutover_begun") and request(seen):
                self.over.touch()
            return False

        self.proxy.faults.append(Fault("latency", now))

    def was_not_switched(self, said: str, why: str) -> None:
        assert why in said
        assert "was taken back: the clients use the source as before" in said
        assert self.over.exists()
        self.runbook.client_is_as_before()
        assert not self.runbook.restarts.exists()
        state = self.runbook.state()
        assert state is not None
        assert (state["status"], state["cutover_begun"], state["cutover_token"]) == ("open", "", "")

    def is_switched(self) -> None:
        assert b"CHROMADB_URL=" + str(self.variables.get("chromadb_target_url", self.runbook.target.url)).encode() in self.runbook.env_file.read_bytes()


@pytest.fixture
def runbook(case: Case, tmp_path: Path) -> Runbook:
    return Runbook(case, tmp_path)


def test_a_window_that_ends_during_the_catch_up_sees_no_freeze(runbook: Runbook, source_proxy: CountingProxy) -> None:
    """Nor does an operator who has thought better of it by then."""
    window = Window(runbook, source_proxy, "source")
    window.write_inventory(**window.freezes())
    # The first request of the cutover to the source: that of the catch-up.
    window.ends_at(lambda seen: True)
    window.was_not_switched(" ".join(runbook.play("cutover", fails=True).stdout.split()), ENDED)
    assert not window.frozen.exists()

    window.over.unlink()
    window.variables["chromadb_maintenance_window"] = {}
    window.write_inventory(**window.freezes(), chromadb_operator_file=str(window.over))
    window.was_not_switched(" ".join(runbook.play("cutover", fails=True).stdout.split()), "Held by the operator")
    assert not window.frozen.exists()


def test_a_window_that_ends_during_passes_that_nothing_limits_sees_no_switch(runbook: Runbook, source_proxy: CountingProxy) -> None:
    """A freeze by tasks has no end of its own, so that the writers are let go."""
    window = Window(runbook, source_proxy, "source")
    window.write_inventory(**window.freezes())
    window.ends_at(lambda seen: window.frozen.exists())
    window.was_not_switched(" ".join(runbook.play("cutover", fails=True).stdout.split()), ENDED)
    assert Path(f"{window.frozen}.thawed").exists()
    window.over.unlink()
    source_proxy.reset()
    runbook.play("cutover")
    window.is_switched()


def test_a_window_that_ends_after_the_switch_takes_nothing_back_nor_keeps_anybody_from_it(runbook: Runbook, target_proxy: CountingProxy) -> None:
    window = Window(runbook, target_proxy, "target")
    # And the search fails, so that what comes after the switch is done a second time.
    window.ends_at(searches)
    target_proxy.faults.append(Fault("refused", searches))
    said = " ".join(runbook.play("cutover").stdout.split())
    assert "After the switch this failed, and went well when it was tried again" in said
    assert window.over.exists()
    window.is_switched()
    runbook.play("rollback", "-e", DISCARD)
    runbook.client_is_as_before()


def test_an_interrupted_cutover_is_finished_whenever_it_is(runbook: Runbook, target_proxy: CountingProxy) -> None:
    """Its gateway is switched, and the control node died: what is left does not wait for another window."""
    window = Window(runbook, target_proxy, "target")
    state = runbook.state()
    assert state is not None
    path = runbook.directory / "state/the_target/runbook_the_target.json"
    path.write_text(json.dumps({**state, "cutover_begun": "2026-01-01T12:00:00Z", "cutover_token": "of the one that died"}))
    gateway = runbook.directory / "chromadb-gateway"
    gateway.write_text(SWITCHED_GATEWAY)
    gateway.chmod(0o755)
    inventory = json.loads(runbook.inventory.read_text())
    inventory["all"]["children"]["chromadb_gateway"] = {"hosts": {"the_gateway": {"gateway_command": str(gateway)}}}
    runbook.inventory.write_text(json.dumps(inventory))
    window.over.touch()
    runbook.play("cutover")
    window.is_switched()
    state = runbook.state()
    assert state is not None
    assert (state["status"], state["cutover_begun"]) == ("cut_over", "")
    # Another one only looks for clients that came later, and that has time.
    assert ENDED in " ".join(runbook.play("cutover", fails=True).stdout.split())
