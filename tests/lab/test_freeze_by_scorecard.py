# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A cutover without a gateway, frozen by the scorecard of the source's own server, which systemd restarts at both ends of the freeze."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from tests.support.equality import contents_differences

from .gateway import play

if "LAB_DIR" not in os.environ:
    pytest.skip("needs the hosts of the lab", allow_module_level=True)

from .stage import CLIENT_SETTINGS, DISCARD, GATEWAY, LAB, SOURCE, SOURCE_HOST, TARGET, VARIABLES, Playbook, Stage, Writer, answers, install, on_host, poll

SERVER = "sha256sum /etc/chromadb/config.yaml; stat -c '%U:%G %a' /etc/chromadb/config.yaml; systemctl is-active chromadb"
FROZEN = "grep -c scorecard_enabled /etc/chromadb/config.yaml || true"
SCORECARD: dict[str, object] = {**VARIABLES, "chromadb_freeze_method": "scorecard", "cutover_freeze_limit": 120}


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    install()


@pytest.fixture
def inventory(tmp_path: Path) -> tuple[str, str]:
    """The same hosts, but nobody is behind the gateway: the clients talk to the source itself."""
    hosts = yaml.safe_load((LAB / "inventories" / "runbook.yml").read_text())
    del hosts["all"]["children"]["chromadb_gateway"]
    path = tmp_path / "inventory.yml"
    path.write_text(yaml.safe_dump(hosts))
    return "-i", str(path)


def frozen() -> bool:
    return on_host(SOURCE_HOST, FROZEN).strip() != "0"


def test_a_cutover_freezes_by_scorecard_and_leaves_the_server_as_it_was(inventory: tuple[str, str]) -> None:
    stage = Stage()
    before = on_host(SOURCE_HOST, SERVER)
    with Writer(stage.written, "score", url=SOURCE) as writer:
        play("infrafabric.chromadb.execute", *inventory, variables=SCORECARD)
        poll(lambda: writer.acknowledged, 30, "writes are acknowledged")
        cutover = Playbook("cutover", SCORECARD, inventory)
        poll(lambda: writer.limited or not cutover.running, 300, "the scorecard refuses a write")
        early = set(writer.acknowledged)
        assert cutover.wait() == 0, cutover.output()
        known = len(writer.acknowledged)
        poll(lambda: len(writer.acknowledged) > known, 30, "the source takes writes again")
    assert stage.client_settings() == (CLIENT_SETTINGS.replace(GATEWAY, TARGET), "640")
    assert on_host(SOURCE_HOST, SERVER) == before
    source, target = stage.source.contents(), stage.target.contents()
    assert early <= target["written"].records.keys()
    # What this client, which knows nothing of the move, wrote to the source after the freeze.
    for name in source["written"].records.keys() - target["written"].records.keys():
        assert name not in early
        del source["written"].records[name]
    assert contents_differences({**source, **stage.before}, target) == []


def die_while_frozen(inventory: tuple[str, str], writer: Writer, limit: int) -> None:
    """The control node, in a cutover whose freeze may last so long."""
    limited = writer.limited
    cutover = Playbook("cutover", {**SCORECARD, "cutover_freeze_limit": limit}, inventory)
    poll(lambda: writer.limited > limited or not cutover.running, 300, "the scorecard refuses a write")
    assert cutover.running, cutover.output()
    cutover.kill()
    assert frozen()


def test_a_freeze_by_scorecard_ends_without_its_control_node(inventory: tuple[str, str]) -> None:
    """By the rollback, long before it would end by itself; and by itself, where nobody comes."""
    stage = Stage()
    before = on_host(SOURCE_HOST, SERVER)
    with Writer(stage.written, "dead", url=SOURCE) as writer:
        play("infrafabric.chromadb.execute", *inventory, variables=SCORECARD)
        die_while_frozen(inventory, writer, 3600)
        play("infrafabric.chromadb.rollback", *inventory, variables={**SCORECARD, **DISCARD})
        assert on_host(SOURCE_HOST, SERVER) == before
        stage.is_old(writer, side="None")

        play("infrafabric.chromadb.execute", *inventory, variables=SCORECARD)
        die_while_frozen(inventory, writer, 15)
        poll(lambda: not frozen(), 60, "the freeze has expired")
        poll(lambda: answers(SOURCE), 60, "the server answers")
        assert on_host(SOURCE_HOST, SERVER) == before
        known = len(writer.acknowledged)
        poll(lambda: len(writer.acknowledged) > known, 30, "the source takes writes again")
        play("infrafabric.chromadb.rollback", *inventory, variables={**SCORECARD, **DISCARD})
        stage.is_old(writer, side="None")
