# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Is every record what it should be: id, document, uri, typed metadata and vector?"""

from __future__ import annotations

import math
from typing import Any

from .._numbers import number
from .census import Census
from .check import FAILED, NOT_APPLICABLE, NOT_RUN, PASSED, RECORDS, WARNING, Check

RULES = {
    "l2": "vectors bit for bit",
    "ip": "vectors bit for bit",
    "cosine": "vectors within a relative 1e-6 of their length, because Chroma changes the last bits of cosine vectors",
}

EXAMPLES_OF_A_KIND = 5
# A smaller sample leaves more than one record in ten unproved.
LEAST_SAMPLE = 30


def check_records(census: Census, sampled: dict[str, Any] | None = None) -> Check:
    """The comparison record by record; a single one that differs fails. The figure is the number that differ."""
    collections = []
    for target, tally in census.tallies.items():
        collections.append(
            {
                "collection": target,
                "rule": RULES.get(tally.subject.space, RULES["l2"]),
                "unchanged": tally.unchanged,
                "changed": tally.changed,
                "lost": tally.lost,
                "extra": tally.extra,
                "foreign": tally.foreign,
                "refused": tally.refused,
                "changed_fields": dict(tally.fields),
            }
        )
    details: dict[str, Any] = {
        "collections": collections,
        "changed": census.changed.kept,
        "lost": census.lost.kept,
        "extra": census.extra.kept,
        "foreign": census.foreign.kept,
        "refused": census.refused.kept,
        "examples": [
            {"difference": what, **case}
            for what in ("lost", "changed", "extra", "foreign", "refused")
            for case in _of_each_collection(getattr(census, what).kept)
        ],
    }
    if sampled is not None:
        details["sample"] = sampled
    late = census.total("late")
    if late:
        details["late"] = late
    compared = census.total("unchanged") + census.total("changed") + census.total("lost")
    differing = census.total("differing")
    if differing:
        kinds = [
            (census.total("changed"), "changed" + _where(census)),
            (census.total("lost"), "lost"),
            (census.total("extra"), "in the target that the source does not have"),
        ]
        words = ", ".join(f"{count:,} {what}" for count, what in kinds if count)
        summary = f"{number(differing, 'record')} differ{'s' if differing == 1 else ''}: {words}."
        return Check(RECORDS, FAILED, float(differing), 0.0, "records", summary, details)
    if late > compared:
        summary = f"{number(late, 'record')} were written since the last pass of the migration, and only {compared:,} could be judged. Migrate again first."
        return Check(RECORDS, NOT_RUN, float(late), None, "records", summary, details)
    foreign = census.total("foreign")
    if not compared and not foreign and not census.total("refused"):
        return Check(RECORDS, NOT_APPLICABLE, 0.0, 0.0, "records", "There are no records to compare.", details)
    summary = f"All {number(compared, 'compared record')} equal: ids, documents, uris, typed metadata and vectors."
    if late:
        summary += f" {number(late, 'record')} written since the last pass were not judged."
    doubts = []
    if foreign:
        doubts.append(f"{number(foreign, 'record')} in the target belong to somebody else.")
    refused = census.total("refused")
    if refused:
        are = "is" if refused == 1 else "are"
        doubts.append(f"{number(refused, 'record')} in the target {are} invalid in the source now, so that nothing proves what is there.")
    if sampled is not None and compared < LEAST_SAMPLE and sampled["size"] < sampled["of"]:
        words = f"as many as {sampled['may_differ_percent']:.0f} % of {sampled['of']:,} may differ."
        doubts.append(f"A sample of {number(compared, 'record')} proves little: {words}")
    if doubts:
        return Check(RECORDS, WARNING, 0.0, 0.0, "records", f"{summary} {' '.join(doubts)}", details)
    return Check(RECORDS, PASSED, 0.0, 0.0, "records", summary, details)


def _of_each_collection(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first few of a kind, and the first of each further collection."""
    met: set[object] = set()
    shown = []
    for place, case in enumerate(cases):
        if place < EXAMPLES_OF_A_KIND or case["collection"] not in met:
            shown.append(case)
        met.add(case["collection"])
    return shown


def _where(census: Census) -> str:
    fields: dict[str, int] = {}
    for tally in census.tallies.values():
        for name, count in tally.fields.items():
            fields[name] = fields.get(name, 0) + count
    return f" ({', '.join(f'{name} {count:,}' for name, count in fields.items())})" if fields else ""


def confidence_bound(compared: int, differing: int) -> float:
    """The share of differing records, in percent, that a random sample leaves possible with 95 % confidence.

    None found among n: the rule of three, 3 / n. Some found: the upper end of the Wilson interval.
    """
    if compared == 0:
        return 100.0
    if differing == 0:
        return min(100.0, 300.0 / compared)
    z = 1.6448536269514722  # one-sided 95 %
    share = differing / compared
    middle = share + z * z / (2 * compared)
    spread = z * math.sqrt(share * (1 - share) / compared + z * z / (4 * compared * compared))
    return min(100.0, 100.0 * (middle + spread) / (1 + z * z / compared))
