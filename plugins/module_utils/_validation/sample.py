# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""A sample of the records: what a quick look at a large database looks at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .._errors import UsageError
from .._schema.plan import MigrationPlan
from .searches import sample_ids


@dataclass(frozen=True)
class Sample:
    """How many records are looked at, and the seed that chooses them."""

    size: int
    seed: int


def choose_records(plan: MigrationPlan, sample: Sample) -> dict[str, list[str]]:
    """A random sample of all records: source collection → ids."""
    pairs = ((record_id, source.name) for source in plan.sources for page in source.id_pages() for record_id in page)
    names: dict[str, list[str]] = {}
    for key in sample_ids((f"{name}\0{record_id}" for record_id, name in pairs), sample.size, sample.seed):
        name, record_id = key.split("\0", 1)
        names.setdefault(name, []).append(record_id)
    return names


def parse_sample(value: Mapping[str, Any] | None) -> Sample | None:
    """None: all records are looked at."""
    if value is None or value.get("size") is None:
        return None
    size = value["size"]
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise UsageError(f"sample.size: must be a whole number of 1 or more, not {size!r}; leave sample out to look at all records.")
    return Sample(size, int(value.get("seed") or 0))
