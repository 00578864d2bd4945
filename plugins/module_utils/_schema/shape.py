# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Hold what a user wrote against a JSON Schema, and say in plain words where it is wrong."""

from __future__ import annotations

import json
from functools import cache
from typing import Any, Callable

from .._errors import UsageError
from .._libraries import fastjsonschema
from .._records.reasons import shown

_TYPES = {"object": "a mapping", "array": "a list", "string": "text", "number": "a number", "boolean": "true or false"}


def check_shape(option: str, value: Any, definition: str) -> None:
    """Raise UsageError when `value`, given for `option`, is not what the JSON Schema text `definition` describes."""
    try:
        _compiled(definition)(value)
    except fastjsonschema.JsonSchemaValueException as error:
        path = str(error.name)[len("data"):]
        raise UsageError(f"{option}{path}: {_words(error)}") from None


@cache
def _compiled(definition: str) -> Callable[[Any], Any]:
    check: Callable[[Any], Any] = fastjsonschema.compile(json.loads(definition))
    return check


def _words(error: Any) -> str:
    rule, wanted, value = error.rule, error.rule_definition, error.value
    if rule == "additionalProperties":
        known = sorted(error.definition["properties"])
        unknown = sorted(str(key) for key in value if key not in known)
        return f"unknown key {', '.join(map(repr, unknown))}; known are {', '.join(known)}"
    if rule == "required":
        return f"lacks {', '.join(repr(key) for key in wanted if key not in value)}"
    if rule == "enum":
        return f"{shown(value)} is none of {', '.join(map(str, wanted))}"
    if rule == "type":
        kinds = wanted if isinstance(wanted, list) else [wanted]
        return f"must be {' or '.join(_TYPES.get(str(kind), str(kind)) for kind in kinds)}, not {shown(value)}"
    if rule in ("minLength", "minProperties", "minItems"):
        return "may not be empty"
    return str(error.message)
