# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run goes back to stays, however long the run stays open."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.support.case import Case
from tests.support.equality import contents_differences
from tests.support.raw import Record
from tests.support.run_module import ansible_playbook, run_module


def of_the_target_alone(case: Case, directory: Path, **variables: Any) -> str:
    """An inventory without a source. What its runs remember lies in `runs`."""
    inventory = directory / "inventory.json"
    inventory.write_text(json.dumps({"all": {
        "vars": {
            "ansible_connection": "local", "ansible_python_interpreter": sys.executable,
            **{f"chromadb_target_{option}": value for option, value in case.target.endpoint.items()},
            "chromadb_snapshot_dir": str(case.store), "chromadb_state_dir": str(directory / "runs"), **variables,
        },
        "children": {"chromadb_target": {"hosts": {"new": {}}}},
    }}))  # fmt: skip
    return str(inventory)


def test_way_back_needs_no_source(case: Case, tmp_path: Path) -> None:
    docs = case.target.create("docs")
    case.target.add(docs, [Record(f"r{n}", [float(n), 1.0], f"text {n}", {"n": n}) for n in range(5)])
    before, snapshot_id = case.target.contents(), case.snapshot()["snapshot"]["snapshot_id"]
    case.target.delete(docs, ["r1"])
    done = ansible_playbook(
        "infrafabric.chromadb.rollback", "-i", of_the_target_alone(case, tmp_path), "-e", json.dumps({"rollback_snapshot_id": snapshot_id})
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert contents_differences(before, case.target.contents()) == []


def test_snapshot_of_every_night_leaves_the_way_back(case: Case, tmp_path: Path) -> None:
    """And what snapshot_pin names. Without them, taking one clears away those whose days are over, but for the newest."""
    case.target.add(case.target.create("docs"), [Record(f"r{n}", [float(n), 1.0], f"text {n}", {"n": n}) for n in range(5)])
    pinned, way_back, old = (case.snapshot(name=name, retention_days=0, keep_min=3)["snapshot"]["snapshot_id"] for name in ("pinned", "way_back", "old"))
    state = tmp_path / "runs"
    state.mkdir()
    (state / "runbook_new.json").write_text(json.dumps({"id": "20260102t030405", "status": "open", "snapshot_id": way_back}))
    inventory = of_the_target_alone(case, tmp_path, snapshot_pin=[pinned])
    done = ansible_playbook("infrafabric.chromadb.snapshot", "-i", inventory, "-e", json.dumps({"snapshot_prune": False}))
    assert done.returncode == 0, done.stdout + done.stderr
    assert {pinned, way_back, old} < {path.stem for path in (case.store / "manifests").iterdir()}
    done = ansible_playbook("infrafabric.chromadb.snapshot", "-i", inventory)
    assert done.returncode == 0, done.stdout + done.stderr
    left = {path.stem for path in (case.store / "manifests").iterdir()}
    assert {pinned, way_back} < left
    assert old not in left


def test_playbook_of_the_retention_has_the_rule_of_the_role(case: Case, tmp_path: Path) -> None:
    """What is pinned, how many stay, and how long each one was to be kept when it was taken. Only what is given with -e is about all of them."""
    case.target.add(case.target.create("docs"), [Record("r", [1.0, 1.0], "text", {"n": 1})])
    pinned, old, long, newer, newest = (
        case.snapshot(name=name, retention_days=days, keep_min=5)["snapshot"]["snapshot_id"]
        for name, days in (("pinned", 0), ("old", 0), ("long", 30), ("newer", 0), ("newest", 0))
    )
    inventory = of_the_target_alone(case, tmp_path, snapshot_pin=[pinned], snapshot_keep_min=2, chromadb_retention_days=0)

    def prune(*words: str) -> set[str]:
        done = ansible_playbook("infrafabric.chromadb.snapshot_prune", "-i", inventory, *words)
        assert done.returncode == 0, done.stdout + done.stderr
        return {path.stem for path in (case.store / "manifests").iterdir()}

    assert prune("--check") == {pinned, old, long, newer, newest}
    assert prune() == {pinned, long, newer, newest}
    assert prune("-e", json.dumps({"snapshot_keep_max": 2})) == {pinned, newer, newest}
    assert prune("-e", json.dumps({"snapshot_keep_min": 1, "chromadb_retention_days": 1})) == {pinned, newer, newest}
    assert prune("-e", json.dumps({"snapshot_keep_min": 1, "chromadb_retention_days": 0})) == {pinned, newest}


def test_the_store_itself_knows_the_way_back(case: Case, tmp_path: Path) -> None:
    """Whoever clears it away need not know the inventory: the command with a store and a server alone does not."""
    for place, records in ((case.source, 5), (case.target, 2)):
        place.add(place.create("docs"), [Record(f"r{n}", [float(n), 1.0], f"text {n}", {"n": n}) for n in range(records)])
    source = {f"chromadb_source_{option}": value for option, value in case.source.endpoint.items()}
    inventory = of_the_target_alone(case, tmp_path, chromadb_schema="none", chromadb_routes=[], chromadb_report_dir=str(tmp_path / "reports"), **source)
    before = case.target.contents()
    done = ansible_playbook("infrafabric.chromadb.execute", "-i", inventory)
    assert done.returncode == 0, done.stdout + done.stderr
    [way_back] = [path.stem for path in (case.store / "manifests").iterdir()]
    later = case.snapshot(name="later")["snapshot"]["snapshot_id"]
    everything = {"directory": str(case.store), "retention_days": 0}
    pruned = run_module("snapshot_prune", everything)
    assert pruned["deleted"] == []
    assert {"snapshot_id": way_back, "reason": "the way back of a migration"} in pruned["kept"]

    # The data of one collection is back, or that of another moment: the run is still there to be taken back.
    case.rollback(snapshot_id=later)
    some = ansible_playbook("infrafabric.chromadb.rollback", "-i", inventory, "-e", json.dumps({"rollback_collections": ["docs"]}))
    assert some.returncode == 0, some.stdout + some.stderr
    assert way_back not in run_module("snapshot_prune", everything)["deleted"]

    # So it is where all of it went to a snapshot of what was migrated.
    other = ansible_playbook("infrafabric.chromadb.rollback", "-i", inventory, "-e", json.dumps({"rollback_snapshot_id": later}))
    assert other.returncode == 0, other.stdout + other.stderr
    assert way_back not in run_module("snapshot_prune", everything)["deleted"]

    for _time in range(2):
        done = ansible_playbook("infrafabric.chromadb.rollback", "-i", inventory)
        assert done.returncode == 0, done.stdout + done.stderr
        assert contents_differences(before, case.target.contents()) == []
    actions = [entry["action"] for entry in run_module("audit_info", {"directory": str(case.store)})["entries"]]
    assert actions.count("migration_undone") == 1
    assert way_back in run_module("snapshot_prune", everything)["deleted"]
