# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two and more runs at once on one database and one store: each ends well or is refused with `lock`, nothing is mixed, and the same tasks again converge."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support import archives
from tests.support.raw import Contents

from . import oracle
from .conftest import Tally
from .forks import Forks, Run
from .scenarios import Attempt, Scenarios

VERBS = ("migrate", "rollback", "snapshot", "snapshot_prune")
# How long after the first one the second one starts: from at once to when the first has ended.
HEAD_STARTS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4)
TOGETHER = 20
NOBODY = 65534


@pytest.fixture(scope="module")
def other_forks() -> Iterator[Forks]:
    with Forks() as process:
        yield process


def options_of(verb: str, attempt: Attempt, source: Mapping[str, Any], state: Path) -> dict[str, Any]:
    if verb == "migrate":
        return {"source": source, "target": attempt.place.endpoint, "state_directory": str(state), "batch_size": 8, "prune": True}
    store = {"directory": str(attempt.store)}
    if verb == "rollback":
        return attempt.options
    return {**attempt.place.endpoint, **store, "batch_size": 8} if verb == "snapshot" else {**store, "retention_days": 1}


def complete_states(attempt: Attempt) -> list[dict[str, Contents]]:
    """As it was; as the snapshot says; as the source says, which knows nothing of a collection that no record of it goes to."""
    more = {name: contents for name, contents in attempt.old.items() if name not in attempt.expected}
    return [attempt.old, attempt.expected, {**attempt.expected, **more}]


def judged(attempt: Attempt, runs: Mapping[str, Run]) -> list[str]:
    found = [
        "%s ended with %s: %s" % (verb, run.failure_class, run.message) for verb, run in runs.items() if run.failed and run.failure_class != "lock"
    ]
    if all(run.failed for run in runs.values()):
        found.append("each refused the other")
    states = complete_states(attempt)
    differences = [oracle.equality_violations(state, attempt.contents()) for state in states]
    if all(differences):
        found.append("the database is none of the complete states: %s" % differences[-1][:3])
    found += oracle.store_violations(attempt.store) + oracle.chain_violations(attempt.store)
    found += oracle.leftovers(attempt.store) + oracle.unended(attempt.store)
    for path in (attempt.store / "manifests").glob("*.json"):
        held = archives.contents_of(attempt.store, path.stem)
        fuzzy = json.loads(path.read_bytes())["consistency"]["state"] != "consistent"
        if fuzzy or all(oracle.equality_violations(state, held, index_settings=False) for state in states):
            found.append("%s holds what the database never was as a whole" % path.stem)
    return found


def again(attempt: Attempt, jobs: Mapping[str, tuple[str, dict[str, Any]]], forks: Forks) -> list[str]:
    """The same tasks, one after the other; the rollback last brings the database to what it should be."""
    found = []
    for name, (verb, options) in sorted(jobs.items(), key=lambda item: item[1][0] == "rollback"):
        run = forks.run(verb, options)
        if run.failed:
            found.append("%s, again: %s" % (name, run.message))
    last = forks.run("rollback", attempt.options)
    if last.failed:
        found.append("the rollback at the end: %s" % last.message)
    return found + attempt.converged()


@pytest.mark.parametrize(("first", "second"), list(itertools.product(VERBS, VERBS)))
def test_two_at_once(first: str, second: str, scenarios: Scenarios, forks: Forks, other_forks: Forks, tally: Tally) -> None:
    source = scenarios.all["migrate"].attempt().options["source"]
    for head_start in tally.chosen(HEAD_STARTS, at_least=2):
        attempt = scenarios.all["rollback"].attempt()
        attempt.alone = False
        jobs = {"the first, %s" % first: (first, options_of(first, attempt, source, attempt.state))}
        jobs["the second, %s" % second] = (second, options_of(second, attempt, source, attempt.state))
        tally.point("at once", "%.2f s" % head_start, both(attempt, jobs, [forks, other_forks], head_start) + again(attempt, jobs, forks))


def both(attempt: Attempt, jobs: Mapping[str, tuple[str, dict[str, Any]]], forks: list[Forks], head_start: float, **how: Any) -> list[str]:
    """`how` is for the first one."""
    processes = dict(zip(jobs, forks))
    for number, (name, (verb, options)) in enumerate(jobs.items()):
        if number:
            time.sleep(head_start)
        processes[name].start(verb, options, **({} if number else how))
    runs = {name: process.wait() for name, process in processes.items()}
    return judged(attempt, runs)


@pytest.mark.parametrize("verbs", [("rollback",), ("migrate", "rollback", "snapshot")], ids="-".join)
def test_twenty_at_once(verbs: tuple[str, ...], scenarios: Scenarios, forks: Forks, tally: Tally) -> None:
    source = scenarios.all["migrate"].attempt().options["source"]
    attempt = scenarios.all["rollback"].attempt()
    attempt.alone = False
    jobs = {verb: (verb, options_of(verb, attempt, source, attempt.state)) for verb in verbs}
    names = ["%s, number %d" % (verb, number) for number, verb in zip(range(TOGETHER), itertools.cycle(verbs))]
    runs = dict(zip(names, forks.run_at_once([jobs[name.split(",")[0]] for name in names])))
    tally.point("at once", "%d times" % TOGETHER, judged(attempt, runs) + again(attempt, jobs, forks))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("second", ["rollback", "snapshot"])
def test_two_users_at_once(second: str, scenarios: Scenarios, forks: Forks, other_forks: Forks, tally: Tally) -> None:
    """A migration of another user, with a state directory of their own."""
    source = scenarios.all["migrate"].attempt().options["source"]
    for head_start in tally.chosen(HEAD_STARTS, at_least=2):
        attempt = scenarios.all["rollback"].attempt()
        attempt.alone = False
        state = Path(tempfile.mkdtemp(prefix="state-of-nobody-"))
        os.chown(state, NOBODY, NOBODY)
        jobs = {
            "nobody's migrate": ("migrate", options_of("migrate", attempt, source, state)),
            "root's %s" % second: (second, options_of(second, attempt, source, state)),
        }
        found = both(attempt, jobs, [forks, other_forks], head_start, uid=NOBODY)
        jobs["nobody's migrate"] = ("migrate", options_of("migrate", attempt, source, attempt.state))
        tally.point("two users", "%.2f s" % head_start, found + again(attempt, jobs, forks))
        shutil.rmtree(state)
