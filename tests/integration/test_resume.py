# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A migration that was interrupted, however it was, is finished by the same task, which sends only what is missing."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections import namedtuple
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Callable

import pytest

from tests.support import trap_data
from tests.support.case import Case
from tests.support.chroma_server import ChromaServer
from tests.support.counting_proxy import CountingProxy, Fault, Seen
from tests.support.equality import differences
from tests.support.raw import RawChroma, Record
from tests.support.run_module import Apart
from tests.support.trap_data import CollectionData

RECORDS = 1200
BATCH = 100
WRITES = ("add", "upsert")


@pytest.fixture
def filled(case: Case) -> Case:
    rows = trap_data.vectors(RECORDS, seed=90)
    records = [Record("r%04d" % n, row, "text %d" % n, {"n": n}) for n, row in enumerate(rows)]
    for position in range(2):
        part = records[position * RECORDS // 2 : (position + 1) * RECORDS // 2]
        trap_data.write(case.source, CollectionData("part-%d" % position, part, {"hnsw:space": "l2"}))
    return case


def writes_records(seen: Seen) -> bool:
    return seen.verb in WRITES


def written(counted: Mapping[str, int]) -> int:
    return sum(counted.get(verb, 0) for verb in WRITES)


def wait_until(condition: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until, "never happened: " + what
        time.sleep(0.01)


def checkpoints(case: Case) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(case.state.glob("checkpoint_*.json"))]


def held(place: RawChroma) -> int:
    return sum(place.count(collection["id"]) for collection in place.collections())


@pytest.mark.parametrize("after", [1, 5, 9])
def test_a_run_that_was_killed_is_continued(after: int, filled: Case, target_proxy: CountingProxy) -> None:
    filled.through(target=target_proxy)
    # So that the kill meets it between two batches of many.
    target_proxy.faults = [Fault("latency", writes_records, times=None, seconds=0.05)]
    run = Apart("migrate", {"source": filled.source_endpoint, "target": filled.target_endpoint, "state_directory": str(filled.state), "batch_size": BATCH})
    try:
        wait_until(lambda: written(target_proxy.summary()) >= after or run.process.poll() is not None, "%d batches" % after)
    finally:
        run.kill()
    # What was under way when it died still arrives.
    wait_until(lambda: all(seen.status for seen in target_proxy.writes), "the last answer")
    there = held(filled.target)
    assert 0 < there < RECORDS, "it must have been killed in the middle"
    (state,) = checkpoints(filled)
    assert state["phase"] == "import"
    assert state["total_chunks"] == RECORDS
    assert state["successful_chunks"] <= there

    target_proxy.reset()
    result = filled.migrate(batch_size=BATCH)
    assert result["resumed"] is True
    assert result["records"]["added"] == RECORDS - there
    assert result["records"]["unchanged"] == there
    assert written(target_proxy.records_written) == RECORDS - there, "only what was missing is sent"
    assert filled.differences() == []
    assert [state["phase"] for state in checkpoints(filled)] == ["migration_complete"]


def test_a_state_directory_that_others_can_change_is_refused_before_anything_is_written(filled: Case, target_proxy: CountingProxy) -> None:
    filled.through(target=target_proxy)
    filled.state.chmod(0o777)
    failure = filled.migrate(fails=True)
    assert (failure["failure_class"], "chmod go-w" in failure["msg"]) == ("usage", True)
    assert (target_proxy.writes, list(filled.state.iterdir())) == ([], [])


def test_check_mode_needs_no_state_directory(filled: Case) -> None:
    result = filled.migrate(check=True, state_directory=str(filled.state / "missing"))
    assert result["records"]["added"] == RECORDS
    assert list(filled.state.iterdir()) == []


def test_the_phases_are_counted(filled: Case) -> None:
    phases = {phase["name"]: phase for phase in filled.migrate()["phases"]}
    assert {name: phase["records"] for name, phase in phases.items()} == dict.fromkeys(("export", "transform", "validate", "import", "verify"), RECORDS)
    assert phases["export"]["seconds"] > 0
    assert phases["import"]["seconds"] > 0


def test_a_server_that_comes_back_is_waited_for(filled: Case, tmp_path: Path) -> None:
    with ChromaServer(directory=tmp_path / "server") as server, CountingProxy(server.url) as proxy:
        proxy.faults = [Fault("latency", writes_records, times=None, seconds=0.05)]
        run = Apart("migrate", {"source": filled.source_endpoint, "target": {"url": proxy.url}, "state_directory": str(filled.state), "batch_size": BATCH})
        wait_until(lambda: written(proxy.summary()) >= 3 or run.process.poll() is not None, "3 batches")
        server.kill()
        server.start()
        result = run.result()
        assert result["records"]["added"] == RECORDS
        assert differences(filled.source, RawChroma(server.url)) == []


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    from ansible_collections.infrafabric.chromadb.plugins.module_utils._operations import migrate

    monkeypatch.setattr(migrate, "PATIENCE_SECONDS", 1.0)


def test_a_server_that_stays_away_stops_it_resumably(filled: Case, target_proxy: CountingProxy, impatient: None) -> None:
    filled.through(target=target_proxy)
    target_proxy.faults = [Fault("refused", skip=30, times=None)]
    begun = time.monotonic()
    result = filled.migrate(fails=True, batch_size=BATCH)
    assert result["failure_class"] == "unreachable", result["msg"]
    assert 1.0 <= time.monotonic() - begun < 60
    (state,) = checkpoints(filled)
    assert state["phase"] == "error"
    assert state["errors"] == [result["msg"]]
    target_proxy.reset()
    result = filled.migrate(batch_size=BATCH)
    assert (result["resumed"], filled.differences()) == (True, [])


Usage = namedtuple("Usage", "total used free")


def test_a_full_disk_is_waited_for_and_then_stops_it_resumably(filled: Case, impatient: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The only fake: what the file system says of its free space."""
    free = 99_000_000
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**12, 0, free))
    result = filled.migrate(fails=True)
    assert result["failure_class"] == "disk"
    assert "99 MB free" in result["msg"]
    assert [state["phase"] for state in checkpoints(filled)] == ["error"]

    threading.Timer(0.5, lambda: monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**12, 0, 10**11))).start()
    result = filled.migrate()
    assert (result["resumed"], filled.differences()) == (True, [])


@pytest.mark.parametrize(("status", "failure_class"), [(500, "partial"), (400, "invalid_data")])
def test_records_that_the_server_does_not_take_are_found_and_named(status: int, failure_class: str, filled: Case, target_proxy: CountingProxy) -> None:
    filled.through(target=target_proxy)
    bad = ("r0123", "r0124", "r0177")

    def refused(seen: Seen) -> bool:
        return writes_records(seen) and any(b'"%s"' % name.encode() in seen.body for name in bad)

    target_proxy.faults = [Fault("status", refused, times=None, status=status)]
    result = filled.migrate(fails=True, batch_size=BATCH)
    assert result["failure_class"] == failure_class, result["msg"]
    assert sorted(result["ids"]) == sorted(bad)
    assert all(name in result["msg"] for name in bad)
    records = filled.target.contents(["part-0"])["part-0"].records
    assert not set(bad) & set(records)
    assert {"r0100", "r0122", "r0125", "r0199"} <= set(records), "the rest of the batch is written"
    target_proxy.reset()
    assert filled.migrate(batch_size=BATCH)["resumed"] is True
    assert filled.differences() == []


@pytest.mark.parametrize("kind", ["refused", "latency"])
def test_a_record_that_breaks_every_connection_or_is_never_answered_is_named(kind: str, filled: Case, target_proxy: CountingProxy, impatient: None) -> None:
    """Nothing says no to it: the batch is stuck, while the server answers everything else."""
    filled.through(target=target_proxy)
    target_proxy.faults = [Fault(kind, lambda seen: writes_records(seen) and b'"r0123"' in seen.body, times=None, seconds=1.5)]
    result = filled.migrate(fails=True, batch_size=BATCH, target={**filled.target_endpoint, "timeout": 1, "retries": 0})
    assert (result["failure_class"], result["ids"]) == ("partial", ["r0123"]), result["msg"]
    assert "does not take 1 of a batch of 100 records: 'r0123'" in result["msg"]
    # What was asked for too late still arrives; the rest of its batch is there either way.
    wait_until(lambda: all(seen.status or kind == "refused" for seen in target_proxy.writes), "the last answer")
    assert {"r0100", "r0122", "r0124", "r0199"} <= set(filled.target.contents(["part-0"])["part-0"].records)
    target_proxy.reset()
    assert filled.migrate(batch_size=BATCH)["resumed"] is True
    assert filled.differences() == []


def test_a_server_that_takes_no_write_at_all_is_not_put_down_to_a_record(filled: Case, target_proxy: CountingProxy, impatient: None) -> None:
    filled.through(target=target_proxy)
    target_proxy.faults = [Fault("refused", writes_records, skip=2, times=None)]
    result = filled.migrate(fails=True, batch_size=BATCH)
    assert result["failure_class"] == "unreachable", result["msg"]
    assert "ids" not in result


def test_a_batch_that_is_too_much_at_once_is_halved(filled: Case, target_proxy: CountingProxy) -> None:
    filled.through(target=target_proxy)
    target_proxy.faults = [Fault("status", lambda seen: writes_records(seen) and seen.records > 30, times=None, status=500)]
    assert filled.migrate(batch_size=BATCH)["records"]["added"] == RECORDS
    assert filled.differences() == []


def test_the_checkpoint_of_another_migration_is_refused(filled: Case, target_proxy: CountingProxy, source_server: ChromaServer) -> None:
    filled.through(target=target_proxy)
    target_proxy.faults = [Fault("status", writes_records, skip=2, times=None, status=501)]
    filled.migrate(fails=True, batch_size=BATCH)
    target_proxy.reset()
    other = Case(RawChroma(source_server.url).fresh_database("other"), filled.target, filled.state.parent).through(target=target_proxy)
    rules: list[dict[str, Any]] = [{"schema": {"fields": {"n": {"type": "integer"}}}}, {"routes": [{"to": "one"}]}]
    for wrong, options in [(other, {}), *((filled, rule) for rule in rules)]:
        result = wrong.migrate(fails=True, **options)
        assert result["failure_class"] == "usage", result["msg"]
        assert "is unfinished" in result["msg"]
    assert target_proxy.writes == []
    assert filled.migrate(batch_size=BATCH)["resumed"] is True
