# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The operations that need no server: list and verify, prune."""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone

import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils._audit import append_audit, audit_path, audited, read_audit
from ansible_collections.infrafabric.chromadb.plugins.module_utils._errors import DiskError, LockedError, UsageError
from ansible_collections.infrafabric.chromadb.plugins.module_utils._lock import store_lock
from ansible_collections.infrafabric.chromadb.plugins.module_utils._operations.outcome import Context
from ansible_collections.infrafabric.chromadb.plugins.module_utils._operations.snapshot_info import snapshot_info
from ansible_collections.infrafabric.chromadb.plugins.module_utils._operations.snapshot_prune import snapshot_prune
from ansible_collections.infrafabric.chromadb.plugins.module_utils._progress import Progress

from .conftest import make_records

NOW = datetime.now(timezone.utc)


@pytest.fixture
def aged(write):
    def make(*ages, **options):
        return [write({"c": [make_records(2)]}, now=NOW - timedelta(days=age), **options).snapshot_id for age in ages]

    return make


def info(store, **options):
    arguments = {"snapshot_id": None, "verify": "full", "expected_manifest_sha256": None, **options}
    return snapshot_info(directory=store.directory, context=Context(), **arguments)


def run_prune(store, check_mode=False, **options):
    arguments = {"retention_days": 7, "keep_min": 1, "keep_max": None, "pin": None, **options}
    return snapshot_prune(directory=store.directory, context=Context(check_mode=check_mode), **arguments)


def test_all_snapshots_newest_first_with_status_and_problems(store, aged):
    good, damaged, lost = aged(1, 2, 3)
    with open(store.archive_path(damaged), "r+b") as file:
        file.seek(200)
        file.write(b"damage")
    with open(store.manifest_path(lost), "w") as file:
        file.write("{}")
    with open(f"{store.snapshots}/snapshot_20200101_000000.tar.gz", "w"):
        pass
    outcome = info(store)
    assert outcome.changed is False
    snapshots = outcome.returns["snapshots"]
    assert [(values["snapshot_id"], values["status"], bool(values["problems"])) for values in snapshots] == [
        (good, "verified", False),
        (damaged, "failed", True),
        (lost, "failed", True),
    ]
    assert [values["failure_class"] for values in snapshots] == [None, "integrity", "integrity"]
    assert snapshots[0]["total_chunks"] == 2
    assert snapshots[0]["path"] == store.archive_path(good)
    assert "entries" not in snapshots[0]
    assert len(outcome.returns["orphans"]) == len(outcome.warnings) == 1


def test_levels(store, aged):
    (snapshot_id,) = aged(1)
    with open(store.archive_path(snapshot_id), "r+b") as file:
        file.seek(200)
        file.write(b"damage")
    assert [bool(info(store, verify=level).returns["snapshots"][0]["problems"]) for level in ("none", "manifest", "full")] == [False, False, True]
    with pytest.raises(UsageError, match="verify"):
        info(store, verify="thoroughly")


def test_one_snapshot(store, aged):
    first, second = aged(1, 2)
    (values,) = info(store, snapshot_id=second).returns["snapshots"]
    assert values["snapshot_id"] == second
    right = values["manifest_sha256"]
    assert info(store, snapshot_id=second, expected_manifest_sha256=right).returns["snapshots"][0]["problems"] == []
    assert info(store, snapshot_id=first, expected_manifest_sha256=right).returns["snapshots"][0]["status"] == "failed"
    with pytest.raises(UsageError, match="no snapshot"):
        info(store, snapshot_id="snapshot_20200101_000000")
    with pytest.raises(UsageError, match="snapshot_id"):
        info(store, expected_manifest_sha256=right)
    with pytest.raises(UsageError, match="no snapshot id"):
        info(store, snapshot_id="../manifests/x")


def test_restored_is_what_the_audit_log_remembers(store, aged):
    restored, tried, planned, old = aged(1, 2, 3, 4)
    with audited(store.directory, "rollback", snapshot_id=restored):
        pass
    with pytest.raises(KeyboardInterrupt), audited(store.directory, "rollback", snapshot_id=tried):
        raise KeyboardInterrupt
    append_audit(audit_path(store.directory), {"action": "rollback", "snapshot_id": planned, "status": "completed", "dry_run": True})
    with audited(store.directory, "snapshot", snapshot_id=old):
        pass
    statuses = {values["snapshot_id"]: values["status"] for values in info(store).returns["snapshots"]}
    assert statuses == {restored: "restored", tried: "verified", planned: "verified", old: "verified"}


def test_an_empty_and_a_missing_directory(store, tmp_path):
    assert info(store).returns == {"snapshots": [], "orphans": []}
    with pytest.raises(DiskError, match="missing"):
        snapshot_info(directory=str(tmp_path / "missing"), snapshot_id=None, verify="full", expected_manifest_sha256=None, context=Context())
    with pytest.raises(DiskError, match="missing"):
        snapshot_prune(directory=str(tmp_path / "missing"), retention_days=7, keep_min=1, keep_max=None, pin=None, context=Context())


def test_a_snapshot_that_is_pruned_between_the_listing_and_its_verification_is_left_out(store, aged):
    first, second = aged(1, 2)

    class WhileSomebodyPrunes(Progress):
        def expect(self, total):
            super().expect(total)
            for path in (store.manifest_path(second), store.archive_path(second)):
                os.unlink(path)

    context = Context(progress=WhileSomebodyPrunes())
    outcome = snapshot_info(directory=store.directory, snapshot_id=None, verify="full", expected_manifest_sha256=None, context=context)
    assert [values["snapshot_id"] for values in outcome.returns["snapshots"]] == [first]
    assert outcome.warnings == []


def test_prune_is_idempotent_and_true_in_check_mode(store, aged):
    recent, old = aged(1, 8)
    planned = run_prune(store, check_mode=True)
    assert len(os.listdir(store.manifests)) == 2
    done = run_prune(store)
    for outcome in (planned, done):
        assert outcome.changed is True
        assert outcome.returns["deleted"] == [old]
        assert [kept["snapshot_id"] for kept in outcome.returns["kept"]] == [recent]
        assert outcome.diff == [
            {"before_header": store.directory, "after_header": store.directory, "before": f"{recent}\n{old}\n", "after": f"{recent}\n"}
        ]
    again = run_prune(store)
    assert (again.changed, again.returns["deleted"], again.diff) == (False, [], [])
    assert len(read_audit(store.directory).entries) == 2


def test_prune_waits_for_nobody(store, aged):
    aged(8, 9)
    reader, writer = os.pipe()
    ready, go = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(go)
        with store_lock(store.directory, "rollback"):
            os.write(writer, b"1")
            os.read(ready, 1)
        os._exit(0)
    os.read(reader, 1)
    with pytest.raises(LockedError, match="rollback"):
        run_prune(store)
    os.close(go)
    os.waitpid(pid, 0)
