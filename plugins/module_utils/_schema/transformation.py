# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""The transformation of a record: corrected, routed, and given the metadata that the schema asks for.

It is a pure function of the record and of the user's settings: no clock, no other record, no state.
So the same record always becomes the same thing, and a second migration finds nothing to do.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from .._errors import UsageError
from .._records.reasons import Reason
from . import fields as rules
from .corrections import Corrections, corrected
from .fields import Field, Schema, fields_for, value_fault
from .routes import Route, needs_metadata, reachable_targets

FAIL, PREFIX = "fail", "prefix"

# What `derive: collection_type` looks for in a target's name when the field has no enum of its own.
COLLECTION_TYPES = ("personality", "rhetorical", "humor", "corpus")


def collision_prefix(source_collection: str) -> str:
    """What `on_collision: prefix` puts before the ids in merged targets. By it `prune` also tells whose a record is."""
    return f"{source_collection}:"


class Placement(NamedTuple):
    """Where a record goes: the target collection, and its id there."""

    target: str
    id: str


@dataclass(frozen=True)
class Invalid:
    """A record that the schema or the target does not accept, and why."""

    source_collection: str
    id: str
    reasons: tuple[Reason, ...]


class _Rule(NamedTuple):
    """A field, prepared for one pair of source and target collection."""

    name: str
    types: frozenset[type]
    good: frozenset[Any] | None  # values of these types that need no further look; None: all of them
    field: Field
    fill: Any  # the value of a record that lacks the field; None: nothing
    count_words: bool  # fill in the number of the document's words instead
    lacking: Reason | None  # what is wrong with a record that lacks the field


class _Rules(NamedTuple):
    checked: tuple[_Rule, ...]
    stated: Mapping[str, str]  # set in every record, whatever it carried
    reasons: tuple[Reason, ...]  # why no record of this pair can be valid


_NO_CHANGES: Mapping[str, Any] = {}


class Transformation:
    """What a migration makes of the records of a source server.

    source_names  every collection of the source server, whether it takes part or not
    on_collision  "fail", or "prefix": ids in merged targets begin with "SOURCE_COLLECTION:"
    """

    def __init__(
        self, schema: Schema | None, routes: Sequence[Route], corrections: Corrections | None, on_collision: str, source_names: Sequence[str]
    ) -> None:
        if on_collision not in (FAIL, PREFIX):
            raise UsageError(f"on_collision: {on_collision!r} is neither {FAIL} nor {PREFIX}")
        self.schema = schema
        self.routes = tuple(routes)
        self.corrections: Corrections = corrections or {}
        self.on_collision = on_collision
        self.merged_targets = _merged_targets(self.routes, source_names)
        self._by_metadata = needs_metadata(self.routes)
        self._routes: dict[str, tuple[Route, ...]] = {}
        self._rules: dict[tuple[str, str], _Rules] = {}
        self._corrected: set[tuple[str, str]] = set()

    @property
    def is_identity(self) -> bool:
        """Whether every record keeps its metadata; it may still be routed."""
        return self.schema is None and not self.corrections

    @property
    def identity(self) -> str:
        """SHA-256 (hex) of the settings: equal for equal schema, routes, corrections and on_collision."""
        return _sha256({**self._rules_of_all(), "corrections": self.corrections})

    @property
    def rules_identity(self) -> str:
        """The same without the corrections, which may be added to a migration that is under way."""
        return _sha256(self._rules_of_all())

    def _rules_of_all(self) -> dict[str, Any]:
        return {
            "schema": None if self.schema is None else asdict(self.schema),
            "routes": [asdict(route) for route in self.routes],
            "on_collision": self.on_collision,
        }

    def states_source(self, target: str) -> bool:
        """Whether each record of this target says in `source_collection` which collection it came from in this migration."""
        field = fields_for(self.schema, target).get(rules.SOURCE_COLLECTION)
        return field is not None and field.derive == rules.SOURCE_COLLECTION

    def place(self, source_collection: str, record_id: str, metadata: Mapping[str, Any] | None) -> Placement:
        """Where the record goes. `metadata` is the source's; only routes with `where` look at it (corrected)."""
        routes = self._routes.get(source_collection)
        if routes is None:
            routes = self._routes[source_collection] = tuple(route for route in self.routes if route.takes_from(source_collection))
        if self._by_metadata:
            changes = self._changes(source_collection, record_id)
            if changes:
                metadata = corrected(metadata, changes)
        target, new_id = source_collection, record_id
        for route in routes:
            if route.fits(metadata):
                target, new_id = route.to, route.id_prefix + record_id
                break
        if self.on_collision == PREFIX and target in self.merged_targets:
            new_id = collision_prefix(source_collection) + new_id
        return Placement(target, new_id)

    def places_of(self, source_collection: str) -> tuple[tuple[str, str], ...]:
        """Every place that a record of this collection could take, whatever its metadata: the target, and what is put before the id."""
        places: dict[tuple[str, str], None] = {}
        for route in (*(route for route in self.routes if route.takes_from(source_collection)), Route("*", (), source_collection)):
            before = collision_prefix(source_collection) if self.on_collision == PREFIX and route.to in self.merged_targets else ""
            places[route.to, before + route.id_prefix] = None
            if not route.where:
                break
        return tuple(places)

    def metadata_of(
        self, source_collection: str, target: str, record_id: str, document: str | None, metadata: Mapping[str, Any] | None
    ) -> tuple[dict[str, Any] | None, tuple[Reason, ...]]:
        """The record's metadata in the target, and the reasons why it is invalid (none: it is valid).

        The argument is never changed; where there is nothing to do it is returned itself.
        """
        changes = self._changes(source_collection, record_id)
        if self.schema is None and not changes:
            return metadata, ()  # type: ignore[return-value]
        prepared = self._rules.get((source_collection, target))
        if prepared is None:
            prepared = self._rules[source_collection, target] = _prepare(self.schema, source_collection, target)
        new = corrected(metadata, changes) if changes else dict(metadata) if metadata else {}
        reasons: list[Reason] = list(prepared.reasons)
        for name, types, good, field, fill, count_words, lacking in prepared.checked:
            value = new.get(name)
            if value is None:
                if count_words:
                    new[name] = value = len(document.split()) if document else 0
                    fault = value_fault(field, value)
                else:
                    if fill is not None:
                        new[name] = fill
                    fault = lacking
            elif type(value) in types and (good is None or value in good):
                continue
            else:
                fault = value_fault(field, value)
            if fault is not None:
                reasons.append(fault)
        new.update(prepared.stated)
        return new if new or metadata is not None else None, tuple(reasons)

    def _changes(self, source_collection: str, record_id: str) -> Mapping[str, Any]:
        if not self.corrections:
            return _NO_CHANGES
        records = self.corrections.get(source_collection)
        if records is None or record_id not in records:
            return _NO_CHANGES
        self._corrected.add((source_collection, record_id))
        return records[record_id]

    def uncorrected(self, collections: Iterable[str]) -> list[tuple[str, str]]:
        """The corrections (collection, id) for these collections whose record was not met so far."""
        return [(name, record_id) for name in collections for record_id in self.corrections.get(name, ()) if (name, record_id) not in self._corrected]


def _sha256(settings: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _merged_targets(routes: Sequence[Route], source_names: Sequence[str]) -> frozenset[str]:
    seen: set[str] = set()
    merged: set[str] = set()
    for name in dict.fromkeys(source_names):
        for target in reachable_targets(routes, name):
            (merged if target in seen else seen).add(target)
    return frozenset(merged)


def _prepare(schema: Schema | None, source_collection: str, target: str) -> _Rules:
    checked: list[_Rule] = []
    stated: dict[str, str] = {}
    reasons: list[Reason] = []
    for name, field in fields_for(schema, target).items():
        if field.derive in (rules.SOURCE_COLLECTION, rules.TARGET_COLLECTION):
            stated[name] = source_collection if field.derive == rules.SOURCE_COLLECTION else target
            fault = value_fault(field, stated[name])
            if fault is not None:
                reasons.append(fault)
        else:
            checked.append(_prepare_rule(field, source_collection, target))
    return _Rules(tuple(checked), stated, tuple(reasons))


def _prepare_rule(field: Field, source_collection: str, target: str) -> _Rule:
    fill = collection_type_of(field, target) if field.derive == rules.COLLECTION_TYPE else None
    if fill is None:
        fill = field.default
    if isinstance(fill, str):
        fill = fill.replace("{source_collection}", source_collection).replace("{target_collection}", target)
    lacking = None if fill is None else value_fault(field, fill)
    if fill is None and field.required:
        lacking = Reason(field.name, "missing", f"missing required field {field.name}")
    good = None
    if field.constrained:
        good = frozenset(value for value in (*(field.enum or ()), fill) if value is not None and value_fault(field, value) is None)
    return _Rule(field.name, frozenset(rules.types_of(field)), good, field, fill, field.derive == rules.WORD_COUNT, lacking)


def collection_type_of(field: Field, target: str) -> str | None:
    """The last word of the target's name (`sergio_humor`, `humor-2025`) that is one of the types."""
    known = field.enum or COLLECTION_TYPES
    for word in reversed(re.split(r"[._-]", target)):
        if word in known:
            return word
    return target if target in known else None
