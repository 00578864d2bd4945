# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A source that is written to while it is copied, by one run after the other or by several at once."""

from __future__ import annotations

import hashlib
import json
import random
import threading

import pytest

from tests.support import trap_data
from tests.support.case import Case
from tests.support.counting_proxy import CountingProxy, Fault, every_read
from tests.support.raw import RawChroma, Record
from tests.support.run_module import Apart

RECORDS = 1200
DIMENSION = 16


class Writer(threading.Thread):
    """Adds, changes and deletes records of the source until it is stopped; `writes` counts the acknowledged ones."""

    def __init__(self, place: RawChroma, seed: int) -> None:
        super().__init__(daemon=True)
        self.place = RawChroma(place.url, place.tenant, place.database)
        self.random = random.Random(seed)
        self.vectors = trap_data.vectors(97, dimension=DIMENSION, seed=seed)
        self.collections = {found["name"]: found["id"] for found in place.collections()}
        self.ids = {name: list(place.records(collection_id)) for name, collection_id in self.collections.items()}
        self.writes = 0
        self.stopped = threading.Event()

    def run(self) -> None:
        while not self.stopped.is_set():
            name = self.random.choice(sorted(self.collections))
            self.act(name, self.collections[name], self.ids[name])
            self.writes += 1
            self.stopped.wait(0.002)

    def act(self, name: str, collection_id: str, ids: list[str]) -> None:
        text = "write %d" % self.writes
        kind = self.random.choice(("add", "text", "vector", "metadata", "delete"))
        if kind == "add" or len(ids) < 20:
            ids.append("%s-new-%d" % (name, self.writes))
            self.place.add(collection_id, [Record(ids[-1], self.vectors[self.writes % 97], text, {"n": self.writes})])
        elif kind == "delete":
            # From the beginning: offsets of everything behind it move.
            self.place.delete(collection_id, [ids.pop(self.random.randrange(min(20, len(ids))))])
        else:
            changes = {
                "text": {"documents": [text]},
                "vector": {"embeddings": [self.vectors[self.writes % 97].tolist()]},
                "metadata": {"metadatas": [{"n": self.writes}]},
            }
            self.place.update(collection_id, ids=[self.random.choice(ids)], **changes[kind])

    def __enter__(self) -> Writer:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stopped.set()
        self.join()


@pytest.fixture
def filled(case: Case) -> Case:
    for collection in trap_data.bulk_collections(RECORDS, dimension=DIMENSION, characters=80):
        trap_data.write(case.source, collection)
    return case


def test_rounds_under_a_writer_lead_to_the_source(filled: Case, source_proxy: CountingProxy) -> None:
    filled.through(source=source_proxy)
    assert filled.migrate(prune=True)["records"]["added"] == RECORDS
    moved = []
    # Reading is slowed, so that the writer writes between any two pages of a pass.
    source_proxy.faults.append(Fault("latency", every_read, times=None, seconds=0.02))
    with Writer(filled.source, seed=1) as writer:
        for _round in range(3):
            before = writer.writes
            records = filled.migrate(prune=True)["records"]
            moved.append(records["added"] + records["changed"] + records["deleted"])
            assert writer.writes > before
    assert all(moved[1:]), "each round says what it moved"
    assert writer.writes > 100

    last = filled.migrate(prune=True)
    assert filled.differences() == []
    assert last["records"]["deleted"] + last["records"]["added"] + last["records"]["changed"] <= writer.writes
    assert filled.migrate(prune=True)["changed"] is False


def shard_of(record_id: str, count: int) -> int:
    """As the documentation of the option says it, on its own."""
    return int.from_bytes(hashlib.sha256(record_id.encode()).digest()[:8], "big") % count


def test_shards_at_the_same_time_copy_everything_once(filled: Case, target_proxy: CountingProxy) -> None:
    filled.through(target=target_proxy)
    servers = {"source": filled.source_endpoint, "target": filled.target_endpoint, "state_directory": str(filled.state), "prune": True}
    runs = [Apart("migrate", {**servers, "shard": {"index": index, "count": 3}}) for index in range(3)]
    results = [run.result() for run in runs]
    assert filled.differences() == []
    expected = [0, 0, 0]
    for contents in filled.source.contents().values():
        for record_id in contents.records:
            expected[shard_of(record_id, 3)] += 1
    assert [result["records"]["added"] for result in results] == expected
    states = [json.loads(path.read_text()) for path in filled.state.glob("checkpoint_*")]
    assert sorted(state["total_chunks"] for state in states) == sorted(expected), "the checkpoint of a shard speaks of its own part"
    assert all(result["records"]["deleted"] == 0 for result in results), "no shard deletes what another one brought"

    target_proxy.reset()
    for index in range(3):
        assert filled.migrate(prune=True, shard={"index": index, "count": 3})["changed"] is False
    assert target_proxy.writes == []


def test_a_shard_prunes_its_own_part_only(filled: Case) -> None:
    filled.migrate()
    gone = {}
    for found in filled.source.collections():
        ids = list(filled.source.records(found["id"]))[:20]
        filled.source.delete(found["id"], ids)
        gone[found["name"]] = ids
    mine = sum(shard_of(record_id, 2) == 0 for ids in gone.values() for record_id in ids)
    result = filled.migrate(prune=True, shard={"index": 0, "count": 2})
    assert 0 < mine < sum(map(len, gone.values()))
    assert result["records"]["deleted"] == mine
    left = filled.target.contents()
    for name, ids in gone.items():
        assert {record_id for record_id in ids if record_id in left[name].records} == {record_id for record_id in ids if shard_of(record_id, 2) == 1}


def test_one_shard_twice_and_a_whole_run_beside_a_shard_are_refused(filled: Case, source_proxy: CountingProxy) -> None:
    source_proxy.faults.append(Fault("latency", every_read, times=None, seconds=0.2))
    filled.through(source=source_proxy)
    servers = {"source": filled.source_endpoint, "target": filled.target_endpoint, "state_directory": str(filled.state)}
    running = Apart("migrate", {**servers, "shard": {"index": 0, "count": 2}, "max_records_per_second": 400})
    # The checkpoint is written under the lock.
    while not list(filled.state.iterdir()):
        assert running.process.poll() is None, running.result()
    for options in ({"shard": {"index": 0, "count": 2}}, {}):
        refused = filled.migrate(fails=True, **options)
        assert refused["failure_class"] == "lock"
        assert "process %d" % running.process.pid in refused["msg"]
    running.result()
    source_proxy.faults.clear()
    filled.migrate()
    assert filled.differences() == []


def test_the_throttle_holds_the_reading_down(filled: Case) -> None:
    records = filled.source.count(filled.source.collection("openwebui_core")["id"])
    result = filled.migrate(collections=["openwebui_core"], max_records_per_second=100)
    assert result["records"]["added"] == records
    # What one second allows is read at once, and every page but the first waits for its turn.
    assert result["seconds"] >= (records - 100) / 100
