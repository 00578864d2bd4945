# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Are source and target two databases, where their URLs do not tell: through a proxy, or by a port that is passed on?"""

from __future__ import annotations

import uuid

from .._errors import UsageError
from .._same_server import same_database
from .._server.server import Server

PROBE = "infrafabric-probe-"
NAMED = 3


def doubts(source: Server, target: Server) -> list[str]:
    """A sentence for people, where source and target may be one database."""
    one, other = source.endpoint.identity, target.endpoint.identity
    if same_database(one, other):
        return ["source and target are the same database: this proves nothing about a copy."]
    shared = _shared(source, target)
    if not shared:
        return []
    return [
        f"source and target list {', '.join(map(repr, shared[:NAMED]))} under one id: {one} and {other} are one database, of which this proves nothing, "
        "or one of them was made of a copy of the other's files."
    ]


def require_two_databases(source: Server, target: Server) -> None:
    """UsageError for one database. Writes to the target only where both list a collection under one id: an empty collection, which the source must not show."""
    if not _shared(source, target):
        return
    probe = target.create_collection(f"{PROBE}{uuid.uuid4().hex}")
    try:
        is_one = source.find_collection(probe.name) is not None
    finally:
        target.delete_collection(probe)
    if is_one:
        raise UsageError(
            f"source and target are the same database: {source.endpoint.identity} shows what is created in {target.endpoint.identity}. Correct one of them; "
            "no record was written."
        )


def _shared(source: Server, target: Server) -> list[str]:
    """The names in the source of collections that both list under one id. Servers draw ids at random; a copy of a server's files keeps them."""
    ids = {stored.id for stored in target.list_collections()}
    return sorted(stored.name for stored in source.list_collections() if stored.id in ids)
