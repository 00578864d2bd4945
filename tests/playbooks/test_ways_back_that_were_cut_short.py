# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Cutovers and rollbacks that were interrupted, or that did not reach everybody: nothing is called done that is not, and nothing is lost."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable

import pytest

from tests.support.case import Case
from tests.support.equality import contents_differences
from tests.support.raw import Record
from tests.support.run_module import CHECKOUT, ansible_environment, command

from .test_runbook import Runbook

DISCARD = {"rollback_discard_new_writes": True}
ONE_TO_ONE: dict[str, Any] = {"chromadb_schema": "none", "chromadb_routes": []}


@pytest.fixture
def runbook(case: Case, tmp_path: Path) -> Runbook:
    found = Runbook(case, tmp_path)
    found.write_inventory(**ONE_TO_ONE)
    return found


@contextmanager
def started(runbook: Runbook, name: str, variables: dict[str, Any]) -> Iterator[subprocess.Popen[str]]:
    words = [command("ansible-playbook"), f"infrafabric.chromadb.{name}", "-i", str(runbook.inventory), "-e", json.dumps(variables)]
    playbook = subprocess.Popen(
        words, cwd=CHECKOUT, env=ansible_environment(None), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        yield playbook
    finally:
        if playbook.poll() is None:
            os.killpg(playbook.pid, signal.SIGKILL)
        playbook.communicate()


def until(playbook: subprocess.Popen[str], when: Callable[[], bool]) -> None:
    last = time.monotonic() + 300
    while not when():
        assert playbook.poll() is None, "it ended before"
        assert time.monotonic() < last
        time.sleep(0.02)


def killed(runbook: Runbook, name: str, variables: dict[str, Any], when: Callable[[], bool]) -> None:
    """The control node dies at that moment, with all that it has started."""
    with started(runbook, name, variables) as playbook:
        until(playbook, when)


def add_to_source(runbook: Runbook, name: str) -> None:
    held = runbook.source.collection("openwebui_core")
    some = next(iter(runbook.source.records(str(held["id"])).values()))
    runbook.source.add(held["id"], [Record(name, some.embedding, "written since", {"n": 1})])


def in_target(runbook: Runbook, name: str) -> bool:
    return name in runbook.target.records(str(runbook.target.collection("openwebui_core")["id"]))


def test_a_cutover_that_died_while_it_waited_is_begun_anew(runbook: Runbook) -> None:
    """Its client's file is a link, and is kept already; that does not mean that the client was moved."""
    runbook.play("execute")
    postpone = runbook.directory / "postpone"
    postpone.touch()
    killed(runbook, "cutover", {"chromadb_postpone_file": str(postpone)}, lambda: bool((runbook.state() or {}).get("cutover_begun")))
    runbook.client_is_as_before()
    add_to_source(runbook, "since")
    runbook.play("cutover")
    assert in_target(runbook, "since")
    assert runbook.target.url.encode() in runbook.env_file.read_bytes()


def test_a_cutover_that_died_before_the_client_was_restarted_is_not_called_done(runbook: Runbook) -> None:
    runbook.play("execute")
    waiting = runbook.directory / "waiting"
    slow = {"chromadb_client_commands": [["sh", "-c", f"touch {waiting}; sleep 600"]]}
    killed(runbook, "cutover", slow, waiting.exists)
    assert runbook.target.url.encode() in runbook.env_file.read_bytes()
    # The client, which knows nothing of its new file.
    add_to_source(runbook, "since")
    refused = " ".join(runbook.play("cutover", fails=True).stdout.split())
    assert "An earlier cutover was interrupted while it moved the clients: the_client" in refused
    runbook.play("rollback", "-e", json.dumps(DISCARD))
    runbook.client_is_as_before()
    runbook.target_is_as_before()
    runbook.play("execute")
    runbook.play("cutover")
    assert in_target(runbook, "since")


@contextmanager
def off_the_air(runbook: Runbook, role: str) -> Iterator[None]:
    """Nobody answers where this host's sshd should be."""
    before = runbook.inventory.read_text()
    inventory = json.loads(before)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        inventory["all"]["children"][f"chromadb_{role}"]["hosts"][f"the_{role}"] = {
            "ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": free.getsockname()[1],
        }  # fmt: skip
        runbook.inventory.write_text(json.dumps(inventory))
        yield
    runbook.inventory.write_text(before)


def without_the_client(runbook: Runbook) -> None:
    inventory = json.loads(runbook.inventory.read_text())
    del inventory["all"]["children"]["chromadb_client"]
    runbook.inventory.write_text(json.dumps(inventory))


def refused_without_its_client(runbook: Runbook) -> None:
    whole = runbook.inventory.read_text()
    without_the_client(runbook)
    for arguments in (("--check",), ()):
        refused = " ".join(runbook.play("rollback", *arguments, "-e", json.dumps(DISCARD), fails=True).stdout.split())
        assert "This inventory does not have the_client: use the one of the cutover" in refused
    assert "openwebui_core" in runbook.target.names()
    runbook.inventory.write_text(whole)


def test_an_inventory_that_lacks_a_client_brings_no_target_back_under_it(runbook: Runbook) -> None:
    """The target's host knows whom the cutover moved, also one that did not end."""
    runbook.play("execute")
    waiting = runbook.directory / "waiting"
    slow = {"chromadb_client_commands": [["sh", "-c", f"touch {waiting}; sleep 600"]]}
    killed(runbook, "cutover", slow, waiting.exists)
    assert "and has not ended" in runbook.play("status").stdout
    refused_without_its_client(runbook)
    runbook.play("rollback", "-e", json.dumps(DISCARD))
    runbook.client_is_as_before()

    runbook.play("execute")
    runbook.play("cutover")
    refused_without_its_client(runbook)
    # Told to the shell by a code of its own.
    words = [str(CHECKOUT / "bin/chromadb-rollback.sh"), "rollback", "latest", "--yes", "-i", str(runbook.inventory)]
    shell = subprocess.run(words, env=ansible_environment(None), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False)
    assert shell.returncode == 9, shell.stdout + shell.stderr
    without_the_client(runbook)
    runbook.play("rollback", "-e", json.dumps({**DISCARD, "rollback_given_up_hosts": ["the_client"]}))
    runbook.target_is_as_before()


def test_a_dry_run_of_everything_after_a_run_that_was_taken_back(runbook: Runbook) -> None:
    runbook.play("execute")
    runbook.play("rollback")
    runbook.play("runbook", "--check")
    runbook.target_is_as_before()


def test_clients_come_back_from_a_target_whose_host_is_dead(runbook: Runbook) -> None:
    runbook.play("execute")
    runbook.play("cutover")
    with off_the_air(runbook, "target"):
        runbook.play("rollback", fails=True)
        assert runbook.target.url.encode() in runbook.env_file.read_bytes(), "nobody has said that the new writes may go"
        runbook.play("rollback", "-e", json.dumps(DISCARD), fails=True)
        runbook.client_is_as_before()
    runbook.play("rollback", "-e", json.dumps(DISCARD))
    runbook.target_is_as_before()


def test_the_target_stays_while_a_client_could_not_be_brought_back(runbook: Runbook) -> None:
    runbook.play("execute")
    runbook.play("cutover")
    moved = runbook.target.contents()
    with off_the_air(runbook, "client"):
        said = " ".join(runbook.play("rollback", "-e", json.dumps(DISCARD), fails=True).stdout.split())
        assert "the_client could not be brought back to the source" in said
        assert contents_differences(moved, runbook.target.contents()) == []
        runbook.play("rollback", "-e", json.dumps({**DISCARD, "rollback_given_up_hosts": ["the_client"]}), fails=True)
        runbook.target_is_as_before()
    # Back on the air, the client is still where the cutover put it: the rollback takes it back, and says so first.
    refused = " ".join(runbook.play("rollback", fails=True).stdout.split())
    assert "rollback_discard_new_writes=true" in refused
    runbook.play("rollback", "-e", json.dumps(DISCARD))
    runbook.client_is_as_before()
    runbook.target_is_as_before()


def test_a_restart_that_failed_on_the_way_back_is_made_up_for(runbook: Runbook) -> None:
    """And meanwhile the cutover, which is on record, is not called done."""
    runbook.play("execute")
    runbook.play("cutover")
    failing = {**DISCARD, "chromadb_client_commands": [["false"]]}
    runbook.play("rollback", "-e", json.dumps(failing), fails=True)
    runbook.client_is_as_before()
    state = runbook.state()
    assert state is not None
    assert state["status"] == "cut_over"
    refused = " ".join(runbook.play("cutover", fails=True).stdout.split())
    assert "a rollback was interrupted" in refused
    restarts = runbook.restarts.read_text().splitlines()
    runbook.play("rollback", "-e", json.dumps(DISCARD))
    assert runbook.restarts.read_text().splitlines() == [*restarts, "CHROMADB_URL=http://old.example.com:1"]
    runbook.client_is_as_before()
    runbook.target_is_as_before()


def test_a_cutover_that_somebody_takes_back_meanwhile_is_not_called_done(runbook: Runbook) -> None:
    runbook.play("execute")
    waiting, go = runbook.directory / "waiting", runbook.directory / "go"
    slow = [["sh", "-c", f"touch {waiting}; while [ ! -e {go} ]; do sleep 0.1; done"]]
    # Without a smoke search and a watch, either of which would have noticed it, too.
    variables = {"chromadb_client_commands": slow, "cutover_smoke_collections": 0, "cutover_watch_seconds": 0}
    with started(runbook, "cutover", variables) as cutover:
        until(cutover, waiting.exists)
        runbook.play("rollback", "-e", json.dumps(DISCARD))
        go.touch()
        said = cutover.communicate(timeout=300)[0]
    assert cutover.returncode == 2
    assert "Somebody has taken the cutover back while it was running" in " ".join(said.split())
    state = runbook.state()
    assert state is not None
    assert state["status"] == "rolled_back"
    runbook.client_is_as_before()
    runbook.target_is_as_before()


def begun(runbook: Runbook) -> str:
    return str((runbook.state() or {}).get("cutover_begun") or "")


def test_a_cutover_that_fails_at_once_leaves_another_ones_way_back_alone(runbook: Runbook) -> None:
    runbook.play("execute")
    before = runbook.env_file.read_bytes()
    postpone = runbook.directory / "postpone"
    postpone.touch()
    with started(runbook, "cutover", {"chromadb_postpone_file": str(postpone)}) as cutover:
        until(cutover, lambda: begun(runbook) != "")
        since = begun(runbook)
        said = runbook.play("cutover", "-e", json.dumps({"cutover_reverse_playbook": "/proc/nothing/can/be/written/here.yml"}), fails=True).stdout
        assert "before it changed anything" in " ".join(said.split())
        assert begun(runbook) == since
        postpone.unlink()
        said = cutover.communicate(timeout=300)[0]
    assert cutover.returncode == 0, said
    assert runbook.target.url.encode() in runbook.env_file.read_bytes()
    runbook.play("rollback", "-e", json.dumps(DISCARD))
    assert runbook.env_file.read_bytes() == before
    runbook.client_is_as_before()
    runbook.target_is_as_before()


def test_a_cutover_that_waited_while_another_was_done_takes_nothing_back(runbook: Runbook) -> None:
    runbook.play("execute")
    postpone = runbook.directory / "postpone"
    postpone.touch()
    with started(runbook, "cutover", {"chromadb_postpone_file": str(postpone)}) as cutover:
        until(cutover, lambda: begun(runbook) != "")
        runbook.play("cutover")
        moved, written = runbook.env_file.read_bytes(), runbook.target.collection("openwebui_core")["id"]
        some = next(iter(runbook.target.records(str(written)).values()))
        runbook.target.add(written, [Record("since", some.embedding, "written since", {"n": 1})])
        postpone.unlink()
        said = cutover.communicate(timeout=300)[0]
    assert cutover.returncode == 2
    assert "Nothing was taken back here" in " ".join(said.split())
    state = runbook.state()
    assert state is not None
    assert state["status"] == "cut_over"
    assert runbook.env_file.read_bytes() == moved
    assert in_target(runbook, "since")


def test_what_was_edited_while_a_cutover_waited_is_switched_and_comes_back(runbook: Runbook) -> None:
    runbook.play("execute")
    postpone = runbook.directory / "postpone"
    postpone.touch()
    killed(runbook, "cutover", {"chromadb_postpone_file": str(postpone)}, lambda: begun(runbook) != "")
    edited = runbook.env_file.read_bytes() + b"NEW_KEY=1\n"
    runbook.env_file.write_bytes(edited)
    runbook.play("cutover")
    assert b"NEW_KEY=1" in runbook.env_file.read_bytes()
    # And what is edited after the switch is kept beside the original.
    runbook.env_file.write_bytes(runbook.env_file.read_bytes() + b"LATER=2\n")
    said = " ".join(runbook.play("rollback", "-e", json.dumps(DISCARD)).stdout.split())
    assert "was edited after the cutover" in said
    assert runbook.env_file.read_bytes() == edited
    kept = [path for path in runbook.env_file.resolve().parent.iterdir() if path.name.startswith(runbook.env_file.resolve().name + ".")]
    assert [b"LATER=2" in path.read_bytes() for path in kept] == [True]


def test_what_is_edited_while_a_cutover_waits_comes_back(runbook: Runbook) -> None:
    runbook.play("execute")
    postpone = runbook.directory / "postpone"
    postpone.touch()
    with started(runbook, "cutover", {"chromadb_postpone_file": str(postpone)}) as cutover:
        until(cutover, lambda: begun(runbook) != "")
        edited = runbook.env_file.read_bytes() + b"NEW_KEY=1\n"
        runbook.env_file.write_bytes(edited)
        postpone.unlink()
        said = cutover.communicate(timeout=300)[0]
    assert cutover.returncode == 0, said
    assert runbook.target.url.encode() in runbook.env_file.read_bytes()
    again = " ".join(runbook.play("cutover").stdout.split())
    assert "nothing is copied" in again
    runbook.play("rollback", "-e", json.dumps(DISCARD))
    assert runbook.env_file.read_bytes() == edited


def test_a_client_that_comes_later_is_switched_by_another_run(runbook: Runbook) -> None:
    runbook.play("execute")
    runbook.play("cutover")
    refused = " ".join(runbook.play("cutover", "--limit", "the_target", fails=True).stdout.split())
    assert "the_client would be left out" in refused
    later = runbook.directory / "later.env"
    later.write_text("CHROMADB_URL=http://old.example.com:1\n")
    inventory = json.loads(runbook.inventory.read_text())
    inventory["all"]["children"]["chromadb_client"]["hosts"]["later"] = {"chromadb_client_files": [{"path": str(later), "key": "CHROMADB_URL"}]}
    runbook.inventory.write_text(json.dumps(inventory))
    runbook.play("cutover")
    assert later.read_text() == f"CHROMADB_URL={runbook.target.url}\n"
    runbook.play("rollback", "-e", json.dumps(DISCARD))
    assert later.read_text() == "CHROMADB_URL=http://old.example.com:1\n"
    runbook.client_is_as_before()


def test_a_rollback_before_anything_was_begun_says_that_there_is_nothing(runbook: Runbook) -> None:
    """As an execute leaves it that died before its first line, and as a wrong path looks."""
    before = runbook.target.contents()
    said = " ".join(runbook.play("rollback", fails=True).stdout.split())
    assert "nothing was ever begun here" in said
    assert contents_differences(before, runbook.target.contents()) == []
