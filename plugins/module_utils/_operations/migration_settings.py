# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""The options of a migration that are single values, judged before anything is asked of a server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .._errors import UsageError
from .._schema.plan import Shard


@dataclass(frozen=True)
class Settings:
    """What a run goes by; `until` is the deadline, in the seconds of time.monotonic()."""

    on_invalid: str
    quarantine_file: str | None
    min_valid_ratio: float
    prune: bool
    shard: Shard | None
    batch_size: int
    state_directory: str
    until: float | None


def ratio(value: float) -> float:
    """min_valid_ratio, or UsageError."""
    if not 0 <= value <= 1:
        raise UsageError(f"min_valid_ratio must lie between 0 and 1, not {value}.")
    return value


def positive(name: str, value: Any) -> Any:
    """The value of this option, which is absent or more than 0."""
    if value is not None and value <= 0:
        raise UsageError(f"{name} must be more than 0, not {value}.")
    return value


def parsed_shard(value: Mapping[str, int] | None) -> Shard | None:
    """The shard that a user's dictionary means."""
    if value is None:
        return None
    if value["count"] < 1 or not 0 <= value["index"] < value["count"]:
        raise UsageError(f"shard: index must lie between 0 and count - 1, but is {value['index']} of {value['count']}.")
    return Shard(value["index"], value["count"])
