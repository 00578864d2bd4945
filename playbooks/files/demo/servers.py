# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Start and stop real Chroma servers on free local ports, without root and without leaving one behind.

    python servers.py start --directory WORK --name source --name target [--end-with-playbook]
    python servers.py stop --directory WORK

A supervisor process owns the servers. With --end-with-playbook it stops them as soon as the ansible-playbook that
called this script is gone, however it went; and the kernel stops them should the supervisor itself be killed.
WORK/servers.json says where the servers are; it is there while they are, and only when they answer.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

HOST = "127.0.0.1"
START_SECONDS = 90
STOP_SECONDS = 15
TRIES = 3
POLL_SECONDS = 0.1
PR_SET_PDEATHSIG = 1


# --- processes ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ProcessId:
    """A process that cannot be mistaken for a later one with the same number."""

    number: int
    started: str

    @classmethod
    def of(cls, number: int) -> ProcessId | None:
        """None when there is no such process, or it has ended and only waits to be collected."""
        try:
            fields = Path(f"/proc/{number}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] == "Z" else cls(number, fields[19])

    def alive(self) -> bool:
        return ProcessId.of(self.number) == self


def _parent_and_arguments(number: int) -> tuple[int, list[str]] | None:
    try:
        parent = int(Path(f"/proc/{number}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[1])
        return parent, Path(f"/proc/{number}/cmdline").read_text(encoding="utf-8", errors="replace").split("\0")
    except OSError:
        return None


def calling_playbook() -> ProcessId | None:
    """The ansible-playbook process above this one: the topmost, since its workers bear the same name."""
    found: int | None = None
    number = os.getpid()
    while number > 1:
        step = _parent_and_arguments(number)
        if step is None:
            break
        parent, arguments = step
        if any(Path(argument).name == "ansible-playbook" for argument in arguments[:2]):
            found = number
        number = parent
    return None if found is None else ProcessId.of(found)


def _die_with_parent() -> None:
    """In a child, before its program starts: ask the kernel for SIGKILL when the supervisor ends."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


# --- one server ---------------------------------------------------------------------------------------------------


def chroma_command() -> str:
    """The `chroma` of the environment that runs this script."""
    beside = Path(sys.executable).parent / "chroma"
    found = str(beside) if beside.exists() else shutil.which("chroma")
    if found is None:
        raise SystemExit(f"There is no `chroma` beside {sys.executable} nor in PATH. Run `make setup`, or install the package chromadb there.")
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/api/v2/heartbeat", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


class ChromaServer:
    """A `chroma run` of its own, with its data and its log in one directory."""

    def __init__(self, name: str, work: Path) -> None:
        self.name = name
        self.data = work / name
        self.log = work / f"{name}.log"
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def launch(self) -> None:
        self.data.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        environment = {**os.environ, "ANONYMIZED_TELEMETRY": "False"}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [chroma_command(), "run", "--path", str(self.data), "--host", HOST, "--port", str(self.port)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, preexec_fn=_die_with_parent,
            )

    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def await_answer(self) -> None:
        """Until it answers; a server that ends at once (its port was taken meanwhile) gets another port."""
        end = time.monotonic() + START_SECONDS
        tries = 1
        while not (self.running() and answers(self.url)):
            if not self.running():
                if tries == TRIES:
                    raise SystemExit(f"The server '{self.name}' ended {TRIES} times while it started; its log is {self.log}.")
                tries += 1
                self.launch()
            if time.monotonic() > end:
                raise SystemExit(f"The server '{self.name}' did not answer within {START_SECONDS} s; its log is {self.log}.")
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def as_dict(self) -> dict[str, Any]:
        assert self.process is not None
        return {"url": self.url, "port": self.port, "pid": self.process.pid, "directory": str(self.data), "log": str(self.log)}


# --- the supervisor -----------------------------------------------------------------------------------------------


class EndRequestError(Exception):
    """Somebody asked the supervisor to end."""


def _end(_signal: int, _frame: FrameType | None) -> None:
    raise EndRequestError


def supervise(work: Path, names: list[str], watched: ProcessId | None) -> None:
    """Start the servers, publish where they are, and stop them when told to or when the watched process is gone."""
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, _end)
    state = work / "servers.json"
    servers = [ChromaServer(name, work) for name in names]
    try:
        for server in servers:
            server.launch()
        for server in servers:
            server.await_answer()
        me = ProcessId.of(os.getpid())
        assert me is not None
        content = {
            "supervisor": me.__dict__,
            "ends_with": watched.__dict__ if watched else None,
            "servers": {server.name: server.as_dict() for server in servers},
        }
        partial = state.with_suffix(".partial")
        partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        partial.replace(state)
        while watched is None or watched.alive():
            time.sleep(5 * POLL_SECONDS)
    except EndRequestError:
        pass
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        state.unlink(missing_ok=True)
        for server in servers:
            server.stop()


def read_state(work: Path) -> dict[str, Any] | None:
    try:
        content: dict[str, Any] = json.loads((work / "servers.json").read_text(encoding="utf-8"))
        return content
    except FileNotFoundError:
        return None


# --- commands -----------------------------------------------------------------------------------------------------


def start(work: Path, names: list[str], with_playbook: bool) -> dict[str, Any]:
    """Start a supervisor of its own session and wait until every server answers."""
    watched = None
    if with_playbook:
        watched = calling_playbook()
        if watched is None:
            raise SystemExit("--end-with-playbook: no ansible-playbook runs above this process. Leave the option out, and stop the servers with `stop`.")
    work.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, __file__, "supervise", "--directory", str(work)]
    for name in names:
        command += ["--name", name]
    if watched is not None:
        command += ["--watched", str(watched.number), watched.started]
    log = work / "supervisor.log"
    with log.open("ab") as output:
        supervisor = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)
    while True:
        state = read_state(work)
        if state is not None and state["supervisor"]["number"] == supervisor.pid:
            return state
        if supervisor.poll() is not None:
            raise SystemExit(f"The servers did not start. {log.read_text(encoding='utf-8', errors='replace').strip()[-800:]}")
        time.sleep(POLL_SECONDS)


def stop(work: Path) -> bool:
    """Stop what `start` started in this directory; false when nothing runs there. Ends when it is really gone."""
    state = read_state(work)
    if state is None:
        return False
    supervisor = ProcessId(**state["supervisor"])
    if not supervisor.alive():
        (work / "servers.json").unlink(missing_ok=True)
        return False
    os.kill(supervisor.number, signal.SIGTERM)
    end = time.monotonic() + 3 * STOP_SECONDS
    while supervisor.alive():
        if time.monotonic() > end:
            raise SystemExit(f"The supervisor (process {supervisor.number}) does not end; the servers' logs are in {work}.")
        time.sleep(POLL_SECONDS)
    return True


def refuse_foreign(work: Path) -> None:
    """Servers of another playbook that still runs are not ours to replace."""
    state = read_state(work)
    if state is None or state["ends_with"] is None:
        return
    other, mine = ProcessId(**state["ends_with"]), calling_playbook()
    if other.alive() and other != mine:
        raise SystemExit(f"Another playbook (process {other.number}) uses {work}. Wait for it, or name another directory.")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Real Chroma servers on free local ports.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("start", "stop", "supervise"):
        command = commands.add_parser(name)
        command.add_argument("--directory", type=Path, required=True, help="data, logs and servers.json")
        if name != "stop":
            command.add_argument("--name", action="append", required=True, help="a server to start; may be repeated")
        if name == "start":
            command.add_argument("--end-with-playbook", action="store_true", help="stop them when the calling ansible-playbook ends")
            command.add_argument("--fresh", action="store_true", help="stop servers that run there and empty the directory first")
        if name == "supervise":
            command.add_argument("--watched", nargs=2, default=None, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    work = options.directory.absolute()

    if options.command == "supervise":
        watched = ProcessId(int(options.watched[0]), options.watched[1]) if options.watched else None
        supervise(work, options.name, watched)
    elif options.command == "stop":
        print(json.dumps({"stopped": stop(work)}))
    else:
        if options.fresh:
            refuse_foreign(work)
            stop(work)
            shutil.rmtree(work, ignore_errors=True)
        print(json.dumps(start(work, options.name, options.end_with_playbook)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
