# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""How deep what is read from servers and files may be nested: JSON that can be read cannot always be written again, or returned."""

from __future__ import annotations

import json
from typing import Any

MAX_NESTING = 64
TOO_DEEP = f"is nested more than {MAX_NESTING} levels deep"
_CONTAINERS = frozenset((dict, list))


class TooDeepError(ValueError):
    """Decoded, and of no use."""


def is_shallow(value: Any, levels: int = MAX_NESTING) -> bool:
    """Whether decoded JSON can be copied, compared, written again and returned without running out of stack."""
    # Level by level and without a call for each value: it is asked about thousands of records at once.
    inner = [value] if type(value) in _CONTAINERS else []
    for _level in range(levels):
        if not inner:
            return True
        inner = [item for container in inner for item in (container.values() if isinstance(container, dict) else container) if type(item) in _CONTAINERS]
    return not inner


def shallow_json(content: bytes | str, levels: int = MAX_NESTING, **options: Any) -> Any:
    """What `json.loads` gives, with its options and its errors; TooDeepError where it is nested too deep."""
    value = json.loads(content, **options)
    if not is_shallow(value, levels):
        raise TooDeepError(f"it is nested more than {levels} levels deep")
    return value
