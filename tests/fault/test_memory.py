# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Memory that runs out in the middle: no result is made up, nothing is harmed, and the second run goes on."""

from __future__ import annotations

import re

import pytest

from .conftest import Tally
from .forks import Forks
from .scenarios import Scenarios

# MiB of address space that are left when the module begins: too few for a thread, too few for what it reads, enough.
LEFT = (2, 4, 6, 12, 14, 21, 23, 32, 64, 256)
# Where what is left is enough for a thread and not for its first line, Python waits for ever for it to begin (python/cpython#140746).
WAITS_FOR_A_THREAD = re.compile(r"threading\.py\", line \d+ in wait\n.*threading\.py\", line \d+ in start\n")


@pytest.mark.parametrize("name", ["snapshot", "incremental", "migrate", "catch-up", "rollback", "swap"])
def test_memory_runs_out(name: str, scenarios: Scenarios, forks: Forks, tally: Tally) -> None:
    ended = set()
    for left in (LEFT[0], *tally.chosen(LEFT[1:-1]), LEFT[-1]):
        attempt = scenarios.all[name].attempt()
        run = forks.run(attempt.module, attempt.options, more_memory=left << 20)
        ended.add(run.failed)
        found = attempt.dead()
        kind = "memory"
        if run.signal and WAITS_FOR_A_THREAD.search(run.output):
            kind = "memory, where Python waited for ever"
        elif run.signal:
            found.append("it was ended by signal %d: %s" % (run.signal, run.output))
        again = forks.run(attempt.module, attempt.options)
        if again.failed:
            found.append("the second run failed: %s" % again.message)
        tally.point(kind, "%d MiB" % left, found + attempt.converged())
    assert ended == {True, False}, "some must not be enough, and some enough"
