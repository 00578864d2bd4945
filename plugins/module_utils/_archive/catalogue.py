# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Which snapshots a store holds, and which of them is meant."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Callable

from .._errors import IntegrityError, UsageError
from .manifest import Manifest, ServerIdentity, load_manifest, parse_moment
from .store import NAME, SAFETY_NAME, SnapshotStore, check_snapshot_id, open_store, snapshot_ids, snapshot_name

LATEST = "latest"
VERIFIED = "verified"
NAMED_AT_MOST = 10


@dataclass(frozen=True)
class FoundSnapshot:
    """A snapshot by its manifest, or why the manifest cannot be read. The archive was not looked at."""

    snapshot_id: str
    manifest: Manifest | None
    problem: str | None = None


def find_snapshots(directory: str | SnapshotStore) -> list[FoundSnapshot]:
    """All snapshots of a store, newest first."""
    store = open_store(directory)
    found = []
    for snapshot_id in snapshot_ids(store):
        try:
            found.append(FoundSnapshot(snapshot_id, load_manifest(store, snapshot_id)))
        except IntegrityError as error:
            found.append(FoundSnapshot(snapshot_id, None, error.message))
        except UsageError:
            continue  # deleted since it was listed
    return found


def find_named(directory: str | SnapshotStore, name: str, server: ServerIdentity | None = None) -> Manifest | None:
    """The newest snapshot with this name (of this server), or None.

    IntegrityError where one of that name cannot be read: whose it is, and whether it is good, nobody knows.
    """
    if NAME.fullmatch(name) is None:
        raise UsageError(f"The name {name!r} of a snapshot must be 1 to 64 letters, digits, '_' or '-'.")
    for found in find_snapshots(directory):
        if found.manifest is not None and found.manifest.name == name and server in (None, found.manifest.server):
            return found.manifest
        if found.manifest is None and snapshot_name(found.snapshot_id) == name:
            raise IntegrityError(f"{found.snapshot_id} has the name {name}, and cannot be read: {found.problem} Move its files away, or choose another name.")
    return None


def choose_snapshot(
    directory: str | SnapshotStore,
    snapshot_id: str | None,
    *,
    server: ServerIdentity | None,
    point_in_time: str | None = None,
    method: str | None = None,
) -> str:
    """The id of the snapshot that is meant; UsageError, naming the choices, when none is.

    An id           that snapshot, if the store has it
    latest, or None the newest verified one of this server that is no safety snapshot of a rollback; if the store holds only one other server's, that one's
    point_in_time   ISO 8601 with an offset: the newest verified one at or before that moment, of the same server as for latest, and no safety
                    snapshot either: what a rollback was about to change is rarely what somebody wants back, and has an id if it is
    method          records or files: only such a snapshot can be meant
    """
    store = open_store(directory)
    found = find_snapshots(store)
    if snapshot_id is not None and snapshot_id != LATEST:
        if point_in_time is not None:
            raise UsageError("Both snapshot_id and point_in_time are given; one of them says which snapshot is meant.")
        check_snapshot_id(snapshot_id)
        if all(snapshot.snapshot_id != snapshot_id for snapshot in found):
            raise UsageError(f"There is no snapshot {snapshot_id} in {store.directory}. {_choices(found)}")
        return snapshot_id
    manifests = [
        snapshot.manifest
        for snapshot in found
        if snapshot.manifest is not None and snapshot.manifest.status == VERIFIED and method in (None, snapshot.manifest.method)
    ]
    kind = "verified snapshot" if method is None else f"verified snapshot of {method}"
    if point_in_time is not None:
        moment = _moment(point_in_time)
        chosen = _newest(manifests, server, lambda manifest: manifest.timestamp <= moment and manifest.name != SAFETY_NAME)
        wanted = f"No {kind} in {store.directory} is from {point_in_time} or before"
    else:
        chosen = _newest(manifests, server, lambda manifest: manifest.name != SAFETY_NAME)
        wanted = f"There is no {kind} in {store.directory}"
    if chosen is None:
        servers = sorted({manifest.server.text for manifest in manifests})
        if server is not None and len(servers) > 1 and server.text not in servers:
            wanted = f"{store.directory} holds snapshots of {' and '.join(servers)}, but none of {server.text}: say which by snapshot_id"
        elif server is None and len(servers) > 1:
            wanted = f"{store.directory} holds snapshots of {' and '.join(servers)}: say which by snapshot_id"
        elif server is not None and server.text in servers:
            wanted += f" and of {server.text}"
        raise UsageError(f"{wanted}. {_choices(found)}")
    return chosen.snapshot_id


def of_another_server(manifest: Manifest, server: ServerIdentity) -> list[str]:
    """A warning where a snapshot of one server is brought to another: as it should be after a move, and a mistake otherwise."""
    if manifest.server == server:
        return []
    return [f"{manifest.snapshot_id} was taken of {manifest.server.text}, and is brought to {server.text}."]


def _newest(manifests: list[Manifest], server: ServerIdentity | None, fits: Callable[[Manifest], bool]) -> Manifest | None:
    """The newest one that fits, of the server that is meant; None when that is not clear."""
    servers = {manifest.server for manifest in manifests}
    if server not in servers:
        if len(servers) != 1:
            return None
        server = next(iter(servers))
    fitting = [manifest for manifest in manifests if manifest.server == server and fits(manifest)]
    return max(fitting, key=lambda manifest: (manifest.timestamp, manifest.snapshot_id), default=None)


def _moment(text: str) -> datetime:
    try:
        return parse_moment(text.strip())
    except ValueError as error:
        raise UsageError(f"point_in_time {text!r} is no moment: {error}. Write it like 2025-01-31T23:59:59+00:00.") from None


def _choices(found: list[FoundSnapshot]) -> str:
    if not found:
        return "It holds no snapshot at all."
    shown = [f"{snapshot.snapshot_id} ({snapshot.manifest.server.text if snapshot.manifest else 'damaged manifest'})" for snapshot in found[:NAMED_AT_MOST]]
    rest = f" and {len(found) - NAMED_AT_MOST} older ones" if len(found) > NAMED_AT_MOST else ""
    return f"It holds {', '.join(shown)}{rest}."
