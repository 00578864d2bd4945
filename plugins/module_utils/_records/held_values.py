# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""What a server would refuse in a record, lose of it, or hold in another form. Known before anything is written.

Every line was measured on real servers. Some of what is refused here is worse than lost: a record without a document
whose metadata holds the number `chroma:document` ends all writing on a server of 1.x until it is restarted.
"""

from __future__ import annotations

import json
import math
from typing import Any

from .._server.capabilities import MIB, Capabilities
from .parsed_floats import IN_RECORDS, parsed
from .reasons import Reason
from .record_batch import Metadata

SMALLEST_INTEGER, LARGEST_INTEGER = -(2**63), 2**63 - 1

# The kinds of elements that a list of one type may have; a list of integers and other numbers becomes one of floats.
_LISTS = (frozenset([str]), frozenset([bool]), frozenset([int]), frozenset([float]), frozenset([int, float]))

# Texts of this length together cannot fill a request of 40 MiB even if each character is escaped to twelve.
_SURELY_SMALL = 3 * MIB
# What a request holds beside one large record: its vector, and the names of the columns.
_BESIDE = 1 * MIB

_MARKS = ("#", "$")
_CHROMA = "chroma:"
_SUSPECT = (*_MARKS, _CHROMA)


def problems(
    record_id: str, document: str | None, metadata: Metadata | None, capabilities: Capabilities, uri: str | None = None
) -> tuple[Reason, ...]:
    """Why the server could not hold this record as it is, changes by `canonical_metadata` apart; () if it can."""
    found: list[Reason] = []
    if not record_id:
        if not capabilities.empty_ids:
            found.append(Reason("id", "empty_id", "is empty, which the target refuses"))
    elif not _is_unicode(record_id):
        found.append(Reason("id", "not_unicode", "holds half of a character (a lone surrogate)"))
    if document is None:
        if not capabilities.null_records:
            found.append(Reason("document", "null_record", "is null, which the target refuses"))
    elif not _is_unicode(document):
        found.append(Reason("document", "not_unicode", "holds half of a character (a lone surrogate)"))
    if uri is not None:
        if not capabilities.uris:
            found.append(Reason("uri", "unknown_uri", "the target knows no uris and would lose it"))
        elif not _is_unicode(uri):
            found.append(Reason("uri", "not_unicode", "holds half of a character (a lone surrogate)"))
    length = len(record_id) + len(document or "") + len(uri or "")
    if metadata:
        for key, value in metadata.items():
            if not key or key.startswith(_SUSPECT) or not key.isascii():
                fault = _key_fault(key, capabilities)
                if fault is not None:
                    found.append(fault)
            kind = type(value)
            if kind is str:
                length += len(value)
                if value.isascii():
                    continue
            elif kind is bool or (kind is int and SMALLEST_INTEGER <= value <= LARGEST_INTEGER) or (kind is float and value - value == 0.0):
                continue
            fault = _value_fault(key, value, capabilities)
            if fault is not None:
                found.append(fault)
    elif metadata is None and not capabilities.null_records:
        found.append(Reason("metadata", "null_record", "is null, which the target refuses"))
    limit = capabilities.max_body
    if limit is not None and length > _SURELY_SMALL and len(json.dumps([record_id, document, metadata, uri])) + _BESIDE > limit:
        found.append(Reason("record", "too_large", f"does not fit into a request, which the target limits to {limit // MIB} MiB"))
    return tuple(found)


def canonical_metadata(metadata: Metadata | None, capabilities: Capabilities) -> Metadata | None:
    """The form in which the server holds this metadata: the same object where that makes no difference.

    -0.0 becomes 0.0, {} becomes None, a list that mixes integers with other numbers becomes one of floats, and from 1.0 on
    some numbers of 16 and 17 digits change in the last place.
    """
    if not metadata:
        return metadata if capabilities.empty_metadata else None
    changed: Metadata = {}
    for key, value in metadata.items():
        if isinstance(value, float):
            if value == 0.0:
                if not capabilities.negative_zero and math.copysign(1.0, value) < 0:
                    changed[key] = 0.0
            elif not capabilities.exact_floats:
                held = parsed(value, IN_RECORDS)
                if held != value:
                    changed[key] = held
        elif isinstance(value, list) and not capabilities.nested_values:
            canonical = _canonical_list(value, capabilities.exact_floats)
            if canonical is not value:
                changed[key] = canonical
    return {**metadata, **changed} if changed else metadata


def _canonical_list(values: list[Any], exact: bool) -> list[Any]:
    kinds = set(map(type, values))
    if kinds not in ({float}, {int, float}) or not all(map(_is_exact_float, values)):
        return values
    held = [float(value) + 0.0 for value in values]  # -0.0 + 0.0 is 0.0
    if not exact:
        held = [parsed(value, IN_RECORDS) for value in held]
    return held if int in kinds or 0.0 in values or held != values else values


def _is_exact_float(value: float) -> bool:
    return isinstance(value, float) or (SMALLEST_INTEGER <= value <= LARGEST_INTEGER and int(float(value)) == value)


def _key_fault(key: str, capabilities: Capabilities) -> Reason | None:
    if not _is_unicode(key):
        return Reason(repr(key), "not_unicode", "the key holds half of a character (a lone surrogate)")
    if not capabilities.marked_keys and (not key or key.startswith(_MARKS)):
        return Reason(key or "''", "refused_key", "a key that is empty or starts with '#' or '$' is refused by the target")
    if not capabilities.chroma_keys and key.startswith(_CHROMA):
        return Reason(key, "reserved_key", f"the target reserves keys that start with '{_CHROMA}' and would hide or misread it")
    return None


def _value_fault(key: str, value: Any, capabilities: Capabilities) -> Reason | None:
    if value is None:
        return None if capabilities.null_values else Reason(key, "null_value", "is null, which the target does not keep")
    if isinstance(value, dict) and not capabilities.nested_values:
        return Reason(key, "nested_value", "is a mapping, which the target does not keep")
    if isinstance(value, list) and not capabilities.nested_values:
        return _list_fault(key, value, capabilities)
    return _content_fault(key, value, capabilities)


def _list_fault(key: str, values: list[Any], capabilities: Capabilities) -> Reason | None:
    if not capabilities.list_values:
        return Reason(key, "list_value", "is a list, which the target does not keep")
    if not values:
        return Reason(key, "empty_list", "is an empty list, which the target does not keep")
    kinds = frozenset(map(type, values))
    if kinds not in _LISTS:
        return Reason(key, "mixed_list", "is a list of different or nested types, which the target refuses")
    fault = next(filter(None, (_content_fault(key, value, capabilities) for value in values)), None)
    if fault is None and len(kinds) > 1 and not all(map(_is_exact_float, values)):
        return Reason(key, "mixed_list", "mixes integers with other numbers, and the target would round one of the integers")
    return fault


def _content_fault(key: str, value: Any, capabilities: Capabilities) -> Reason | None:
    """What is wrong with a value, or with what is inside of it."""
    if isinstance(value, str):
        return None if _is_unicode(value) else Reason(key, "not_unicode", "holds half of a character (a lone surrogate)")
    if isinstance(value, int):
        if not capabilities.huge_integers and not SMALLEST_INTEGER <= value <= LARGEST_INTEGER:
            return Reason(key, "huge_integer", "is an integer beyond 64 bits, which the target does not keep")
    elif isinstance(value, float):
        if not math.isfinite(value):
            return Reason(key, "not_finite", f"is {value}, which no server can give back")
    elif isinstance(value, (list, dict)):
        inner = value if isinstance(value, list) else [*value, *value.values()]
        return next(filter(None, (_content_fault(key, element, capabilities) for element in inner)), None)
    return None


def _is_unicode(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
