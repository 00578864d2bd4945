# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Which snapshots may go, and how they go: the manifest first, so that a half-deleted snapshot is none."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

from .._audit import audit_path, audited, read_audit, unfinished_rollbacks, ways_back
from .._errors import UsageError
from .._files import disk_errors, fsync_directory
from .catalogue import VERIFIED, FoundSnapshot, find_snapshots
from .store import SAFETY_NAME, SnapshotStore, archive_id, list_folder, partial_files, snapshot_time
from .verify import verify_snapshot

CLOCK_TOLERANCE = timedelta(minutes=5)
LEFTOVER_AGE = 24 * 3600  # seconds
# The reason of snapshots that would have gone, had the log been believed.
LOG_NOT_BELIEVED = "the audit log is damaged"


@dataclass
class PruneResult:
    """What was (in check mode: would be) deleted, what stays and why, and what somebody should look at."""

    deleted: list[str] = field(default_factory=list)
    kept: list[dict[str, str]] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def prune(
    store: SnapshotStore,
    *,
    retention_days: int | None = None,
    keep_min: int = 1,
    keep_max: int | None = None,
    pins: Collection[str] = (),
    now: datetime | None = None,
    known_sound: Collection[str] = (),
    check_mode: bool = False,
) -> PruneResult:
    """Delete the snapshots that are old enough or too many, and what killed runs left behind a day ago. The caller holds the store's lock.

    retention_days  days to keep; None: what each manifest says of itself
    keep_min        so many of the newest verified ones stay whatever their age, for each server
    keep_max        and no more than so many, for each server
    pins            ids or names that stay
    known_sound     ids that were verified a moment ago, and need not be read again

    Never deleted: the newest one of each server that really verifies, what a kept one is based on, what an unfinished rollback
    or a migration that was not taken back goes back to, anything from the future; and nothing where the audit log is not to be believed.
    UsageError when the numbers contradict each other.
    """
    require_keep_min(keep_min)
    if keep_max is not None and keep_max < keep_min:
        raise UsageError(f"keep_max ({keep_max}) must not be less than keep_min ({keep_min}).")
    if retention_days is not None and retention_days < 0:
        raise UsageError(f"retention_days must not be negative, but is {retention_days}.")
    moment = now or datetime.now(timezone.utc)
    found = find_snapshots(store)
    plan = _Plan(found, moment, retention_days, keep_min, keep_max, frozenset(pins))
    plan.protect({snapshot_id for snapshot_id, _scope in unfinished_rollbacks(store.directory)}, "a rollback to it is not finished")
    trail = read_audit(store.directory)
    plan.protect(ways_back(trail.entries), "the way back of a migration")
    if not trail.chain_intact:
        plan.protect_all(audit_path(store.directory))
    if plan.deletable():
        # Only now is it worth the time to read archives: as they are stored, since the key of today need not open those of another day.
        stored = SnapshotStore(store.directory)
        plan.protect_sound(lambda snapshot_id: snapshot_id in known_sound or not verify_snapshot(stored, snapshot_id, "full"))
    plan.protect_bases()
    result = plan.result()
    result.leftovers = _leftovers(store, {snapshot.snapshot_id for snapshot in found}, moment)
    if not check_mode and (result.deleted or result.leftovers):
        with audited(store.directory, "snapshot_prune") as entry:
            entry.details = {"deleted": result.deleted, "leftovers": result.leftovers}
            for snapshot_id in result.deleted:
                _delete_files(store, snapshot_id)
            for path in result.leftovers:
                with disk_errors(path, "remove"):
                    os.unlink(path)
    return result


def require_keep_min(keep_min: int) -> None:
    if keep_min < 1:
        raise UsageError(f"keep_min must be at least 1, not {keep_min}: the last good snapshot is never deleted.")


class _Plan:
    """The reasons for which snapshots stay; what has none goes."""

    def __init__(
        self, found: Sequence[FoundSnapshot], now: datetime, retention_days: int | None, keep_min: int, keep_max: int | None, pins: frozenset[str]
    ) -> None:
        self._found = found
        self._reasons: dict[str, str] = {}
        self._warnings: list[str] = []
        self._future: set[str] = set()
        known = {snapshot.snapshot_id for snapshot in found} | {snapshot.manifest.name for snapshot in found if snapshot.manifest}
        self._warnings += [f"The pinned snapshot {pin} is not there." for pin in sorted(pins) if pin not in known]
        for snapshot in found:
            if snapshot.snapshot_id in pins or (snapshot.manifest and snapshot.manifest.name in pins):
                self._keep(snapshot, "pinned")
            if _taken(snapshot) > now + CLOCK_TOLERANCE:
                self._future.add(snapshot.snapshot_id)
                self._keep(snapshot, "from the future")
                self._warnings.append(f"{snapshot.snapshot_id} is from the future ({_taken(snapshot).isoformat()}), so a clock is or was wrong. It stays.")
        for group in self.groups():
            for position, snapshot in enumerate(group):
                too_many = keep_max is not None and position >= keep_max
                if position < keep_min:
                    self._keep(snapshot, "one of the newest (keep_min)")
                elif not too_many and not _expired(snapshot, now, retention_days):
                    self._keep(snapshot, "not old enough")
        for snapshot in found:
            if not _is_verified(snapshot) and not _expired(snapshot, now, retention_days):
                self._keep(snapshot, "not old enough")

    def groups(self) -> list[list[FoundSnapshot]]:
        """The verified snapshots of each server, newest first. What cannot stand in for the other is kept apart: those of records and those of files,
        those of the whole database and those of some collections. A rollback's safety snapshots are by themselves, so that they displace no other.

        Those from the future are not counted: whether they are the newest, nobody knows.
        """
        servers: dict[tuple[str, str, bool, tuple[str, ...]], list[FoundSnapshot]] = {}
        for snapshot in sorted(self._found, key=_taken, reverse=True):
            if snapshot.manifest is not None and _is_verified(snapshot) and snapshot.snapshot_id not in self._future:
                manifest = snapshot.manifest
                selection = tuple(sorted(manifest.names())) if manifest.selected else ()
                servers.setdefault((manifest.server.text, manifest.method, manifest.name == SAFETY_NAME, selection), []).append(snapshot)
        return list(servers.values())

    def protect(self, ids: Collection[str], reason: str) -> None:
        for snapshot in self._found:
            if snapshot.snapshot_id in ids:
                self._keep(snapshot, reason)

    def protect_all(self, log: str) -> None:
        """Somebody may have taken away the line that says what is still needed."""
        if self.deletable():
            self._warnings.append(
                f"The audit log {log} was changed, or is damaged: nobody knows which snapshots are still needed, and none is deleted. "
                "Finish what was interrupted, and move the log away when that is explained: a new one begins. It knows of no cutover and of no open run: "
                "write the cutover that clients work with into it (audit_event), and pin the snapshot that an open run goes back to."
            )
        for snapshot in self._found:
            self._keep(snapshot, LOG_NOT_BELIEVED)

    def deletable(self) -> list[str]:
        return [snapshot.snapshot_id for snapshot in self._found if snapshot.snapshot_id not in self._reasons]

    def protect_sound(self, is_sound: Callable[[str], bool]) -> None:
        """Of each server keep the newest snapshot that really verifies: a damaged one must not be all that is left."""
        for group in self.groups():
            if all(snapshot.snapshot_id in self._reasons for snapshot in group):
                continue
            for snapshot in group:
                if is_sound(snapshot.snapshot_id):
                    self._keep(snapshot, "the newest that verifies")
                    break
                self._warnings.append(f"{snapshot.snapshot_id} does not verify any more.")

    def protect_bases(self) -> None:
        bases = {snapshot.snapshot_id: snapshot.manifest.base_id for snapshot in self._found if snapshot.manifest is not None}
        by_id = {snapshot.snapshot_id: snapshot for snapshot in self._found}
        for snapshot_id in list(self._reasons):
            below = bases.get(snapshot_id)
            # Somebody can forge manifests that are based on each other in a circle.
            seen = set()
            while below is not None and below in by_id and below not in seen:
                seen.add(below)
                self._keep(by_id[below], f"the base of {snapshot_id}")
                below = bases.get(below)

    def result(self) -> PruneResult:
        kept = [
            {"snapshot_id": snapshot.snapshot_id, "reason": self._reasons[snapshot.snapshot_id]}
            for snapshot in self._found
            if snapshot.snapshot_id in self._reasons
        ]
        # Newest first: what is based on others goes before them.
        return PruneResult(deleted=self.deletable(), kept=kept, warnings=self._warnings)

    def _keep(self, snapshot: FoundSnapshot, reason: str) -> None:
        self._reasons.setdefault(snapshot.snapshot_id, reason)


def _is_verified(snapshot: FoundSnapshot) -> bool:
    return snapshot.manifest is not None and snapshot.manifest.status == VERIFIED


def _taken(snapshot: FoundSnapshot) -> datetime:
    """When it was made; by its id where the manifest cannot be read, and long ago where the id holds no date."""
    if snapshot.manifest is not None:
        return snapshot.manifest.timestamp
    try:
        return snapshot_time(snapshot.snapshot_id)
    except ValueError:
        return datetime(1970, 1, 1, tzinfo=timezone.utc)


def _expired(snapshot: FoundSnapshot, now: datetime, retention_days: int | None) -> bool:
    if retention_days is not None:
        return now - _taken(snapshot) >= timedelta(days=retention_days)
    return snapshot.manifest is not None and snapshot.manifest.retention_until <= now


def delete_snapshot(store: SnapshotStore, snapshot_id: str) -> None:
    """Delete one snapshot. UsageError as below. The caller holds the store's lock."""
    require_deletable(store, snapshot_id)
    _delete_files(store, snapshot_id)


def require_deletable(store: SnapshotStore, snapshot_id: str) -> None:
    """UsageError when there is no such snapshot, or when another one is based on it."""
    found = find_snapshots(store)
    if all(snapshot.snapshot_id != snapshot_id for snapshot in found):
        raise UsageError(f"There is no snapshot {snapshot_id} in {store.directory}.")
    above = [snapshot.snapshot_id for snapshot in found if snapshot.manifest is not None and snapshot.manifest.base_id == snapshot_id]
    if above:
        raise UsageError(f"The snapshot {snapshot_id} is the base of {', '.join(above)}. Delete what is based on it first.")


def _delete_files(store: SnapshotStore, snapshot_id: str) -> None:
    for path, folder in ((store.manifest_path(snapshot_id), store.manifests), (store.archive_path(snapshot_id), store.snapshots)):
        with disk_errors(path, "delete"):
            if os.path.lexists(path):
                os.unlink(path)
                fsync_directory(folder)


def _leftovers(store: SnapshotStore, known: set[str], now: datetime) -> list[str]:
    """Unfinished files, and archives that never got a manifest, untouched for a day."""
    archives = [
        os.path.join(store.snapshots, name)
        for name in list_folder(store.snapshots)
        if archive_id(name) not in (None, *known)
    ]
    return [path for path in (*partial_files(store), *archives) if _age(path, now) > LEFTOVER_AGE]


def _age(path: str, now: datetime) -> float:
    """Seconds since a file was last written; 0 when it is gone."""
    try:
        return now.timestamp() - os.lstat(path).st_mtime
    except OSError:
        return 0.0
