# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A writer that tasks stop for the freeze and let go on again; one that nobody stops; and a decision that a person answers for."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.case import Case
from tests.support.raw import Record

from .test_runbook import Runbook

# Nobody waits here until little is left to move.
ONE_TO_ONE: dict[str, Any] = {"chromadb_schema": "none", "chromadb_routes": [], "migrate_catch_up_rounds": 0}


@pytest.fixture
def runbook(case: Case, tmp_path: Path) -> Runbook:
    found = Runbook(case, tmp_path)
    found.write_inventory(**ONE_TO_ONE)
    found.play("execute")
    return found


class Writer:
    """Writes to the source all the time, but while the file `stop` is there, for which it answers with `stopped`."""

    def __init__(self, runbook: Runbook) -> None:
        self.source = runbook.source
        self.stop, self.stopped = runbook.directory / "stop", runbook.directory / "stopped"
        self.stops: list[int] = []
        self.written = 0
        self.over = threading.Event()

    def tasks(self, runbook: Runbook) -> dict[str, str]:
        """Those that stop it and wait until it stands, and those that let it go on."""
        wait = f"for look in $(seq 1200); do [ -e {self.stopped} ] && exit 0; sleep 0.05; done; exit 1"
        scripts = {"freeze": f"touch {self.stop}; {wait}", "thaw": f"rm -f {self.stop}"}
        found = {}
        for name, script in scripts.items():
            path = runbook.directory / f"{name}.yml"
            path.write_text(json.dumps([{"ansible.builtin.command": {"argv": ["sh", "-c", script]}}]))
            found[f"cutover_{name}_tasks"] = str(path)
        return found

    def write(self) -> None:
        collection = str(self.source.collection("openwebui_core")["id"])
        some = next(iter(self.source.records(collection).values()))
        while not self.over.wait(0.2):
            if not self.stop.exists():
                self.stopped.unlink(missing_ok=True)
                self.source.add(collection, [Record(f"written-{self.written}", some.embedding, "written meanwhile", {"n": self.written})])
                self.written += 1
            elif not self.stopped.exists():
                self.stops.append(self.written)
                self.stopped.touch()

    def goes_on(self) -> None:
        """It does, and did before this was asked."""
        before = self.written
        assert not self.stop.exists()
        for _look in range(600):
            if self.written > before:
                return
            assert not self.over.wait(0.05)
        raise AssertionError("it stands")


@contextmanager
def writing(runbook: Runbook) -> Iterator[Writer]:
    writer = Writer(runbook)
    thread = threading.Thread(target=writer.write, daemon=True)
    thread.start()
    try:
        yield writer
    finally:
        writer.over.set()
        thread.join(30)


def written(runbook: Runbook) -> set[str]:
    """What the target has of it."""
    return {name for name in runbook.target.records(str(runbook.target.collection("openwebui_core")["id"])) if name.startswith("written-")}


def test_a_writer_stands_from_the_freeze_to_the_switch_and_then_goes_on(runbook: Runbook) -> None:
    """After a cutover that failed in between, too."""
    with writing(runbook) as writer:
        runbook.write_inventory(**ONE_TO_ONE, **writer.tasks(runbook))
        failing = {"chromadb_client_commands": [["sh", "-c", f"! grep -q {runbook.target.url} {runbook.env_file}"]]}
        assert "was taken back" in runbook.play("cutover", "-e", json.dumps(failing), fails=True).stdout
        assert len(writer.stops) == 1
        writer.goes_on()
        runbook.client_is_as_before()

        runbook.play("cutover")
        assert len(writer.stops) == 2
        writer.goes_on()
    assert written(runbook) == {f"written-{number}" for number in range(writer.stops[1])}
    assert runbook.target.url.encode() in runbook.env_file.read_bytes()


def test_a_writer_whom_the_tasks_do_not_stop_ends_the_passes(runbook: Runbook) -> None:
    with writing(runbook) as writer:
        nothing = runbook.directory / "nothing.yml"
        nothing.write_text(json.dumps([{"ansible.builtin.meta": "noop"}]))
        runbook.write_inventory(**ONE_TO_ONE, cutover_freeze_tasks=str(nothing), cutover_max_passes=2)
        said = " ".join(runbook.play("cutover", fails=True).stdout.split())
        writer.goes_on()
    assert f"After 2 passes {runbook.target.url} still differs from {runbook.source.url}: somebody writes to the source." in said
    assert "The freeze tasks do not stop everybody" in said
    assert "was taken back: the clients use the source as before" in said
    runbook.client_is_as_before()
    assert not runbook.restarts.exists()
    state = runbook.state()
    assert state is not None
    assert (state["status"], state["cutover_begun"]) == ("open", "")


def test_a_marginal_decision_is_enough_where_a_person_says_so(case: Case, tmp_path: Path) -> None:
    runbook = Runbook(case, tmp_path)
    # As few as these prove little, which is a warning.
    runbook.write_inventory(**ONE_TO_ONE, validate_sample_size=5, validate_sample_seed=1)
    runbook.play("execute")
    state = runbook.state()
    assert state is not None
    assert (state["status"], state["decision"]) == ("open", "marginal")
    refused = " ".join(runbook.play("cutover", fails=True).stdout.split())
    assert "is marginal. The cutover needs a go" in refused
    assert "or set cutover_accept_marginal=true" in refused
    runbook.client_is_as_before()
    runbook.play("cutover", "-e", '{"cutover_accept_marginal": true}')
    assert runbook.target.url.encode() in runbook.env_file.read_bytes()
