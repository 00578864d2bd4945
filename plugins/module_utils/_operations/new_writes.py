# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Would a rollback lose what clients wrote after a cutover?"""

from __future__ import annotations

from .._archive.manifest import Manifest, parse_moment
from .._archive.store import SnapshotStore
from .._audit import COMPLETED, ROLLBACK, read_audit, rollback_scope
from .._same_server import by_one_name, perhaps_same_database, perhaps_same_server


def cutover_since(store: SnapshotStore, manifest: Manifest, identity: str, *, whole_server: bool = False) -> str | None:
    """When a cutover to this database (or to any of its server) was completed after the snapshot was taken and not taken back since, or None."""
    cutovers: dict[str, str] = {}
    url = identity.partition(" ")[0]
    for entry in read_audit(store.directory).entries:
        server = (entry.get("details") or {}).get("server")
        if entry.get("status") != COMPLETED or not isinstance(server, str):
            continue
        if not (perhaps_same_server(server.partition(" ")[0], url) if whole_server else perhaps_same_database(server, identity)):
            continue
        if entry["action"] == "cutover" and parse_moment(entry["timestamp"]) >= manifest.timestamp:
            cutovers[by_one_name(server)] = str(entry["timestamp"])
        elif entry["action"] == "cutover_undone" or (entry["action"] == ROLLBACK and rollback_scope(entry) is None):
            # A rollback of some collections took the new writes out of these only.
            cutovers.pop(by_one_name(server), None)
    return max(cutovers.values(), default=None)


def new_writes_words(identity: str, cutover: str, snapshot_id: str) -> str:
    return (
        f"A cutover to {identity} was completed at {cutover}, after {snapshot_id} was taken: records that it has accepted since would be lost. "
        "Use discard_new_writes: true if that is meant; they are saved in a safety snapshot first."
    )
