# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The control node dies in the middle of the cutover: before the switch, and after it. And the target's host is lost to it after the switch."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from tests.support.equality import contents_differences
from tests.support.raw import RawChroma, Record

from .gateway import play

if "LAB_DIR" not in os.environ:
    pytest.skip("needs the hosts of the lab", allow_module_level=True)

from .stage import DIMENSION, DISCARD, FREEZE_SECONDS, GATEWAY, INVENTORY, SOURCE_HOST, TARGET_HOST, VARIABLES, Playbook, Stage, Writer, install, on_host, poll


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    install()


def squeezed(text: str) -> str:
    return " ".join(text.split())


def test_a_freeze_ends_without_its_control_node_and_one_command_takes_the_rest_back() -> None:
    stage = Stage()
    with Writer(stage.written, "before") as writer:
        play("infrafabric.chromadb.execute", *INVENTORY)
        cutover = Playbook("cutover")
        poll(lambda: writer.refused or not cutover.running, 300, "the gateway is frozen")
        assert cutover.running, cutover.output()
        frozen = time.monotonic()
        cutover.kill()
        assert stage.gateway()["state"] == "read_only"
        known = len(writer.acknowledged)
        poll(lambda: len(writer.acknowledged) > known, FREEZE_SECONDS + 10, "writes pass again")
        assert time.monotonic() - frozen > FREEZE_SECONDS / 2
        refused = play("infrafabric.chromadb.execute", *INVENTORY, fails=True)
        assert "A cutover began at" in squeezed(refused)
        play("infrafabric.chromadb.rollback", *INVENTORY)
        stage.is_old(writer)
        assert set(writer.acknowledged.values()) == {"source"}


def test_a_cutover_that_lost_its_control_node_after_the_switch_is_finished_and_loses_no_write() -> None:
    stage = Stage()
    with Writer(stage.written, "after", pause=0.02) as writer:
        play("infrafabric.chromadb.execute", *INVENTORY)
        cutover = Playbook("cutover")
        poll(lambda: writer.side == "target" or not cutover.running, 300, "the gateway is switched")
        assert cutover.running, cutover.output()
        cutover.kill()
        poll(lambda: len(writer.acknowledged_by("target")) > 20, 30, "the target takes writes")
        refused = play("infrafabric.chromadb.rollback", *INVENTORY, fails=True)
        assert "rollback_discard_new_writes=true" in refused
        refused = play("infrafabric.chromadb.execute", *INVENTORY, fails=True)
        assert "A cutover began at" in squeezed(refused)
        play("infrafabric.chromadb.cutover", *INVENTORY, variables=VARIABLES)
        stage.is_new(writer)

        play("infrafabric.chromadb.rollback", *INVENTORY, variables={**VARIABLES, **DISCARD})
        stage.is_old(writer)
    assert contents_differences(stage.before, stage.target.contents()) == []


def on_its_console(number: int, command: str) -> None:
    """As on_host, without ssh."""
    nspawn = Path(os.environ["LAB_DIR"], "h%d.pid" % number).read_text().strip()
    init = Path("/proc/%s/task/%s/children" % (nspawn, nspawn)).read_text().split()[0]
    subprocess.run(["nsenter", "--target", init, "--all", "sh", "-c", command], check=True, timeout=60)


def test_a_target_that_serves_while_nobody_gets_to_its_host_is_kept() -> None:
    stage = Stage()
    with Writer(stage.written, "lost") as writer:
        play("infrafabric.chromadb.execute", *INVENTORY)
        cutover = Playbook("cutover", {"cutover_watch_seconds": 60})
        poll(lambda: writer.side == "target" or not cutover.running, 300, "the gateway is switched")
        assert cutover.running, cutover.output()
        on_its_console(TARGET_HOST, "systemctl stop ssh && pkill -KILL sshd")
        try:
            assert cutover.wait() != 0
        finally:
            on_its_console(TARGET_HOST, "systemctl start ssh")
        said = squeezed(cutover.output())
        assert "The cutover failed after the switch, where target got lost. Nothing was taken back" in said, cutover.output()[-9000:]
        assert "was taken back: the clients" not in said
        assert (stage.gateway()["frozen"], stage.gateway()["switched"]) == (False, True)
        play("infrafabric.chromadb.cutover", *INVENTORY, variables=VARIABLES)
        stage.is_new(writer)


def test_a_gateway_that_somebody_brings_back_during_the_watch_makes_no_cutover_done() -> None:
    """As a rollback from another terminal begins."""
    stage = Stage()
    with Writer(stage.written, "back") as writer:
        play("infrafabric.chromadb.execute", *INVENTORY)
        cutover = Playbook("cutover", {**VARIABLES, "cutover_watch_seconds": 8, "cutover_watch_interval": 4, "chromadb_client_files": []})
        # Earlier, before all were moved, it is the proof of the switch that fails.
        poll(lambda: "See that the target goes on answering" in cutover.output() or not cutover.running, 300, "the watch begins")
        on_host(SOURCE_HOST, "chromadb-gateway unswitch")
        assert cutover.wait() == 2, cutover.output()
        assert "Somebody has taken the cutover back while it was running" in squeezed(cutover.output()), cutover.output()
        play("infrafabric.chromadb.rollback", *INVENTORY, variables=DISCARD)
        poll(lambda: writer.side == "source", 30, "writes go to the source")


def test_a_collection_that_comes_right_before_the_freeze_is_translated(tmp_path: Path) -> None:
    """Whoever created it holds the source's id. Here it comes after the map, past the gateway, which lets nothing pass any more."""
    stage = Stage()
    late = tmp_path / "late.yml"
    late.write_text(
        "- ansible.builtin.uri:\n    url: %s/api/v2/tenants/default_tenant/databases/default_database/collections\n    method: POST\n"
        "    body_format: json\n    body: {name: late, get_or_create: true}\n  run_once: true\n" % stage.source.url
    )
    play("infrafabric.chromadb.execute", *INVENTORY)
    output = play("infrafabric.chromadb.cutover", *INVENTORY, variables={**VARIABLES, "cutover_freeze_tasks": str(late)})
    assert output.count(": List the collections of the source]") == 2
    held = str(stage.source.collection("late")["id"])
    through = RawChroma(GATEWAY)
    through.add(held, [Record("first", np.ones(DIMENSION, "<f4"), "through the gateway")])
    assert "first" in stage.target.records(str(stage.target.collection("late")["id"]))
