# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a rollback to the files of a server asks before, says beside its result, and writes down."""

from __future__ import annotations

import sqlite3
from datetime import datetime, timedelta, timezone

import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.manifest import ServerIdentity
from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.store import SAFETY_NAME
from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.tree_writer import write_tree
from ansible_collections.infrafabric.chromadb.plugins.module_utils._audit import AuditEntry, audit_path, read_audit
from ansible_collections.infrafabric.chromadb.plugins.module_utils._endpoint import Endpoint
from ansible_collections.infrafabric.chromadb.plugins.module_utils._errors import DriftError, UsageError
from ansible_collections.infrafabric.chromadb.plugins.module_utils._operations.outcome import Context
from ansible_collections.infrafabric.chromadb.plugins.module_utils._operations.rollback_files import rollback_files, wanted_method

NOWHERE = Endpoint("http://127.0.0.1:9", timeout=1.0, retries=0)
AN_HOUR_AGO = datetime.now(timezone.utc) - timedelta(hours=1)


def write_database(path, *migrations):
    """The tables of a server's file that are looked at, empty, with these migrations applied."""
    path.unlink(missing_ok=True)
    with sqlite3.connect(path) as database:
        database.executescript(
            "CREATE TABLE migrations (dir, version); CREATE TABLE databases (id, tenant_id, name); CREATE TABLE collections (id, database_id, name);"
            "CREATE TABLE segments (id, collection); CREATE TABLE embeddings (id, segment_id);"
        )
        database.executemany("INSERT INTO migrations VALUES (?, ?)", migrations)
    database.close()


@pytest.fixture
def data(tmp_path):
    directory = tmp_path / "data"
    directory.mkdir()
    write_database(directory / "chroma.sqlite3", ("sysdb", 7))
    return directory


@pytest.fixture
def taken(store, data):
    """A snapshot of an hour ago; the file that came later is what a rollback takes away."""
    server = ServerIdentity(NOWHERE.url, NOWHERE.tenant, NOWHERE.database)
    snapshot_id = AN_HOUR_AGO.strftime("snapshot_%Y%m%d_%H%M%S")
    manifest = write_tree(store, snapshot_id, str(data), server, name=None, retention_days=7, verify=True, require_unused=lambda: None)
    (data / "later").write_text("written since")
    return manifest


@pytest.fixture
def roll_back(store, taken, data):
    def run(check_mode=False, **options):
        arguments = {
            "data_directory": str(data), "whole": True, "asked": True, "to_a_moment": False, "safety_snapshot": False, "discard_new_writes": False,
            "trigger": "manual", "reason": None, "expected_manifest_sha256": None, **options,
        }  # fmt: skip
        return rollback_files(NOWHERE, store, taken.snapshot_id, context=Context(check_mode=check_mode), **arguments)

    return run


def write_event(store, action, status, **more):
    AuditEntry(audit_path(store.directory, create=True), action, details={"server": NOWHERE.identity}, **more).write(status)


def test_a_strategy_that_does_not_go_with_a_directory_is_refused():
    for strategy in ("swap", "in_place"):
        with pytest.raises(UsageError, match=f"data_directory belongs to strategy: files, and strategy is {strategy}"):
            wanted_method(strategy, "/data")
    assert (wanted_method("swap", None), wanted_method("files", "/data"), wanted_method("auto", "/data")) == ("records", "files", None)


def test_files_without_a_directory_to_put_them_in_are_refused(roll_back, taken):
    with pytest.raises(UsageError, match=f"{taken.snapshot_id} holds the files of a server: give data_directory, and stop the server"):
        roll_back(data_directory=None)


def test_what_a_server_accepted_since_its_cutover_is_not_taken_away_unasked(store, data, roll_back):
    write_event(store, "cutover", "completed")
    with pytest.raises(DriftError, match="discard_new_writes: true if that is meant"):
        roll_back()
    assert (data / "later").exists()
    planned = roll_back(check_mode=True)
    assert planned.changed
    assert "discard_new_writes: true if that is meant" in planned.warnings[0]
    # Meant, it is saved all the same, although no safety snapshot was asked for.
    done = roll_back(discard_new_writes=True)
    assert not (data / "later").exists()
    assert done.returns["safety_snapshot_id"].endswith(SAFETY_NAME)
    (data / "later").write_text("after that, nothing is new to anybody")
    assert roll_back().returns["safety_snapshot_id"] is None


def test_a_run_that_was_killed_after_the_exchange_is_written_down_as_finished(store, data, taken, roll_back):
    write_event(store, "rollback", "initiated", snapshot_id=taken.snapshot_id)
    (data / "later").unlink()
    assert roll_back(check_mode=True).changed is False
    assert [entry["status"] for entry in read_audit(store.directory).entries] == ["initiated"]
    assert roll_back(reason="the host was restarted").changed is False
    last = read_audit(store.directory).entries[-1]
    assert (last["status"], last["rollback_success"], last["snapshot_id"], last["reason"]) == ("completed", True, taken.snapshot_id, "the host was restarted")
    lines = len(read_audit(store.directory).entries)
    assert roll_back().changed is False
    assert len(read_audit(store.directory).entries) == lines, "it is finished once"


def test_files_of_another_release_are_said_to_be_so(data, roll_back):
    assert not any("another release" in warning for warning in roll_back(check_mode=True).warnings)
    write_database(data / "chroma.sqlite3", ("sysdb", 9))
    (warning,) = [warning for warning in roll_back().warnings if "another release" in warning]
    assert "Start the release that the server had then" in warning
