# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""What runs leave behind that were killed: unfinished files, and operations that the audit log saw begin and never end."""

from __future__ import annotations

from typing import Any

from .._audit import COMPLETED, FAILED, AuditEntry, audit_path, read_audit
from .._errors import LockedError
from .._lock import store_lock
from .store import SnapshotStore, remove_partials, snapshot_ids

SNAPSHOT = "snapshot"
KILLED = "The run ended without a word: it was killed, or its host went down. A later run wrote this line."


def clean_up(store: SnapshotStore) -> None:
    """Remove the unfinished files and end the unfinished operations. The caller holds the store's lock alone, so none of them is running."""
    remove_partials(store)
    end_dead_runs(store)


def end_dead_runs(store: SnapshotStore) -> None:
    """Write the outcome of each operation that began and never ended. The caller holds the store's lock alone."""
    for begun in _unended(store):
        # A snapshot is there as soon as its manifest is, whatever happened to the run afterwards.
        complete = begun["action"] == SNAPSHOT and begun.get("snapshot_id") in snapshot_ids(store)
        entry = AuditEntry(
            audit_path(store.directory, create=True),
            begun["action"],
            begun.get("snapshot_id"),
            begun.get("trigger") or "manual",
            begun.get("rollback_type"),
            begun.get("reason"),
            run_id=begun["run_id"],
            collections_affected=list(begun.get("collections_affected") or ()),
            rollback_success=None if begun.get("rollback_type") is None else False,
            error_message=None if complete else KILLED,
            details={**(begun.get("details") or {}), "interrupted": True},
        )
        entry.write(COMPLETED if complete else FAILED)


def clean_up_if_idle(store: SnapshotStore, operation: str) -> None:
    """The same for somebody without the lock: nothing happens while another run holds it."""
    if not _unended(store):
        return
    try:
        with store_lock(store.directory, operation):
            clean_up(store)
    except LockedError:
        pass


def _unended(store: SnapshotStore) -> list[dict[str, Any]]:
    """The last line of each run of a module that has no outcome. What roles tell the log has no run id, and may take days to end."""
    last: dict[str, dict[str, Any]] = {}
    for entry in read_audit(store.directory).entries:
        if entry.get("run_id"):
            last[str(entry["run_id"])] = entry
    return [entry for entry in last.values() if entry.get("status") not in (COMPLETED, FAILED)]
