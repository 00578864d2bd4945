# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Are there as many records as there should be, collection by collection, and is none there twice?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._numbers import number
from .census import Census
from .check import COUNTS, DUPLICATES, FAILED, NOT_RUN, PASSED, WARNING, Check, Examples

NAMED_FAULTS = 3


@dataclass(frozen=True)
class SourceFigures:
    """A source collection: what its server counts, how many of its records the schema refuses, how many are newer than the last pass."""

    name: str
    count: int
    invalid: int = 0
    late: int = 0


@dataclass(frozen=True)
class TargetFigures:
    """A target collection: what its server counts (None: it is not there), and how many different ids it lists."""

    name: str
    count: int | None
    distinct: int


def check_counts(
    census: Census,
    sources: Sequence[SourceFigures],
    targets: Sequence[TargetFigures],
    expected_counts: Mapping[str, int] | None = None,
    growing: bool = False,
) -> Check:
    """Hold every count against the one that it must equal. The figure is the number of records too few or too many.

    growing  the source is in use: the user's expected counts are the least that there must be
    """
    off = 0
    faults: list[str] = []
    source_rows: list[dict[str, Any]] = []
    for source in sources:
        expected, found = census.sources.get(source.name, [0, 0])
        valid = source.count - source.invalid - source.late
        row = {"collection": source.name, "count": source.count, "invalid": source.invalid, "expected_in_target": valid, "found_in_target": found}
        source_rows.append({**row, "late": source.late} if source.late else row)
        if found != valid:
            faults.append(f"of source collection {source.name}, the target should hold {number(valid, 'record')} and holds {found:,}")
        if expected != valid:
            read = expected + source.invalid + source.late
            faults.append(f"source collection {source.name} counts {number(source.count, 'record')} but {read:,} could be read")
            off += abs(valid - expected)
    target_rows: list[dict[str, Any]] = []
    foreign = 0
    for target in targets:
        tally = census.tallies[target.name]
        foreign += tally.foreign
        others = tally.foreign + tally.spared
        target_rows.append({"collection": target.name, "count": target.count, "expected": tally.expected, "foreign": tally.foreign, "spared": tally.spared})
        if target.count is None:
            faults.append(f"collection {target.name} is not in the target")
            off += tally.expected
        elif target.count - others != tally.expected:
            faults.append(f"collection {target.name} should hold {number(tally.expected, 'record')} and holds {target.count - others:,}")
            off += abs(target.count - others - tally.expected)
    shortfalls = expected_shortfalls(expected_counts, sources, targets, growing)
    for name, (wanted, found) in shortfalls.items():
        faults.append(f"collection {name} was expected to hold {number(wanted, 'record')} and holds {found:,}")
        off += abs(wanted - found)
    details = {"sources": source_rows, "targets": target_rows, "expected_counts": dict(expected_counts or {}), "faults": faults}
    if faults:
        return Check(COUNTS, FAILED, float(off), 0.0, "records", _sentence(faults), details)
    if not sources and not targets:
        return Check(COUNTS, NOT_RUN, None, 0.0, "records", "There is no collection to compare, so nothing is proved.", details)
    total = sum(tally.expected for tally in census.tallies.values())
    summary = f"All counts agree: {number(len(sources), 'source collection')}, {number(len(targets), 'target collection')}, {number(total, 'record')}."
    if foreign:
        return Check(COUNTS, WARNING, 0.0, 0.0, "records", f"{summary} The target also holds {number(foreign, 'record')} of somebody else.", details)
    return Check(COUNTS, PASSED, 0.0, 0.0, "records", summary, details)


def check_counts_of_sample(
    sources: Sequence[SourceFigures],
    targets: Sequence[TargetFigures],
    one_to_one: bool,
    invalid_seen: bool,
    expected_counts: Mapping[str, int] | None = None,
    growing: bool = False,
) -> Check:
    """The counts when only a sample of the records was looked at: of every collection when they are copied one to one, else of all together."""
    faults: list[str] = []
    off = 0
    held = {target.name: target.count for target in targets}
    for name, count in held.items():
        if count is None:
            faults.append(f"collection {name} is not in the target")
    pairs = [(f"collection {source.name}", source.count, held.get(source.name) or 0) for source in sources] if one_to_one else []
    if not one_to_one:
        pairs = [("all collections together", sum(source.count for source in sources), sum(target.count or 0 for target in targets))]
    surplus = 0
    for what, wanted, found in pairs:
        if found < wanted and not invalid_seen:
            faults.append(f"the target should hold {number(wanted, 'record')} ({what}) and holds {found:,}")
        surplus += max(0, found - wanted)
        off += abs(found - wanted)
    for name, (wanted, found) in expected_shortfalls(expected_counts, sources, targets, growing).items():
        faults.append(f"collection {name} was expected to hold {number(wanted, 'record')} and holds {found:,}")
        off += abs(wanted - found)
    details = {
        "sources": [{"collection": source.name, "count": source.count} for source in sources],
        "targets": [{"collection": target.name, "count": target.count} for target in targets],
        "expected_counts": dict(expected_counts or {}),
        "faults": faults,
    }
    if faults:
        return Check(COUNTS, FAILED, float(off), 0.0, "records", _sentence(faults), details)
    if not sources:
        return Check(COUNTS, NOT_RUN, None, 0.0, "records", "There is no collection to compare, so nothing is proved.", details)
    if surplus or off:
        summary = f"The totals of source and target are {number(off, 'record')} apart; a sample cannot tell whether rightly."
        return Check(COUNTS, WARNING, float(off), 0.0, "records", summary, details)
    return Check(COUNTS, PASSED, 0.0, 0.0, "records", f"The counts agree: {number(sum(source.count for source in sources), 'record')}.", details)


def expected_shortfalls(
    expected_counts: Mapping[str, int] | None, sources: Sequence[SourceFigures], targets: Sequence[TargetFigures], growing: bool = False
) -> dict[str, tuple[int, int]]:
    """Of the counts that the user expects, those that are not met: name to (expected, found).

    The name of a source collection is held against the source, any other against the target; one that is nowhere holds nothing.
    With `growing`, more than expected is no shortfall.
    """
    held = {target.name: target.count or 0 for target in targets}
    held.update((source.name, source.count) for source in sources)
    found = {name: (wanted, held.get(name, 0)) for name, wanted in (expected_counts or {}).items()}
    return {name: (wanted, count) for name, (wanted, count) in found.items() if count != wanted and not (growing and count > wanted)}


def check_duplicates(targets: Sequence[TargetFigures]) -> Check:
    """Is any id in a target collection more than once? The figure is the number of surplus records."""
    examples = Examples()
    surplus = 0
    for target in targets:
        twice = (target.count or 0) - target.distinct
        if twice > 0:
            surplus += twice
            examples.add(collection=target.name, surplus=twice)
    details = {"examples": examples.kept}
    if surplus:
        where = ", ".join(str(case["collection"]) for case in examples.kept)
        summary = f"{number(surplus, 'record')} stored under an id that is there already, in {where}."
        return Check(DUPLICATES, FAILED, float(surplus), 0.0, "records", summary, details)
    return Check(DUPLICATES, PASSED, 0.0, 0.0, "records", "Every id is in its collection once.", details)


def _sentence(faults: Sequence[str]) -> str:
    """The first few faults as sentences."""
    words = [f"{fault[:1].upper()}{fault[1:]}." for fault in faults[:NAMED_FAULTS]]
    if len(faults) > NAMED_FAULTS:
        words.append(f"{number(len(faults) - NAMED_FAULTS, 'more fault')}.")
    return " ".join(words)
