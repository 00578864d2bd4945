# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Would a rollback lose what clients wrote after a cutover?"""

from __future__ import annotations

from dataclasses import dataclass

from .._archive.manifest import Manifest, parse_moment
from .._archive.store import SnapshotStore
from .._audit import COMPLETED, ROLLBACK, read_audit, rollback_scope
from .._same_server import by_one_name, perhaps_same_database, perhaps_same_server

# Of a rollback in the audit log: the databases, as cutovers named them, whose new writes it has taken away.
DISCARDED = "discarded_cutovers"


@dataclass(frozen=True)
class Cutovers:
    """Cutovers whose clients a rollback would take writes from: when the last one was completed, and to which databases, by the names on record."""

    moment: str
    servers: tuple[str, ...]

    def words(self, snapshot_id: str) -> str:
        return (
            f"A cutover to {', '.join(self.servers)} was completed at {self.moment}, after {snapshot_id} was taken: records that it has accepted since "
            "would be lost. Use discard_new_writes: true if that is meant; they are saved in a safety snapshot first."
        )


def cutover_since(store: SnapshotStore, manifest: Manifest, identity: str, *, whole_server: bool = False) -> Cutovers | None:
    """The cutovers to this database (or to any of its server) that were completed after the snapshot was taken and not taken back since, or None.

    A database may have other names here than in the log. A rollback that discards what came after a cutover says which one it was, by its name there.
    """
    cutovers: dict[str, tuple[str, str]] = {}
    url = identity.partition(" ")[0]
    for entry in read_audit(store.directory).entries:
        details = entry.get("details") or {}
        server = details.get("server")
        if entry.get("status") != COMPLETED or not isinstance(server, str):
            continue
        if not (perhaps_same_server(server.partition(" ")[0], url) if whole_server else perhaps_same_database(server, identity)):
            continue
        if entry["action"] == "cutover" and parse_moment(entry["timestamp"]) >= manifest.timestamp:
            cutovers[by_one_name(server)] = (str(entry["timestamp"]), server)
        elif entry["action"] == "cutover_undone" or (entry["action"] == ROLLBACK and rollback_scope(entry) is None):
            # A rollback of some collections took the new writes out of these only.
            discarded = details.get(DISCARDED)
            for name in (server, *(discarded if isinstance(discarded, list) else ())):
                cutovers.pop(by_one_name(str(name)), None)
    if not cutovers:
        return None
    return Cutovers(max(moment for moment, _server in cutovers.values()), tuple(sorted(server for _moment, server in cutovers.values())))
