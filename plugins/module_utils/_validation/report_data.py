# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""The report as plain data: what the JSON file holds, and what every other form of the report is made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._schema.transformation import Invalid
from .census import Census
from .check import EMBEDDINGS, LATENCY, LONGEST_ID, RECORDS, SEMANTIC_EQUIVALENCE, Check, shortened
from .checks_counts import SourceFigures, TargetFigures
from .decision import Decision, Totals
from .thresholds import Thresholds

FORMAT, FORMAT_VERSION = "infrafabric.chromadb/validation-report", 1


@dataclass(frozen=True)
class Step:
    """A step of the run: when it began, in seconds since the start, and how long it took."""

    name: str
    start: float
    seconds: float


@dataclass(frozen=True)
class ReportData:
    """Everything that a report tells."""

    created: str
    source: str
    target: str
    versions: tuple[str, str]
    decision: Decision
    checks: tuple[Check, ...]
    totals: Totals
    thresholds: Thresholds
    divergence_percent: float | None
    census: Census
    sources: tuple[SourceFigures, ...]
    targets: tuple[TargetFigures, ...]
    fed_by: Mapping[str, Mapping[str, int]]
    invalid_sample: tuple[Invalid, ...] = ()
    sample: Mapping[str, Any] | None = None
    timeline: tuple[Step, ...] = ()
    warnings: tuple[str, ...] = ()


def build_report(data: ReportData, troubleshooting: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The report as docs/report.md describes it: only dicts, lists, texts, numbers, true, false and null."""
    checks = {check.name: check for check in data.checks}
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "created": data.created,
        "source": {"database": data.source, "version": data.versions[0]},
        "target": {"database": data.target, "version": data.versions[1]},
        "decision": data.decision.decision,
        "rollback_required": data.decision.rollback_required,
        "reasons": list(data.decision.reasons),
        "totals": {
            "expected": data.totals.expected,
            "invalid": data.totals.invalid,
            "lost": data.totals.lost,
            "missing": data.totals.missing,
            "unchanged": data.census.total("unchanged"),
            "changed": data.census.total("changed"),
            "extra": data.census.total("extra"),
            "foreign": data.census.total("foreign"),
            "valid_ratio": data.totals.valid_ratio,
        },
        "data_loss_percent": data.totals.data_loss_percent,
        "divergence_percent": data.divergence_percent,
        "thresholds": data.thresholds.as_dict(),
        "checks": [check.as_dict() for check in data.checks],
        "source_collections": [_source(figures, data) for figures in data.sources],
        "target_collections": [_target(figures, data) for figures in data.targets],
        "invalid": [
            {"collection": fault.source_collection, "id": shortened(fault.id, LONGEST_ID), "reasons": [shortened(str(reason)) for reason in fault.reasons]}
            for fault in data.invalid_sample
        ],
        "queries": _details(checks, SEMANTIC_EQUIVALENCE, "queries", []),
        "vector_errors": _details(checks, EMBEDDINGS, "error_classes", []),
        "latency_ms": _details(checks, LATENCY, "samples_ms", []),
        "comparison_rules": {row["collection"]: row["rule"] for row in _details(checks, RECORDS, "collections", [])},
        "sample": None if data.sample is None else dict(data.sample),
        "timeline": [{"name": step.name, "start": round(step.start, 3), "seconds": round(step.seconds, 3)} for step in data.timeline],
        "warnings": list(data.warnings),
        "troubleshooting": [dict(entry) for entry in troubleshooting],
    }


def _details(checks: Mapping[str, Check], name: str, key: str, otherwise: Any) -> Any:
    check = checks.get(name)
    return otherwise if check is None else check.details.get(key, otherwise)


def _source(figures: SourceFigures, data: ReportData) -> dict[str, Any]:
    found = data.census.sources.get(figures.name, [0, 0])[1]
    targets = sorted(target for target, feeding in data.fed_by.items() if feeding.get(figures.name))
    return {
        "name": figures.name,
        "count": figures.count,
        "valid": figures.count - figures.invalid,
        "invalid": figures.invalid,
        "found_in_target": found if data.sample is None else None,
        "targets": targets,
    }


def _target(figures: TargetFigures, data: ReportData) -> dict[str, Any]:
    tally = data.census.tallies[figures.name]
    return {
        "name": figures.name,
        "count": figures.count,
        "expected": tally.expected,
        "unchanged": tally.unchanged,
        "changed": tally.changed,
        "lost": tally.lost,
        "extra": tally.extra,
        "foreign": tally.foreign,
        "sources": sorted(data.fed_by.get(figures.name, {})),
    }
