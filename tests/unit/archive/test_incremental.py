# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Incremental snapshots: a chain holds what the server held, and breaks where it was tampered with."""

from __future__ import annotations

import os
import random
from datetime import datetime, timedelta, timezone

import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive import reader, writer
from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.manifest import load_manifest
from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.reader import open_snapshot
from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.retention import delete_snapshot
from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.verify import require_sound, verify_snapshot
from ansible_collections.infrafabric.chromadb.plugins.module_utils._errors import IntegrityError, UsageError
from ansible_collections.infrafabric.chromadb.plugins.module_utils._records.record_batch import concatenate

from .conftest import as_dict, batches_of, digest_of, make_records

START = datetime(2025, 1, 31, 12, tzinfo=timezone.utc)


def read(store, snapshot_id, name="c"):
    """The collection, read in every way there is."""
    with open_snapshot(store, snapshot_id) as snapshot:
        record_set = snapshot.record_set(name)
        batches = list(record_set.batches())
        assert [record_id for page in record_set.id_pages() for record_id in page] == [record_id for batch in batches for record_id in batch.ids]
        assert (digest_of(batches), sum(map(len, batches))) == (record_set.digest, record_set.count)
        ids = [record_id for batch in batches for record_id in batch.ids]
        random.Random(1).shuffle(ids)
        fetched = record_set.fetch(ids)
        assert fetched.ids == ids
        assert as_dict([fetched]) == as_dict(batches)
        return as_dict(batches)


@pytest.fixture
def chain(store, write, write_changes):
    """A full snapshot and one of what changed: 3 changed, 2 added, 4 deleted."""
    original = make_records(2500)
    changes = make_records(3, start=100, seed=9)
    added = make_records(2, start=9000)
    gone = ["id-7", "id-8", "id-1700", "id-2499"]
    rows = [row for row, record_id in enumerate(original.ids) if record_id not in {*gone, *changes.ids}]
    now = concatenate([original.select(rows), changes, added])
    full = write({"c": [original]}, now=START)
    incremental = write_changes(full, {"c": ([changes, added], gone, [now])}, now=START + timedelta(hours=1))
    return full, incremental, original, now


def test_a_chain_gives_the_newest_versions(store, chain):
    full, incremental, original, now = chain
    assert read(store, full.snapshot_id) == as_dict([original])
    assert read(store, incremental.snapshot_id) == as_dict([now])
    assert verify_snapshot(store, incremental.snapshot_id) == []
    assert incremental.base_id == full.snapshot_id
    assert incremental.total_chunks == 2498
    assert incremental.collection("c")["stored_documents"] == 5
    assert incremental.collection("c")["deleted_documents"] == 4
    with open_snapshot(store, incremental.snapshot_id) as snapshot:
        assert snapshot.record_set("c").fetch(["id-7", "id-101", "id-9001"]).ids == ["id-101", "id-9001"]


def test_an_incremental_of_few_changes_is_small(store, write, write_changes):
    original = make_records(2000, dimension=64)
    changes = make_records(20, start=10, dimension=64, seed=3)
    now = concatenate([original.select([*range(10), *range(30, 2000)]), changes])
    full = write({"c": [original]})
    incremental = write_changes(full, {"c": (batches_of(changes, 1), [], [now])})
    assert incremental.values["archive_bytes"] < 0.05 * full.values["archive_bytes"]
    assert len(incremental.collection("c")["batches"]) == 1


def test_random_histories(store, write, write_changes):
    """Add, change, delete, bring back: six snapshots deep, every state can be read."""
    chance = random.Random(20250131)
    state = {record_id: (record_id, 0) for record_id in range(300)}

    def batch_of(items):
        batches = [make_records(1, start=number, seed=seed) for number, seed in items]
        return concatenate(batches)

    manifests = [write({"c": [batch_of(state.values())]}, now=START)]
    states = [dict(state)]
    for step in range(1, 7):
        before = dict(state)
        for _action in range(60):
            number = chance.randrange(350)
            if chance.random() < 0.4:
                state.pop(number, None)
            else:
                state[number] = (number, chance.randrange(3))
        changes = [value for key, value in state.items() if before.get(key) != value]
        gone = [f"id-{key}" for key in before if key not in state]
        everything = [batch_of(state.values())]
        manifests.append(write_changes(manifests[-1], {"c": ([batch_of(changes)], gone, everything)}, now=START + timedelta(hours=step)))
        states.append(dict(state))
    for manifest, expected in zip(manifests, states):
        assert read(store, manifest.snapshot_id) == as_dict([batch_of(expected.values())])


def test_collections_come_go_and_come_back_as_others(store, write, write_changes):
    old, new, other = make_records(10), make_records(4, seed=1), make_records(3, start=50, dimension=3)
    first = write({"c": [old], "stays": [other]}, now=START)
    second = write_changes(first, {"stays": ([], [], [other])}, now=START + timedelta(hours=1))
    third = write_changes(second, {"c": ([new], [], [new]), "stays": ([], [], [other])}, now=START + timedelta(hours=2))
    assert read(store, first.snapshot_id) == as_dict([old])
    with open_snapshot(store, second.snapshot_id) as snapshot:
        assert [spec.name for spec in snapshot.collections()] == ["stays"]
    assert read(store, third.snapshot_id) == as_dict([new])
    assert read(store, third.snapshot_id, "stays") == as_dict([other])
    assert require_sound(store, third.snapshot_id).snapshot_id == third.snapshot_id


def test_many_deleted_ids(store, write, write_changes, monkeypatch):
    monkeypatch.setattr(writer, "IDS_PER_ENTRY", 100)
    original = make_records(250, dimension=2, words=0)
    full = write({"c": [original]})
    incremental = write_changes(full, {"c": ([], original.ids[10:], [original.select(range(10))])})
    assert incremental.collection("c")["deleted"] == ["deleted_000000", "deleted_000001", "deleted_000002"]
    assert read(store, incremental.snapshot_id) == as_dict([original.select(range(10))])


def test_a_wrong_difference_never_becomes_a_snapshot(store, write, write_changes):
    original = make_records(20)
    full = write({"c": [original]})
    with pytest.raises(IntegrityError, match="19 records"):
        write_changes(full, {"c": ([], ["id-3", "nobody"], [original.select(range(18))])})
    assert os.listdir(store.snapshots) == [f"{full.snapshot_id}.tar.gz"]


def test_a_damaged_base_is_a_problem_of_what_is_based_on_it(store, chain):
    full, incremental, _original, _now = chain
    path = store.archive_path(full.snapshot_id)
    with open(path, "r+b") as file:
        file.seek(5000)
        byte = file.read(1)
        file.seek(5000)
        file.write(bytes([byte[0] ^ 1]))
    assert any(full.snapshot_id in problem.message for problem in verify_snapshot(store, incremental.snapshot_id))
    assert verify_snapshot(store, incremental.snapshot_id, "manifest") == []


def test_a_missing_base_is_a_problem(store, chain):
    full, incremental, _original, _now = chain
    os.unlink(store.archive_path(full.snapshot_id))
    assert verify_snapshot(store, incremental.snapshot_id, "manifest")
    os.unlink(store.manifest_path(full.snapshot_id))
    assert "needs its base" in verify_snapshot(store, incremental.snapshot_id, "manifest")[0].message
    with pytest.raises(IntegrityError, match="needs its base"):
        open_snapshot(store, incremental.snapshot_id)


def test_all_problems_of_a_chain_are_named(store, write, write_changes):
    """A base that is missing does not hide what is wrong above it."""
    records = make_records(20)
    chain = [write({"c": [records]})]
    for number in range(3):
        chain.append(write_changes(chain[-1], {"c": ([records.select([number])], [], [records])}))
    lost, damaged, gone, newest = (manifest.snapshot_id for manifest in chain)
    os.unlink(store.manifest_path(lost))
    with open(store.archive_path(damaged), "r+b") as file:
        file.seek(100)
        file.write(b"\xff\xfe\xfd")
    os.unlink(store.archive_path(gone))
    problems = " ".join(problem.message for problem in verify_snapshot(store, newest))
    for words in (f"needs its base {lost}", f"{damaged}.tar.gz", f"{gone}.tar.gz"):
        assert words in problems


def test_another_base_of_the_same_name_is_a_problem(store, chain, rewrite_manifest):
    full, incremental, _original, _now = chain
    rewrite_manifest(full.snapshot_id, lambda values: values.update(status="created"))
    assert "another" in verify_snapshot(store, incremental.snapshot_id, "manifest")[0].message


def test_a_base_in_use_is_not_deleted(store, chain):
    full, incremental, _original, _now = chain
    with pytest.raises(UsageError, match=incremental.snapshot_id):
        delete_snapshot(store, full.snapshot_id)
    delete_snapshot(store, incremental.snapshot_id)
    delete_snapshot(store, full.snapshot_id)
    assert os.listdir(store.snapshots) == os.listdir(store.manifests) == []
    with pytest.raises(UsageError, match="no snapshot"):
        load_manifest(store, full.snapshot_id)


def test_a_batch_of_which_everything_changed_is_not_handed_out(store, write, write_changes):
    changed = make_records(5, seed=9)
    full = write({"c": [make_records(5)]}, now=START)
    above = write_changes(full, {"c": ([changed], [], [changed])}, now=START + timedelta(hours=1))
    assert read(store, above.snapshot_id) == as_dict([changed])
    with open_snapshot(store, above.snapshot_id) as snapshot:
        record_set = snapshot.record_set("c")
        assert [len(page) for page in record_set.id_pages()] == [len(batch) for batch in record_set.batches()] == [5]


def test_a_chain_longer_than_any_is_not_followed(store, write, write_changes, monkeypatch):
    records = make_records(2)
    chain = [write({"c": [records]}, now=START)]
    for hours in range(1, 4):
        chain.append(write_changes(chain[-1], {"c": ([], [], [records])}, now=START + timedelta(hours=hours)))
    monkeypatch.setattr(reader, "MAX_CHAIN", 2)
    assert read(store, chain[2].snapshot_id) == as_dict([records])
    with pytest.raises(IntegrityError, match=f"{chain[3].snapshot_id} has more than 2 bases below it"):
        open_snapshot(store, chain[3].snapshot_id)


def test_a_base_that_cannot_be_opened_leaves_no_file_open(store, chain):
    full, incremental, _original, _now = chain
    os.truncate(store.archive_path(full.snapshot_id), 100)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(IntegrityError, match=f"{full.snapshot_id}.* has 100 bytes"):
        open_snapshot(store, incremental.snapshot_id)
    assert os.listdir("/proc/self/fd") == before
