# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Are source and target two databases, where their URLs do not tell: through a proxy, or by a port that is passed on?"""

from __future__ import annotations

import re
import uuid
from contextlib import suppress

from .._errors import OperationError, UsageError
from .._same_server import same_database
from .._server.server import Server

PROBES = re.compile(r"infrafabric-probe-[0-9a-f]{32}")
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


def require_two_databases(source: Server, target: Server, alone: bool) -> None:
    """UsageError for one database. Writes to the target only where both list a collection under one id: an empty collection, which the source must not show.

    `alone`: no other run is at work there, so that what a killed one has left is removed first.
    """
    if alone:
        for stored in target.list_collections():
            if PROBES.fullmatch(stored.name) and target.count(stored.id) == 0:
                target.delete_collection(stored)
    if not _shared(source, target):
        return
    name = f"infrafabric-probe-{uuid.uuid4().hex}"
    try:
        target.create_collection(name)
        is_one = source.find_collection(name) is not None
    except BaseException:
        with suppress(OperationError):
            _remove(target, name)
        raise
    _remove(target, name)
    if is_one:
        raise UsageError(
            f"source and target are the same database: {source.endpoint.identity} shows what is created in {target.endpoint.identity}. Correct one of them; "
            "no record was written."
        )


def _remove(server: Server, name: str) -> None:
    stored = server.find_collection(name)
    if stored is not None:
        server.delete_collection(stored)


def _shared(source: Server, target: Server) -> list[str]:
    """The names in the source of collections that both list under one id. Servers draw ids at random; a copy of a server's files keeps them."""
    ids = {stored.id for stored in target.list_collections()}
    return sorted(stored.name for stored in source.list_collections() if stored.id in ids)
