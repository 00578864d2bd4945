# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""How many records somebody says that each collection holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._errors import UsageError


def parse_expected_counts(values: Mapping[str, Any] | None) -> dict[str, int]:
    """A number for each collection; UsageError for what is no whole number of records. Digits as text are taken, as Ansible makes them."""
    counts: dict[str, int] = {}
    for name, value in (values or {}).items():
        try:
            counts[str(name)] = int(value)
        except (TypeError, ValueError, OverflowError):
            raise _no_number(name, value) from None
        if isinstance(value, bool) or counts[str(name)] < 0 or counts[str(name)] != float(value):
            raise _no_number(name, value)
    return counts


def _no_number(name: str, value: Any) -> UsageError:
    return UsageError(f"expected_counts.{name}: {value!r} is not a number of records.")
