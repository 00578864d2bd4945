# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Broken networks and servers that die or stand still, between the modules and real servers.

A run either ends well in spite of it or fails with a class that fits; either way each record is the old or the expected one,
and the same task again, on a good network, brings the database to what it should be.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest

from tests.support.chroma_server import ChromaServer
from tests.support.counting_proxy import CountingProxy, Fault, Seen, every_read, every_request, every_write, every_write_of_numbers
from tests.support.raw import RawChroma

from . import oracle
from .conftest import Tally
from .forks import Forks
from .scenarios import DAMAGED, GOOD, OTHER_SPACE, Attempt, Scenarios, fill

NAMES = ("snapshot", "migrate", "catch-up", "rollback", "swap")
EXPECTED_CLASSES = ("unreachable", "timeout", "integrity", "partial", "drift", "lock", "version", "auth")
# Where in a run a fault comes, in parts of its requests.
PLACES = (0, 1 / 12, 1 / 6, 1 / 3, 1 / 2, 3 / 4, 1)
PLACES_FOR_GOOD = (1 / 8, 3 / 4)

FAULTS: dict[str, Callable[[int], Fault]] = {
    "latency": lambda skip: Fault("latency", every_request, skip, times=5, seconds=0.2),
    "refused once": lambda skip: Fault("refused", every_request, skip),
    "refused for good": lambda skip: Fault("refused", every_request, skip, times=None),
    "answer eaten": lambda skip: Fault("eaten", every_write, skip),
    "answers eaten": lambda skip: Fault("eaten", every_request, skip, times=3),
    "reset": lambda skip: Fault("reset", every_request, skip, after_bytes=10),
    "reset for good": lambda skip: Fault("reset", every_read, skip, times=None, after_bytes=100),
    "truncated": lambda skip: Fault("truncated", every_request, skip, after_bytes=20),
    "503": lambda skip: Fault("status", every_request, skip, times=2, status=503, retry_after=0),
    "500": lambda skip: Fault("status", every_request, skip, times=1, status=500),
    "429 for good": lambda skip: Fault("status", every_write, skip, times=None, status=429, retry_after=0),
    "502 for good": lambda skip: Fault("status", every_request, skip, times=None, status=502, retry_after=0),
    "token expired": lambda skip: Fault("status", every_request, skip, times=None, status=401),
    "token refused": lambda skip: Fault("status", every_request, skip, times=None, status=403),
    "request corrupted": lambda skip: Fault("corrupted-request", every_write_of_numbers, skip),
    "answer not JSON": lambda skip: Fault("corrupted", every_request, skip),
}


@pytest.fixture(scope="module")
def proxies(source_server: ChromaServer, target_server: ChromaServer) -> Iterator[dict[str, CountingProxy]]:
    with CountingProxy(source_server.url) as one, CountingProxy(target_server.url) as other:
        yield {source_server.url: one, target_server.url: other}


def through(options: dict[str, Any], proxies: dict[str, CountingProxy], impatient: bool) -> dict[str, Any]:
    """The same options by way of the proxies."""
    changed = dict(options)
    quick = {"retries": 1, "timeout": 20} if impatient else {"timeout": 20}
    for side in ("source", "target"):
        if side in changed:
            changed[side] = {**changed[side], "url": proxies[changed[side]["url"]].url, **quick}
    if "url" in changed:
        changed.update(url=proxies[changed["url"]].url, **quick)
    return changed


# A snapshot writes nothing to the server.
CASES = [(kind, name) for kind in FAULTS for name in NAMES if name != "snapshot" or FAULTS[kind](0).when not in (every_write, every_write_of_numbers)]


@pytest.fixture(scope="module")
def requests_of(scenarios: Scenarios, forks: Forks, proxies: dict[str, CountingProxy]) -> Callable[[str], list[list[Seen]]]:
    """What a scenario asks each server when nothing goes wrong."""

    @functools.cache
    def found(name: str) -> list[list[Seen]]:
        attempt = scenarios.all[name].attempt()
        for proxy in proxies.values():
            proxy.reset()
        run = forks.run(attempt.module, through(attempt.options, proxies, impatient=True))
        assert not run.failed, run.message
        return [list(proxy.requests) for proxy in proxies.values()]

    return found


def skips(kind: str, requests: list[list[Seen]]) -> list[int]:
    """How many of the requests that the fault could meet pass first; one at least is left for it."""
    number = max(sum(map(FAULTS[kind](0).when, seen)) for seen in requests)
    return sorted({int((number - 1) * place) for place in (PLACES if FAULTS[kind](0).times else PLACES_FOR_GOOD)})


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_network(
    kind: str, name: str, scenarios: Scenarios, forks: Forks, proxies: dict[str, CountingProxy], requests_of: Callable[[str], list[list[Seen]]], tally: Tally
) -> None:
    for skip in tally.chosen(skips(kind, requests_of(name))):
        attempt = scenarios.all[name].attempt()
        options = through(attempt.options, proxies, impatient=True)
        faults = [FAULTS[kind](skip) for _proxy in proxies]
        for proxy, fault in zip(proxies.values(), faults):
            proxy.reset()
            proxy.faults.append(fault)
        # Patience is for people; a server that is gone for good is given up at once here.
        run = forks.run(attempt.module, options, patience=1.0)
        for proxy in proxies.values():
            proxy.reset()
        found = [] if any(fault.acted for fault in faults) else ["no request met the fault"]
        if kind.startswith("token") and run.failure_class != "auth":
            found.append("not refused as auth: %s %s" % (run.failure_class, run.message))
        tally.point(kind, "request %d" % skip, found + judged(attempt, run, forks, harmed=kind == "request corrupted"))


def judged(attempt: Attempt, run: Any, forks: Forks, harmed: bool = False) -> list[str]:
    """`harmed`: the network itself changed what was written, the id that a deletion names as well, so that until all is compared again a record may
    be neither the old nor the expected one, or another one may be gone. A run that says that it went well has compared."""
    attempt.harmed = harmed
    found = [line for line in attempt.dead() if not (harmed and ("is neither" in line or (": id " in line and line.endswith("is gone"))))]
    if run.result is None:
        found.append("it gave no result: %s" % run.output[-300:])
    elif run.failed and (run.failure_class not in EXPECTED_CLASSES or "unexpectedly" in run.message):
        found.append("it failed as %s: %s" % (run.failure_class, run.message))
    elif not run.failed:
        found += attempt.converged()
    again = forks.run(attempt.module, attempt.options)
    if again.failed:
        found.append("the second run failed: %s, after %s" % (again.message, run.message))
    return found + attempt.converged()


# Servers that die or stand still


def test_a_server_that_is_killed_and_comes_back(source: RawChroma, spare_server: ChromaServer, forks: Forks, tmp_path: Path, tally: Tally) -> None:
    """SIGKILL in the middle of the writes; it is started again while the run waits for it."""
    fill(source, GOOD)
    expected = source.contents()
    for number, at in enumerate(tally.chosen([1, 3, 5, 6, 8])):
        place = RawChroma(spare_server.url).fresh_database("killed")
        state = tmp_path / ("state-%d" % number)
        state.mkdir(mode=0o700)
        with CountingProxy(spare_server.url) as proxy:
            hit = _armed(proxy, at)
            options = {"source": source.endpoint, "target": {**place.endpoint, "url": proxy.url}, "state_directory": str(state), "batch_size": 8}
            forks.start("migrate", options)
            assert hit.wait(60)
            spare_server.kill()
            spare_server.start()
            run = forks.wait()
        found = ["it failed: %s" % run.message] if run.failed else []
        after = RawChroma(place.url, place.tenant, place.database)
        tally.point("server killed", "write %d" % at, found + oracle.equality_violations(expected, after.contents()))


def test_a_server_that_stands_still(source: RawChroma, spare_server: ChromaServer, forks: Forks, tmp_path: Path, tally: Tally) -> None:
    """SIGSTOP: the connection is there, no answer comes. It is a timeout; the same task again does the rest."""
    fill(source, GOOD)
    expected = source.contents()
    for number, at in enumerate(tally.chosen([1, 5])):
        place = RawChroma(spare_server.url).fresh_database("stopped")
        state = tmp_path / ("state-%d" % number)
        state.mkdir(mode=0o700)
        with CountingProxy(spare_server.url) as proxy:
            hit = _armed(proxy, at)
            endpoint = {**place.endpoint, "url": proxy.url, "timeout": 2, "retries": 0}
            options = {"source": source.endpoint, "target": endpoint, "state_directory": str(state), "batch_size": 8}
            forks.start("migrate", options)
            assert hit.wait(60)
            spare_server.pause()
            run = forks.wait()
            spare_server.resume()
        found = [] if run.failed and run.failure_class == "timeout" else ["not a timeout: %s %s" % (run.failure_class, run.message)]
        again = forks.run("migrate", {"source": source.endpoint, "target": place.endpoint, "state_directory": str(state), "batch_size": 8})
        # Another way to the same server is another database to the checkpoint.
        if again.failed:
            found.append("the second run failed: %s" % again.message)
        tally.point("server stopped", "write %d" % at, found + oracle.equality_violations(expected, place.contents()))


@pytest.mark.parametrize(("name", "verb", "ats"), [("rollback", "delete", (0, 1, 3)), ("swap", "put", (0, 1)), ("swap", "delete", (0, 1))])
def test_a_server_that_is_killed_while_it_is_rolled_back(
    name: str, verb: str, ats: tuple[int, ...], scenarios: Scenarios, spare_server: ChromaServer, forks: Forks, tally: Tally
) -> None:
    """SIGKILL as it deletes records and collections, and as it renames them; it is started again while the run waits for it."""
    for at in tally.chosen(ats):
        attempt = scenarios.all[name].attempt()
        attempt.place = fill(RawChroma(spare_server.url).fresh_database("killed"), DAMAGED if name == "rollback" else OTHER_SPACE)
        attempt.options = {**attempt.options, **attempt.place.endpoint}
        with CountingProxy(spare_server.url) as proxy:
            hit = _armed(proxy, at, verb)
            forks.start("rollback", {**attempt.options, "url": proxy.url})
            assert hit.wait(60)
            spare_server.kill()
            spare_server.start()
            run = forks.wait()
        tally.point("server killed", "%s %d" % (verb, at), judged(attempt, run, forks))


def _armed(proxy: CountingProxy, at: int, verb: str | None = None) -> threading.Event:
    """Set when this many writes (with this verb) have arrived; the one that sets it, and those after it, wait a moment."""
    hit = threading.Event()

    def when(seen: Seen) -> bool:
        if seen.is_write and verb in (None, seen.verb) and sum(one.is_write and verb in (None, one.verb) for one in proxy.requests) > at:
            hit.set()
            return True
        return False

    proxy.faults.append(Fault("latency", when, times=1, seconds=0.3))
    return hit
