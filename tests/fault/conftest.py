# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the fault tests share, and the table of points and violations at the end.

    make test-fault                                         everything
    make test-fault PYTEST_ARGS="--points 12 --seed 7"      twelve points of each kind, chosen by this seed
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Callable, TypeVar

import pytest

from tests.support.chroma_server import ChromaServer
from tests.support.fixtures import (
    _shared_source_proxy,
    _shared_target_proxy,
    case,
    source,
    source_proxy,
    source_server,
    spare_server,
    target,
    target_proxy,
    target_server,
)
from tests.support.raw import RawChroma

from .forks import Forks
from .scenarios import Scenarios

__all__ = [
    "_shared_source_proxy", "_shared_target_proxy", "case", "source", "source_proxy", "source_server", "spare_server",
    "target", "target_proxy", "target_server",
]  # fmt: skip

Item = TypeVar("Item")
PROPERTY = "faults"
# The scenarios of snapshot, migrate and rollback, and at how many points the whole suite kills them at least.
KILLED = ("snapshot", "incremental", "snapshot-files", "migrate", "quarantine", "catch-up", "rollback", "swap", "rollback-files")
KILLS = 500
KILLED_IN = Path(__file__).with_name("test_kills.py")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--points", type=int, default=None, help="fault tests: at most so many points of each kind (all)")
    parser.addoption("--seed", type=int, default=1, help="fault tests: which points are chosen, and what random histories do (1)")


class Tally:
    """Counts the points of one test, and keeps the violations; `close` fails the test when there are any."""

    def __init__(self, record: Callable[[str, object], None], limit: int | None, seed: int) -> None:
        self._record, self._limit = record, limit
        self.seed = seed
        self.points: Counter[str] = Counter()
        self.violations: list[str] = []
        self._violated: Counter[str] = Counter()

    def chosen(self, items: Sequence[Item], at_least: int = 0) -> list[Item]:
        """All of them, or as many as asked for, spread by the seed."""
        if self._limit is None or len(items) <= max(self._limit, at_least):
            return list(items)
        picked = random.Random(self.seed).sample(range(len(items)), max(self._limit, at_least))
        return [items[number] for number in sorted(picked)]

    def point(self, kind: str, where: object, violations: Sequence[str]) -> None:
        self.points[kind] += 1
        self._violated[kind] += len(violations)
        self.violations += ["%s at %s: %s" % (kind, where, line) for line in violations]

    def close(self) -> None:
        self._record(PROPERTY, json.dumps({kind: [number, self._violated[kind]] for kind, number in self.points.items()}))
        assert not self.violations, "%d violations:\n%s" % (len(self.violations), "\n".join(self.violations[:20]))
        assert sum(self.points.values()) > 0, "no point was tried"


@pytest.fixture
def tally(record_property: Callable[[str, object], None], request: pytest.FixtureRequest) -> Iterator[Tally]:
    found = Tally(record_property, request.config.getoption("--points"), request.config.getoption("--seed"))
    yield found
    found.close()


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    with Forks() as process:
        yield process


@pytest.fixture(scope="session")
def scenarios(source_server: ChromaServer, target_server: ChromaServer, tmp_path_factory: pytest.TempPathFactory) -> Scenarios:
    directory = Path(tmp_path_factory.mktemp("scenarios"))
    return Scenarios(RawChroma(source_server.url), RawChroma(target_server.url), directory)


def rows_of(terminalreporter: Any) -> dict[str, list[int]]:
    """Points and violations of each test and kind."""
    rows: dict[str, list[int]] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, value in getattr(report, "user_properties", []) if getattr(report, "when", "") == "teardown" else []:
                for kind, numbers in json.loads(value).items() if name == PROPERTY else []:
                    row = rows.setdefault("%s: %s" % (report.nodeid.split("::")[-1].removeprefix("test_"), kind), [0, 0])
                    row[:] = [before + number for before, number in zip(row, numbers)]
    return rows


def narrowed(config: pytest.Config) -> bool:
    """Whether the run was told to leave some of the kills out."""
    told = [config.getoption(name, None) for name in ("points", "keyword", "markexpr", "deselect", "lf", "collectonly")]
    return any(value not in (None, False, "", []) for value in told) or not {KILLED_IN, *KILLED_IN.parents} & {Path(place).resolve() for place in config.args}


def too_few_kills(rows: dict[str, list[int]], config: pytest.Config) -> str | None:
    """The promise of the whole suite; a run that was told to leave something out makes none."""
    if narrowed(config):
        return None
    wanted = ["killed[%s-%s]: %s" % (action, name, action) for action in ("kill", "torn") for name in KILLED]
    missing = [name for name in wanted if name not in rows]
    if missing:
        return "nothing says at how many points this was killed: %s" % ", ".join(missing)
    number = sum(rows[name][0] for name in wanted)
    return "snapshot, migrate and rollback were killed at %d points only, not at %d" % (number, KILLS) if number < KILLS else None


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    terminalreporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if terminalreporter is not None and too_few_kills(rows_of(terminalreporter), session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    rows = rows_of(terminalreporter)
    few = too_few_kills(rows, config)
    if not rows and few is None:
        return
    terminalreporter.section("faults, seed %d" % config.getoption("--seed"))
    terminalreporter.write_line("%8s %11s  %s" % ("points", "violations", "what"))
    for name in sorted(rows):
        terminalreporter.write_line("%8d %11d  %s" % (*rows[name], name))
    terminalreporter.write_line("%8d %11d  in all" % (sum(row[0] for row in rows.values()), sum(row[1] for row in rows.values())))
    if few is not None:
        terminalreporter.write_line("FAILED: %s" % few, red=True)
