# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The number of kills that the whole suite promises is asked for by every run that was not told to leave some out."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from .conftest import KILLED, KILLED_IN, KILLS, too_few_kills
from .test_kills import NAMES

ENOUGH = {"killed[%s-%s]: %s" % (action, name, action): [KILLS, 0] for action in ("kill", "torn") for name in KILLED}


class Told:
    """What a command line was."""

    def __init__(self, *places: Path | str, **options: object) -> None:
        self.args = [str(place) for place in places or (KILLED_IN.parent,)]
        self._options = options

    def getoption(self, name: str, default: object) -> object:
        return self._options.get(name, default)


def few(rows: dict[str, list[int]], told: Told) -> str | None:
    return too_few_kills(rows, cast(Any, told))


def test_every_scenario_of_the_promise_is_killed() -> None:
    assert set(KILLED) <= set(NAMES)


def test_enough_is_enough() -> None:
    assert few(ENOUGH, Told()) is None
    assert "at 18 points only" in str(few({name: [1, 0] for name in ENOUGH}, Told()))


@pytest.mark.parametrize("gone", [[next(iter(ENOUGH))], list(ENOUGH)], ids=["one", "all"])
def test_a_scenario_that_is_gone_is_missed(gone: list[str]) -> None:
    rows = {name: row for name, row in ENOUGH.items() if name not in gone}
    for place in (KILLED_IN, KILLED_IN.parent, KILLED_IN.parents[1]):
        assert gone[0] in str(few(rows, Told(place)))


@pytest.mark.parametrize(
    "told",
    [Told(points=1), Told(keyword="EIO"), Told(lf=True), Told(deselect=["one"]), Told(KILLED_IN.with_name("test_disks.py")), Told(f"{KILLED_IN}::test_killed")],
    ids=["points", "k", "lf", "deselect", "another file", "one test"],
)
def test_who_asks_for_less_is_promised_nothing(told: Told) -> None:
    assert few({}, told) is None
