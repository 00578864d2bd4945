# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""SIGKILL at every fsync, rename, removal, new folder, write and send of an operation, and in the middle of its writes and sends.

After each: nothing incomplete is visible, each record is the old or the expected one, the same task again brings the database
to what it should be, nothing is left behind, and the audit says how everything ended.
What a power cut would undo is judged by the order of the steps of a run that nothing happens to.
"""

from __future__ import annotations

import pytest

from . import oracle
from .conftest import Tally
from .durability import durability_violations
from .forks import Forks, Run
from .injected import SEND, WRITE
from .scenarios import Attempt, FilesAttempt, Scenarios

NAMES = ("snapshot", "incremental", "migrate", "quarantine", "catch-up", "rollback", "swap", "snapshot-files", "rollback-files", "prune")
# These steps are all tried; of writes and sends, which are alike, every third, each time from another one on.
STRIDE = 3
UMASK_POINTS = 12


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("action", ["kill", "torn"])
def test_killed(name: str, action: str, scenarios: Scenarios, forks: Forks, tally: Tally) -> None:
    scenario = scenarios.all[name]
    attempt = scenario.attempt()
    whole = forks.run(attempt.module, attempt.options, points=True)
    assert not whole.failed, whole.message
    assert [*attempt.dead(), *attempt.converged()] == [], "without any fault"
    points = [point for point in whole.points if point.kind in (WRITE, SEND)][tally.seed % STRIDE :: STRIDE]
    if action == "kill":
        points = sorted([*points, *(point for point in whole.points if point.kind not in (WRITE, SEND))], key=lambda point: point.number)
    for point in tally.chosen(points, at_least=3):
        attempt = scenario.attempt()
        run = forks.run(attempt.module, attempt.options, at=point.number, action=action)
        found = attempt.dead()
        if not run.killed:
            found.append("it was not killed, and %s" % ("failed by itself: %s" % run.message if run.failed else "succeeded"))
        again = forks.run(attempt.module, attempt.options)
        if again.failed:
            found.append("the second run failed: %s" % again.message)
        found += attempt.converged()
        tally.point(action, point, found)


@pytest.mark.parametrize("name", ["snapshot", "migrate", "rollback", "snapshot-files"])
def test_killed_where_everybody_may_read(name: str, scenarios: Scenarios, forks: Forks, tally: Tally) -> None:
    """With the umask 0, what the run made is its owner's alone, after its death as well."""
    whole, found = private(scenarios.all[name].attempt(), forks, None)
    assert not whole.failed, whole.message
    tally.point("umask 0", "the end", found)
    spread = whole.points[:: max(1, len(whole.points) // UMASK_POINTS)]
    for point in tally.chosen(spread, at_least=2):
        run, found = private(scenarios.all[name].attempt(), forks, point.number)
        tally.point("umask 0", point, found + ([] if run.killed else ["it was not killed"]))


def private(attempt: Attempt, forks: Forks, at: int | None) -> tuple[Run, list[str]]:
    """A run with the umask 0, and what others may read or write after it."""
    run = forks.run(attempt.module, attempt.options, at=at, umask=0, points=True)
    return run, oracle.mode_violations(attempt.store) + oracle.mode_violations(attempt.state)


@pytest.mark.parametrize("name", NAMES)
def test_everything_is_on_the_disk_in_time(name: str, scenarios: Scenarios, forks: Forks) -> None:
    attempt = scenarios.all[name].attempt()
    whole = forks.run(attempt.module, attempt.options, points=True)
    assert not whole.failed, whole.message
    data = str(attempt.data) if isinstance(attempt, FilesAttempt) else ""
    assert durability_violations(whole.points, None if attempt.module == "migrate" else attempt.module, data) == []
