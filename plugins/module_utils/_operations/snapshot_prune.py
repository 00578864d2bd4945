# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Delete the snapshots of a directory that are old enough, or too many."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext

from .._archive.dead_runs import end_dead_runs
from .._archive.retention import prune
from .._archive.store import open_store
from .._lock import store_lock
from .outcome import Context, Outcome


def snapshot_prune(*, directory: str, retention_days: int | None, keep_min: int, keep_max: int | None, pin: Sequence[str] | None, context: Context) -> Outcome:
    """Apply retention under the store's lock; each run that deletes something is in the audit log.

    DiskError when the directory is missing or cannot be written, LockedError when an operation uses it, UsageError for numbers that contradict each other.
    """
    begun = time.monotonic()
    store = open_store(directory, for_writing=True, create=not context.check_mode)
    with nullcontext() if context.check_mode else store_lock(directory, "snapshot_prune"):
        if not context.check_mode:
            end_dead_runs(store)
        result = prune(
            store,
            retention_days=retention_days,
            keep_min=keep_min,
            keep_max=keep_max,
            pins=pin or (),
            check_mode=context.check_mode,
        )
    changed = bool(result.deleted or result.leftovers)
    after = [kept["snapshot_id"] for kept in result.kept]
    return Outcome(
        changed=changed,
        seconds=time.monotonic() - begun,
        returns={"deleted": result.deleted, "kept": result.kept, "leftovers": result.leftovers},
        diff=[_difference(directory, [*after, *result.deleted], after)] if changed else [],
        warnings=result.warnings,
    )


def _difference(directory: str, before: list[str], after: list[str]) -> dict[str, str]:
    """Ansible's diff: the snapshots, newest first, before and after."""
    texts = {name: "".join(f"{snapshot_id}\n" for snapshot_id in sorted(ids, reverse=True)) for name, ids in (("before", before), ("after", after))}
    return {"before_header": directory, "after_header": directory, **texts}
