# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Reconcile a server with a snapshot."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from .._archive.catalogue import choose_snapshot, of_another_server
from .._archive.dead_runs import clean_up
from .._archive.manifest import Manifest, ServerIdentity, identity_of, parse_moment
from .._archive.reader import Snapshot, open_snapshot
from .._archive.retention import CLOCK_TOLERANCE
from .._archive.store import SAFETY_NAME, SAFETY_RETENTION_DAYS, SnapshotStore, open_store
from .._archive.verify import require_sound
from .._audit import audited, read_audit, unfinished_rollbacks
from .._endpoint import Endpoint
from .._errors import DriftError, IntegrityError, UsageError
from .._lock import server_lock, store_lock
from .._records.collection_changes import remove
from .._records.compare import Difference
from .._records.live import LiveCollection
from .._server.probe import connect
from .._server.server import Server, StoredCollection
from .differences import record_diff
from .keys import optional_key
from .new_writes import DISCARDED, cutover_since
from .outcome import Context, Outcome
from .planning import select_collections
from .restoration import Restoration
from .rollback_files import holds_files, rollback_files, wanted_method
from .saved_state import SavedState
from .snapshot import write_snapshot

PATIENCE_SECONDS = 60.0


@dataclass
class _Extra:
    """A collection that the snapshot does not have."""

    stored: StoredCollection
    records: int
    difference: Difference = field(default_factory=Difference)


def rollback(
    endpoint: Endpoint,
    *,
    directory: str,
    snapshot_id: str | None,
    point_in_time: str | None,
    collections: Sequence[str] | None,
    strategy: str,
    data_directory: str | None,
    remove_extra_collections: bool | None,
    safety_snapshot: bool,
    discard_new_writes: bool,
    trigger: str,
    reason: str | None,
    expected_manifest_sha256: str | None,
    encryption_key_file: str | None,
    context: Context,
) -> Outcome:
    """Bring the database back to a snapshot; in check mode, say what that would change."""
    if collections is not None and not collections:
        raise UsageError("collections is an empty list: nothing would be brought back. Leave it out for all of them.")
    store = open_store(directory, for_writing=True, create=not context.check_mode, key=optional_key(encryption_key_file))
    identity = identity_of(endpoint)
    progress = context.progress
    progress.declare("verify_snapshot", "compare", "safety_snapshot", "restore")
    with ExitStack() as stack:
        if not context.check_mode:
            stack.enter_context(store_lock(directory, "rollback"))
            stack.enter_context(server_lock(endpoint.identity, "rollback"))
            clean_up(store)
        # With the locks: the latest one is the latest until this ends.
        chosen = choose_snapshot(store, snapshot_id, point_in_time=point_in_time, server=identity, method=wanted_method(strategy, data_directory))
        if holds_files(store, chosen, strategy):
            return rollback_files(
                endpoint,
                store,
                chosen,
                data_directory=data_directory,
                whole=collections is None and remove_extra_collections is not False,
                asked=strategy == "files",
                to_a_moment=point_in_time is not None,
                safety_snapshot=safety_snapshot,
                discard_new_writes=discard_new_writes,
                trigger=trigger,
                reason=reason,
                expected_manifest_sha256=expected_manifest_sha256,
                context=context,
            )
        with progress.phase("verify_snapshot"):
            require_sound(store, chosen, expected_manifest_sha256=expected_manifest_sha256)
        snapshot = stack.enter_context(open_snapshot(store, chosen))
        server = connect(endpoint)
        stack.callback(server.close)
        # A snapshot of some collections says nothing of the others: that it lacks one does not mean that it came later.
        full = collections is None and not snapshot.manifest.selected
        run = _Rollback(store, snapshot, server, strategy, not full, full if remove_extra_collections is None else remove_extra_collections, context)
        stack.callback(run.close)
        run.compare(collections)
        if run.changed:
            run.warnings += of_another_server(snapshot.manifest, identity)
        rollback_type = "point_in_time" if point_in_time is not None else "full" if full else "partial"
        if collections is None and snapshot.manifest.selected and remove_extra_collections is None:
            run.warnings.append(f"{chosen} was taken of some collections only, so only these come back; others stay as they are.")
        if snapshot.manifest.timestamp > datetime.now(timezone.utc) + CLOCK_TOLERANCE:
            run.warnings.append(f"{chosen} is from the future, so a clock is or was wrong: it need not be the newest. Give the id of the one that is meant.")
        run.warnings += read_audit(store.directory, 0).problems[:1]
        if point_in_time is not None:
            run.warnings += _read_at(snapshot.manifest, parse_moment(point_in_time.strip()))
        guard = cutover_since(store, snapshot.manifest, endpoint.identity) if run.changed else None
        if guard and not discard_new_writes:
            words = guard.words(chosen)
            if not context.check_mode:
                raise DriftError(words)
            run.warnings.append(words)
        told = {"server": endpoint.identity, "collections": None if run.scope is None else sorted(run.scope), **endpoint.remarks}
        if guard:
            told[DISCARDED] = list(guard.servers)
        if run.changed and not context.check_mode:
            with audited(directory, "rollback", snapshot_id=chosen, trigger=trigger, rollback_type=rollback_type, reason=reason, details=told) as entry:
                entry.collections_affected = run.affected
                if safety_snapshot or guard:
                    entry.details["safety_snapshot_id"] = saved = run.save(identity)
                    run.saved = SavedState(stack.enter_context(open_snapshot(store, saved)))
                server.http.patience = PATIENCE_SECONDS
                run.apply()
                entry.rollback_success = True
        elif not context.check_mode and run.finishes(unfinished_rollbacks(store.directory, endpoint.identity)):
            # A run that was killed after its last change had reached the snapshot; nobody has said so yet.
            with audited(directory, "rollback", snapshot_id=chosen, trigger=trigger, rollback_type=rollback_type, reason=reason, details=told) as entry:
                entry.rollback_success = True
        returns = {
            "snapshot_id": chosen,
            "rollback_type": rollback_type,
            "strategy": run.strategy,
            "strategy_reason": run.strategy_reason,
            "collections": run.results(),
            "verified": not context.check_mode,
            "safety_snapshot_id": run.safety_snapshot_id,
            "phases": [phase.as_dict() for phase in progress.phases],
        }
        return Outcome(run.changed, progress.seconds, returns, run.diff(), run.warnings)


def _read_at(manifest: Manifest, moment: datetime) -> list[str]:
    """A warning when the server was still being read at that moment."""
    finished = parse_moment(manifest.values["finished"])
    if moment >= finished:
        return []
    return [
        f"{manifest.snapshot_id} was still being taken at that moment, until {finished.isoformat()}: it may hold what was written after the moment. "
        "An earlier moment means the snapshot before it."
    ]


class _Rollback:
    """All collections of one rollback: compared first, then changed."""

    def __init__(self, store: SnapshotStore, snapshot: Snapshot, server: Server, strategy: str, partial: bool, remove_extra: bool, context: Context) -> None:
        self.store = store
        self.snapshot = snapshot
        self.server = server
        self.remove_extra = remove_extra
        self.partial = partial
        self.context = context
        self.restorations: list[Restoration] = []
        self.extras: list[_Extra] = []
        self.safety_snapshot_id: str | None = None
        self.saved: SavedState | None = None
        self.warnings: list[str] = []
        self._asked = strategy

    @property
    def changed(self) -> bool:
        return bool(self.extras) or any(restoration.changed for restoration in self.restorations)

    @property
    def affected(self) -> list[str]:
        return [restoration.name for restoration in self.restorations if restoration.changed] + [extra.stored.name for extra in self.extras]

    @property
    def scope(self) -> frozenset[str] | None:
        """What is as the snapshot says afterwards: these collections, or None: all of the database."""
        return frozenset(restoration.name for restoration in self.restorations) if self.partial or not self.remove_extra else None

    def finishes(self, begun: Sequence[tuple[str, frozenset[str] | None]]) -> bool:
        """Whether an interrupted rollback to this snapshot has nothing left to do."""
        snapshot_id, scope = self.snapshot.manifest.snapshot_id, self.scope
        return any(older == snapshot_id and (scope is None or (wanted is not None and wanted <= scope)) for older, wanted in begun)

    @property
    def strategy(self) -> str:
        return "swap" if any(restoration.swaps for restoration in self.restorations) else "in_place"

    @property
    def strategy_reason(self) -> str:
        """Why it is this one, for people."""
        if self._asked == self.strategy:
            return "It was asked for."
        if not self.changed:
            return "Nothing differs."
        fixed = [f"{restoration.name!r}: {restoration.fixed}" for restoration in self.restorations if restoration.fixed]
        if fixed:
            return f"Chroma cannot change in a collection that exists what differs in {', '.join(fixed)}."
        return "All that differs can be written into the collections as they are."

    def close(self) -> None:
        for restoration in self.restorations:
            restoration.close()

    def compare(self, names: Sequence[str] | None) -> None:
        """Read both sides, without writing; afterwards it is known what would change."""
        specs = {spec.name: spec for spec in self.snapshot.collections()}
        unknown = sorted(set(names or ()) - set(specs))
        if unknown:
            raise UsageError(
                f"{self.snapshot.manifest.snapshot_id} has no collection {', '.join(map(repr, unknown))}. "
                f"It has: {', '.join(map(repr, sorted(specs))) or 'none'}."
            )
        stored = {collection.name: collection for collection in self.server.list_collections()}
        wanted = sorted(specs if names is None else set(names))
        self.context.progress.expect(sum(self.snapshot.manifest.records(name) for name in wanted))
        with self.context.progress.phase("compare") as phase:
            for name in wanted:
                restoration = Restoration(self.server, self.snapshot.record_set(name), stored, self.snapshot.manifest.snapshot_id, self._asked, self.store.logs)
                self.restorations.append(restoration)
                self._require_own(restoration)
                restoration.compare(self.context.progress)
                phase.records += restoration.difference.expected
        helpers = {helper for restoration in self.restorations for helper in restoration.helper_names}
        if self.remove_extra:
            extra_names = sorted(set(stored) - set(specs) - helpers)
            self.extras = [_Extra(stored[name], self.server.count(stored[name].id)) for name in extra_names]

    def _require_own(self, restoration: Restoration) -> None:
        """UsageError when a collection has a name that a swap needs, and no unfinished rollback to this snapshot can have left it."""
        snapshot_id = self.snapshot.manifest.snapshot_id
        if restoration.leftovers and snapshot_id not in dict(unfinished_rollbacks(self.store.directory)):
            raise UsageError(
                f"The collection {restoration.leftovers[0]!r} has a name that a rollback of {restoration.name!r} to {snapshot_id} uses and removes, and "
                "the audit log knows of no such rollback that was interrupted. Rename or delete that collection, and run this again."
            )

    def save(self, identity: ServerIdentity) -> str:
        """A snapshot of everything as it is now."""
        with self.context.progress.phase("safety_snapshot"):
            everything = select_collections(self.server, None)
            manifest = write_snapshot(self.server, self.store, identity, everything, SAFETY_NAME, SAFETY_RETENTION_DAYS, False, True, Context())
        self.safety_snapshot_id = manifest.snapshot_id
        return manifest.snapshot_id

    def apply(self) -> None:
        """Write what differs, and prove it."""
        with self.context.progress.phase("restore") as phase:
            for restoration in self.restorations:
                if restoration.changed:
                    restoration.apply(self.saved)
                    phase.records += restoration.written
            for extra in self.extras:
                if self.saved is not None:
                    self.saved.require_all(LiveCollection(self.server, extra.stored), extra.stored.name)
                extra.difference.deleted = remove(self.server, extra.stored)
            now = self.server.list_collections()
            self._require_collections(now)
            found = {stored.name: stored for stored in now}
            for restoration in self.restorations:
                restoration.prove(found[restoration.name])

    def _require_collections(self, now: Sequence[StoredCollection]) -> None:
        """What was removed must not be listed any more (an answer of 200 proves nothing), and nobody else may have come in between."""
        removed = {extra.stored.name: extra.stored.id for extra in self.extras}
        helpers = {helper for restoration in self.restorations for helper in restoration.helper_names}
        for stored in now:
            if removed.get(stored.name) == stored.id or stored.name in helpers:
                raise IntegrityError(f"{self.server.endpoint.url} still has the collection {stored.name!r} after it was deleted.", collection=stored.name)
        names = {stored.name for stored in now}
        wanted = {restoration.name for restoration in self.restorations}
        for strangers, words in ((wanted - names, "is gone"), (names - wanted if self.scope is None else set(), "has come")):
            for name in sorted(strangers):
                raise DriftError(
                    f"The collection {name!r} {words} during the rollback: somebody else writes there. Freeze the writers and run the same task again.",
                    collection=name,
                )

    def results(self) -> list[dict[str, Any]]:
        restored = [restoration.result() for restoration in self.restorations]
        gone = [{"name": extra.stored.name, "added": 0, "changed": 0, "deleted": extra.records, "unchanged": 0} for extra in self.extras]
        return sorted(restored + gone, key=lambda result: str(result["name"]))

    def diff(self) -> list[dict[str, str]]:
        shown = [
            record_diff(restoration.name, restoration.difference, "created" if restoration.missing else None, restoration.spec_differences)
            for restoration in self.restorations
            if restoration.changed
        ]
        return shown + [record_diff(extra.stored.name, Difference(deleted=extra.records), "deleted", {}) for extra in self.extras]
