# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""One check of a validation: what it measured, what was allowed, and the verdict in plain words."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

PASSED, WARNING, FAILED, NOT_RUN, NOT_APPLICABLE = "passed", "warning", "failed", "not_run", "not_applicable"

COUNTS, EMBEDDINGS, METADATA_COMPLETENESS = "counts", "embeddings", "metadata_completeness"
SEMANTIC_EQUIVALENCE, DISTRIBUTION, DUPLICATES = "semantic_equivalence", "distribution", "duplicates"
FIELD_TYPES, CITATIONS, RECORDS, SPECS, LATENCY = "field_types", "citations", "records", "specs", "latency"
# Every validation answers each of these, in this order.
CHECKS = (
    COUNTS,
    EMBEDDINGS,
    METADATA_COMPLETENESS,
    SEMANTIC_EQUIVALENCE,
    DISTRIBUTION,
    DUPLICATES,
    FIELD_TYPES,
    CITATIONS,
    RECORDS,
    SPECS,
    LATENCY,
)

EXAMPLES = 10
OF_EACH_COLLECTION, MOST_EXAMPLES = 3, 200
LONGEST_TEXT = 500
# What names a record is kept whole, so that the record can be asked for; pages for people show the beginning and the length.
LONGEST_ID = 100_000


@dataclass(frozen=True)
class Check:
    """The outcome of one check.

    figure     what was measured, None where nothing was
    threshold  the figure that is still allowed, None where the check is not about a figure
    unit       of both: "records", "%", "ms" ...
    summary    one or two sentences for people
    details    plain values for programs; `examples` holds a few cases by id
    """

    name: str
    status: str
    figure: float | None
    threshold: float | None
    unit: str
    summary: str
    details: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        details = {"summary": self.summary, "unit": self.unit}
        details.update(self.details)
        return {"name": self.name, "status": self.status, "figure": self.figure, "threshold": self.threshold, "details": details}


class Examples:
    """The first few cases of something that may happen a million times."""

    def __init__(self, limit: int = EXAMPLES) -> None:
        self.total = 0
        self._limit = limit
        self._of_each: Counter[str] = Counter()
        self._kept: list[dict[str, Any]] = []

    def add(self, **case: Any) -> None:
        self.total += 1
        # The first few, and a few of each further collection, so that none is unheard of.
        own = str(case.get("collection"))
        self._of_each[own] += 1
        if len(self._kept) < self._limit or (self._of_each[own] <= OF_EACH_COLLECTION and len(self._kept) < MOST_EXAMPLES):
            self._kept.append({key: shortened(value, LONGEST_ID if key == "id" else LONGEST_TEXT) for key, value in case.items()})

    @property
    def kept(self) -> list[dict[str, Any]]:
        return list(self._kept)


def shortened(value: Any, longest: int = LONGEST_TEXT) -> Any:
    """A text as it is, unless it is very long; other plain values as they are, anything else as text."""
    if isinstance(value, str):
        return value if len(value) <= longest else f"{value[:longest]}... ({len(value)} characters)"
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        # NaN and infinity are no JSON.
        return value if math.isfinite(value) else repr(value)
    if isinstance(value, (list, tuple)) and len(value) <= EXAMPLES:
        return [shortened(item) for item in value]
    return shortened(repr(value))


def percent(part: float, whole: float) -> float:
    """Part of the whole in percent; nothing of nothing is 0."""
    return 100.0 * part / whole if whole else 0.0


def mean(values: Sequence[float | None]) -> float | None:
    """The average of those that are known; None where none is."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
