# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A server answers to more names than one: a source is not taken for a target, nor a server that clients were moved to for another one."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support import trap_data
from tests.support.case import ANY_SPEED, Case
from tests.support.chroma_server import ChromaServer
from tests.support.counting_proxy import CountingProxy
from tests.support.equality import contents_differences
from tests.support.raw import RawChroma, Record
from tests.support.run_module import run_module

SCHEMA = {"fields": {"kind": {"type": "string", "default": "new"}}}
VECTORS = trap_data.vectors(6)


def filled(place: RawChroma, name: str = "things") -> None:
    place.add(place.create(name), [Record(f"r{row}", VECTORS[row], f"text {row}", {"kind": "old"}) for row in range(3)])


def by_another_name(endpoint: dict[str, Any]) -> dict[str, Any]:
    assert "127.0.0.1" in endpoint["url"]
    return {**endpoint, "url": endpoint["url"].replace("127.0.0.1", "localhost")}


@pytest.mark.parametrize("check", [False, True])
def test_a_target_that_is_the_source_by_another_name_is_refused(check: bool, case: Case) -> None:
    filled(case.source)
    before = case.source.contents()
    options = {"source": case.source_endpoint, "target": by_another_name(case.source_endpoint), "state_directory": str(case.state)}
    result = run_module("migrate", {**options, "schema": SCHEMA}, check, fails=True)
    assert (result["failure_class"], "source and target are the same database" in result["msg"]) == ("usage", True)
    assert contents_differences(before, case.source.contents()) == []


def test_a_target_that_is_the_source_by_another_port_is_refused_before_a_record_is_written(case: Case, source_proxy: CountingProxy) -> None:
    """A gateway, or a published port of a container: only what both show tells it."""
    filled(case.source)
    before = case.source.contents()
    target = {**case.source_endpoint, "url": source_proxy.url}
    options: dict[str, Any] = {"source": case.source_endpoint, "target": target, "routes": [{"to": "richer"}]}
    dry = run_module("migrate", {**options, "state_directory": str(case.state)}, check=True)
    assert "source and target list 'things' under one id" in str(dry["warnings"])
    result = run_module("migrate", {**options, "state_directory": str(case.state)}, fails=True)
    assert (result["failure_class"], f"shows what is created in {source_proxy.url}" in result["msg"]) == ("usage", True)
    assert contents_differences(before, case.source.contents()) == []
    judged = run_module("validate", {"source": case.source_endpoint, "target": target, "thresholds": ANY_SPEED})
    assert "are one database, of which this proves nothing" in str(judged["warnings"])


def test_a_copy_of_the_servers_files_is_another_database(tmp_path: Path) -> None:
    """It has the ids of its collections from the server that it is a copy of."""
    with ChromaServer(directory=tmp_path / "old") as old:
        filled(RawChroma(old.url))
        old.stop()
        shutil.copytree(tmp_path / "old/data", tmp_path / "new/data")
        old.start()
        with ChromaServer(directory=tmp_path / "new") as new:
            options = {"source": {"url": old.url}, "target": {"url": new.url}, "state_directory": str(tmp_path)}
            assert run_module("migrate", {**options, "schema": SCHEMA, "routes": [{"to": "richer"}]})["records"]["added"] == 3
            assert sorted(RawChroma(new.url).contents()) == ["richer", "things"]
            assert sorted(RawChroma(old.url).contents()) == ["things"]


def test_what_clients_wrote_after_a_cutover_is_not_lost_by_another_name(case: Case) -> None:
    filled(case.target)
    taken = case.snapshot()["snapshot"]["snapshot_id"]
    store = {"directory": str(case.store)}
    run_module("audit_event", {**case.target_endpoint, **store, "action": "cutover", "status": "completed"})
    case.target.add(case.target.collection("things")["id"], [Record("new", VECTORS[4], "a client's", None)])
    options = {**by_another_name(case.target_endpoint), **store, "snapshot_id": taken}
    result = run_module("rollback", options, fails=True)
    assert (result["failure_class"], "records that it has accepted since would be lost" in result["msg"]) == ("drift", True)
    assert f"A cutover to {case.target_endpoint['url']} " in result["msg"]
    done = run_module("rollback", {**options, "discard_new_writes": True, "safety_snapshot": False})
    assert done["safety_snapshot_id"], "what is discarded is saved in any case"


def test_a_cutover_that_was_discarded_by_another_name_is_over(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cutover was to a name of this host; whoever rolls back calls it localhost."""
    filled(case.target)
    taken = case.snapshot()["snapshot"]["snapshot_id"]
    store = {"directory": str(case.store)}
    of_this_host = case.target_endpoint["url"].replace("127.0.0.1", "127.0.0.2")
    run_module("audit_event", {**case.target_endpoint, **store, "url": of_this_host, "action": "cutover", "status": "completed"})
    things = case.target.collection("things")["id"]
    case.target.add(things, [Record("new", VECTORS[4], "a client's", None)])
    options = {**case.target_endpoint, **store, "snapshot_id": taken}
    assert f"A cutover to {of_this_host} " in run_module("rollback", options, fails=True)["msg"]
    run_module("rollback", {**options, "discard_new_writes": True})
    case.target.add(things, [Record("newer", VECTORS[5], "a test's", None)])
    assert run_module("rollback", options)["changed"]


def test_what_a_killed_run_has_left_is_removed_and_nothing_of_anybody_else(case: Case) -> None:
    filled(case.source)
    left = "infrafabric-probe-" + "0" * 32
    others = ("infrafabric-probe-0", "infrafabric-probe-" + "f" * 32)
    for name in (left, *others):
        case.target.create(name)
    case.target.add(case.target.collection(others[1])["id"], [Record("r", VECTORS[0], "somebody's", None)])
    case.migrate()
    assert sorted(case.target.contents()) == sorted((*others, "things"))
