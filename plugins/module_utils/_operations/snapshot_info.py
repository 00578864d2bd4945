# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Which snapshots a directory holds, and whether they can be trusted; needs no server."""

from __future__ import annotations

import os
import time
from typing import Any

from .._archive.catalogue import find_snapshots
from .._archive.store import SnapshotStore, check_snapshot_id, open_store
from .._archive.verify import LEVELS, Problem, find_orphans, verify_snapshot
from .._audit import COMPLETED, ROLLBACK, is_dry_run, read_audit
from .._errors import UsageError
from .keys import optional_key
from .outcome import Context, Outcome

FAILED, RESTORED = "failed", "restored"


def snapshot_info(
    *, directory: str, snapshot_id: str | None, verify: str, expected_manifest_sha256: str | None, encryption_key_file: str | None = None, context: Context
) -> Outcome:
    """List the snapshots of a directory (or one of them), newest first, each with `status`, `path` and `problems`.

    DiskError when the directory is missing, UsageError when the one snapshot that was asked for is. Damage is not an error here: it is the answer.
    """
    begun = time.monotonic()
    if verify not in LEVELS:
        raise UsageError(f"verify must be one of {', '.join(LEVELS)}, not {verify!r}.")
    if expected_manifest_sha256 is not None and snapshot_id is None:
        raise UsageError("expected_manifest_sha256 belongs to one snapshot; say which by snapshot_id.")
    store = open_store(directory, key=optional_key(encryption_key_file))
    found = find_snapshots(store)
    if snapshot_id is not None:
        check_snapshot_id(snapshot_id)
        found = [snapshot for snapshot in found if snapshot.snapshot_id == snapshot_id]
        if not found:
            raise UsageError(f"There is no snapshot {snapshot_id} in {directory}. Leave snapshot_id out to see all that there are.")
    restored = _restored(store)
    snapshots, closed = [], []
    context.progress.expect(len(found))
    for snapshot in found:
        try:
            with context.progress.phase("verify", records=1):
                problems = verify_snapshot(store, snapshot.snapshot_id, verify, expected_manifest_sha256)
        except UsageError:
            if os.path.lexists(store.manifest_path(snapshot.snapshot_id)):
                raise  # the key is another one, say
            continue  # pruned since it was listed
        values: dict[str, Any] = {"snapshot_id": snapshot.snapshot_id} if snapshot.manifest is None else snapshot.manifest.summary()
        values["status"] = FAILED if problems else RESTORED if snapshot.snapshot_id in restored else values["status"]
        values["path"] = store.archive_path(snapshot.snapshot_id)
        values["problems"] = [problem.message for problem in problems]
        values["failure_class"] = _failure_class(problems)
        if verify == "full" and "encryption" in values and store.key is None:
            closed.append(snapshot.snapshot_id)
        snapshots.append(values)
        context.progress.advance(1)
    orphans = [] if snapshot_id is not None else [problem.message for problem in find_orphans(store)]
    warnings = [*orphans, *_closed_words(closed)]
    return Outcome(changed=False, seconds=time.monotonic() - begun, returns={"snapshots": snapshots, "orphans": orphans}, warnings=warnings)


def _closed_words(snapshots: list[str]) -> list[str]:
    if not snapshots:
        return []
    return [f"{', '.join(snapshots)}: encrypted, so only the file was verified. Give encryption_key_file to verify what is inside."]


def _failure_class(problems: list[Problem]) -> str | None:
    """The gravest class among the problems."""
    classes = {problem.failure_class for problem in problems}
    return None if not classes else "unsafe_archive" if "unsafe_archive" in classes else "integrity"


def _restored(store: SnapshotStore) -> set[str]:
    """The snapshots that a rollback has brought back; the audit log remembers, a manifest is never rewritten."""
    return {
        entry["snapshot_id"]
        for entry in read_audit(store.directory).entries
        if entry.get("action") == ROLLBACK and entry.get("status") == COMPLETED and not is_dry_run(entry) and isinstance(entry.get("snapshot_id"), str)
    }
