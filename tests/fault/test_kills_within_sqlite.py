# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""SIGKILL within SQLite's own writes, which pass by everything of Python: a migration's notes, and the freeze in a server's database.

strace counts the calls by which SQLite changes files, thread by thread, and kills at the n-th of one.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.chroma_server import ChromaServer
from tests.support.raw import RawChroma, RawError
from tests.support.run_module import CHECKOUT, COLLECTIONS
from tests.support.server_versions import CURRENT

from . import oracle
from .conftest import Tally
from .forks import Forks
from .scenarios import GOOD, Attempt, Scenarios, fill

# Python itself writes and syncs by others (write, fsync), and removes files by unlink too.
CALLS = "pwrite64,fdatasync,ftruncate,unlink"
FREEZE = CHECKOUT / "roles" / "cutover" / "files" / "chromadb-freeze"
KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)

pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


@dataclass(frozen=True)
class Call:
    """The `number`-th (from 1) of its name that a thread makes."""

    name: str
    number: int
    text: str


def traced(command: Sequence[str], at: Call | None = None) -> tuple[list[Call], int]:
    """The calls of the thread that made most of them, and how the command ended; killed at the call `at`."""
    words = ["strace", "-f", "-qq", "-y", "-e", "trace=" + CALLS, "-e", "signal=none"]
    if at is not None:
        words += ["-e", "inject=%s:signal=KILL:when=%d" % (at.name, at.number)]
    with tempfile.NamedTemporaryFile("r", prefix="strace-") as log:
        environment = {**os.environ, "PYTHONPATH": str(COLLECTIONS)}
        done = subprocess.run([*words, "-o", log.name, *command], capture_output=True, check=False, timeout=120, env=environment)
        lines = [line.split(maxsplit=1) for line in log]
    [(busiest, _number)] = Counter(thread for thread, _text in lines).most_common(1)
    calls: list[Call] = []
    numbers: Counter[str] = Counter()
    for text in (text for thread, text in lines if thread == busiest):
        name = text.partition("(")[0]
        numbers[name] += 1
        calls.append(Call(name, numbers[name], text.strip()))
    return calls, done.returncode


def as_process(attempt: Attempt) -> list[str]:
    arguments = {**attempt.options, "_ansible_check_mode": False, "_ansible_diff": False, "_ansible_remote_tmp": str(attempt.state.parent)}
    path = attempt.state.parent / "arguments.json"
    path.write_text(json.dumps({"ANSIBLE_MODULE_ARGS": arguments}))
    return [sys.executable, "-m", "ansible_collections.infrafabric.chromadb.plugins.modules." + attempt.module, str(path)]


@pytest.mark.parametrize("name", ["migrate", "catch-up"])
def test_the_notes_of_a_migration(name: str, scenarios: Scenarios, forks: Forks, tally: Tally) -> None:
    attempt = scenarios.all[name].attempt()
    calls, code = traced(as_process(attempt))
    assert code == 0
    assert "fdatasync" in {call.name for call in calls}, "SQLite wrote nothing"
    for call in tally.chosen(calls, at_least=2):
        attempt = scenarios.all[name].attempt()
        code = traced(as_process(attempt), at=call)[1]
        found = attempt.dead() + ([] if code in KILLED else ["it was not killed, but ended with %d" % code])
        again = forks.run(attempt.module, attempt.options)
        if again.failed:
            found.append("the second run failed: %s" % again.message)
        tally.point("SQLite", call.text, found + attempt.converged())


@pytest.fixture(scope="module", params=[CURRENT, "0.4.24"])
def frozen_server(request: pytest.FixtureRequest) -> Iterator[ChromaServer]:
    with ChromaServer(request.param) as server:
        fill(RawChroma(server.url), {"things": GOOD["things"]})
        yield server


@pytest.mark.parametrize("word", ["freeze", "thaw"])
def test_the_freeze_in_a_servers_database(word: str, frozen_server: ChromaServer, tmp_path: Path, tally: Tally) -> None:
    """Killed on its way, it leaves a server that serves everything and is either frozen or not; and one command opens it."""
    command = [sys.executable, str(FREEZE), "--state-directory", str(tmp_path / "state"), "--data-directory", str(frozen_server.directory / "data")]
    words = {"freeze": [*command, "freeze", "--seconds", "600"], "thaw": [*command, "thaw"], "status": [*command, "status"]}
    place = RawChroma(frozen_server.url)
    before = place.contents()
    collection = str(place.collection("things")["id"])

    def said(name: str) -> dict[str, object]:
        done = subprocess.run(words[name], capture_output=True, text=True, check=True)
        answer: dict[str, object] = json.loads(done.stdout)
        return answer

    def writes_pass() -> bool:
        try:
            place.delete(collection, ["nobody"])
            place.update(collection, ids=[GOOD["things"][0][0].id], documents=[GOOD["things"][0][0].document])
        except RawError:
            return False
        return True

    def started() -> None:
        """Where `word` begins: open for a freeze, frozen for a thaw."""
        said("thaw")
        if word == "thaw":
            said("freeze")

    started()
    calls, code = traced(words[word])
    assert code == 0
    for call in tally.chosen(calls, at_least=2):
        started()
        code = traced(words[word], at=call)[1]
        found = [] if code in KILLED else ["it was not killed, but ended with %d" % code]
        if said("status")["frozen"] == writes_pass():
            found.append("it says frozen: %s, and is not" % said("status")["frozen"])
        said("thaw")
        if not writes_pass():
            found.append("it was not opened by a thaw")
        tally.point("SQLite", call.text, found + oracle.equality_violations(before, place.contents()))
    said("thaw")
