# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which snapshots go: by age, by number, and never the last good one, a base, a pinned one, or one from the future."""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone

import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.manifest import ServerIdentity
from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.retention import delete_snapshot, prune
from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.store import SAFETY_NAME
from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.verify import verify_snapshot
from ansible_collections.infrafabric.chromadb.plugins.module_utils._audit import append_audit, audit_path, audited, read_audit
from ansible_collections.infrafabric.chromadb.plugins.module_utils._errors import DiskError, UsageError

from .conftest import make_records

NOW = datetime(2025, 1, 31, 12, tzinfo=timezone.utc)


@pytest.fixture
def aged(write):
    """One snapshot for each age in days; their ids in the same order."""

    def make(*ages, **options):
        return [write({"c": [make_records(2)]}, now=NOW - timedelta(days=age), **options).snapshot_id for age in ages]

    return make


def damage(store, snapshot_id):
    with open(store.archive_path(snapshot_id), "r+b") as file:
        file.seek(100)
        file.write(b"\xff\xfe\xfd")


def reasons(result):
    return {kept["snapshot_id"]: kept["reason"] for kept in result.kept}


def test_seven_days_by_default_as_each_manifest_says(store, aged):
    recent, old, older = aged(1, 8, 30)
    result = prune(store, now=NOW)
    assert result.deleted == [old, older]
    assert reasons(result) == {recent: "one of the newest (keep_min)"}
    assert os.listdir(store.snapshots) == [f"{recent}.tar.gz"]
    assert os.listdir(store.manifests) == [f"{recent}.json"]
    assert prune(store, now=NOW).deleted == []


def test_days_that_are_given_count_instead(store, aged):
    ids = aged(1, 3, 8, 30)
    assert prune(store, retention_days=10, now=NOW, check_mode=True).deleted == ids[3:]
    assert prune(store, retention_days=2, now=NOW, check_mode=True).deleted == ids[1:]
    assert prune(store, retention_days=0, now=NOW).deleted == ids[1:]


def test_check_mode_deletes_nothing_and_says_what_it_would(store, aged):
    ids = aged(1, 8)
    result = prune(store, now=NOW, check_mode=True)
    assert result.deleted == [ids[1]]
    assert len(os.listdir(store.manifests)) == 2
    assert not os.path.exists(os.path.join(store.logs, "rollback_audit.jsonl"))


def test_the_last_one_stays_however_old_it_is(store, aged):
    (only,) = aged(400)
    assert prune(store, now=NOW).deleted == []
    assert prune(store, retention_days=0, keep_max=1, now=NOW).deleted == []
    assert verify_snapshot(store, only) == []


def test_keep_min_and_keep_max(store, aged):
    ids = aged(1, 2, 3, 20, 21, 22)
    assert prune(store, keep_min=5, now=NOW, check_mode=True).deleted == ids[5:]
    assert prune(store, keep_max=2, now=NOW, check_mode=True).deleted == ids[2:]
    assert prune(store, keep_min=4, keep_max=5, now=NOW).deleted == ids[4:]
    for wrong in ({"keep_min": 0}, {"keep_min": 3, "keep_max": 2}, {"retention_days": -1}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            prune(store, now=NOW, **wrong)


def test_pins_by_id_and_by_name(store, aged):
    recent, old = aged(1, 20)
    (named,) = aged(21, name="before-upgrade")
    result = prune(store, pins=[old, "before-upgrade", "nobody"], now=NOW)
    assert result.deleted == []
    assert reasons(result) == {recent: "one of the newest (keep_min)", old: "pinned", named: "pinned"}
    assert result.warnings == ["The pinned snapshot nobody is not there."]


def test_the_newest_that_verifies_stays_when_newer_ones_are_damaged(store, aged):
    newest, damaged, good, oldest = aged(1, 9, 10, 11)
    damage(store, newest)
    damage(store, damaged)
    result = prune(store, now=NOW)
    assert result.deleted == [damaged, oldest]
    assert reasons(result) == {newest: "one of the newest (keep_min)", good: "the newest that verifies"}
    assert len(result.warnings) == 2


def test_what_was_just_verified_is_not_read_again(store, aged):
    newest, old = aged(0, 9)
    damage(store, newest)
    assert prune(store, now=NOW, known_sound=[newest], check_mode=True).deleted == [old]
    assert prune(store, now=NOW, check_mode=True).deleted == []


def test_a_snapshot_that_never_was_verified_protects_nobody(store, aged):
    (verified,) = aged(20)
    (created,) = aged(1, verify=False)
    assert prune(store, now=NOW).deleted == []
    assert reasons(prune(store, now=NOW)) == {created: "not old enough", verified: "one of the newest (keep_min)"}


def test_each_server_keeps_its_own_last_one(store, aged):
    here = aged(9, 10)
    there = aged(20, 21, server=ServerIdentity("http://192.0.2.2:8000", "t", "d"))
    result = prune(store, now=NOW)
    assert set(result.deleted) == {here[1], there[1]}


def test_a_snapshot_of_some_collections_does_not_stand_in_for_the_whole(store, aged):
    whole, older = aged(20, 30)
    some, older_some = aged(8, 9, selected=True)
    assert prune(store, now=NOW).deleted == [older_some, older]
    assert {whole, some} == {kept["snapshot_id"] for kept in prune(store, now=NOW).kept}


def test_safety_snapshots_do_not_push_out_the_others(store, aged):
    (ordinary,) = aged(20)
    (safety,) = aged(1, name=SAFETY_NAME)
    assert prune(store, now=NOW).deleted == []
    assert set(reasons(prune(store, now=NOW))) == {ordinary, safety}


def test_nothing_from_the_future_is_touched(store, aged):
    future, recent, old = aged(-8, 1, 9)
    result = prune(store, retention_days=0, now=NOW)
    assert result.deleted == [old]
    assert reasons(result) == {future: "from the future", recent: "one of the newest (keep_min)"}
    assert "clock" in result.warnings[0]


def test_what_an_unfinished_rollback_goes_back_to_stays(store, aged):
    recent, wanted, old = aged(1, 20, 21)

    def roll_back(snapshot_id, error=None):
        with audited(store.directory, "rollback", snapshot_id=snapshot_id):
            if error:
                raise error

    for error in (KeyboardInterrupt(), DiskError("full")):
        with pytest.raises(type(error)):
            roll_back(wanted, error)
    result = prune(store, now=NOW, check_mode=True)
    assert result.deleted == [old]
    assert reasons(result)[wanted] == "a rollback to it is not finished"
    roll_back(recent)
    assert prune(store, now=NOW).deleted == [wanted, old]


def test_a_rollback_elsewhere_does_not_finish_this_one(store, aged):
    """Neither one of another database, nor one of other collections; one of the same that went at least as far does."""
    _newest, old = aged(1, 8)
    here, there = {"server": "http://192.0.2.1 t/d", "collections": None}, {"server": "http://192.0.2.2 t/d", "collections": None}

    def rollback(told, fails=False):
        try:
            with audited(store.directory, "rollback", snapshot_id=old, rollback_type="full", details=told):
                if fails:
                    raise DiskError("full")
        except DiskError:
            pass

    rollback(here, fails=True)
    rollback(there)
    rollback({**here, "collections": ["a"]})
    assert prune(store, now=NOW, check_mode=True).deleted == []
    rollback(here)
    assert prune(store, now=NOW, check_mode=True).deleted == [old]
    rollback({**here, "collections": ["a"]}, fails=True)
    rollback({**here, "collections": ["b"]})
    assert prune(store, now=NOW, check_mode=True).deleted == []
    rollback({**here, "collections": ["a", "b"]})
    assert prune(store, now=NOW, check_mode=True).deleted == [old]


def test_a_base_stays_while_it_is_needed(store, write, write_changes):
    records = make_records(3)
    oldest = write({"c": [records]}, now=NOW - timedelta(days=30))
    middle = write_changes(oldest, {"c": ([], [], [records])}, now=NOW - timedelta(days=20))
    newest = write_changes(middle, {"c": ([], [], [records])}, now=NOW - timedelta(days=1))
    result = prune(store, now=NOW)
    assert result.deleted == []
    assert reasons(result)[oldest.snapshot_id] == f"the base of {newest.snapshot_id}"
    alone = write({"c": [records]}, now=NOW - timedelta(hours=1))
    result = prune(store, retention_days=0, now=NOW)
    assert result.deleted == [newest.snapshot_id, middle.snapshot_id, oldest.snapshot_id]
    assert verify_snapshot(store, alone.snapshot_id) == []


@pytest.mark.parametrize("length", [1, 2, 3])
def test_bases_in_a_circle_do_not_hold_a_run(length, store, aged, rewrite_manifest):
    """Forged by somebody who can write there: the walk along them ends."""
    ids = aged(*range(1, length + 1))
    for number, snapshot_id in enumerate(ids):
        base = {"snapshot_id": ids[(number + 1) % length], "manifest_sha256": "0" * 64}
        rewrite_manifest(snapshot_id, lambda values, base=base: values.update(base=base))
    result = prune(store, now=NOW)
    assert result.deleted == []
    assert set(reasons(result)) == set(ids)


def test_a_damaged_manifest_goes_when_its_days_are_over(store, aged):
    recent, old = aged(1, 9)
    with open(store.manifest_path(old), "w") as file:
        file.write("{")
    assert prune(store, now=NOW).deleted == []
    assert prune(store, retention_days=7, now=NOW).deleted == [old]
    assert verify_snapshot(store, recent) == []


def test_leftovers_of_killed_runs_go_after_a_day(store, aged):
    aged(1)
    paths = [f"{store.snapshots}/.snapshot_20240101_000000.tar.gz.partial", f"{store.snapshots}/snapshot_20240102_000000.tar.gz"]
    for path in paths:
        with open(path, "w"):
            pass
        os.utime(path, (NOW.timestamp() - 3600,) * 2)
    assert prune(store, now=NOW).leftovers == []
    for path in paths:
        os.utime(path, (NOW.timestamp() - 25 * 3600,) * 2)
    assert prune(store, now=NOW).leftovers == paths
    assert len(os.listdir(store.snapshots)) == 1


def tell(store, action, snapshot_id, status="initiated", server="http://192.0.2.1:8000 t d"):
    entry = {"timestamp": NOW.isoformat(), "action": action, "status": status, "snapshot_id": snapshot_id, "details": {"server": server}}
    append_audit(audit_path(store.directory, create=True), entry)


def test_the_way_back_of_a_migration_stays_until_that_is_undone(store, aged):
    recent, newer, older = aged(1, 9, 10)
    tell(store, "migrate", older)
    tell(store, "migrate", older, "completed")
    # A pass of the role by itself has no run, and takes no run's way back away.
    tell(store, "migrate", None)
    # Whoever went back to it without the inventory has not closed the run.
    tell(store, "rollback", older, "completed")
    expected = {recent: "one of the newest (keep_min)", older: "the way back of a migration"}
    result = prune(store, now=NOW, check_mode=True)
    assert (result.deleted, reasons(result)) == ([newer], expected)
    tell(store, "migration_undone", newer, "completed")
    tell(store, "migration_undone", older, "failed")
    assert prune(store, now=NOW, check_mode=True).deleted == [newer]
    tell(store, "migration_undone", older, "completed")
    assert prune(store, now=NOW, check_mode=True).deleted == [newer, older]


def test_only_the_newest_run_of_a_target_has_a_way_back(store, aged):
    _recent, second, first, other = aged(1, 8, 9, 10)
    tell(store, "migrate", first)
    tell(store, "migrate", other, server="http://192.0.2.1:8000 t another")
    tell(store, "migrate", second)
    assert prune(store, now=NOW).deleted == [first]


@pytest.mark.parametrize("damage_log", [lambda lines: lines[1:], lambda lines: [b"rubbish\n", *lines[1:]]], ids=["a line is gone", "a line is rubbish"])
def test_nothing_goes_by_an_audit_log_that_was_changed(store, aged, damage_log):
    recent, old = aged(1, 9)
    tell(store, "migrate", old)
    with audited(store.directory, "snapshot"):
        pass
    path = audit_path(store.directory)
    with open(path, "rb") as file:
        lines = file.read().splitlines(keepends=True)
    with open(path, "wb") as file:
        file.writelines(damage_log(lines))
    result = prune(store, now=NOW)
    assert (result.deleted, reasons(result)) == ([], {recent: "one of the newest (keep_min)", old: "the audit log is damaged"})
    [warning] = result.warnings
    assert path in warning
    assert "move the log away" in warning
    os.rename(path, f"{path}.changed")
    assert prune(store, now=NOW).deleted == [old]


def test_deleting_is_audited_before_and_after(store, aged):
    ids = aged(1, 9)
    prune(store, now=NOW)
    entries = read_audit(store.directory).entries
    assert [(entry["action"], entry["status"]) for entry in entries] == [("snapshot_prune", "initiated"), ("snapshot_prune", "completed")]
    assert entries[1]["details"]["deleted"] == [ids[1]]


def test_deleting_one_that_is_not_there(store):
    with pytest.raises(UsageError, match="no snapshot"):
        delete_snapshot(store, "snapshot_20250101_000000")


def test_where_no_snapshot_verifies_any_more_the_newest_stays_and_all_are_told(store, aged):
    newest, old = aged(8, 30)
    for snapshot_id in (newest, old):
        damage(store, snapshot_id)
    result = prune(store, now=NOW, check_mode=True)
    assert (result.deleted, reasons(result)) == ([old], {newest: "one of the newest (keep_min)"})
    assert result.warnings == [f"{snapshot_id} does not verify any more." for snapshot_id in (newest, old)]


def test_a_snapshot_whose_archive_is_gone_is_deleted_all_the_same(store, aged):
    (snapshot_id,) = aged(1)
    os.unlink(store.archive_path(snapshot_id))
    delete_snapshot(store, snapshot_id)
    assert os.listdir(store.snapshots) == os.listdir(store.manifests) == []
