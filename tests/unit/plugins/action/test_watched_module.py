# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Watched modules as Ansible runs them: on this machine, and as jobs on what looks like another host.

`controller/` holds a module that takes its time, its action plugin, and the connection to the other host.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable

import pytest
from ansible.errors import AnsibleConnectionFailure

from ansible_collections.infrafabric.chromadb.plugins.plugin_utils import _watched_module
from ansible_collections.infrafabric.chromadb.plugins.plugin_utils._progress_lines import ProgressLines
from ansible_collections.infrafabric.chromadb.plugins.plugin_utils._watched_module import Job, WatchedModule, figures, read_answer, tidied

CONTROLLER = Path(__file__).parent / "controller"
TREE = Path(_watched_module.__file__).parents[5]  # the directory that holds ansible_collections
PROGRESS = re.compile(r"^(\w+) \| slow: import  \[#+\.*\] +\d+ %  \d+/100", re.MULTILINE)

Play = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "ansible.cfg").touch()
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "CHROMADB_", "PYTEST"))}
    return {
        **clean,
        "ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(TREE),
        "ANSIBLE_LIBRARY": str(CONTROLLER / "library"),
        "ANSIBLE_ACTION_PLUGINS": str(CONTROLLER / "action_plugins"),
        "ANSIBLE_CONNECTION_PLUGINS": str(CONTROLLER / "connection_plugins"),
        "ANSIBLE_PIPELINING": "true",
        "ANSIBLE_LOCAL_TEMP": str(tmp_path / "local"),
        "ANSIBLE_REMOTE_TEMP": str(tmp_path / "remote"),
        "ANSIBLE_ASYNC_DIR": str(tmp_path / "jobs"),
        "FARAWAY_CUT": str(tmp_path / "cut"),
        "TMPDIR": str(tmp_path),
    }


@pytest.fixture
def play(tmp_path: Path, environment: dict[str, str]) -> Play:
    """Run tasks on `here` (this machine) and `there` (which looks like another host)."""
    inventory = {"all": {"hosts": {"here": {"ansible_connection": "local"}, "there": {"ansible_connection": "faraway"}}}}
    (tmp_path / "hosts.json").write_text(json.dumps(inventory))

    def play(*tasks: dict[str, Any], hosts: str = "all", **variables: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "play.json").write_text(json.dumps([{"hosts": hosts, "gather_facts": False, "tasks": list(tasks)}]))
        words = [sys.executable, "-m", "ansible", "playbook", "-i", str(tmp_path / "hosts.json"), str(tmp_path / "play.json")]
        words += ["-D", "-e", f"ansible_python_interpreter={sys.executable}"]
        return subprocess.run(words, env={**environment, **variables}, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False)

    return play


def shown_hosts(run: subprocess.CompletedProcess[str]) -> set[str]:
    return set(PROGRESS.findall(run.stdout))


def leftovers(tmp_path: Path) -> list[str]:
    """Jobs and progress files that nobody took away. Ansible's own temporary directory of a job goes within five seconds after it."""
    return [str(path) for path in tmp_path.rglob("*") if "jobs/" in str(path) or "chromadb-progress" in str(path)]


def test_result_is_the_modules_own_wherever_it_runs(play: Play, tmp_path: Path) -> None:
    def tasks(name: str) -> list[dict[str, Any]]:
        ends = [{"name": end, "slow": {"end": end}, "register": end, "ignore_errors": True} for end in ("success", "failure", "death")]
        results = {end: f"{{{{ {end} }}}}" for end in ("success", "failure", "death")}
        keep = {"ansible.builtin.copy": {"content": results, "dest": f"{tmp_path}/{name}-{{{{ inventory_hostname }}}}.json"}, "delegate_to": "here"}
        return [*ends, keep]

    watched, plain = play(*tasks("watched")), play(*tasks("plain"), hosts="here", CHROMADB_SHOW_PROGRESS="false")
    assert (watched.returncode, plain.returncode) == (0, 0), watched.stdout + watched.stderr
    assert shown_hosts(watched) == {"here", "there"}
    assert shown_hosts(plain) == set()
    results = {path.stem: json.loads(path.read_text()) for path in tmp_path.glob("*-*.json")}
    assert set(results) == {"watched-here", "watched-there", "plain-here"}
    for end in ("success", "failure"):
        assert {json.dumps(result[end], sort_keys=True) for result in results.values()} == {json.dumps(results["plain-here"][end], sort_keys=True)}
    success, failure = results["watched-there"]["success"], results["watched-there"]["failure"]
    assert (success["changed"], success["seconds"], success["failed"], success["warnings"]) == (True, 0.2, False, ["Mind the gap."])
    assert success["deprecations"][0]["msg"] == "An old thing."
    assert (failure["failed"], failure["failure_class"], failure["ids"], failure["msg"]) == (True, "drift", ["a"], "It moved.")
    assert {result["death"]["failure_class"] for result in results.values()} == {"partial"}
    assert (watched.stdout.count("+b"), plain.stdout.count("+b")) == (2, 1)
    assert leftovers(tmp_path) == []


def test_no_progress_where_nobody_wants_it(play: Play) -> None:
    run = play(
        {"slow": {}, "check_mode": True, "register": "checked"},
        {"ansible.builtin.assert": {"that": "checked.check"}},
        {"slow": {}, "async": 30, "poll": 1},
        {"slow": {}, "no_log": True},
        {"slow": {"progress_file": "/dev/null/mine"}, "ignore_errors": True},
    )
    assert run.returncode == 0, run.stdout
    assert shown_hosts(run) == set()


def test_a_network_that_is_cut_for_a_while_costs_nothing(play: Play, tmp_path: Path) -> None:
    cut = tmp_path / "cut"

    def cut_for_a_while() -> None:
        wait_for(lambda: any((tmp_path / "jobs").glob("chromadb-progress-*.json")))
        cut.touch()
        time.sleep(3)  # how long the outage lasts
        cut.unlink()

    cutter = threading.Thread(target=cut_for_a_while)
    cutter.start()
    run = play({"slow": {"seconds": 5}}, hosts="there")
    cutter.join()
    assert run.returncode == 0, run.stdout
    assert "there | does not answer" in run.stdout
    assert shown_hosts(run) == {"there"}
    assert leftovers(tmp_path) == []


def test_a_host_that_takes_no_jobs_runs_the_module_as_always(play: Play, tmp_path: Path) -> None:
    run = play({"slow": {}}, hosts="there", ANSIBLE_ASYNC_DIR="/dev/null/jobs")
    assert run.returncode == 0, run.stdout
    assert "changed: [there]" in run.stdout


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


# What the host answers

RUNNING = '{"started": true, "finished": false, "ansible_job_id": "j1.2"}'
FIGURES = '{"operation": "slow", "phase": "import", "done": 5, "total": 100, "seconds": 1.0}'


@pytest.mark.parametrize(("answer", "progress", "running"), [
    (f"{FIGURES}\n---\n{RUNNING}", FIGURES, True),
    (f"{FIGURES}\r\n---\r\n{RUNNING}\r\n", FIGURES, True),
    (f"\n---\n{RUNNING}", "", True),
    ("---\n", "", True),
    ("", "", True),
    (f"Welcome!\n{FIGURES}\n---\n{RUNNING}", FIGURES, True),
    (f'{FIGURES}\n---\n{{"changed": true}}', FIGURES, False),
    (f'{FIGURES}\n---\n{{"changed": true, "snapshot": {{"snapshot_id": "a result that is cut off', FIGURES, False),
    (f'{FIGURES}\n---\n{{"started": true, "finished": true}}', FIGURES, False),
])
def test_read_answer(answer: str, progress: str, running: bool) -> None:
    assert read_answer(answer) == (progress, running)


@pytest.mark.parametrize(("text", "read"), [('{"a": 1}', {"a": 1}), ("", None), ('{"a":', None), ("[1]", None), ("1", None)])
def test_figures(text: str, read: Any) -> None:
    assert figures(text) == read


def test_tidied() -> None:
    result = {"changed": True, "invocation": {"module_args": {"progress_file": "/tmp/x", "url": "u"}}}
    assert tidied(result) == {"changed": True, "invocation": {"module_args": {"progress_file": None, "url": "u"}}}
    assert tidied({"failed": True, "msg": "gone"})["failure_class"] == "partial"
    assert tidied({"failed": True, "failure_class": "lock"})["failure_class"] == "lock"


class Host:
    """A host that answers questions about a job from a script, on a clock of its own; the last answer is given for ever."""

    def __init__(self, answers: list[Any], alive: bool = True) -> None:
        self.answers, self.alive = answers, alive
        self.now = 0.0
        self.asked = 0
        self.said: list[str] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def ask(self, _job: Any) -> tuple[str, bool]:
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        progress, running = answer
        return progress, running

    def wait(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
        action = WatchedModule.__new__(WatchedModule)
        monkeypatch.setattr(_watched_module, "time", self)
        monkeypatch.setattr(action, "_ask", self.ask)
        monkeypatch.setattr(action, "_is_alive", lambda _job: self.alive)
        monkeypatch.setattr(action, "_result", lambda _job, _variables: {"finished": True, "changed": True})
        monkeypatch.setattr(action, "_connection", SimpleNamespace(reset=lambda: None), raising=False)
        result: dict[str, Any] = action._wait(Job("j1.2", "/jobs/j1.2", "/jobs/p.json"), {}, ProgressLines("h1", self.said.append, self.monotonic))
        return result


LOST = AnsibleConnectionFailure("the network is cut")
DONE = {"finished": True, "changed": True}


@pytest.mark.parametrize("answers", [
    [(FIGURES, False)],
    [("", True), (FIGURES, True), (FIGURES, False)],
    [(FIGURES, True), *[LOST] * 20, (FIGURES, False)],
])
def test_wait_ends_with_the_result(answers: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    assert Host(answers).wait(monkeypatch) == DONE


def test_wait_is_quick_for_a_module_that_is_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host([(FIGURES, True), (FIGURES, True), (FIGURES, False)])
    host.wait(monkeypatch)
    assert host.now < 1


def test_an_outage_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host([LOST, LOST, LOST, ("", True), LOST, ("", False)])
    host.wait(monkeypatch)
    assert len(host.said) == 2


def test_a_host_that_stays_away_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host([(FIGURES, True), LOST])
    with pytest.raises(AnsibleConnectionFailure):
        host.wait(monkeypatch)
    assert _watched_module.OUTAGE_SECONDS < host.now < _watched_module.OUTAGE_SECONDS + 10


def test_a_job_whose_process_is_gone_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host([(FIGURES, True)], alive=False)
    result = host.wait(monkeypatch)
    assert result["failed"]
    assert "h1" in result["msg"]
    assert _watched_module.SILENCE_SECONDS < host.now < _watched_module.SILENCE_SECONDS + 10


def test_a_job_that_ended_just_now_has_not_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_for = Host([(FIGURES, True)], alive=False)
    looked_for.wait(monkeypatch)
    questions = looked_for.asked
    # The last of these questions is the one after the process was not found.
    assert Host([*[(FIGURES, True)] * (questions - 1), (FIGURES, False)], alive=False).wait(monkeypatch) == DONE


def test_a_silent_job_that_lives_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host([*[(FIGURES, True)] * 500, (FIGURES, False)])
    assert host.wait(monkeypatch) == DONE
    assert host.now > 600
