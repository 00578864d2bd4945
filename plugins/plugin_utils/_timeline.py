# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""The phases of a run: how long each took, how long it should have taken, and a chart of both in text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.infrafabric.chromadb.plugins.plugin_utils._progress_lines import duration

# What the runbook plans for, in seconds, until a run was recorded. The plan is for about ten thousand records.
PLANNED = {
    "precheck": 90 * 60.0,
    "snapshot": 5 * 60.0,
    "migrate": 60 * 60.0,
    "validate": 10 * 60.0,
    "decide": 5 * 60.0,
    "freeze": 5 * 60.0,
    "cutover": 10 * 60.0,
    "watch": 60 * 60.0,
    "monitor": 60 * 60.0,
    "rollback": 10 * 60.0,
}
SAME_STRETCH_SECONDS = 1.0  # two tasks of a phase with less between them are one stretch of work
CHART_WIDTH = 40


@dataclass
class Phase:
    """One phase. `stretches` are pairs of a start and an end, in seconds since any moment that all phases share.

    A phase is `idle` when its last module found nothing to do.
    """

    name: str
    stretches: list[tuple[float, float]] = field(default_factory=list)
    records: int = 0
    failed: bool = False
    idle: bool = False

    def add(self, start: float, end: float) -> None:
        """Add the time of one task on one host; times that overlap or nearly touch count once."""
        merged: list[tuple[float, float]] = []
        for stretch in sorted([*self.stretches, (start, end)]):
            if merged and stretch[0] - merged[-1][1] <= SAME_STRETCH_SECONDS:
                merged[-1] = (merged[-1][0], max(merged[-1][1], stretch[1]))
            else:
                merged.append(stretch)
        self.stretches = merged

    @property
    def seconds(self) -> float:
        return sum(end - start for start, end in self.stretches)


@dataclass(frozen=True)
class Estimate:
    """How many seconds a phase should take, and whether that comes from an earlier run (or else from the plan)."""

    seconds: float
    recorded: bool


def estimate(phase: Phase, recorded: Any) -> Estimate | None:
    """The time of the recorded run, at its rate where both runs counted their records; else what is planned, if anything is."""
    if isinstance(recorded, Mapping) and isinstance(recorded.get("seconds"), (int, float)):
        seconds, records = float(recorded["seconds"]), recorded.get("records")
        if records and phase.records:
            seconds *= phase.records / float(records)
        return Estimate(seconds, True)
    if phase.name in PLANNED:
        return Estimate(PLANNED[phase.name], False)
    return None


def render(phases: list[Phase], recorded: Mapping[str, Any]) -> list[str]:
    """The timeline as lines of text, in the order in which the phases began. Only phases with stretches are given."""
    phases = sorted(phases, key=lambda phase: phase.stretches[0])
    begin = phases[0].stretches[0][0]
    end = max(phase.stretches[-1][1] for phase in phases)
    estimates = [estimate(phase, recorded.get(phase.name)) for phase in phases]
    rows = [("phase", "estimate", "actual", "0 s".ljust(CHART_WIDTH - len(duration(end - begin))) + duration(end - begin))]
    for phase, expected in zip(phases, estimates):
        planned = "-" if expected is None else duration(expected.seconds) + ("" if expected.recorded else " *")
        rows.append((phase.name, planned, duration(phase.seconds), chart(phase, begin, end) + ("  FAILED" if phase.failed else "")))
    total = duration(sum(expected.seconds for expected in estimates if expected)) if all(estimates) else "-"
    rows.append(("total", total, duration(end - begin), ""))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [f"{name:{widths[0]}}  {planned:>{widths[1]}}  {actual:>{widths[2]}}  {bars}".rstrip() for name, planned, actual, bars in rows]
    if any(expected and not expected.recorded for expected in estimates):
        lines.append("* planned; no run was recorded yet")
    return lines


def chart(phase: Phase, begin: float, end: float, width: int = CHART_WIDTH) -> str:
    """A phase as a bar between dots, each stretch at least one character long."""
    scale = width / max(end - begin, 0.001)
    cells = ["."] * width
    for start, stop in phase.stretches:
        first = min(int((start - begin) * scale), width - 1)
        last = max(first + 1, round((stop - begin) * scale))
        cells[first:last] = "=" * len(cells[first:last])
    return "".join(cells)
