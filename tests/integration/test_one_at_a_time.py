# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Operations on one database keep each other out while one of them is at work."""

from __future__ import annotations

import importlib
import re
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils._lock import server_lock, store_lock
from tests.support import trap_data
from tests.support.case import Case
from tests.support.counting_proxy import CountingProxy, Fault, Seen, every_write
from tests.support.equality import contents_differences
from tests.support.raw import Record
from tests.support.run_module import Apart, run_module, run_module_apart
from tests.support.trap_data import CollectionData


@pytest.fixture
def filled(case: Case) -> Case:
    trap_data.build(case.target)
    return case


@pytest.mark.parametrize("verb", ["snapshot", "rollback"])
def test_what_another_run_made_meanwhile_is_seen(verb: str, filled: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name, and which snapshot is the latest, are looked up with the lock: the other run ends just before this one has it."""
    filled.snapshot(name="first")
    filled.target.delete(filled.target.collection("traps-uris")["id"], ["u0"])
    module = importlib.import_module(f"ansible_collections.infrafabric.chromadb.plugins.module_utils._operations.{verb}")
    options = {**filled.target_endpoint, "directory": str(filled.store)}
    taken: list[str] = []

    def late_lock(directory: str, operation: str) -> Any:
        if not taken:
            taken.append("")
            taken[0] = run_module_apart("snapshot", {**options, "name": "nightly"})["snapshot"]["snapshot_id"]
        return store_lock(directory, operation)

    monkeypatch.setattr(module, "store_lock", late_lock)
    if verb == "snapshot":
        result = run_module("snapshot", {**options, "name": "nightly"})
        assert (result["changed"], result["snapshot"]["snapshot_id"]) == (False, taken[0])
    else:
        assert not run_module("rollback", {**options, "snapshot_id": "latest"})["changed"]
    assert len(list(filled.store.glob("manifests/*"))) == 2


def test_no_snapshot_of_a_database_that_is_being_changed(filled: Case, tmp_path: Path) -> None:
    """Also not into another store: what it saved would be half the one state and half the other."""
    with server_lock("%s %s/%s" % (filled.target.url, filled.target.tenant, filled.target.database), "rollback"):
        failure = run_module_apart("snapshot", {**filled.target_endpoint, "directory": str(filled.store)}, fails=True)
    assert (failure["failure_class"], "rollback (process" in failure["msg"]) == ("lock", True)
    assert filled.snapshot()["changed"]


def asks_for_collections(seen: Seen) -> bool:
    return seen.method == "GET" and re.search(r"/collections(\?.*)?$", seen.path) is not None


def reads_records(seen: Seen) -> bool:
    return (seen.method, seen.verb) == ("POST", "get")


@pytest.mark.parametrize(
    ("at_work", "held_at"),
    [("migrate", every_write), ("rollback", asks_for_collections), ("rollback", every_write), ("snapshot", asks_for_collections), ("snapshot", reads_records)],
)
def test_two_operations_on_one_database_refuse_each_other(
    at_work: str, held_at: Callable[[Seen], bool], filled: Case, target_proxy: CountingProxy, tmp_path: Path
) -> None:
    """From stores and state directories of their own, so that nothing but the lock on the database is between them. What one looked at
    before it had the lock, another one may have changed by the time that it has."""
    filled.snapshot()
    trap_data.write(filled.source, CollectionData("things", [Record("x", trap_data.vectors(1)[0])]))
    filled.target.delete(filled.target.collection("traps-uris")["id"], ["u0"])
    filled.through(target=target_proxy)

    def options(verb: str, who: str) -> dict[str, Any]:
        place = tmp_path / who
        place.mkdir(exist_ok=True, mode=0o700)
        if verb == "migrate":
            return {"source": filled.source_endpoint, "target": filled.target_endpoint, "state_directory": str(place)}
        store = place / "store"
        if not store.exists():
            shutil.copytree(filled.store, store)
        return {**filled.target_endpoint, "directory": str(store), **({"snapshot_id": "latest"} if verb == "rollback" else {})}

    target_proxy.reset()
    arrived = threading.Event()

    def first_step(seen: Seen) -> bool:
        if held_at(seen):
            arrived.set()
        return arrived.is_set()

    target_proxy.faults.append(Fault("latency", first_step, times=1, seconds=120))
    run = Apart(at_work, options(at_work, "one"))
    try:
        assert arrived.wait(60)
        before = filled.target.contents()
        for verb in ("migrate", "rollback", "snapshot"):
            failure = run_module(verb, options(verb, "other"), fails=True)
            assert (failure["failure_class"], f"{at_work} (process {run.process.pid} " in failure["msg"]) == ("lock", True)
        assert contents_differences(before, filled.target.contents()) == []
    finally:
        run.kill()
    assert run_module("rollback", options("rollback", "other"))["changed"]
