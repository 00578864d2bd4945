# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Read the server, write an archive."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from .._archive.catalogue import LATEST, VERIFIED, FoundSnapshot, choose_snapshot, find_named, find_snapshots
from .._archive.dead_runs import clean_up, clean_up_if_idle
from .._archive.manifest import FILES, RECORDS, Consistency, Manifest, ServerIdentity, identity_of, load_manifest
from .._archive.reader import Snapshot, open_snapshot
from .._archive.retention import delete_snapshot, prune, require_deletable, require_keep_min
from .._archive.store import SAFETY_NAME, SnapshotStore, new_snapshot_id, open_store
from .._archive.verify import require_sound
from .._archive.writer import ArchiveWriter
from .._audit import audited
from .._endpoint import Endpoint
from .._errors import DriftError, IntegrityError, UsageError
from .._files import require_free_space
from .._lock import server_lock, store_lock
from .._records.compare import BITS, Counterpart
from .._records.digest import CollectionDigest
from .._records.live import LiveCollection
from .._records.read_ahead import read_ahead
from .._server.probe import connect
from .._server.server import Server
from .keys import optional_key
from .migration_settings import positive
from .outcome import Context, Outcome
from .planning import select_collections
from .snapshot_files import plan_files_snapshot, require_files_options, write_files_snapshot

# A rough upper bound of what a record of 384 numbers and 500 characters needs, compressed.
BYTES_BESIDE_VECTOR = 1500
SPACE_FACTOR = 1.2


@dataclass(frozen=True)
class _Retention:
    """What goes, and what stays, when a new snapshot is there."""

    wanted: bool
    keep_min: int
    pins: Sequence[str]


@dataclass
class _Taken:
    """One collection in the archive."""

    digest: str = ""
    records: int = 0
    moved: list[str] = field(default_factory=list)


def snapshot(
    endpoint: Endpoint,
    *,
    state: str,
    name: str | None,
    directory: str,
    collections: Sequence[str] | None,
    method: str,
    data_directory: str | None,
    base: str | None,
    batch_size: int | None,
    retention_days: int | None,
    prune: bool,
    keep_min: int,
    pin: Sequence[str] | None,
    require_consistent: bool,
    verify: bool,
    encryption_key_file: str | None,
    context: Context,
) -> Outcome:
    """Make a snapshot exist (or, with `state: absent`, be gone)."""
    if name == SAFETY_NAME:
        raise UsageError(f"The name {SAFETY_NAME!r} is kept for the snapshots that a rollback takes first; choose another one.")
    if state == "absent":
        return _remove(endpoint, directory, name, context)
    if collections is not None and not collections:
        raise UsageError("collections is an empty list: nothing would be saved. Leave it out for all of them.")
    positive("batch_size", batch_size)
    if retention_days is not None and retention_days < 0:
        raise UsageError(f"retention_days must not be negative, but is {retention_days}.")
    wanted_directory = require_files_options(data_directory, collections, base) if method == FILES else None
    if method != FILES and data_directory is not None:
        raise UsageError("data_directory belongs to method: files; with method: records the server is asked for everything.")
    if prune:
        # What is to be done with the others afterwards is judged before this one is taken.
        require_keep_min(keep_min)
    retention = _Retention(prune, keep_min, pin or ())
    store = open_store(directory, for_writing=True, create=not context.check_mode, key=optional_key(encryption_key_file))
    identity = identity_of(endpoint)

    def as_it_is() -> Outcome | None:
        existing = None if name is None else find_named(store, name, identity)
        if existing is None:
            return None
        _require_what_is_asked(existing, method, collections, require_consistent, store.key is not None)
        require_sound(store, existing.snapshot_id)
        return _outcome(False, store, existing, context)

    outcome = as_it_is()
    if outcome is not None:
        if not context.check_mode:
            clean_up_if_idle(store, "snapshot")
        return outcome
    with ExitStack() as stack:
        if not context.check_mode:
            # Before anything is looked at: what is seen without the locks may be what another run is just changing.
            stack.enter_context(store_lock(directory, "snapshot"))
            stack.enter_context(server_lock(endpoint.identity, "snapshot"))
            clean_up(store)
            outcome = as_it_is()
            if outcome is not None:
                return outcome
        if wanted_directory is not None:
            return _of_files(endpoint, store, wanted_directory, name, retention_days, retention, verify, context)
        server = connect(endpoint)
        stack.callback(server.close)
        chosen = select_collections(server, collections, page=batch_size)
        total = sum(collection.count() for collection in chosen)
        require_free_space(store.directory, int(SPACE_FACTOR * sum(_estimate(collection) for collection in chosen)))
        context.progress.expect(total)
        below = _base(store, base, identity)
        if context.check_mode:
            return Outcome(True, context.progress.seconds, {"snapshot": None, "path": None, "records": total}, [_diff(name or "snapshot", total, len(chosen))])
        manifest = write_snapshot(server, store, identity, chosen, name, retention_days, require_consistent, verify, context, below, collections is not None)
        return _made(manifest, store, retention, context)


def _made(manifest: Manifest, store: SnapshotStore, retention: _Retention, context: Context) -> Outcome:
    """What a new snapshot is told of, after the retention that it brings with it."""
    outcome = _outcome(True, store, manifest, context)
    if retention.wanted:
        pruned = prune(store, keep_min=retention.keep_min, pins=retention.pins, known_sound=(manifest.snapshot_id,))
        outcome.warnings.extend(pruned.warnings)
    return outcome


def _require_what_is_asked(
    existing: Manifest, method: str, collections: Sequence[str] | None, require_consistent: bool, encrypted: bool
) -> None:
    """UsageError when the snapshot that has the name already is not what this run would take."""
    problem = None
    if existing.method != method:
        problem = f"was made with method: {existing.method}"
    elif method == RECORDS and collections is None and existing.selected:
        problem = f"was taken of some collections only ({', '.join(map(repr, existing.names()))})"
    elif method == RECORDS and collections is not None and not set(collections) <= set(existing.names()):
        problem = f"does not hold {', '.join(map(repr, sorted(set(collections) - set(existing.names()))))}"
    elif require_consistent and existing.values["consistency"]["state"] == "fuzzy":
        problem = "is fuzzy, and require_consistent is set"
    elif encrypted and "encryption" not in existing.values:
        problem = "is not encrypted, and encryption_key_file is set"
    if problem is not None:
        raise UsageError(f"{existing.snapshot_id} {problem}. Choose another name, or remove it first.")


def _of_files(
    endpoint: Endpoint,
    store: SnapshotStore,
    data_directory: str,
    name: str | None,
    retention_days: int | None,
    retention: _Retention,
    verify: bool,
    context: Context,
) -> Outcome:
    planned, records, warnings = plan_files_snapshot(endpoint, store, data_directory, context)
    if context.check_mode:
        diff = {"before_header": name or "snapshot", "after_header": name or "snapshot", "before": "absent\n", "after": f"the files of {planned}\n"}
        return Outcome(True, context.progress.seconds, {"snapshot": None, "path": None, "records": records}, [diff], warnings)
    manifest = write_files_snapshot(endpoint, store, planned, name=name, retention_days=retention_days, verify=verify, context=context)
    return _made(manifest, store, retention, context)


def write_snapshot(
    server: Server,
    store: SnapshotStore,
    identity: ServerIdentity,
    chosen: Sequence[LiveCollection],
    name: str | None,
    retention_days: int | None,
    require_consistent: bool,
    verify: bool,
    context: Context,
    base: Manifest | None = None,
    selected: bool = False,
) -> Manifest:
    """Read the chosen collections (`selected`: not all) into a new archive; with a base, what differs from it. The caller holds the store's lock."""
    started = datetime.now(timezone.utc)
    snapshot_id = new_snapshot_id(store, name, started)
    moved: dict[str, list[str]] = {}
    with ExitStack() as stack:
        entry = stack.enter_context(audited(store.directory, "snapshot", snapshot_id=snapshot_id, details=server.endpoint.remarks))
        below = None if base is None else stack.enter_context(open_snapshot(store, base.snapshot_id))
        writer = stack.enter_context(ArchiveWriter(store, snapshot_id, base=base))
        entry.collections_affected = [collection.name for collection in chosen]
        copies = [(collection, _copy(collection, writer, below, context)) for collection in chosen]
        for collection, taken in copies:
            # Only when all was read once: what is the same both times was all there at one moment, the one between the two.
            if require_consistent:
                taken.moved.extend(_second_reading(collection, taken, context))
            if taken.moved:
                moved[collection.name] = taken.moved
        for other, what in _came_or_went(server, chosen, selected).items():
            moved.setdefault(other, []).append(what)
        if moved and require_consistent:
            raise DriftError(
                f"Collections {', '.join(sorted(moved))} came, went or were written to during the reading, and require_consistent is set. "
                "Freeze the writers and try again. No snapshot was made.",
                changed_ids={collection: ids[:10] for collection, ids in moved.items()},
            )
        with context.progress.phase("verify" if verify else "finish"):
            return writer.finish(
                server=identity,
                api=server.api,
                version=server.version,
                consistency=Consistency("fuzzy" if moved else "consistent", moved),
                retention_days=retention_days,
                name=name,
                verify=verify,
                started=started,
                selected=selected,
            )


def _came_or_went(server: Server, read: Sequence[LiveCollection], selected: bool) -> dict[str, str]:
    """Collections that are not those that were read, and what became of them; those that came do not count where some were `selected`."""
    now = {stored.name: stored.id for stored in server.list_collections()}
    before = {collection.name: collection.stored.id for collection in read}
    came = {} if selected else dict.fromkeys(set(now) - set(before), "(the collection came while others were read, and is not in the snapshot)")
    return {**came, **{name: "(the collection was deleted or replaced after it was read)" for name, held in before.items() if now.get(name) != held}}


def _copy(collection: LiveCollection, writer: ArchiveWriter, base: Snapshot | None, context: Context) -> _Taken:
    digest = CollectionDigest()
    known = None
    if base is not None and collection.name in base.manifest.values["collections"]:
        known = Counterpart(base.record_set(collection.name), BITS)
    writer.begin_collection(collection.spec)
    with context.progress.phase("export") as phase:
        for batch in read_ahead(collection.batches()):
            digest.add(batch)
            writer.add(batch if known is None else known.compare(batch).different().expected)
            phase.records += len(batch)
            context.progress.advance(len(batch))
        if known is not None:
            for gone in known.surplus():
                writer.delete(gone)
            known.close()
    taken = _Taken(digest.hexdigest(), digest.records, list(collection.movement.ids))
    writer.end_collection(taken.digest, taken.records)
    return taken


def _base(store: SnapshotStore, base: str | None, server: ServerIdentity) -> Manifest | None:
    """The snapshot that a new one is stored against. The first one of a server has none, whatever `base: latest` says."""
    if base in (None, "none"):
        return None
    own = [found.manifest for found in find_snapshots(store) if found.manifest is not None and found.manifest.server == server]
    own = [manifest for manifest in own if manifest.method == RECORDS]
    if base == LATEST and not any(manifest.name != SAFETY_NAME and manifest.status == VERIFIED for manifest in own):
        return None
    manifest = load_manifest(store, choose_snapshot(store, base, server=server, method=RECORDS))
    if manifest.server != server:
        raise UsageError(f"base: {manifest.snapshot_id} is a snapshot of {manifest.server.text}, not of {server.text}.")
    if manifest.method != RECORDS:
        raise UsageError(f"base: {manifest.snapshot_id} holds the files of a server, and no records to store the difference to.")
    try:
        require_sound(store, manifest.snapshot_id)
    except IntegrityError as error:
        raise IntegrityError(f"{error.message} Nothing can be stored against it: take a whole snapshot, with base: none.", **error.details) from None
    return manifest


def _second_reading(collection: LiveCollection, taken: _Taken, context: Context) -> list[str]:
    """Updates in place leave no trace in the ids: only reading everything again can tell."""
    again = CollectionDigest()
    with context.progress.phase("second_reading") as phase:
        for batch in LiveCollection(collection.server, collection.stored).batches():
            again.add(batch)
            phase.records += len(batch)
    return [] if again.hexdigest() == taken.digest else ["(the records differ between two readings)"]


def _estimate(collection: LiveCollection) -> int:
    return collection.count() * (4 * (collection.stored.dimension or 0) + BYTES_BESIDE_VECTOR)


def _remove(endpoint: Endpoint, directory: str, name: str | None, context: Context) -> Outcome:
    if name is None:
        raise UsageError("state: absent needs the name of a snapshot.")
    store = open_store(directory, for_writing=True, create=not context.check_mode)
    found = next((snapshot for snapshot in find_snapshots(store) if snapshot.snapshot_id == name), None)
    if found is None:
        named = find_named(store, name, identity_of(endpoint))
        found = None if named is None else FoundSnapshot(named.snapshot_id, named)
    if found is None:
        return Outcome(False, context.progress.seconds, {"snapshot": None, "path": None, "records": 0})
    # Of a manifest that cannot be read no more is known than its id, and that is enough to remove it.
    records = 0 if found.manifest is None else found.manifest.total_chunks
    path = store.archive_path(found.snapshot_id)
    if context.check_mode:
        require_deletable(store, found.snapshot_id)
    else:
        with store_lock(directory, "snapshot"):
            clean_up(store)
            with audited(directory, "delete_snapshot", snapshot_id=found.snapshot_id):
                delete_snapshot(store, found.snapshot_id)
    diff = {"before_header": found.snapshot_id, "after_header": found.snapshot_id, "before": f"{records} records\n", "after": "absent\n"}
    summary = {"snapshot_id": found.snapshot_id} if found.manifest is None else found.manifest.summary()
    returns = {"snapshot": summary, "path": path, "records": records}
    return Outcome(True, context.progress.seconds, returns, [diff])


def _outcome(changed: bool, store: SnapshotStore, manifest: Manifest, context: Context) -> Outcome:
    returns = {"snapshot": manifest.summary(), "path": store.archive_path(manifest.snapshot_id), "records": manifest.total_chunks}
    diff = [_diff(manifest.snapshot_id, manifest.total_chunks, len(manifest.specs()))] if changed else []
    warnings = []
    if changed and manifest.values["consistency"]["state"] == "fuzzy":
        warnings.append(
            f"{manifest.snapshot_id} is fuzzy: records or collections came or went while they were read; the manifest names them. "
            "Use require_consistent to refuse that."
        )
    return Outcome(changed, context.progress.seconds, returns, diff, warnings)


def _diff(name: str, records: int, collections: int) -> dict[str, Any]:
    return {"before_header": name, "after_header": name, "before": "absent\n", "after": f"{records} records in {collections} collections\n"}
