# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The source's own server refuses writes for a while: by triggers in its database, or by the scorecard of 1.x."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Callable

import pytest
import requests

from tests.support import run_module
from tests.support.case import Case
from tests.support.changing_source import fill, record
from tests.support.chroma_server import ChromaServer
from tests.support.equality import contents_differences
from tests.support.raw import RawChroma, RawError
from tests.support.run_module import CHECKOUT, ansible_playbook
from tests.support.server_versions import CURRENT, PINS, cache_directory

SCRIPT = CHECKOUT / "roles" / "cutover" / "files" / "chromadb-freeze"
INSTALLED = [version for version in PINS if not version.startswith("0.3.") and (cache_directory() / "servers" / version / ".complete").exists()]
SOME = random.Random(1)


class FreezeCommand:
    """chromadb-freeze for one server."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        self.words = [sys.executable, str(SCRIPT), "--state-directory", str(directory), *arguments]

    def __call__(self, *words: str, fails: bool = False) -> dict[str, Any]:
        done = subprocess.run([*self.words, *words], capture_output=True, text=True, check=False)
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer


def poll(what: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def writes(source: RawChroma) -> dict[str, Callable[[], object]]:
    """Every kind of write of a client, to the collection `things`."""
    collection = str(source.collection("things")["id"])
    return {
        "add": lambda: source.add(collection, [record(SOME, "added")]),
        "upsert": lambda: source.upsert(collection, [record(SOME, "things-1")]),
        "update": lambda: source.update(collection, ids=["things-2"], documents=["changed"]),
        "delete": lambda: source.delete(collection, ["things-3"]),
        "create": lambda: source.create("another"),
        "rename": lambda: source.modify(collection, new_name="renamed"),
        "drop": lambda: source.delete_collection("things"),
    }


def accepted(source: RawChroma) -> list[str]:
    """The writes that are not refused, tried until the last one deletes the collection."""
    done = []
    for name, write in writes(source).items():
        try:
            write()
        except RawError:
            continue
        done.append(name)
    return done


def takes_writes(source: RawChroma) -> bool:
    try:
        source.upsert(str(source.collection("things")["id"]), [record(SOME, "things-1")])
    except (RawError, requests.ConnectionError):
        return False
    return True


@pytest.mark.parametrize("version", [*INSTALLED, CURRENT])
def test_triggers_refuse_every_write_and_no_read(version: str, tmp_path: Path) -> None:
    with ChromaServer(version) as server:
        source = RawChroma(server.url)
        fill(source, random.Random(2), {"things": 10})
        before = source.contents()
        command = FreezeCommand(tmp_path, "--data-directory", str(server.directory / "data"))
        assert command("--check", "freeze")["changed"] is True
        assert command("status")["there"] is False

        frozen = command("freeze", "--seconds", "120")
        assert frozen["changed"] is True
        assert accepted(source) == []
        assert source.contents().keys() == before.keys()
        assert {name: sorted(found.records) for name, found in source.contents().items()} == {name: sorted(found.records) for name, found in before.items()}
        again = command("freeze", "--seconds", "120")
        assert (again["changed"], again["token"]) == (False, frozen["token"])
        assert command("require", frozen["token"])["frozen"] is True
        assert "has ended" in command("require", "another", fails=True)["error"]
        server.restart()
        source = source.at(server.url)
        assert accepted(source) == [], "a restart does not end it"

        assert command("--check", "thaw")["changed"] is True
        assert command("status")["frozen"] is True
        assert command("thaw")["changed"] is True
        assert command("thaw")["changed"] is False
        assert accepted(source) == list(writes_names())


def writes_names() -> Iterator[str]:
    yield from ("add", "upsert", "update", "delete", "create", "rename")


def test_only_a_freeze_of_its_own_is_taken_back_when_the_log_is_not_worked_off(tmp_path: Path) -> None:
    with ChromaServer() as server:
        fill(RawChroma(server.url), random.Random(3), {"things": 5})
        command = FreezeCommand(tmp_path, "--data-directory", str(server.directory / "data"))
        command("freeze")

        def move_the_end_of_the_log(by: int) -> None:
            with closing(sqlite3.connect(server.directory / "data" / "chroma.sqlite3", isolation_level=None)) as database:
                database.execute("UPDATE embeddings_queue SET seq_id = seq_id + ? WHERE seq_id = (SELECT max(seq_id) FROM embeddings_queue)", (by,))

        move_the_end_of_the_log(1000)
        said = command("freeze", "--drain-seconds", "0.2", fails=True)["error"]
        assert "still being worked off" in said
        assert "taken back" not in said
        assert "stands" in said
        assert command("status")["frozen"] is True
        command("thaw")
        assert "The freeze was taken back." in command("freeze", "--drain-seconds", "0.2", fails=True)["error"]
        assert command("status")["there"] is False
        move_the_end_of_the_log(-1000)
        command("freeze")


def test_triggers_end_by_themselves_without_any_process(tmp_path: Path) -> None:
    with ChromaServer() as server:
        source = RawChroma(server.url)
        fill(source, random.Random(3), {"things": 5})
        command = FreezeCommand(tmp_path, "--data-directory", str(server.directory / "data"))
        token = command("freeze", "--seconds", "2")["token"]
        assert takes_writes(source) is False
        poll(lambda: takes_writes(source))
        assert command("status")["frozen"] is False
        assert "has ended" in command("require", token, fails=True)["error"]
        assert command("thaw")["changed"] is True, "what is left of them goes"


@pytest.fixture
def configured(tmp_path: Path) -> Iterator[tuple[ChromaServer, FreezeCommand]]:
    """A 1.x server with a configuration file, and a restart command that this test carries out."""
    with ChromaServer(settings={"allow_reset": True}) as server:
        asked, done = tmp_path / "asked", tmp_path / "done"
        script = f"rm -f {done}; touch {asked}; while [ ! -e {done} ]; do sleep 0.05; done"
        config = server.directory / "frozen.yaml"
        config.write_bytes((server.directory / "chroma.yaml").read_bytes().rstrip(b"\n"))
        command = FreezeCommand(tmp_path / "state", "--config-file", str(config), "--restart-command", json.dumps(["sh", "-c", script]))
        yield server, command


class Restarts:
    """What systemd does: restarts the server with its configuration file when it is asked to."""

    def __init__(self, server: ChromaServer, directory: Path) -> None:
        self.server, self.asked, self.done = server, directory / "asked", directory / "done"
        self.config = server.directory / "frozen.yaml"
        server._configuration_file = lambda data: self.config  # type: ignore[method-assign]

    def carry_out(self) -> None:
        poll(self.asked.exists)
        self.asked.unlink()
        self.server.restart()
        self.done.touch()


def test_the_scorecard_refuses_every_write_and_the_file_comes_back_byte_for_byte(configured: tuple[ChromaServer, FreezeCommand], tmp_path: Path) -> None:
    server, command = configured
    source = RawChroma(server.url)
    fill(source, random.Random(4), {"things": 10})
    restarts = Restarts(server, tmp_path)
    original = restarts.config.read_bytes()
    assert command("--check", "freeze")["changed"] is True
    assert restarts.config.read_bytes() == original

    freezing = subprocess.Popen([*command.words, "freeze", "--seconds", "300"], stdout=subprocess.PIPE, text=True)
    restarts.carry_out()
    frozen = json.loads(freezing.communicate()[0])
    source = source.at(server.url)
    assert accepted(source) == []
    assert source.count(str(source.collection("things")["id"])) == 10
    assert command("require", frozen["token"])["frozen"] is True

    thawing = subprocess.Popen([*command.words, "thaw"], stdout=subprocess.PIPE, text=True)
    restarts.carry_out()
    assert json.loads(thawing.communicate()[0]) == {"changed": True}
    assert restarts.config.read_bytes() == original
    assert accepted(source.at(server.url)) == list(writes_names())
    end_watchdogs(tmp_path)


def test_the_scorecard_ends_by_itself(configured: tuple[ChromaServer, FreezeCommand], tmp_path: Path) -> None:
    server, command = configured
    source = RawChroma(server.url)
    fill(source, random.Random(5), {"things": 5})
    restarts = Restarts(server, tmp_path)
    original = restarts.config.read_bytes()
    freezing = subprocess.Popen([*command.words, "freeze", "--seconds", "5"], stdout=subprocess.DEVNULL)
    restarts.carry_out()
    assert freezing.wait() == 0
    assert takes_writes(source.at(server.url)) is False
    restarts.carry_out()
    assert restarts.config.read_bytes() == original
    assert takes_writes(source.at(server.url)) is True


def end_watchdogs(directory: Path) -> None:
    """The processes that wait for the end of a freeze of this test."""
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
        except OSError:
            continue
        if b"expire" in words and any(word.startswith(os.fsencode(directory)) for word in words):
            os.kill(int(entry.name), signal.SIGTERM)


def test_a_server_with_a_scorecard_of_its_own_is_left_alone(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("port: 8000\nscorecard_enabled: true\n")
    answer = FreezeCommand(tmp_path, "--config-file", str(config), "--restart-command", '["true"]')("freeze", fails=True)
    assert "scorecard of its own" in answer["error"]
    assert config.read_text() == "port: 8000\nscorecard_enabled: true\n"


def test_a_thaw_whose_restart_failed_is_made_up_for(tmp_path: Path) -> None:
    """The file is clean by then, and the server still refuses: it reads its configuration when it starts."""
    config, restarts, broken = tmp_path / "config.yaml", tmp_path / "restarts", tmp_path / "broken"
    config.write_text("port: 8000\n")
    script = f"test ! -e {broken} && echo once >> {restarts}"
    command = FreezeCommand(tmp_path / "state", "--config-file", str(config), "--restart-command", json.dumps(["sh", "-c", script]))
    try:
        command("freeze", "--seconds", "300")
        broken.touch()
        assert "failed" in command("thaw", fails=True)["error"]
        assert config.read_text() == "port: 8000\n"
        assert command("status")["thaw_pending"] is True
        assert "failed" in command("thaw", fails=True)["error"]
        broken.unlink()
        assert command("thaw")["changed"] is True
        assert command("thaw")["changed"] is False
        assert command("status")["thaw_pending"] is False
        assert restarts.read_text().split() == ["once", "once"]
    finally:
        end_watchdogs(tmp_path)


class Cutover:
    """Source and target on this machine, one to one, frozen by triggers; catching up by the source's own file."""

    def __init__(self, case: Case, server: ChromaServer, directory: Path) -> None:
        self.case, self.directory = case, directory
        fill(case.source, random.Random(6), {"first": 80, "second": 40})
        addresses = {f"chromadb_{side}_{option}": value
                     for side, place in (("source", case.source), ("target", case.target)) for option, value in place.endpoint.items()}
        directories = {f"chromadb_{kind}_dir": f"{directory}/{kind}/{{{{ inventory_hostname }}}}" for kind in ("snapshot", "state", "report")}
        self.file = directory / "client.env"
        self.file.write_text("CHROMADB_URL=http://old.example.com:1\n")
        self.inventory = directory / "inventory.json"
        self.inventory.write_text(json.dumps({"all": {
            "vars": {
                "ansible_connection": "local", "ansible_python_interpreter": sys.executable, **addresses, **directories,
                "chromadb_schema": "none", "chromadb_routes": [], "chromadb_source_data_directory": str(server.directory / "data"),
                "chromadb_freeze_method": "sqlite_triggers", "cutover_freeze_command": str(directory / "chromadb-freeze"),
                "cutover_freeze_state_directory": str(directory / "freeze"), "cutover_require_approvals": False,
                "chromadb_client_files": [{"path": str(self.file), "key": "CHROMADB_URL"}],
                "cutover_watch_seconds": 0.2, "cutover_watch_interval": 0.2, "preflight_min_free_mb": 1,
                "validate_thresholds": {"max_latency_ms": 600_000, "min_queries_per_second": 0},
            },
            "children": {f"chromadb_{role}": {"hosts": {f"the_{role}": {}}} for role in ("source", "target", "client")},
        }}))

    def play(self, name: str, *arguments: str, fails: bool = False) -> str:
        done = ansible_playbook(f"infrafabric.chromadb.{name}", "-i", str(self.inventory), *arguments)
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return " ".join(done.stdout.split())


@pytest.fixture
def own_server() -> Iterator[ChromaServer]:
    with ChromaServer() as server:
        yield server


def test_a_cutover_with_triggers_and_change_detection(own_server: ChromaServer, target: RawChroma, tmp_path: Path) -> None:
    cutover = Cutover(Case(RawChroma(own_server.url), target, tmp_path), own_server, tmp_path)
    cutover.play("execute")
    source = cutover.case.source
    source.upsert(str(source.collection("first")["id"]), [record(SOME, "first-1"), record(SOME, "late")])
    cutover.play("cutover", "--check")
    assert takes_writes_to(source, "first")
    thaw = f"{sys.executable} {SCRIPT} --data-directory {own_server.directory / 'data'}"

    # A writer goes on during the catch-up; the freeze ends before the target is used.
    shown = cutover.play("cutover", "-v")
    assert cutover.case.differences() == []
    # The pass before the freeze compares everything; the one under it nothing but what was written since, which is nothing.
    assert "121 records read: 2 added" not in shown
    assert "0 records read, 121 not written since" in shown
    assert cutover.file.read_text() == f"CHROMADB_URL={target.url}\n"
    assert takes_writes_to(source, "first"), "the source takes writes again"
    assert json.loads(subprocess.check_output([*thaw.split(), "status"]))["there"] is False


def triggers(server: ChromaServer) -> list[str]:
    with closing(sqlite3.connect(f"file:{server.directory}/data/chroma.sqlite3?mode=ro", uri=True)) as database:
        return [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'infrafabric%'")]


def test_a_rollback_ends_the_freeze_of_a_control_node_that_died(own_server: ChromaServer, target: RawChroma, tmp_path: Path) -> None:
    """The freeze would last much longer than this test: it is the rollback that ends it."""
    cutover = Cutover(Case(RawChroma(own_server.url), target, tmp_path), own_server, tmp_path)
    cutover.play("execute")
    source, before, client = cutover.case.source, cutover.case.source.contents(), cutover.file.read_text()
    long = ("-e", json.dumps({"cutover_freeze_limit": 3600}))
    playbook = start_playbook("infrafabric.chromadb.cutover", "-i", str(cutover.inventory), *long)
    try:
        poll(lambda: bool(triggers(own_server)) or playbook.poll() is not None, 300)
        assert playbook.poll() is None
    finally:
        os.killpg(playbook.pid, signal.SIGKILL)
        playbook.communicate()
    assert takes_writes_to(source, "first") is False
    cutover.play("rollback", *long)
    assert triggers(own_server) == []
    assert contents_differences(before, source.contents()) == []
    assert takes_writes_to(source, "first") is True
    assert target.contents() == {}
    assert cutover.file.read_text() == client


def start_playbook(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [run_module.command("ansible-playbook"), *words], cwd=CHECKOUT, env=run_module.ansible_environment(None), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


def takes_writes_to(source: RawChroma, name: str) -> bool:
    collection = str(source.collection(name)["id"])
    try:
        source.update(collection, ids=[f"{name}-2"], documents=["text"])
    except RawError:
        return False
    return True
