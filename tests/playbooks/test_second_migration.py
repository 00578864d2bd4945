# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The same clients in one migration after another: what is kept of their files belongs to the migration that kept it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.case import Case
from tests.support.chroma_server import ChromaServer
from tests.support.raw import RawChroma

from .test_end_of_the_window import SWITCHED_GATEWAY
from .test_runbook import ENV_FILE, Runbook

DISCARD = json.dumps({"rollback_discard_new_writes": True})
ONE_TO_ONE: dict[str, Any] = {"chromadb_schema": "none", "chromadb_routes": [], "chromadb_expected_counts": {}}


@pytest.fixture
def runbook(case: Case, tmp_path: Path) -> Runbook:
    found = Runbook(case, tmp_path)
    found.write_inventory(**ONE_TO_ONE)
    return found


def another_migration(runbook: Runbook, source: RawChroma, target: RawChroma) -> None:
    """Another inventory with the same client, in place of the one that there was."""
    runbook.source, runbook.target = source, target
    runbook.write_inventory(**ONE_TO_ONE)
    inventory = json.loads(runbook.inventory.read_text())
    inventory["all"]["children"]["chromadb_target"]["hosts"] = {"the_next_target": {}}
    runbook.inventory.write_text(json.dumps(inventory))


def switched_to(server: RawChroma) -> bytes:
    return ENV_FILE.replace(b"http://old.example.com:1", server.url.encode())


def test_clients_go_on_to_a_third_server_and_come_back_to_the_second(runbook: Runbook, spare_server: ChromaServer) -> None:
    second, third = runbook.target, RawChroma(spare_server.url)
    kept = runbook.directory / "state/the_client/cutover_the_client"
    runbook.decided()
    runbook.play("cutover")
    another_migration(runbook, second, third)
    runbook.play("execute")
    runbook.play("cutover")
    assert runbook.env_file.read_bytes() == switched_to(third)
    # What the first migration would need for its way back is set aside.
    (aside,) = kept.parent.glob("cutover_the_client_*")
    assert aside.name.startswith("cutover_the_client_earlier_20260110t020000_")
    assert ENV_FILE in [path.read_bytes() for path in aside.iterdir()]
    runbook.play("rollback", "-e", DISCARD)
    assert runbook.env_file.read_bytes() == switched_to(second)
    assert third.contents() == {}
    assert (kept.exists(), aside.exists()) == (False, True)


def test_the_originals_of_a_migration_elsewhere_are_left_alone(runbook: Runbook, spare_server: ChromaServer) -> None:
    source, target = runbook.source, runbook.target
    runbook.decided()
    runbook.play("cutover")
    another_migration(runbook, source, RawChroma(spare_server.url))
    runbook.decided("the_next_target")
    for playbook in ("cutover", "rollback"):
        refused = " ".join(runbook.play(playbook, "-e", DISCARD, fails=True).stdout.split())
        assert f"keeps the originals of a cutover from {source.url} {source.tenant} {source.database} to {target.url}" in refused
        assert runbook.env_file.read_bytes() == switched_to(target)


def test_a_gateway_of_an_earlier_migration_is_not_taken_for_this_one_s(runbook: Runbook) -> None:
    """Its clients are where this migration begins, and it knows no way from there. Its way back is the earlier one's."""
    runbook.decided()
    gateway, calls = runbook.directory / "chromadb-gateway", runbook.directory / "calls"
    gateway.write_text(SWITCHED_GATEWAY.replace("http://192.0.2.20:8000", runbook.source.url).replace("case", f'echo "$*" >> {calls}\ncase', 1))
    gateway.chmod(0o755)
    inventory = json.loads(runbook.inventory.read_text())
    inventory["all"]["children"]["chromadb_gateway"] = {"hosts": {"the_gateway": {"gateway_command": str(gateway)}}}
    runbook.inventory.write_text(json.dumps(inventory))
    refused = " ".join(runbook.play("cutover", fails=True).stdout.split())
    assert f"The gateway was switched to {runbook.source.url} by an earlier migration" in refused
    runbook.client_is_as_before()
    refused = " ".join(runbook.play("rollback", "-e", DISCARD, fails=True).stdout.split())
    assert f"an earlier migration has switched the gateway of the_gateway to {runbook.source.url}" in refused
    assert " unswitch" not in calls.read_text()
