# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Choose source collections and build the plan that migrate and validate share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .._errors import IntegrityError, UsageError
from .._numbers import number
from .._records.live import LiveCollection, Throttle
from .._schema.corrections import parse_corrections
from .._schema.fields import parse_schema
from .._schema.plan import MigrationPlan, Shard, Survey
from .._schema.routes import parse_routes
from .._schema.transformation import Transformation
from .._server.server import Server

NAMED_RECORDS = 10


def select_collections(
    server: Server, names: Sequence[str] | None, throttle: Throttle | None = None, page: int | None = None
) -> list[LiveCollection]:
    """The named collections of a server (None: all of them), by name; UsageError names those that are not there."""
    stored = {collection.name: collection for collection in server.list_collections()}
    if names is None:
        chosen = sorted(stored)
    else:
        unknown = sorted(set(names) - set(stored))
        if unknown:
            raise UsageError(
                f"{server.endpoint.identity} has no collection {', '.join(map(repr, unknown))}. It has: {', '.join(map(repr, sorted(stored))) or 'none'}.",
                collections=unknown,
            )
        chosen = sorted(set(names))
    return [LiveCollection(server, stored[name], throttle, page) for name in chosen]


def make_plan(
    source: Server,
    target: Server,
    *,
    collections: Sequence[str] | None,
    routes: Any,
    schema: Mapping[str, Any] | None,
    corrections: Any,
    on_collision: str,
    shard: Shard | None = None,
    throttle: Throttle | None = None,
) -> MigrationPlan:
    """Parse the rules and choose the source collections; UsageError for rules that cannot work."""
    everything = select_collections(source, None, throttle)
    chosen = everything if collections is None else select_collections(source, collections, throttle)
    names = [collection.name for collection in everything]
    corrected = parse_corrections(corrections)
    strangers = sorted(set(corrected or {}) - set(names))
    if strangers:
        words = ", ".join(map(repr, strangers))
        raise UsageError(f"corrections names collections that {source.endpoint.identity} does not have: {words}.", collections=strangers)
    transformation = Transformation(parse_schema(schema), parse_routes(routes), corrected, on_collision, names)
    return MigrationPlan(chosen, transformation, target.capabilities, shard)


def require_readable(survey: Survey) -> None:
    """IntegrityError that names the records which the source itself does not give."""
    lost = [(name, record_id, why) for name, records in survey.unreadable.items() for record_id, why in records.items()]
    if lost:
        names = ", ".join(f"{name}: {record_id!r}" for name, record_id, _why in lost[:NAMED_RECORDS])
        raise IntegrityError(
            f"{number(len(lost), 'record')} cannot be read, such as {names}: {lost[0][2]}. Nothing was written. "
            "Write these records anew in the source, or delete them there.",
            ids=[record_id for _name, record_id, _why in lost[:NAMED_RECORDS]],
            collection=lost[0][0],
        )
