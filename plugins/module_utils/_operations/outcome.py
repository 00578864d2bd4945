# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""What every operation is given beside its options, and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .._progress import Progress


@dataclass(frozen=True)
class Context:
    """How an operation is run: in check mode it does everything but the writes."""

    check_mode: bool = False
    progress: Progress = field(default_factory=Progress)


@dataclass
class Outcome:
    """The result of an operation.

    changed   whether the database or the store is (in check mode: would be) another one
    returns   what the module returns beside `changed` and `seconds`, as documented in its RETURN
    diff      Ansible's diff: dicts of `before`, `after` and their headers
    warnings  sentences for the person who runs it
    """

    changed: bool
    seconds: float
    returns: dict[str, Any]
    diff: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
