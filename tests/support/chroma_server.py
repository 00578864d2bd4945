# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real Chroma servers of any version, on free ports of 127.0.0.1, that never outlive the tests.

    with ChromaServer("0.5.23") as server:
        RawChroma(server.url).collections()
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from .server_versions import CURRENT, environment

# A first start compiles Python files; on a busy machine that takes many seconds.
START_SECONDS = 120.0
STOP_SECONDS = 20.0
_PR_SET_PDEATHSIG = 1


class ChromaServer:
    """One server: a version, a directory and a port, all kept across restarts.

    directory  where the data lives; a temporary one, removed by `close`, when not given
    extra_env  environment of the server: how the releases before 1.0 are configured (authentication ...)
    settings   lines of the configuration file of 1.x (allow_reset, scorecard ...)

    Start it from a thread that lives as long as the tests: the kernel ends the server together with that thread.
    """

    def __init__(
        self,
        version: str = CURRENT,
        directory: Path | None = None,
        extra_env: Mapping[str, str] | None = None,
        settings: Mapping[str, object] | None = None,
    ) -> None:
        self.version = version
        self._temporary = directory is None
        self.directory = Path(tempfile.mkdtemp(prefix="chroma-")) if directory is None else directory
        self.directory.mkdir(parents=True, exist_ok=True)
        self.extra_env = dict(extra_env or {})
        self.settings = dict(settings or {})
        self.port = 0
        self.log = self.directory.with_name(self.directory.name + ".log")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return "http://127.0.0.1:%d" % self.port

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError("the server %s is not running" % self.version)
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> ChromaServer:
        """Start and wait until it answers; a port that somebody took in the meantime is replaced the first time."""
        chosen = self.port
        for _attempt in range(5):
            self.port = chosen or free_port()
            self._spawn()
            if self._answers():
                return self
            self.stop()
            if chosen and "in use" not in self.log_tail():
                break
        raise RuntimeError("Chroma %s did not start on port %d:\n%s" % (self.version, self.port, self.log_tail()))

    def stop(self) -> None:
        """End it as an administrator would, then by force."""
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._process = None

    def kill(self) -> None:
        """SIGKILL: nothing is flushed."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> ChromaServer:
        self.stop()
        return self.start()

    def pause(self) -> None:
        """SIGSTOP: the port still accepts connections, nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def close(self) -> None:
        """Stop it and remove what it left, unless the directory was given."""
        self.stop()
        if self._temporary:
            shutil.rmtree(self.directory, ignore_errors=True)
            self.log.unlink(missing_ok=True)

    def __enter__(self) -> ChromaServer:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def log_tail(self, characters: int = 3000) -> str:
        return self.log.read_text(errors="replace")[-characters:] if self.log.exists() else ""

    def _spawn(self) -> None:
        command, env = self._command()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self.directory,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=_die_with_parent,
            )

    def _command(self) -> tuple[list[str], dict[str, str]]:
        bin_directory = environment(self.version) / "bin"
        # Nothing of the collection runs in a server, and one whose coverage is measured takes twice as long to start.
        env = {name: value for name, value in os.environ.items() if not name.startswith(("CHROMA", "PYTHON", "COVERAGE"))}
        env.update(ANONYMIZED_TELEMETRY="False", PATH="%s:%s" % (bin_directory, env.get("PATH", "")))
        address = ["--host", "127.0.0.1", "--port", str(self.port)]
        data = str(self.directory / "data")
        if self.version.startswith("0.3."):
            env.update(IS_PERSISTENT="TRUE", CHROMA_DB_IMPL="duckdb+parquet", PERSIST_DIRECTORY=data)
            command = [str(bin_directory / "uvicorn"), "chromadb.app:app", *address]
        else:
            where = [str(self._configuration_file(data))] if self.settings else ["--path", data, *address]
            command = [*self._chroma(bin_directory), "run", *where]
        env.update(self.extra_env)
        return command, env

    def _chroma(self, bin_directory: Path) -> list[str]:
        if self.version.startswith("0."):
            return [str(bin_directory / "chroma")]
        # All that the command does from 1.0 on, but for importing the whole client first, which takes ten times as long as the server does to answer.
        return [str(bin_directory / "python"), "-c", "import sys, chromadb_rust_bindings as rust; rust.cli(['chroma', *sys.argv[1:]])"]

    def _configuration_file(self, data: str) -> Path:
        """The YAML of a 1.x server; JSON is YAML."""
        values = {"port": self.port, "listen_address": "127.0.0.1", "persist_path": data, **self.settings}
        path = self.directory / "chroma.yaml"
        path.write_text("".join("%s: %s\n" % (name, json.dumps(value)) for name, value in values.items()))
        return path

    def _answers(self) -> bool:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                return False
            if answers(self.url):
                return True
            _pause_between_polls()
        return False


def answers(url: str) -> bool:
    """Whether a heartbeat comes back, from either API."""
    for api in ("v2", "v1"):
        try:
            with urllib.request.urlopen("%s/api/%s/heartbeat" % (url, api), timeout=5) as response:
                return bool(response.status == 200)
        except urllib.error.HTTPError:
            continue
        except (OSError, ValueError):
            return False
    return False


def _pause_between_polls() -> None:
    """The interval between two polls."""
    time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


_LIBC = ctypes.CDLL(None, use_errno=True)


def _die_with_parent() -> None:
    """In the child: the kernel kills it when the tests die, however they die."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
