# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lines of progress: when one is written, and what it says."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.infrafabric.chromadb.plugins.plugin_utils._progress_lines import ProgressLines, drawn, duration


class Console:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.now = 0.0
        self.progress = ProgressLines("h1", self.lines.append, lambda: self.now)

    def show(self, done: int, total: Any = 1000, phase: str = "import", at: float = 0.0) -> int:
        """How many lines this wrote."""
        before, self.now = len(self.lines), at
        self.progress.show({"operation": "migrate", "phase": phase, "done": done, "total": total, "seconds": at})
        return len(self.lines) - before


def test_a_line_every_ten_percent() -> None:
    console = Console()
    assert [console.show(done, at=0.1) for done in (0, 50, 99, 100, 150, 199, 200, 950, 1000)] == [0, 0, 0, 1, 0, 0, 1, 1, 0]


def test_a_line_every_five_seconds_when_something_changed() -> None:
    console = Console()
    assert [console.show(done, at=at) for done, at in ((1, 1), (2, 4.9), (3, 5), (4, 9), (4, 10), (4, 20), (5, 21))] == [0, 0, 1, 0, 1, 0, 1]


def test_another_phase_alone_is_something() -> None:
    console = Console()
    assert [console.show(0, 0, phase, at) for phase, at in (("export", 1), ("export", 6), ("verify", 7), ("verify", 12), ("verify", 18))] == [0, 1, 0, 1, 0]


def test_what_a_line_says() -> None:
    console = Console()
    console.show(100, at=10)
    console.show(500, at=12)
    assert console.lines == [
        "h1 | migrate: import  [##..................]   10 %  100/1,000  10/s  ETA 1 min 30 s",
        "h1 | migrate: import  [##########..........]   50 %  500/1,000  200/s  ETA 2.5 s",
    ]


def test_a_line_without_a_total() -> None:
    console = Console()
    console.show(1200, None, at=6)
    assert console.lines == ["h1 | migrate: import  1,200 records  6.0 s"]


@pytest.mark.parametrize("figures", [None, {}, {"phase": "x"}, {"done": None, "total": None, "seconds": None}])
def test_poor_figures_do_no_harm(figures: Any) -> None:
    console = Console()
    console.progress.show(figures)
    assert console.lines == []


def test_more_than_all_is_all() -> None:
    console = Console()
    console.show(2000, at=1)
    assert "[####################]  100 %  2,000/1,000" in console.lines[0]


@pytest.mark.parametrize(("done", "line"), [(0, "...."), (1, "...."), (2, "#..."), (7, "###."), (8, "####"), (9, "####")])
def test_bar(done: int, line: str) -> None:
    assert drawn(done, 8, 4) == f"[{line}]"


@pytest.mark.parametrize(("seconds", "said"), [
    (0, "0.0 s"), (0.44, "0.4 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (185, "3 min 05 s"), (3720, "1 h 02 min"),
])
def test_duration(seconds: float, said: str) -> None:
    assert duration(seconds) == said
