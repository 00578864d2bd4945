# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Clocks that are wrong, set right in the middle of a run, or past 2038: nothing is lost by them, and what depends on the time says so."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from . import oracle
from .conftest import Tally
from .forks import Forks, Run
from .scenarios import Attempt, Scenarios

DAY = 86400.0
WEEK = 8 * DAY  # longer than the seven days that a snapshot is kept
AFTER_2038 = (datetime(2040, 1, 1, tzinfo=timezone.utc) - datetime.now(timezone.utc)).total_seconds()
CLOCKS: dict[str, list[float]] = {
    "8 days ahead": [WEEK],
    "8 days behind": [-WEEK],
    "after 2038": [AFTER_2038],
    "set back during the run": [0.0, 0.0, -WEEK],
    "set forward during the run": [0.0, 0.0, WEEK],
    "jumping": [WEEK, -WEEK] * 50,
}
NAMES = ("snapshot", "incremental", "migrate", "catch-up", "rollback", "swap", "prune")


def snapshots(attempt: Attempt) -> list[str]:
    return sorted(path.stem for path in (attempt.store / "manifests").glob("*.json"))


def wrong_durations(attempt: Attempt, run: Run) -> list[str]:
    """Durations that the time of day had a part in: no run here takes an hour, and none less than nothing."""
    durations = {entry["action"]: entry["duration_seconds"] for entry in oracle.audit_entries(attempt.store)}
    durations.update((name, value) for name, value in (run.result or {}).items() if name.endswith("seconds") and isinstance(value, float))
    return ["%s took %s s" % (name, value) for name, value in durations.items() if not 0 <= value < 3600]


@pytest.mark.parametrize("name", NAMES)
def test_clock(name: str, scenarios: Scenarios, forks: Forks, tally: Tally) -> None:
    """Each run does all of its work at any time of day, and one at the right time afterwards harms nothing of it."""
    for clock in tally.chosen(list(CLOCKS)):
        attempt = scenarios.all[name].attempt()
        good = snapshots(attempt)[-1:]
        run = forks.run(attempt.module, attempt.options, clock_shift=CLOCKS[clock])
        found = ["it failed: %s" % run.message] if run.failed else []
        found += attempt.dead() + attempt.converged() + wrong_durations(attempt, run)
        made = snapshots(attempt)
        found += ["the last good snapshot was deleted" for one in good if one not in made]
        if attempt.writes_store:
            attempt.takes = False  # what was taken in the past may be old enough to go
            pruned = forks.run("snapshot_prune", {"directory": str(attempt.store), "retention_days": 1})
            found += ["retention failed: %s" % pruned.message] if pruned.failed else attempt.converged()
            found += ["the last snapshot was deleted at the right time" for _number in range(not snapshots(attempt))]
        tally.point("clock", "%s, %s" % (name, clock), found)


def test_retention_at_a_wrong_time(scenarios: Scenarios, forks: Forks, tally: Tally) -> None:
    """Ahead: the last verified one stays. Behind: everything seems to come from the future, and stays with a warning."""
    for clock, shift, left in (("ahead", 400 * DAY, 1), ("behind", -10000 * DAY, 6)):
        attempt = scenarios.all["prune"].attempt()
        newest = snapshots(attempt)[-1]
        run = forks.run("snapshot_prune", attempt.options, clock_shift=[shift])
        found = ["it failed: %s" % run.message] if run.failed else []
        now = snapshots(attempt)
        if len(now) != left or newest not in now:
            found.append("%d snapshots are left: %s" % (len(now), now))
        if clock == "behind" and "from the future" not in str((run.result or {}).get("warnings")):
            found.append("no warning of a future snapshot")
        tally.point("retention", clock, found + oracle.store_violations(attempt.store) + oracle.chain_violations(attempt.store))


def test_locks_do_not_grow_old(scenarios: Scenarios, forks: Forks, tally: Tally) -> None:
    """A lock is held as long as its holder lives, whatever the clocks of the two say."""
    from ansible_collections.infrafabric.chromadb.plugins.module_utils._lock import store_lock

    for clock, shift in (("ahead", 400 * DAY), ("behind", -400 * DAY)):
        attempt = scenarios.all["snapshot"].attempt()
        with store_lock(str(attempt.store), "snapshot"):
            run = forks.run("snapshot", attempt.options, clock_shift=[shift], patience=0)
        found = [] if run.failure_class == "lock" else ["not refused as lock: %s %s" % (run.failure_class, run.message)]
        found += ["a snapshot was made: %s" % one for one in snapshots(attempt)]
        tally.point("lock", clock, found)


def taken(forks: Forks, options: dict[str, Any], moment: datetime, zone: str = "UTC") -> str:
    """A snapshot at this moment on a host of this time zone; its id."""
    shift = (moment - datetime.now(timezone.utc)).total_seconds()
    run = forks.run("snapshot", options, clock_shift=[shift], environment={"TZ": zone})
    assert run.result is not None
    assert not run.failed, run.message
    return str(run.result["snapshot"]["snapshot_id"])


def test_names_in_the_hour_that_comes_twice(scenarios: Scenarios, forks: Forks, tally: Tally) -> None:
    """Half past two, before and after summer time ended: two names in UTC, in the right order, and the earlier one can be meant."""
    first, second = datetime(2025, 10, 26, 0, 30, tzinfo=timezone.utc), datetime(2025, 10, 26, 1, 30, tzinfo=timezone.utc)
    attempt = scenarios.all["rollback"].attempt()
    store = attempt.store.parent / "summer"
    store.mkdir(mode=0o700)
    options = {**attempt.place.endpoint, "directory": str(store)}
    names = [taken(forks, options, moment, "Europe/Berlin") for moment in (first, second)]
    found = [] if [name[:22] for name in names] == ["snapshot_20251026_0030", "snapshot_20251026_0130"] else ["they are called %s" % names]
    for meant, moment in ((names[0], first + timedelta(minutes=20)), (names[1], second + timedelta(minutes=20))):
        for zone in ("UTC", "Europe/Berlin", "Pacific/Auckland"):
            back = forks.run("rollback", {**options, "point_in_time": moment.isoformat()}, check=True, environment={"TZ": zone})
            chosen = (back.result or {}).get("snapshot_id")
            found += [] if chosen == meant else ["%s in %s means %s: %s" % (moment, zone, chosen, back.message)]
    tally.point("summer time", "two snapshots", found)


def test_snapshots_of_one_second_and_of_a_clock_that_was_ahead(scenarios: Scenarios, forks: Forks, tally: Tally) -> None:
    """A name that is taken is never taken again; `latest` warns where its time lies ahead."""
    attempt = scenarios.all["rollback"].attempt()
    store = attempt.store.parent / "ahead"
    store.mkdir(mode=0o700)
    options = {**attempt.place.endpoint, "directory": str(store)}
    right = taken(forks, options, datetime.now(timezone.utc))
    moment = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(days=2)
    early, again = taken(forks, options, moment), taken(forks, options, moment)
    found = ["the same name twice: %s" % early for _number in range(early == again)]
    found += ["%s is missing" % name for name in (early, again, right) if not (store / "manifests" / (name + ".json")).exists()]
    back = forks.run("rollback", {**options, "snapshot_id": "latest"}, check=True)
    if back.result is None or "from the future" not in str(back.result.get("warnings")):
        found.append("`latest` meant one of these without a warning: %s" % (back.result or back.message))
    tally.point("ahead", "three snapshots", found + oracle.store_violations(store))
