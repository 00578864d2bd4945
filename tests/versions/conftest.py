# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pairs of releases: all of them, those that --pair names, or as many as a time budget holds."""

from __future__ import annotations

import importlib.metadata
import json
import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.run_module import CHECKOUT, make_importable
from tests.support.server_versions import CURRENT, cache_directory

from .traps import SOURCES, TARGETS, TRAPS

make_importable()

BUDGET = float(os.environ.get("BUDGET_SECONDS") or 0)
SEED = os.environ.get("VERSIONS_SEED", "0")
STARTED = time.monotonic()
OLDEST = ("0.3.29", "0.4.24")


class Pair(NamedTuple):
    source: str
    target: str

    def __str__(self) -> str:
        return "%s:%s" % self


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--pair", action="append", default=[], metavar="SOURCE:TARGET", help="only this pair, such as 0.4.24:current; may be repeated")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "pair" in metafunc.fixturenames:
        metafunc.parametrize("pair", chosen_pairs(metafunc.config), ids=str, scope="session")


def chosen_pairs(config: pytest.Config) -> list[Pair]:
    named = config.getoption("--pair")
    if named:
        return [Pair(*pair.split(":")) for pair in named]
    pairs = [Pair(source, target) for source in SOURCES for target in TARGETS]
    if BUDGET:
        # A slice: one pair from the oldest releases, and another one. Installing takes seconds, but 0.3.29 is compiled for minutes.
        if not (cache_directory() / "servers" / "0.3.29" / ".complete").exists():
            pairs = [pair for pair in pairs if pair.source != "0.3.29"]
        draw = random.Random(SEED)
        first = draw.choice([pair for pair in pairs if pair.source in OLDEST])
        pairs = [first, *draw.sample([pair for pair in pairs if pair.source not in OLDEST], 1)]
    return pairs


@pytest.fixture(autouse=True)
def _within_budget() -> None:
    if BUDGET and time.monotonic() - STARTED > BUDGET * 0.8:
        pytest.skip("the time of this slice is used up")


@dataclass
class Table:
    """What became of each trap, by pair; kept between runs, since all pairs together take a quarter of an hour."""

    path: Path
    outcomes: dict[tuple[str, Pair], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        kept = json.loads(self.path.read_text()) if self.path.exists() else []
        names = {trap.name for trap in TRAPS}
        self.outcomes = {(trap, Pair(source, target)): outcome for trap, source, target, outcome in kept if trap in names}

    def forget(self, pair: Pair, trap: str) -> None:
        """Before a trap is tried: what an earlier run saw must not stand for a failure of this one."""
        self.outcomes.pop((trap, pair), None)

    def note(self, pair: Pair, trap: str, outcome: str) -> None:
        self.outcomes[trap, pair] = outcome

    def save(self) -> None:
        self.path.parent.mkdir(exist_ok=True)
        self.path.write_text(json.dumps([[trap, *pair, outcome] for (trap, pair), outcome in sorted(self.outcomes.items())], indent=0))

    @property
    def complete(self) -> bool:
        return len(self.outcomes) == len(TRAPS) * len(SOURCES) * len(TARGETS)

    def markdown(self) -> str:
        """One table a target; changes as numbered notes."""
        changes = sorted({outcome for outcome in self.outcomes.values() if outcome not in ("-", "exact", "refused")})
        lines = [
            "# What travels between releases of Chroma",
            "",
            "Written by `make test-versions` from what happened on real servers: every trap was put into a source of each release and",
            "migrated to each target as a faithful copy, compared by the tests' own comparison, and validated.",
            "",
            "- **exact**: every id, document, uri, metadata value with its type, and vector is the same",
            "- **number**: carried, with the change that the note says",
            "- **refused**: the migration stops before the first write of a record (because of a vector, before that of its batch), and names the ids",
            "- **-**: a source of this release cannot hold it",
        ]
        for target in TARGETS:
            lines += ["", "## To %s" % release(target), "", "| What | %s |" % " | ".join("from " + release(source) for source in SOURCES)]
            lines.append("|---" * (len(SOURCES) + 1) + "|")
            for trap in TRAPS:
                cells = [self.outcomes[trap.name, Pair(source, target)] for source in SOURCES]
                shown = ["[%d]" % (changes.index(cell) + 1) if cell in changes else cell for cell in cells]
                lines.append("| %s | %s |" % (trap.name, " | ".join(shown)))
        lines += ["", "## Notes", ""]
        lines += ["%d. %s" % (number, change) for number, change in enumerate(changes, 1)]
        return "\n".join(lines) + "\n"


def release(version: str) -> str:
    return importlib.metadata.version("chromadb") if version == CURRENT else version


@pytest.fixture(scope="session")
def table() -> Iterator[Table]:
    found = Table(CHECKOUT / "tests" / "output" / "versions.json")
    yield found
    found.save()
    if found.complete:
        (CHECKOUT / "docs" / "versions.md").write_text(found.markdown())
