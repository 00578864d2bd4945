# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Routes: which target collection a record of a source collection goes to, and under which id."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from .._errors import UsageError
from .._records.collection_name import collection_name_fault
from .._records.reasons import shown
from .shape import check_shape

_ROUTES = json.dumps({
    "type": "array",
    "items": {
        "type": "object",
        "additionalProperties": False,
        "required": ["to"],
        "properties": {
            "from": {"type": "string", "minLength": 1},
            "where": {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}},
            "to": {"type": "string", "minLength": 1},
            "id_prefix": {"type": "string"},
        },
    },
})


@dataclass(frozen=True)
class Route:
    """Records of collections that match `from_pattern` (a shell pattern) and whose metadata holds all of `where` go `to` a collection.

    where      pairs of a metadata key and the value that it must equal, type included: 1, 1.0 and true differ
    id_prefix  put before the record's id
    """

    from_pattern: str
    where: tuple[tuple[str, Any], ...]
    to: str
    id_prefix: str = ""

    def takes_from(self, source_collection: str) -> bool:
        return fnmatchcase(source_collection, self.from_pattern)

    def fits(self, metadata: Mapping[str, Any] | None) -> bool:
        """Whether the metadata holds every value of `where`."""
        if not self.where:
            return True
        if metadata is None:
            return False
        for key, wanted in self.where:
            value = metadata.get(key)
            if type(value) is not type(wanted) or value != wanted:
                return False
        return True


def parse_routes(value: Sequence[Mapping[str, Any]] | None) -> tuple[Route, ...]:
    """The routes that a user's list describes, () for None and []. UsageError says which one is wrong and why."""
    if value is None:
        return ()
    plain = [{key: inner for key, inner in item.items() if inner is not None} if isinstance(item, Mapping) else item for item in value] \
        if isinstance(value, (list, tuple)) else value
    check_shape("routes", plain, _ROUTES)
    return tuple(_parse_route(item, f"routes[{number}]") for number, item in enumerate(plain))


def reachable_targets(routes: Sequence[Route], source_collection: str) -> tuple[str, ...]:
    """Every target that a record of this collection could reach, whatever its metadata, in the order of the routes."""
    targets: dict[str, None] = {}
    for route in routes:
        if route.takes_from(source_collection):
            targets[route.to] = None
            if not route.where:
                return tuple(targets)
    targets[source_collection] = None
    return tuple(targets)


def needs_metadata(routes: Sequence[Route]) -> bool:
    """Whether a record's metadata has a say in where it goes."""
    return any(route.where for route in routes)


def _parse_route(value: Mapping[str, Any], path: str) -> Route:
    where = value.get("where") or {}
    for key, wanted in where.items():
        if not isinstance(key, str):
            raise UsageError(f"{path}.where: the key {shown(key)} is no text; quote it")
        if isinstance(wanted, float) and math.isnan(wanted):
            raise UsageError(f"{path}.where.{key}: nan equals nothing, so no record would take this route")
    fault = collection_name_fault(value["to"])
    if fault is not None:
        raise UsageError(f"{path}.to: the name {shown(value['to'])} {fault}")
    return Route(value.get("from", "*"), tuple(where.items()), value["to"], value.get("id_prefix", ""))
