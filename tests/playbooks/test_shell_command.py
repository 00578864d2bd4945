# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""bin/chromadb-rollback.sh on a real server: what it prints, what it asks, how it ends."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.chroma_server import free_port
from tests.support.equality import contents_differences
from tests.support.raw import RawChroma, Record
from tests.support.run_module import CHECKOUT, ansible_environment, run_module

SCRIPT = CHECKOUT / "bin" / "chromadb-rollback.sh"
OK, FAILED, USAGE, UNREACHABLE, INTEGRITY, CANCELLED, REFUSED, DISK, LOCKED, DRIFT = range(10)
INTERRUPTED = 130
COLOUR = "\033["


class Shell:
    """The command, with the environment of a user who works with one server and one store."""

    def __init__(self, place: RawChroma, store: Path) -> None:
        self.place, self.store = place, store
        self.env = ansible_environment({
            "CHROMADB_URL": place.url, "CHROMADB_TENANT": place.tenant, "CHROMADB_DATABASE": place.database, "SNAPSHOT_DIR": str(store),
            "PATH": os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"],
        })  # fmt: skip
        # As from anywhere, with no configuration of Ansible at hand.
        del self.env["ANSIBLE_CONFIG"], self.env["ANSIBLE_FORCE_COLOR"]
        # Whoever runs the tests may not want colours; the command is asked for them all the same.
        self.env.pop("NO_COLOR", None)

    def __call__(self, *words: str, code: int = OK, env: Mapping[str, str] | None = None, cwd: Path = Path("/")) -> str:
        """Standard output and error of one run that must end with this code."""
        done = subprocess.run(
            [str(SCRIPT), *words], env={**self.env, **(env or {})}, cwd=cwd, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stdout
        return done.stdout

    def on_a_terminal(self, *words: str, types: str, env: Mapping[str, str] | None = None) -> tuple[int, str]:
        """The exit code, and what the terminal showed."""
        mine, theirs = pty.openpty()
        process = subprocess.Popen([str(SCRIPT), *words], env={**self.env, "TERM": "xterm", **(env or {})}, stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)
        os.write(mine, types.encode())
        shown = b""
        try:
            while chunk := os.read(mine, 4096):
                shown += chunk
        except OSError:  # how Linux says that the other end is closed
            pass
        os.close(mine)
        return process.wait(600), shown.decode()


@pytest.fixture
def shell(target: RawChroma, tmp_path: Path) -> Shell:
    fill(target)
    return Shell(target, tmp_path / "store")


def fill(place: RawChroma) -> None:
    random = np.random.default_rng(7)
    for name in ("docs", "notes"):
        collection = place.create(name, configuration={"hnsw": {"space": "cosine"}})
        place.add(collection, [Record(f"{name}-{i}", random.normal(size=8).astype("<f4"), f"{name} {i}", {"i": i}) for i in range(20)])


def damage(place: RawChroma) -> None:
    """Each way once: a record gone, one changed, one too many, in both collections; and a collection too many."""
    for name in ("docs", "notes"):
        collection = str(place.collection(name)["id"])
        place.delete(collection, [f"{name}-3"])
        place.update(collection, ids=[f"{name}-4"], documents=["GARBAGE"])
        place.add(collection, [Record("stranger", np.zeros(8, "<f4"), "should not be here")])
    place.create("extra")


def the_id(shell: Shell) -> str:
    [manifest] = (shell.store / "manifests").glob("*.json")
    return manifest.stem


def test_from_a_snapshot_through_a_damage_and_back(shell: Shell) -> None:
    before = shell.place.contents()
    assert "40 records" in shell("snapshot", "create", "--name", "before")
    snapshot = the_id(shell)
    listed = shell("snapshot", "list").splitlines()
    assert listed[0].split()[:4] == ["SNAPSHOT", "TAKEN", "COLLECTIONS", "RECORDS"]
    assert [line.split()[0] for line in listed[1:]] == [snapshot]
    described = shell("snapshot", "info", snapshot)
    assert str(shell.store / "snapshots" / snapshot) in described
    assert ["docs", "20", "8", "cosine"] in [line.split()[:4] for line in described.splitlines()]
    assert "intact" in shell("snapshot", "verify", snapshot)

    damage(shell.place)
    damaged = shell.place.contents()
    tried = shell("rollback", snapshot, "--dry-run")
    rows = {line.split()[0]: line.split()[1:] for line in tried.splitlines() if line.split()[:1] in (["docs"], ["notes"])}
    assert rows == {"docs": ["1", "1", "1", "18"], "notes": ["1", "1", "1", "18"]}
    assert "--yes" in shell("rollback", snapshot, code=CANCELLED)
    assert contents_differences(damaged, shell.place.contents()) == []

    shell("rollback", snapshot, "--partial", "--collections", "notes", "--yes")
    partly = shell.place.contents()
    assert set(partly) == {"docs", "notes", "extra"}
    assert contents_differences({"notes": before["notes"]}, {"notes": partly["notes"]}) == []
    assert contents_differences({"docs": damaged["docs"]}, {"docs": partly["docs"]}) == []

    reason = """The "model" is 'wrong' {{ 1 + 1 }}"""
    shell("rollback", "latest", "--reason", reason, "--yes")
    assert contents_differences(before, shell.place.contents()) == []
    log = shell("audit-log", "--entries", "30")
    assert reason in log
    assert [line.split()[5] for line in log.splitlines() if "rollback  completed" in line] == ["partial", "full"]
    assert "audit log  intact" in shell("status")


def test_exit_codes_say_what_kind_of_failure_it_was(shell: Shell) -> None:
    assert "does not exist" in shell("snapshot", "list", code=DISK)
    shell.store.mkdir(mode=0o700)
    assert f"Nothing was verified: there is no snapshot in {shell.store}. Take one" in shell("snapshot", "verify", code=FAILED)
    shell("snapshot", "create")
    snapshot = the_id(shell)
    nowhere = {"CHROMADB_URL": f"http://127.0.0.1:{free_port()}"}
    assert "does not answer" in shell("health-check", env=nowhere, code=UNREACHABLE)
    assert "does not answer" in shell("rollback", snapshot, "--yes", env=nowhere, code=UNREACHABLE)
    assert snapshot in shell("rollback", "snapshot_20200101_000000", "--yes", code=USAGE)
    assert "Not ready: server" in shell("validate", env=nowhere, code=FAILED)

    archive = shell.store / "snapshots" / f"{snapshot}.tar.gz"
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 1
    archive.write_bytes(content)
    assert "DAMAGED" in shell("snapshot", "verify", code=INTEGRITY)
    shell("rollback", snapshot, "--yes", code=INTEGRITY)
    log = shell.store / "logs" / "rollback_audit.jsonl"
    log.write_text(log.read_text().replace("root", "toor", 1).replace("manual", "manuel", 1))
    assert "changed" in shell("audit-log", code=INTEGRITY)


def test_a_rollback_from_a_store_that_is_missing_ends_as_a_list_of_it(shell: Shell) -> None:
    before = shell.place.contents()
    for words in (("latest", "--yes"), ("latest", "--dry-run"), ("snapshot_20200101_000000", "--yes"), ("--point-in-time", "2026-01-02T03:00:00Z", "--yes")):
        said = shell("rollback", *words, code=DISK)
        assert f"The snapshot directory {shell.store} does not exist" in said
        assert "SNAPSHOT_DIR" in said
    assert contents_differences(before, shell.place.contents()) == []
    assert not shell.store.exists()


def test_a_relative_store_is_where_the_user_is(shell: Shell, tmp_path: Path) -> None:
    relative = {"SNAPSHOT_DIR": "my snapshots"}
    shell("snapshot", "create", "--name", "here", env=relative, cwd=tmp_path)
    [manifest] = (tmp_path / "my snapshots" / "manifests").glob("*.json")
    assert manifest.stem in shell("snapshot", "list", env=relative, cwd=tmp_path)


def test_exit_codes_when_others_are_at_work_or_have_written(shell: Shell) -> None:
    shell("snapshot", "create")
    with (shell.store / ".lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        shell("snapshot", "create", code=LOCKED)
        shell("rollback", "latest", "--yes", code=LOCKED)
    run_module("audit_event", {**shell.place.endpoint, "directory": str(shell.store), "action": "cutover"})
    damage(shell.place)
    damaged = shell.place.contents()
    assert "would be lost" in shell("rollback", "latest", "--yes", code=DRIFT)
    assert contents_differences(damaged, shell.place.contents()) == []
    shell("rollback", "latest", "--yes", "--discard-new-writes")


def test_the_exit_code_of_an_interrupted_command(shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        env = {**shell.env, "CHROMADB_URL": "http://127.0.0.1:%d" % silent.getsockname()[1]}
        # A group of its own, as a terminal gives it to a command, which it interrupts as a whole.
        process = subprocess.Popen([str(SCRIPT), "health-check"], env=env, start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)  # fmt: skip
        silent.settimeout(120)
        with silent.accept()[0]:
            os.killpg(process.pid, signal.SIGINT)
            assert process.wait(120) == INTERRUPTED


@pytest.mark.parametrize("words", [
    ("nonsense",), ("snapshot", "nonsense"), ("snapshot", "info"), ("snapshot", "create", "--name", "two words"), ("snapshot", "create", "--nonsense"),
    ("rollback",), ("rollback", "latest", "--partial"), ("rollback", "latest", "--collections"), ("rollback", "latest", "--collections", 'a","b'),
    ("rollback", "$(id)"), ("rollback", "latest", "another"), ("rollback", "latest", "--point-in-time", "2026-01-02T03:00:00+00:00"),
    ("cleanup", "--retention-days", "{{ 7 }}"), ("audit-log", "--entries", "0"), ("status", "-i", "/no/such/inventory"), ("status", "more"),
    ("help", "nonsense"),
])  # fmt: skip
def test_a_command_that_makes_no_sense_does_nothing(words: tuple[str, ...]) -> None:
    done = subprocess.run([str(SCRIPT), *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (USAGE, "")
    assert "help" in done.stderr or "inventory" in done.stderr or "snapshot" in done.stderr
    assert COLOUR not in done.stderr


@pytest.mark.parametrize("url", ["localhost:8000", "http://", "http:localhost", "ftp://localhost", "http://localhost:port", "http://[::1", "http://:8000"])
def test_an_address_that_is_none_is_wrong_usage(url: str) -> None:
    env = {**os.environ, "CHROMADB_URL": url}
    done = subprocess.run([str(SCRIPT), "health-check"], env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (USAGE, "")
    assert "CHROMADB_URL must be an address like http://localhost:8000" in done.stderr


@pytest.mark.parametrize("form", ["HTTP://LocalHost:%d/", "http://[::ffff:127.0.0.1]:%d", "http://127.0.0.1:%d/behind/a-proxy"])
def test_an_address_in_another_form_is_asked(form: str, shell: Shell) -> None:
    assert "does not answer" in shell("health-check", env={"CHROMADB_URL": form % free_port()}, code=UNREACHABLE)


@pytest.mark.parametrize("command", ["", "snapshot", "rollback", "cleanup", "audit-log", "status", "health-check", "validate"])
def test_help(command: str) -> None:
    done = subprocess.run([str(SCRIPT), "help", *command.split()], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.startswith(f"{SCRIPT.name}")
    assert (command or "Exit codes") in done.stdout
    if command:
        again = subprocess.run([str(SCRIPT), command, "--help"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=True)
        assert again.stdout == done.stdout


def test_it_asks_on_a_terminal(shell: Shell) -> None:
    shell("snapshot", "create")
    code, shown = shell.on_a_terminal("cleanup", types="n\n")
    assert (code, "[y/N]" in shown, "Nothing was done." in shown, COLOUR in shown) == (CANCELLED, True, True, True)
    code, shown = shell.on_a_terminal("rollback", "latest", types="\n", env={"NO_COLOR": "1"})
    assert (code, "back to latest" in shown, COLOUR in shown) == (CANCELLED, True, False)
    code, shown = shell.on_a_terminal("cleanup", types="yes\n")
    assert code == OK, shown
    assert the_id(shell) in shown


class Doorkeeper(BaseHTTPRequestHandler):
    """Lets nobody in; notes which tokens came, and whether a process had it on its command line meanwhile."""

    seen: list[tuple[str, bool]]

    def do_GET(self) -> None:
        token = str(self.headers.get("Authorization", "")).removeprefix("Bearer ")
        self.seen.append((token, bool(token) and token.encode() in command_lines()))
        self.send_response(401)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


def command_lines() -> bytes:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes())
        except OSError:  # it ended
            continue
    return b"\n".join(found)


@pytest.fixture
def doorkeeper() -> Iterator[ThreadingHTTPServer]:
    Doorkeeper.seen = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Doorkeeper) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_token_is_sent_and_never_seen(shell: Shell, doorkeeper: ThreadingHTTPServer) -> None:
    env = {"CHROMADB_URL": f"http://127.0.0.1:{doorkeeper.server_port}", "CHROMADB_TOKEN": "t0psecret-t0ken"}
    assert "t0psecret" not in shell("health-check", env=env, code=REFUSED)
    assert ("t0psecret-t0ken", False) in Doorkeeper.seen
    assert not any(shown for _token, shown in Doorkeeper.seen)


def test_several_hosts_have_one_exit_code_if_they_failed_alike(shell: Shell, doorkeeper: ThreadingHTTPServer, tmp_path: Path) -> None:
    inventory = tmp_path / "hosts.json"
    ports = {"east": free_port(), "west": free_port(), "guarded": doorkeeper.server_port}
    inventory.write_text(json.dumps({"all": {
        "vars": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "chromadb_snapshot_dir": str(tmp_path / "fleet")},
        "children": {"chromadb_target": {"hosts": {name: {"chromadb_target_url": f"http://127.0.0.1:{port}"} for name, port in ports.items()}}},
    }}))  # fmt: skip
    shell("health-check", "-i", str(inventory), "--limit", "east,west", code=UNREACHABLE)
    shell("health-check", "-i", str(inventory), code=FAILED)


def test_an_inventory_from_anywhere_through_a_link(shell: Shell, source: RawChroma, tmp_path: Path) -> None:
    inventory = tmp_path / "hosts.json"
    hosts = {name: {f"chromadb_target_{key}": value for key, value in place.endpoint.items()} for name, place in (("east", shell.place), ("west", source))}
    inventory.write_text(json.dumps({"all": {
        "vars": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "chromadb_snapshot_dir": str(tmp_path / "fleet")},
        "children": {"chromadb_target": {"hosts": hosts}},
    }}))  # fmt: skip
    link = tmp_path / "rollback"
    link.symlink_to(SCRIPT)
    done = subprocess.run([str(link), "health-check", "-i", inventory.name], env=shell.env, cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=600, check=True)  # fmt: skip
    # Each host speaks when it is done, whichever that is first.
    _before, *parts = re.split(r"^(east|west):", done.stdout, flags=re.MULTILINE)
    said = dict(zip(parts[::2], parts[1::2]))
    assert set(said) == {"east", "west"}
    assert "docs" in said["east"]
    assert "docs" not in said["west"]
    assert "west" not in shell("health-check", "-i", str(inventory), "--limit", "east")

    for words in (("snapshot", "list"), ("rollback", "latest", "--yes"), ("validate",)):
        assert "no hosts" in shell(*words, "-i", str(inventory), "--limit", "nobody", code=USAGE)

    inventory.write_text(json.dumps({"all": {"hosts": {"somewhere": {}}}}))
    assert "no host" in shell("status", "-i", str(inventory), code=USAGE)


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck_finds_nothing() -> None:
    subprocess.run(["shellcheck", str(SCRIPT)], check=True)
