# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""JSON of servers and files that may be hostile: how many values it may hold, and how deep they may be nested.

A value takes up to fifty times the memory of its text, and what is nested can be read and not always be written again, or returned.
"""

from __future__ import annotations

import json
from typing import Any

MAX_NESTING = 64
# At most half a gigabyte: a page has 1,000 records at most, and a listing of ids 100,000.
MAX_VALUES = 4_000_000
# Of a server that gives a collection only as a whole: about three million records with three fields each.
MAX_VALUES_OF_A_WHOLE = 40_000_000
TOO_DEEP = f"is nested more than {MAX_NESTING} levels deep"
_CONTAINERS = frozenset((dict, list))
_SEPARATORS = (b",", b"[", b"{")


class UnusableJsonError(ValueError):
    """JSON, and too much of it; the words continue a sentence that begins with what it is of."""


def is_shallow(value: Any, levels: int = MAX_NESTING) -> bool:
    """Whether decoded JSON can be copied, compared, written again and returned without running out of stack."""
    # Level by level and without a call for each value: it is asked about thousands of records at once.
    inner = [value] if type(value) in _CONTAINERS else []
    for _level in range(levels):
        if not inner:
            return True
        inner = [item for container in inner for item in (container.values() if isinstance(container, dict) else container) if type(item) in _CONTAINERS]
    return not inner


def bounded_json(content: bytes | str, values: int = MAX_VALUES, **options: Any) -> Any:
    """What `json.loads` gives of UTF-8, with its options and its errors; UnusableJsonError, and nothing was decoded, where there are more values."""
    if len(content) > values and holds_more(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"), values):
        raise UnusableJsonError(f"holds more than {values:,} values")
    # Of bytes json.loads would also read other encodings, in which other characters have a comma's byte.
    return json.loads(content.decode("utf-8", "surrogatepass") if isinstance(content, bytes) else content, **options)


def shallow_json(content: bytes | str, levels: int = MAX_NESTING, **options: Any) -> Any:
    """The same; UnusableJsonError also where it is nested too deep."""
    value = bounded_json(content, **options)
    if not is_shallow(value, levels):
        raise UnusableJsonError(f"is nested more than {levels} levels deep")
    return value


def holds_more(content: bytes, values: int) -> bool:
    """Whether JSON holds more values than that, without making one of them."""
    # Each value but the first comes after one of these characters; in a text they count for nothing.
    if len(content) <= values or _separators(content, 0, len(content)) <= values:
        return False
    # An escaped quotation mark ends no text.
    content = content.replace(b"\\\\", b"").replace(b'\\"', b"")
    found = place = 0
    while place < len(content):
        begin = content.find(b'"', place)
        begin = len(content) if begin < 0 else begin
        # A text is a value too, and what is no JSON could hold texts alone.
        found += 1 + _separators(content, place, begin)
        if found > values:
            return True
        end = content.find(b'"', begin + 1)
        place = len(content) if end < 0 else end + 1
    return False


def _separators(content: bytes, begin: int, end: int) -> int:
    return sum(content.count(separator, begin, end) for separator in _SEPARATORS)
