# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""The metadata schema: which fields a record has, what they may hold, and where a missing one comes from."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

from .._errors import UsageError
from .._records.reasons import Reason, shown
from .shape import check_shape

STRING, INTEGER, NUMBER, BOOLEAN = "string", "integer", "number", "boolean"
TYPES = (STRING, INTEGER, NUMBER, BOOLEAN)

SOURCE_COLLECTION, TARGET_COLLECTION, COLLECTION_TYPE, WORD_COUNT = "source_collection", "target_collection", "collection_type", "word_count"
DERIVATIONS = {SOURCE_COLLECTION: (STRING,), TARGET_COLLECTION: (STRING,), COLLECTION_TYPE: (STRING,), WORD_COUNT: (INTEGER, NUMBER)}

# What a default of type string may hold; replaced for each pair of collections.
PLACEHOLDERS = ("{source_collection}", "{target_collection}")

# A bool is an int for Python but not for people, so types are compared exactly. An integer is a number as it stands.
_HOLDS: dict[str, tuple[type, ...]] = {STRING: (str,), INTEGER: (int,), NUMBER: (float, int), BOOLEAN: (bool,)}
_A_VALUE = {STRING: "text", INTEGER: "an integer", NUMBER: "a number", BOOLEAN: "true or false"}

_FIELDS = {
    "type": "object",
    "additionalProperties": {
        "type": "object",
        "additionalProperties": False,
        "required": ["type"],
        "properties": {
            "type": {"enum": list(TYPES)},
            "required": {"type": "boolean"},
            "default": {"type": ["string", "number", "boolean"]},
            "derive": {"enum": list(DERIVATIONS)},
            "enum": {"type": "array", "minItems": 1, "items": {"type": ["string", "number", "boolean"]}},
            "minimum": {"type": "number"},
            "maximum": {"type": "number"},
            "pattern": {"type": "string"},
        },
    },
}
_SCHEMA = json.dumps({
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "fields": _FIELDS,
        "collections": {
            "type": "object",
            "additionalProperties": {"type": "object", "required": ["fields"], "additionalProperties": False, "properties": {"fields": _FIELDS}},
        },
    },
})


@dataclass(frozen=True)
class Field:
    """One metadata field.

    type     string, integer, number or boolean
    required a record without it, that nothing fills in, is invalid
    default  the value of a record that lacks it; None: there is no default
    derive   how it is computed, rather than by default: see DERIVATIONS
    enum     the only values allowed; minimum and maximum: the range of numbers, both ends included
    pattern  a regular expression that a text must match somewhere (anchor it with ^ and $)
    """

    name: str
    type: str
    required: bool = False
    default: Any = None
    derive: str | None = None
    enum: tuple[Any, ...] | None = None
    minimum: float | None = None
    maximum: float | None = None
    pattern: str | None = None

    @property
    def constrained(self) -> bool:
        """Whether a value of the right type can still be wrong."""
        return self.type == NUMBER or not (self.enum is None and self.minimum is None and self.maximum is None and self.pattern is None)


@dataclass(frozen=True)
class Schema:
    """Fields for every record, and more for the records of some target collections.

    collections  pairs of a shell pattern (or the exact name) of target collections and their further fields
    """

    fields: Mapping[str, Field]
    collections: tuple[tuple[str, Mapping[str, Field]], ...] = ()


def parse_schema(value: Any) -> Schema | None:
    """The schema that a user's mapping describes; None (a faithful copy) for None, {} and the word none.

    UsageError says where it is wrong.
    """
    if value is None or value in ({}, "none"):
        return None
    plain = _without_nulls(value)
    check_shape("schema", plain, _SCHEMA)
    fields = _parse_fields(plain.get("fields", {}), "schema.fields")
    collections = tuple(
        (pattern, _parse_fields(group["fields"], f"schema.collections.{pattern}.fields")) for pattern, group in plain.get("collections", {}).items()
    )
    if not fields and not any(group for _pattern, group in collections):
        raise UsageError("schema: names no field; leave the option out for a faithful copy")
    return Schema(fields, collections)


def fields_for(schema: Schema | None, target: str) -> dict[str, Field]:
    """The fields of a record in the target collection, by name; a field of a collection's own group wins over one for all."""
    if schema is None:
        return {}
    fields = dict(schema.fields)
    for pattern, group in schema.collections:
        if fnmatchcase(target, pattern):
            fields.update(group)
    return fields


def types_of(field: Field) -> tuple[type, ...]:
    """The Python types that fit the field's type."""
    return _HOLDS[field.type]


def type_fits(field: Field, value: Any) -> bool:
    """Whether the value has the field's type: true is no integer, an integer is a number."""
    return type(value) in _HOLDS[field.type]


def value_fault(field: Field, value: Any) -> Reason | None:
    """Why the field may not hold this value; None when it may."""
    if not type_fits(field, value):
        return Reason(field.name, "wrong_type", f"{shown(value)} is not {_A_VALUE[field.type]}")
    if field.type == NUMBER and not math.isfinite(value):
        return Reason(field.name, "not_finite", f"{shown(value)} is not a finite number")
    if field.enum is not None and value not in field.enum:
        return Reason(field.name, "not_in_enum", f"{shown(value)} is none of {', '.join(map(str, field.enum))}")
    if field.minimum is not None and value < field.minimum:
        return Reason(field.name, "below_minimum", f"{shown(value)} is below the minimum {field.minimum}")
    if field.maximum is not None and value > field.maximum:
        return Reason(field.name, "above_maximum", f"{shown(value)} is above the maximum {field.maximum}")
    if field.pattern is not None and not _compiled_pattern(field.pattern).search(value):
        return Reason(field.name, "pattern", f"{shown(value)} does not match {field.pattern}")
    return None


@cache
def _compiled_pattern(pattern: str) -> re.Pattern[str]:
    # A final $ means the end, not "the end or before a last newline".
    return re.compile(re.sub(r"(?<!\\)((?:\\\\)*)\$\Z", r"\1\\Z", pattern))


def _without_nulls(value: Any) -> Any:
    """A key whose value is null counts as left out, in the schema as in every option of Ansible."""
    if isinstance(value, Mapping):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    return value


def _parse_fields(values: Mapping[str, Any], where: str) -> dict[str, Field]:
    return {name: _parse_field(name, value, f"{where}.{name}") for name, value in values.items()}


def _parse_field(name: Any, value: Mapping[str, Any], where: str) -> Field:
    if not isinstance(name, str) or not name or name.startswith(("#", "chroma:")):
        raise UsageError(f"{where}: Chroma takes no metadata key that is empty, no text, or begins with '#' or 'chroma:'")
    enum = value.get("enum")
    field = Field(
        name=name,
        type=value["type"],
        required=value.get("required", False),
        default=value.get("default"),
        derive=value.get("derive"),
        enum=None if enum is None else tuple(enum),
        minimum=value.get("minimum"),
        maximum=value.get("maximum"),
        pattern=value.get("pattern"),
    )
    for fault in (_rule_fault(field), _default_fault(field)):
        if fault is not None:
            raise UsageError(f"{where}{fault}")
    return field


def _rule_fault(field: Field) -> str | None:
    """What is wrong with a field's rules taken together, as the end of a sentence that begins with its path."""
    for rule in ("minimum", "maximum"):
        limit = getattr(field, rule)
        if limit is not None and field.type not in (INTEGER, NUMBER):
            return f".{rule}: only an integer or a number has one, this field's type is {field.type}"
        if limit is not None and not math.isfinite(limit):
            return f".{rule}: {limit} is not a finite number; leave it out for no limit"
    if field.minimum is not None and field.maximum is not None and field.minimum > field.maximum:
        return f": the minimum {field.minimum} is above the maximum {field.maximum}, so no value fits"
    if field.pattern is not None:
        if field.type != STRING:
            return f".pattern: only a string has one, this field's type is {field.type}"
        try:
            _compiled_pattern(field.pattern)
        except re.error as error:
            return f".pattern: {field.pattern} is no regular expression: {error}"
    if field.derive is not None and field.type not in DERIVATIONS[field.derive]:
        return f".derive: {field.derive} gives {_A_VALUE[DERIVATIONS[field.derive][0]]}, this field's type is {field.type}"
    for entry in field.enum or ():
        if not type_fits(field, entry):
            return f".enum: {shown(entry)} is not {_A_VALUE[field.type]}"
    return None


def _default_fault(field: Field) -> str | None:
    if field.default is None:
        return None
    if isinstance(field.default, str) and type_fits(field, field.default):
        for found in re.findall(r"\{[A-Za-z_]+\}", field.default):
            if found not in PLACEHOLDERS:
                return f".default: {found} is not known; a default may hold {' and '.join(PLACEHOLDERS)}"
        if any(placeholder in field.default for placeholder in PLACEHOLDERS):
            return None  # What it becomes is checked for each pair of collections.
    fault = value_fault(field, field.default)
    return None if fault is None else f".default: {fault[len(field.name) + 2:]}"
