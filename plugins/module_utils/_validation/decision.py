# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Go, marginal or no go: the rules that make one decision of all checks, each reason in plain words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .._numbers import number
from .check import (
    CHECKS,
    CITATIONS,
    COUNTS,
    EMBEDDINGS,
    FAILED,
    FIELD_TYPES,
    LATENCY,
    METADATA_COMPLETENESS,
    NOT_RUN,
    RECORDS,
    SEMANTIC_EQUIVALENCE,
    SPECS,
    WARNING,
    Check,
)
from .thresholds import Thresholds

GO, MARGINAL, NO_GO = "go", "marginal", "no_go"

# A failure of these is a no-go by itself: the data is not what it should be.
DECISIVE = (COUNTS, EMBEDDINGS, RECORDS, SPECS, METADATA_COMPLETENESS)
# These fail only when a threshold is passed, which is a no-go as well.
WITH_THRESHOLD = (SEMANTIC_EQUIVALENCE, FIELD_TYPES, CITATIONS, LATENCY)
# The service is too slow, but the data is right: going back to the old state would cure nothing.
NOT_DATA = (LATENCY,)
# Up to this share of valid records the decision is marginal.
FULLY_VALID_RATIO = 0.99


@dataclass(frozen=True)
class Totals:
    """All records, counted.

    expected  valid records that the target should hold
    invalid   records of the source that the schema refuses
    lost      expected records that the target does not hold
    missing   records that the user expected (expected_counts) but that not even the source holds
    """

    expected: int
    invalid: int
    lost: int
    missing: int = 0

    @property
    def data_loss_percent(self) -> float:
        """Lost and missing records in percent of all that were expected."""
        whole = self.expected + self.missing
        return 100.0 * (self.lost + self.missing) / whole if whole else 0.0

    @property
    def valid_ratio(self) -> float:
        """Valid records of all records of the source, 0 to 1; 1 for none at all."""
        whole = self.expected + self.invalid
        return self.expected / whole if whole else 1.0


@dataclass(frozen=True)
class Decision:
    """decision: go, marginal or no_go. rollback_required: no_go because of the data. reasons: why it is not go."""

    decision: str
    rollback_required: bool
    reasons: tuple[str, ...]


def decide(checks: Sequence[Check], totals: Totals, thresholds: Thresholds) -> Decision:
    """The decision. A check that is not among `checks` counts as not run."""
    by_name = {check.name: check for check in checks}
    data = _data_reasons(by_name, totals, thresholds)
    other = [f"{name}: {check.summary}" for name in NOT_DATA for check in [by_name.get(name)] if check is not None and check.status == FAILED]
    for name in CHECKS:
        check = by_name.get(name)
        if check is None or check.status == NOT_RUN:
            other.append(f"{name}: was not run, and what was not checked is not right. {check.summary if check else ''}".rstrip())
    if data or other:
        return Decision(NO_GO, bool(data), tuple(data + other))
    doubts = _doubts(by_name, totals)
    if doubts:
        return Decision(MARGINAL, False, tuple(doubts))
    return Decision(GO, False, ())


def _data_reasons(checks: Mapping[str, Check], totals: Totals, limits: Thresholds) -> list[str]:
    reasons = []
    lost = totals.lost + totals.missing
    if totals.data_loss_percent > limits.max_data_loss_percent:
        share = f"{totals.data_loss_percent:.2f} % of the expected records"
        reasons.append(f"data loss: {share} are not in the target, more than {limits.max_data_loss_percent:g} %.")
    if lost > limits.max_lost_records:
        reasons.append(f"data loss: {number(lost, 'record')} {'is' if lost == 1 else 'are'} not in the target, more than {limits.max_lost_records:g}.")
    embeddings = checks.get(EMBEDDINGS)
    if embeddings is not None and embeddings.figure is not None and embeddings.figure > limits.max_missing_embeddings_percent:
        reasons.append(f"embeddings: {embeddings.figure:.2f} % of the vectors are missing, more than {limits.max_missing_embeddings_percent:g} %.")
    if totals.valid_ratio < limits.min_valid_ratio:
        reasons.append(f"valid records: {100 * totals.valid_ratio:.2f} %, and at least {100 * limits.min_valid_ratio:g} % are asked for.")
    for name in CHECKS:
        check = checks.get(name)
        if check is not None and check.status == FAILED and name in DECISIVE + WITH_THRESHOLD and name not in NOT_DATA:
            reasons.append(f"{name}: {check.summary}")
    return reasons


def _doubts(checks: Mapping[str, Check], totals: Totals) -> list[str]:
    doubts = []
    if totals.valid_ratio <= FULLY_VALID_RATIO:
        doubts.append(f"valid records: {100 * totals.valid_ratio:.2f} %; above {100 * FULLY_VALID_RATIO:g} % would be a go.")
    for name in CHECKS:
        check = checks.get(name)
        if check is not None and check.status in (WARNING, FAILED):
            doubts.append(f"{name}: {check.summary}")
    return doubts
