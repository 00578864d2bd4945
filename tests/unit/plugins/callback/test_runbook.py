# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The runbook callback: which tasks belong to which phase, what it prints, and what it keeps for the next run."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.infrafabric.chromadb.plugins.callback import runbook

TREE = Path(runbook.__file__).parents[5]  # the directory that holds ansible_collections
PHASE = runbook.PHASE_VARIABLE


class Screen:
    """Stands for Ansible's display."""

    verbosity = 0

    def __init__(self) -> None:
        self.lines: list[str] = []

    def banner(self, text: str) -> None:
        self.lines.append(f"== {text}")

    def display(self, text: str, **_style: Any) -> None:
        self.lines.append(text)

    def warning(self, text: str, **_style: Any) -> None:
        self.lines.append(f"warning: {text}")

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


class Run:
    """A playbook's run: tells the callback what happens, on a clock of its own."""

    def __init__(self, state_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.screen = Screen()
        self.now = 1000.0
        monkeypatch.setattr(runbook.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(runbook.context, "CLIARGS", {"inventory": ["hosts,"]})
        self.callback = runbook.CallbackModule(display=self.screen)
        monkeypatch.setattr(self.callback, "get_option", {"state_file": str(state_file)}.get)
        self._uuids = itertools.count()
        self._hosts: dict[str, int] = {}

    def play(self, **variables: Any) -> None:
        self.callback.v2_playbook_on_play_start(SimpleNamespace(get_vars=lambda: variables))

    def task(
        self, action: str, seconds: float = 1.0, phase: str | None = None, event: str = "ok", host: str = "h1", check: bool = False, **result: Any
    ) -> None:
        self._hosts[host] = 1
        variables = {} if phase is None else {PHASE: phase}
        task = SimpleNamespace(action=action, _uuid=str(next(self._uuids)), get_vars=lambda: variables, check_mode=check)
        self.callback.v2_runner_on_start(SimpleNamespace(get_name=lambda: host), task)
        self.now += seconds
        getattr(self.callback, f"v2_runner_on_{event}")(SimpleNamespace(host=SimpleNamespace(get_name=lambda: host), task=task, result=result))

    def end(self) -> str:
        self.callback.v2_playbook_on_stats(SimpleNamespace(processed=self._hosts))
        return self.screen.text

    def phases(self) -> dict[str, float]:
        return {name: phase.seconds for name, phase in self.callback._phases.items()}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    return Run(tmp_path / "state" / "runbook.json", monkeypatch)


MIGRATE = "infrafabric.chromadb.migrate"
VALIDATE = "infrafabric.chromadb.validate"


def test_phase_of_a_task_is_its_variable_or_its_module(run: Run) -> None:
    run.play()
    run.task("ansible.builtin.debug")
    run.task("ansible.builtin.debug", 2, phase="precheck")
    run.task(MIGRATE, 3)
    run.task(MIGRATE, 4, phase="catch_up")
    run.task(MIGRATE, 5, phase="")
    run.task("infrafabric.chromadb.server_info", 6)
    assert run.phases() == {"precheck": 2, "migrate": 3, "catch_up": 4}


def test_phase_of_a_play_is_for_tasks_without_one(run: Run) -> None:
    run.play(**{PHASE: "watch"})
    run.task("ansible.builtin.debug", 1)
    run.task(MIGRATE, 2)
    run.task("ansible.builtin.debug", 3, phase="cutover")
    run.play()
    run.task("ansible.builtin.debug", 4)
    assert run.phases() == {"watch": 3, "cutover": 3}


def test_skipped_tasks_and_includes_do_not_count(run: Run) -> None:
    run.play()
    run.task("ansible.builtin.debug", phase="freeze", event="skipped")
    run.task("ansible.builtin.include_role", phase="freeze")
    assert run.phases() == {}


def test_nothing_is_printed_when_no_phase_ran(run: Run) -> None:
    run.play()
    run.task("ansible.builtin.debug")
    assert run.end() == ""


@pytest.mark.parametrize(("event", "failed"), [("ok", False), ("failed", True), ("unreachable", True)])
def test_failed_phase_is_marked_and_not_kept(event: str, failed: bool, run: Run, tmp_path: Path) -> None:
    run.play()
    run.task(MIGRATE, event=event, changed=True)
    assert ("FAILED" in run.end()) == failed
    kept = json.loads((tmp_path / "state" / "runbook.json").read_text())
    assert ("migrate" in kept["hosts,"]) != failed


def test_next_run_is_estimated_from_this_one(run: Run) -> None:
    for records in (1000, 2000):
        run.play()
        run.task(MIGRATE, 7, changed=True, records={"read": records})
        run.task("infrafabric.chromadb.snapshot", 4, changed=True, records=records)
        text = run.end()
        rows = [" ".join(line.split()[:5]) for line in text.splitlines() if line.startswith(("migrate", "snapshot"))]
    assert rows == ["migrate 1 h 00 min", "snapshot 5 min 00 s", "migrate 14 s 7.0 s", "snapshot 8.0 s 4.0 s"]


@pytest.mark.parametrize("how", [{"changed": False}, {"changed": True, "check": True}])
def test_run_that_did_nothing_is_no_estimate(how: dict[str, Any], run: Run) -> None:
    for changed in ({"changed": True}, how, {"changed": True}):
        run.play()
        run.task(MIGRATE, 7 if changed == {"changed": True} else 1, **changed)
        run.screen.lines.clear()
        text = run.end()
    assert "migrate     7.0 s   7.0 s" in text


@pytest.mark.parametrize("content", ["", "[]", "{", '{"hosts,": []}', '{"hosts,": {"migrate": 3}}'])
def test_poor_state_file_is_no_obstacle(content: str, run: Run, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "runbook.json").write_text(content)
    run.play()
    run.task(MIGRATE, changed=True)
    assert "* planned" in run.end()
    assert json.loads((tmp_path / "state" / "runbook.json").read_text())["hosts,"]["migrate"]["seconds"] == 1.0


def test_state_that_cannot_be_kept_is_a_warning(run: Run, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    run.play()
    run.task(MIGRATE, changed=True)
    assert "warning: The times of this run could not be kept" in run.end()


def test_decision_of_every_host(run: Run) -> None:
    run.play()
    run.task(VALIDATE, host="h2", decision="no_go", reasons=["37 records are lost"], report={"json": "/r/v.json", "html": "/r/v.html", "markdown": None})
    run.task(VALIDATE, host="h1", decision="go", reasons=[], report={"json": None})
    assert run.end().splitlines()[-4:] == [
        "decision  GO (h1)",
        "decision  NO-GO (h2)",
        "          37 records are lost",
        "report    h2:/r/v.html",
    ]


@pytest.mark.parametrize(("decision", "shown"), [("rolled back", "ROLLED BACK"), ("not validated", "NOT VALIDATED"), ("no_go", "NO-GO")])
def test_decision_of_the_playbook(decision: str, shown: str, run: Run) -> None:
    run.play()
    run.task("ansible.builtin.set_fact", phase="rollback", ansible_facts={runbook.OUTCOME_FACT: {"decision": decision}})
    assert f"decision  {shown}" in run.end().splitlines()


def test_decision_in_a_loop(run: Run) -> None:
    run.play()
    run.task(VALIDATE, results=[{"decision": "go", "reasons": []}])
    assert "decision  GO (h1)" in run.end()


def test_what_the_playbook_says_comes_first(run: Run) -> None:
    run.play()
    run.task(VALIDATE, decision="go", reasons=[], report={"html": "/r/v.html"})
    run.task("ansible.builtin.set_fact", ansible_facts={runbook.OUTCOME_FACT: {"decision": "postponed", "freeze_seconds": 1.42}})
    run.task("ansible.builtin.set_fact", ansible_facts={runbook.OUTCOME_FACT: {"reasons": ["The file is there"], "report": ["/c/a.html", "/c/b.html"]}})
    assert run.end().splitlines()[-5:] == [
        "decision  POSTPONED",
        "          The file is there",
        "frozen    1.4 s",
        "report    /c/a.html",
        "report    /c/b.html",
    ]


def test_each_playbook_begins_anew(run: Run) -> None:
    run.play()
    run.task(VALIDATE, decision="no_go", reasons=[])
    run.end()
    run.screen.lines.clear()
    run.play()
    run.task(MIGRATE)
    assert "decision" not in run.end()


def test_playbook_without_a_host_is_a_warning(run: Run) -> None:
    run.play()
    assert run.end().startswith("warning: Nothing was done")


PLAY = [{
    "hosts": "all",
    "gather_facts": False,
    "tasks": [
        {"ansible.builtin.debug": {"msg": "x"}, "vars": {PHASE: "precheck"}},
        {"vars": {PHASE: "cutover"}, "block": [
            {"ansible.builtin.debug": {"msg": "x"}},
            {"ansible.builtin.include_tasks": "more.json"},
            {"ansible.builtin.debug": {"msg": "x"}, "vars": {PHASE: "freeze"}},
        ]},
        {"ansible.builtin.include_tasks": "more.json", "vars": {PHASE: "watch"}},
        {"ansible.builtin.set_fact": {runbook.OUTCOME_FACT: {"decision": "go", "reasons": ["All is well"]}}},
    ],
}]


def test_in_a_real_playbook(tmp_path: Path) -> None:
    for name, content in (("play.json", PLAY), ("more.json", [{"ansible.builtin.debug": {"msg": "x"}}])):
        (tmp_path / name).write_text(json.dumps(content))
    (tmp_path / "ansible.cfg").write_text(f"[defaults]\ncallbacks_enabled = infrafabric.chromadb.runbook\ncollections_path = {TREE}\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "CHROMADB_"))}
    environment.update(ANSIBLE_CONFIG=str(tmp_path / "ansible.cfg"), CHROMADB_RUNBOOK_STATE_FILE=str(tmp_path / "runbook.json"))
    words = [sys.executable, "-m", "ansible", "playbook", "-i", "h1,h2,", str(tmp_path / "play.json")]
    done = subprocess.run(words, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.partition("RUNBOOK")[2].splitlines()[1:]
    assert [line.split()[0] for line in lines if line] == ["phase", "precheck", "cutover", "freeze", "watch", "total", "*", "decision", "All"]
    kept = json.loads((tmp_path / "runbook.json").read_text())
    assert set(kept["h1,h2,"]) == {"precheck", "cutover", "freeze", "watch"}
