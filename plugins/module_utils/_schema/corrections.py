# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Corrections: metadata that a user puts right, record by record, as part of the transformation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .._errors import UsageError
from .shape import check_shape

# Source collection, then record id, then metadata key and its new value; null takes the key away.
Corrections = Mapping[str, Mapping[str, Mapping[str, Any]]]

_VALUE = {"type": ["string", "number", "boolean", "null", "array"]}
_CORRECTIONS = json.dumps({
    "type": "object",
    "additionalProperties": {"type": "object", "additionalProperties": {"type": "object", "additionalProperties": _VALUE}},
})


def parse_corrections(value: Mapping[str, Any] | None) -> Corrections:
    """The corrections that a user's mapping describes, {} for None. UsageError says where it is wrong."""
    if value is None:
        return {}
    check_shape("corrections", value, _CORRECTIONS)
    for collection, records in value.items():
        for record_id, changes in records.items():
            for name in (collection, record_id, *changes):
                if not isinstance(name, str):
                    raise UsageError(f"corrections.{collection}.{record_id}: {name!r} is no text; quote collection names, ids and keys that look like numbers")
    return value


def corrected(metadata: Mapping[str, Any] | None, changes: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of the metadata with the changes in place; a change to None takes the key away."""
    new = dict(metadata) if metadata else {}
    for key, value in changes.items():
        if value is None:
            new.pop(key, None)
        else:
            new[key] = value
    return new
