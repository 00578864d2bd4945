# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""What a validation allows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from .._errors import UsageError


@dataclass(frozen=True)
class Thresholds:
    """Limits of a validation. A figure equal to its limit is still allowed.

    min_valid_ratio                 valid records / all records of the source, 0 to 1
    max_data_loss_percent           lost records / expected records
    max_lost_records                the same as a number
    max_missing_embeddings_percent  records that lost their vector / expected records
    warn_divergence_percent         average divergence of the searches that is still no warning
    max_divergence_percent          average divergence of the searches
    max_query_divergence_percent    divergence of any single search
    max_latency_ms                  95th percentile of the search latency
    min_queries_per_second          searches per second of one client
    max_mean_difference             greatest difference of the mean vectors in any dimension
    max_type_mismatch_percent       values of a wrong type / values that the schema types
    max_invalid_citation_percent    values that break their pattern / values that are not empty
    """

    min_valid_ratio: float = 0.95
    max_data_loss_percent: float = 5.0
    max_lost_records: float = 100
    max_missing_embeddings_percent: float = 5.0
    warn_divergence_percent: float = 10.0
    max_divergence_percent: float = 20.0
    max_query_divergence_percent: float = 30.0
    max_latency_ms: float = 500.0
    min_queries_per_second: float = 10.0
    max_mean_difference: float = 0.01
    max_type_mismatch_percent: float = 5.0
    max_invalid_citation_percent: float = 10.0

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


def parse_thresholds(values: Mapping[str, Any] | None) -> Thresholds:
    """The given limits over the usual ones; UsageError for an unknown name or a value that is no limit."""
    known = [entry.name for entry in fields(Thresholds)]
    given: dict[str, float] = {}
    for name, value in (values or {}).items():
        if name not in known:
            raise UsageError(f"thresholds: {name!r} is unknown; known are {', '.join(known)}")
        if value is None:
            continue
        try:
            limit = float(value)
        except (TypeError, ValueError):
            raise UsageError(f"thresholds.{name}: {value!r} is not a number") from None
        if isinstance(value, bool) or not math.isfinite(limit) or limit < 0:
            raise UsageError(f"thresholds.{name}: {value!r} must be a number of 0 or more")
        if name == "min_valid_ratio" and limit > 1:
            raise UsageError(f"thresholds.{name}: {value!r} must lie between 0 and 1 (0.95 means 95 %)")
        given[name] = limit
    limits = Thresholds(**given)
    if limits.warn_divergence_percent > limits.max_divergence_percent:
        raise UsageError("thresholds: warn_divergence_percent is above max_divergence_percent; lower the one or raise the other")
    return limits
