# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A gateway on this machine, installed by the role into a directory, without systemd."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.chroma_server import free_port

CHECKOUT = Path(__file__).resolve().parents[2]


def play(playbook: str | Path, *arguments: str, variables: dict[str, object] | None = None, fails: bool = False) -> str:
    """Run ansible-playbook and give back what it printed; unless it is to fail, a failed play is an AssertionError with all of it."""
    command = [str(Path(sys.executable).with_name("ansible-playbook")), str(playbook), *arguments]
    with tempfile.NamedTemporaryFile("w", suffix=".json") as extra:
        json.dump(variables or {}, extra)
        extra.flush()
        command += ["--extra-vars", "@" + extra.name]
        done = subprocess.run(command, cwd=CHECKOUT, env=_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=1800, check=False)
    assert (done.returncode != 0) == fails, done.stdout
    return done.stdout


def _environment() -> dict[str, str]:
    return {**os.environ, "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}


def changes(output: str) -> dict[str, int]:
    """How many tasks changed each host, from the recap. The control node, which looks whether there are hosts, is none of them."""
    recap = output.split("PLAY RECAP", 1)[1].splitlines()[1:]
    hosts = {line.split(":")[0].strip(): int(line.split("changed=")[1].split()[0]) for line in recap if "changed=" in line}
    return hosts if len(hosts) == 1 else {host: count for host, count in hosts.items() if host != "localhost"}


class LocalGateway:
    """Everything below `directory`. The role is applied by `role`; states are changed by the host's own command."""

    def __init__(self, directory: Path, source: str, target: str = "") -> None:
        self.port = free_port()
        self.url = "http://127.0.0.1:%d" % self.port
        self.command = directory / "chromadb-gateway"
        self.config = directory / "etc" / "gateway.json"
        self.playbook = directory / "gateway.yml"
        self.playbook.write_text(
            "- hosts: localhost\n  connection: local\n  gather_facts: true\n  gather_subset: ['!all']\n  tasks:\n"
            "    - ansible.builtin.include_role:\n        name: infrafabric.chromadb.gateway\n        tasks_from: '{{ entry }}'\n"
        )
        self.variables: dict[str, object] = {
            "ansible_python_interpreter": sys.executable,
            "gateway_source_url": source,
            "gateway_target_url": target,
            "gateway_listen_address": "127.0.0.1",
            "gateway_port": self.port,
            "gateway_service_manager": "none",
            "gateway_config_directory": str(directory / "etc"),
            "gateway_state_directory": str(directory / "state"),
            "gateway_cache_directory": str(directory / "cache"),
            "gateway_run_directory": str(directory / "run"),
            "gateway_command": str(self.command),
        }

    def role(self, entry: str = "main", *arguments: str, **variables: object) -> int:
        """Apply an entry point of the role; how many tasks changed something."""
        return changes(play(self.playbook, "-i", "localhost,", *arguments, variables={**self.variables, "entry": entry, **variables}))["localhost"]

    def call(self, *arguments: str, check: bool = True) -> dict[str, object]:
        command = [str(self.command), "--config", str(self.config), *arguments]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        assert not check or done.returncode == 0, done.stdout
        answer: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
        return answer

    def start_call(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen([str(self.command), "--config", str(self.config), *arguments], stdout=subprocess.PIPE, text=True)

    def request(self, method: str, path: str, body: object = None) -> tuple[int, str, dict[str, str]]:
        """One request with the path as it is given, byte for byte: status, body, headers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.putrequest(method, path, skip_accept_encoding=True)
            content = b"" if body is None else json.dumps(body).encode()
            connection.putheader("Content-Type", "application/json")
            connection.putheader("Content-Length", str(len(content)))
            connection.endheaders(content)
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace"), {name.lower(): value for name, value in answer.getheaders()}
        finally:
            connection.close()

    def remove(self) -> None:
        """By the role; and what would have ended a freeze, which without systemd waits until its time is over, waits no longer."""
        self.role("remove")
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (process / "cmdline").read_bytes().split(b"\0")
                if str(self.config).encode() in words and b"expire" in words:
                    os.kill(int(process.name), signal.SIGTERM)
