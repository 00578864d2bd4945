# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Does the metadata in the target keep to the schema: complete, of the right types, cited properly, in the right collection?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .._numbers import number
from .._records.compare import ComparedBatch
from .._records.record_batch import Metadata, RecordBatch
from .._schema.fields import COLLECTION_TYPE, Field, type_fits, value_fault
from .._schema.transformation import collection_type_of
from .check import (
    CITATIONS,
    DISTRIBUTION,
    FAILED,
    FIELD_TYPES,
    METADATA_COMPLETENESS,
    NOT_APPLICABLE,
    PASSED,
    WARNING,
    Check,
    Examples,
    percent,
)
from .subject import Subject
from .thresholds import Thresholds


class MetadataChecks:
    """Watches the metadata of the target's own records: all but those that belong to somebody else."""

    def __init__(self, has_schema: bool, thresholds: Thresholds) -> None:
        self._limits = thresholds
        self._schema = has_schema
        self._rules: dict[str, tuple[Field, ...]] = {}
        self._homes: dict[str, tuple[tuple[str, str], ...]] = {}
        self._required = _Score()
        self._types = _Score()
        self._citations = _Score()
        self._distribution = _Score()
        self._by_field: dict[str, dict[str, int]] = {"missing": {}, "type": {}, "citation": {}}
        self._records = self._complete = 0

    def observe(self, subject: Subject, source: str, batch: ComparedBatch) -> None:
        self._look(subject, batch.actual.ids, batch.actual.metadatas)

    def observe_extra(self, subject: Subject, records: RecordBatch, owned: Sequence[bool]) -> None:
        ours = [row for row, is_ours in enumerate(owned) if is_ours]
        self._look(subject, [records.ids[row] for row in ours], [records.metadatas[row] for row in ours])

    def checks(self) -> list[Check]:
        """metadata_completeness, distribution, field_types, citations."""
        return [self._completeness(), self._distribution_check(), self._field_types(), self._citation_check()]

    def _look(self, subject: Subject, ids: Sequence[str], metadatas: Sequence[Metadata | None]) -> None:
        target = subject.target
        if target not in self._rules:
            self._rules[target] = tuple((subject.fields or {}).values())
            self._homes[target] = _homes(subject)
        rules, homes = self._rules[target], self._homes[target]
        self._records += len(ids)
        if not rules:
            self._complete += len(ids)
            return
        required, types, citations = self._required, self._types, self._citations
        for record_id, metadata in zip(ids, metadatas):
            values = metadata or {}
            complete = True
            for rule in rules:
                value = values.get(rule.name)
                if rule.required:
                    required.seen += 1
                    if value is None:
                        complete = False
                        required.fault(self._by_field["missing"], rule.name, collection=target, id=record_id)
                if value is None:
                    continue
                types.seen += 1
                if not type_fits(rule, value):
                    types.fault(self._by_field["type"], rule.name, collection=target, id=record_id, value=value, expected=rule.type)
                elif rule.pattern is not None and value != "":
                    citations.seen += 1
                    if _breaks_pattern(rule, value):
                        citations.fault(self._by_field["citation"], rule.name, collection=target, id=record_id, value=value)
            self._complete += complete
            for name, home in homes:
                value = values.get(name)
                if value is not None:
                    self._distribution.seen += 1
                    if value != home:
                        self._distribution.fault({}, name, collection=target, id=record_id, value=value, expected=home)

    def _completeness(self) -> Check:
        score = self._required
        if not self._schema:
            return _without_schema(METADATA_COMPLETENESS)
        if not score.seen:
            return Check(METADATA_COMPLETENESS, NOT_APPLICABLE, None, 100.0, "%", "No record has a required field to be looked for.")
        figure = 100.0 - score.percent
        details = {"records": self._records, "complete_records": self._complete, "missing_by_field": self._by_field["missing"], "examples": score.examples.kept}
        if score.faults:
            fields = ", ".join(f"{name} {count:,}" for name, count in self._by_field["missing"].items())
            incomplete = self._records - self._complete
            summary = f"{number(incomplete, 'record')} in the target lack{'s' if incomplete == 1 else ''} required metadata ({fields})."
            return Check(METADATA_COMPLETENESS, FAILED, figure, 100.0, "%", summary, details)
        summary = f"All {number(self._records, 'record')} in the target hold every required field."
        return Check(METADATA_COMPLETENESS, PASSED, figure, 100.0, "%", summary, details)

    def _field_types(self) -> Check:
        if not self._schema:
            return _without_schema(FIELD_TYPES)
        details = {"values": self._types.seen, "mismatches_by_field": self._by_field["type"], "examples": self._types.examples.kept}
        limit = self._limits.max_type_mismatch_percent
        return _graded(FIELD_TYPES, self._types, limit, details, "value", "of the schema's type", "of another type than the schema's")

    def _citation_check(self) -> Check:
        if not self._schema:
            return _without_schema(CITATIONS)
        if not any(rule.pattern is not None for rules in self._rules.values() for rule in rules):
            return Check(CITATIONS, NOT_APPLICABLE, None, self._limits.max_invalid_citation_percent, "%", "No field of the schema has a pattern.")
        details = {"values": self._citations.seen, "invalid_by_field": self._by_field["citation"], "examples": self._citations.examples.kept}
        limit = self._limits.max_invalid_citation_percent
        return _graded(CITATIONS, self._citations, limit, details, "citation", "in the form that its field asks for", "not in the form that its field asks for")

    def _distribution_check(self) -> Check:
        if not self._schema:
            return _without_schema(DISTRIBUTION)
        if not any(self._homes.values()):
            return Check(DISTRIBUTION, NOT_APPLICABLE, None, 0.0, "%", "No target collection is named after a type that a field of the schema derives.")
        score = self._distribution
        details = {"records": score.seen, "misplaced": score.faults, "examples": score.examples.kept}
        if score.faults:
            summary = f"{number(score.faults, 'record')} of {score.seen:,} in a collection that is not that of {'its' if score.faults == 1 else 'their'} type."
            return Check(DISTRIBUTION, FAILED, score.percent, 0.0, "%", summary, details)
        return Check(DISTRIBUTION, PASSED, 0.0, 0.0, "%", f"All {number(score.seen, 'record')} in the collection of their type.", details)


class _Score:
    """Cases seen, and those among them that were wrong."""

    def __init__(self) -> None:
        self.seen = 0
        self.faults = 0
        self.examples = Examples()

    def fault(self, counts: dict[str, int], name: str, **case: Any) -> None:
        self.faults += 1
        counts[name] = counts.get(name, 0) + 1
        self.examples.add(field=name, **case)

    @property
    def percent(self) -> float:
        return percent(self.faults, self.seen)


def _homes(subject: Subject) -> tuple[tuple[str, str], ...]:
    """Fields that hold a record's type, each with the type whose records belong into this target."""
    named = ((rule, collection_type_of(rule, subject.target)) for rule in (subject.fields or {}).values() if rule.derive == COLLECTION_TYPE)
    return tuple((rule.name, home) for rule, home in named if home is not None)


def _breaks_pattern(rule: Field, value: str) -> bool:
    fault = value_fault(rule, value)
    return fault is not None and fault.code == "pattern"


def _without_schema(name: str) -> Check:
    return Check(name, NOT_APPLICABLE, None, None, "%", "No schema was given.")


def _graded(name: str, score: _Score, limit: float, details: dict[str, Any], what: str, right: str, wrong: str) -> Check:
    """Passed without a fault, a warning up to the limit, failed strictly above it."""
    if not score.faults:
        return Check(name, PASSED, 0.0, limit, "%", f"All {number(score.seen, what)} {right}." if score.seen else f"No {what} to look at.", details)
    status = FAILED if score.percent > limit else WARNING
    return Check(name, status, score.percent, limit, "%", f"{number(score.faults, what)} of {score.seen:,} {wrong} ({score.percent:.2f} %).", details)
