# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One document, done from top to bottom in a checkout of its own, as its reader would.

Real: the text's commands, files, inventories and playbooks, the servers, the collection. Replaced: the documentation's addresses by those of the
servers, directories such as /srv by some below the checkout, and ssh by local connections, since this is one machine (tests/lab has several).
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.run_module import CHECKOUT

from .document import Command, Console, File, Scene, read_document
from .scenes import SCENES, Servers
from .shown import SNAPSHOT_ID, abridged, by_host, difference

ADDRESS = re.compile(r"\b(localhost|192\.0\.2\.\d+):(\d+)\b")
# What a document may name outside of the checkout; /var/lib/chromadb in an inventory is one for each host.
OF_EACH_HOST = re.compile(r"(?<![\w./}-])/var/lib/chromadb(?=/)")
OUTSIDE = re.compile(r"(?<![\w./}-])/(srv|opt|etc|var/lib|var/log)(?=/)")
# How far a module is, a line now and then: how many there are depends on the machine.
PROGRESS = re.compile(r"\S+ \| \w+: \w+  [\[\d]")
# The longest is the demo, a minute and a half on two quiet cores.
COMMAND_SECONDS = 420
# For what ends by itself once its command has ended.
ENDING_SECONDS = 10
ANSWERED = re.compile(r"\[y/N\] (\w+)$")


class Failed(AssertionError):
    """A command of the document did not do what the document says."""


@dataclass
class Story:
    document: Path
    servers: Servers
    checkout: Path
    update: str | None = None  # "wrong" or "all"
    ids: dict[str, str] = field(default_factory=dict)
    not_run: list[str] = field(default_factory=list)
    commands: int = 0
    _printed: dict[int, tuple[Command, list[str], int]] = field(default_factory=dict)

    def play(self) -> None:
        """Run it all. `commands` counts what was run, `not_run` says what was not. Failed names the line of the document, or what still runs at its end."""
        self._prepare()
        try:
            self._steps()
            self._insist_on_an_end()
        finally:
            for process in self._running():
                os.kill(process, signal.SIGKILL)
            if self.update:
                self._rewrite()

    def _steps(self) -> None:
        for step in read_document(self.document):
            if isinstance(step, Scene):
                SCENES[step.words](self.servers)
            elif isinstance(step, File):
                path = self.checkout / self._real(step.name)
                path.parent.mkdir(parents=True, exist_ok=True)
                own = "%s/outside/{{ inventory_hostname }}/var/lib/chromadb" % self.checkout
                content = OF_EACH_HOST.sub(own, step.content) if step.name.startswith("inventories/") else step.content
                path.write_text(self._real(content), encoding="utf-8")
            elif step.not_run is not None:
                self.not_run.append("%s:%d: %s: %s" % (self.document.name, step.line + 1, step.not_run, "; ".join(c.text for c in step.commands)))
            else:
                for command in step.commands:
                    self._do(command, step, step.exit_code if command is step.commands[-1] else 0)

    def _prepare(self) -> None:
        self.servers.outside = self.checkout / "outside"
        listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=CHECKOUT, capture_output=True, check=True)
        for name in listed.stdout.decode().split("\0"):
            if name and (CHECKOUT / name).is_file() and not name.startswith("tests/"):
                place = self.checkout / name
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(CHECKOUT / name, place)
        for path in (self.checkout / "inventories").rglob("*.yml"):
            path.write_text(self._real(path.read_text(encoding="utf-8"), known=False), encoding="utf-8")
        self._set_up()
        collection = self.checkout / ".collections/ansible_collections/infrafabric/chromadb"
        collection.parent.mkdir(parents=True)
        collection.symlink_to("../../..")
        for name in ("home", "outside/srv", "outside/opt"):
            (self.checkout / name).mkdir(parents=True, mode=0o700)
        # What the role runtime makes on the hosts.
        (self.checkout / "outside/opt/chromadb-runtime").symlink_to(sys.prefix)
        (self.checkout / "home/environment").touch()
        (self.checkout / "home/directory").write_text(str(self.checkout))

    def _set_up(self) -> None:
        """What `make setup` would make, of the environment that is here; make finds nothing to do."""
        environment = self.checkout / ".venv"
        environment.mkdir()
        for path in Path(sys.prefix).iterdir():
            (environment / path.name).symlink_to(path)
        for name, content in ((".checkout", "%s\n" % self.checkout), (".installed", "")):
            (environment / name).unlink(missing_ok=True)
            (environment / name).write_text(content, encoding="utf-8")

    def _real(self, text: str, known: bool = True) -> str:
        """With the addresses and directories of this run."""

        def address(match: re.Match[str]) -> str:
            url = self.servers.address(match[0])
            if url is None and known:
                raise Failed("%s: no server of the tests stands for %s" % (self.document.name, match[0]))
            return url or match[0]

        text = ADDRESS.sub(address, text)
        for documented, real in self.servers.directories().items():
            text = text.replace(documented, real)
        text = OUTSIDE.sub(lambda match: "%s/outside/%s" % (self.checkout, match[1]), text)
        return SNAPSHOT_ID.sub(lambda match: self.ids.get(match[0], match[0]), text)

    def _documented(self, text: str) -> str:
        """What was printed, with the addresses and directories of the documentation."""
        for documented, real in self.servers.directories().items():
            text = text.replace(real, documented)
        text = re.sub(r"%s/outside/[\w.-]+(?=/var/lib/)" % re.escape(str(self.checkout)), "", text)
        for real, documented in (("/outside", ""), ("/home", "/home/me"), ("", "/home/me/infrafabric.chromadb")):
            text = text.replace(str(self.checkout) + real, documented)
        for documented, real in self.servers.addresses(self.document.read_text(encoding="utf-8")).items():
            text = text.replace(real, documented)
        back = {real: documented for documented, real in self.ids.items()}
        return SNAPSHOT_ID.sub(lambda match: back.get(match[0], match[0]), text)

    def _do(self, command: Command, block: Console, exit_code: int) -> None:
        answer = next((match[1] for match in map(ANSWERED.search, command.shown) if match), None)
        code, output = self._run(self._real(command.text), answer)
        self.commands += 1
        self._learn(command.shown, output)
        printed = by_host([line for line in self._documented(output).splitlines() if not PROGRESS.match(line)])
        self._printed[command.first_line] = (command, printed, block.indent)
        where = "%s:%d: $ %s" % (self.document.name, command.first_line, command.text)
        if code != exit_code:
            raise Failed("%s\nended with %d, not %d:\n%s" % (where, code, exit_code, "\n".join(printed)))
        shown = [self._canonical(line) for line in command.shown]
        wrong = difference(shown, [self._canonical(line) for line in printed]) if shown else None
        if wrong and not self.update:
            raise Failed("%s\nprinted something else than the document shows: %s. It printed:\n%s" % (where, wrong, "\n".join(printed)))

    def _canonical(self, text: str) -> str:
        """One name for each server: a document may call one by two addresses."""
        return ADDRESS.sub(lambda match: self.servers.address(match[0]) or match[0], text)

    def _run(self, text: str, answer: str | None) -> tuple[int, str]:
        """In a shell that remembers its variables and its directory from command to command."""
        home = self.checkout / "home"
        script = '. %s/environment; cd "$(cat %s/directory)"\n%s\n' % (home, home, text)
        script += "code=$?; export -p > %s/environment; pwd > %s/directory; exit $code" % (home, home)
        words = ["bash", "-o", "pipefail", "-c", script]
        if answer is not None:
            words = [sys.executable, "-c", _ON_A_TERMINAL, *words]
        env = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "CHROMADB_", "SNAPSHOT_", "PYTHON"))}
        # A shim of a Python that is not chosen does not run, and a client's host, which has no runtime, would find it first.
        path = [directory for directory in env["PATH"].split(os.pathsep) if not directory.endswith("/shims")]
        env.update(
            HOME=str(home), PATH=os.pathsep.join([str(self.checkout / ".venv/bin"), *path]), NO_COLOR="1", LANG="C.UTF-8", TZ="UTC",
            # One machine: no ssh, and the hosts' Python is the one of the tests where an inventory names none.
            ANSIBLE_TRANSPORT="local", ANSIBLE_PYTHON_INTERPRETER=sys.executable,
        )  # fmt: skip
        done = subprocess.run(
            words, cwd=self.checkout, env=env, input=answer and answer + "\n", stdin=None if answer else subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", timeout=COMMAND_SECONDS, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout

    def _running(self) -> dict[int, str]:
        """The processes that the document's commands began: they have its home, and nothing else has."""
        home = b"HOME=%s/home" % os.fsencode(self.checkout)
        found = {}
        for directory in Path("/proc").glob("[0-9]*"):
            try:
                if home in (directory / "environ").read_bytes().split(b"\0"):
                    found[int(directory.name)] = (directory / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
            except OSError:
                pass
        return found

    def _insist_on_an_end(self) -> None:
        end = time.monotonic() + ENDING_SECONDS
        while (left := self._running()) and time.monotonic() < end:
            time.sleep(0.1)
        if left:
            raise Failed("%s: its commands left running:\n%s" % (self.document.name, "\n".join(left.values())))

    def _learn(self, shown: list[str], output: str) -> None:
        """Which real snapshot is meant by an id that the document shows: the next new one of the same name."""
        real = [found for found in dict.fromkeys(SNAPSHOT_ID.findall(output)) if found not in self.ids.values()]
        text = self.document.read_text(encoding="utf-8") if self.update == "wrong" else "\n".join(shown)
        for documented in dict.fromkeys(SNAPSHOT_ID.findall(text)):
            if documented not in self.ids:
                fits = next((found for found in real if _name(found) == _name(documented)), None)
                if fits:
                    self.ids[documented] = fits
                    real.remove(fits)

    def _rewrite(self) -> None:
        """Put what was printed in the place of what is shown: where they differ, or wherever all is shown. Then the ids are the real ones too."""
        lines = self.document.read_text(encoding="utf-8").splitlines()
        for first_line in sorted(self._printed, reverse=True):
            command, printed, indent = self._printed[first_line]
            shown = [self._canonical(line) for line in command.shown]
            whole = self.update == "all" and "..." not in "\n".join(shown)
            if shown and (whole or difference(shown, [self._canonical(line) for line in printed])):
                lines[first_line : command.end_line] = [(" " * indent + line).rstrip() for line in abridged(printed)]
        text = "\n".join(lines) + "\n"
        if self.update == "all":
            text = SNAPSHOT_ID.sub(lambda match: self.ids.get(match[0], match[0]), text)
        self.document.write_text(text, encoding="utf-8")


def _name(snapshot_id: str) -> str:
    """Of snapshot_20260102_030405_NAME the NAME; ids of other moments in it do not count."""
    return re.sub(r"\d{8}[_t]\d{6}", "", snapshot_id)


# Runs a command on a terminal and types what comes on standard input once it was asked; shows what the terminal shows.
_ON_A_TERMINAL = """
import os, pty, sys
answer = sys.stdin.read().encode()
child, terminal = pty.fork()
if child == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
shown = b""
while True:
    try:
        data = os.read(terminal, 65536)
    except OSError:
        break
    if not data:
        break
    shown += data
    if answer and shown.endswith(b"[y/N] "):
        os.write(terminal, answer)
        answer = b""
sys.stdout.buffer.write(shown.replace(b"\\r\\n", b"\\n"))
sys.stdout.flush()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
