# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The timeline of a run as text: stretches of work, estimates, the chart."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.infrafabric.chromadb.plugins.plugin_utils._timeline import PLANNED, Estimate, Phase, chart, estimate, render


def phase(name: str, *stretches: tuple[float, float], **values: Any) -> Phase:
    made = Phase(name, **values)
    for start, end in stretches:
        made.add(start, end)
    return made


@pytest.mark.parametrize(("stretches", "merged", "seconds"), [
    ([(0, 2), (5, 6)], [(0, 2), (5, 6)], 3),
    ([(0, 2), (1, 4)], [(0, 4)], 4),
    ([(0, 2), (2.5, 4)], [(0, 4)], 4),
    ([(5, 6), (0, 2)], [(0, 2), (5, 6)], 3),
    ([(0, 9), (1, 2), (3, 4)], [(0, 9)], 9),
])
def test_times_of_several_hosts_count_once(stretches: list[tuple[float, float]], merged: list[tuple[float, float]], seconds: float) -> None:
    made = phase("migrate", *stretches)
    assert (made.stretches, made.seconds) == (merged, seconds)


@pytest.mark.parametrize(("made", "recorded", "expected"), [
    (Phase("migrate"), None, Estimate(PLANNED["migrate"], False)),
    (Phase("migrate"), {"seconds": 12.0, "records": 0}, Estimate(12.0, True)),
    (Phase("migrate", records=2000), {"seconds": 12.0, "records": 1000}, Estimate(24.0, True)),
    (Phase("migrate", records=2000), {"seconds": 12.0, "records": 0}, Estimate(12.0, True)),
    (Phase("migrate"), {"seconds": 12.0, "records": 1000}, Estimate(12.0, True)),
    (Phase("migrate"), {"seconds": "many"}, Estimate(PLANNED["migrate"], False)),
    (Phase("something else"), None, None),
    (Phase("something else"), {"seconds": 3}, Estimate(3.0, True)),
])
def test_estimate(made: Phase, recorded: Any, expected: Any) -> None:
    assert estimate(made, recorded) == expected


@pytest.mark.parametrize(("stretches", "drawn"), [
    ([(0, 10)], "=========="),
    ([(0, 5)], "=====....."),
    ([(5, 10)], ".....====="),
    ([(0, 2), (8, 10)], "==......=="),
    ([(3, 3)], "...=......"),
    ([(10, 10)], ".........="),
])
def test_chart(stretches: list[tuple[float, float]], drawn: str) -> None:
    assert chart(phase("x", *stretches), 0, 10, 10) == drawn


def test_chart_of_no_time_at_all() -> None:
    assert chart(phase("x", (1, 1)), 1, 1, 4) == "=..."


def test_timeline_before_any_run_was_recorded() -> None:
    phases = [phase("migrate", (110.0, 130.0)), phase("snapshot", (100.0, 104.0)), phase("mine", (104.0, 110.0), failed=True)]
    assert render(phases, {}) == [
        "phase         estimate  actual  0 s                                 30 s",
        "snapshot  5 min 00 s *   4.0 s  =====...................................",
        "mine                 -   6.0 s  .....========...........................  FAILED",
        "migrate   1 h 00 min *    20 s  .............===========================",
        "total                -    30 s",
        "* planned; no run was recorded yet",
    ]


def test_timeline_with_the_estimates_of_the_last_run() -> None:
    recorded = {"snapshot": {"seconds": 3.5, "records": 10}, "migrate": {"seconds": 10.0, "records": 500}}
    lines = render([phase("snapshot", (0, 4)), phase("migrate", (4, 24), records=1000)], recorded)
    assert [line.split()[:5] for line in lines[1:]] == [
        ["snapshot", "3.5", "s", "4.0", "s"],
        ["migrate", "20", "s", "20", "s"],
        ["total", "24", "s", "24", "s"],
    ]
