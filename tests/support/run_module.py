# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run a module of the collection the way Ansible does: arguments in, one JSON object out.

`run_module` runs it in this process, which is fast; `run_module_apart` in a process of its own, whose memory and
signals are its own; `ansible` and `ansible_playbook` are the real commands.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

CHECKOUT = Path(__file__).resolve().parents[2]
COLLECTIONS = CHECKOUT / ".collections"
_MODULES = "ansible_collections.infrafabric.chromadb.plugins.modules."


def make_importable() -> None:
    """`ansible_collections.infrafabric.chromadb` is this checkout."""
    link = COLLECTIONS / "ansible_collections/infrafabric/chromadb"
    if not link.exists():
        link.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            link.symlink_to("../../..")
    if str(COLLECTIONS) not in sys.path:
        sys.path.insert(0, str(COLLECTIONS))


class ModuleFailed(AssertionError):
    """A module failed where the test wanted success; the whole result is in the text."""


def run_module(name: str, options: Mapping[str, Any], check: bool = False, diff: bool = False, fails: bool = False) -> dict[str, Any]:
    """The result of one run. A failure is raised unless `fails`; then a success is."""
    from ansible.module_utils.testing import patch_module_args

    make_importable()
    module = importlib.import_module(_MODULES + name)
    output = io.StringIO()
    with as_on_a_managed_host(), patch_module_args(_arguments(options, check, diff)), contextlib.redirect_stdout(output):
        try:
            module.main()
        except SystemExit:
            pass
    return _judged(name, output.getvalue(), fails)


@contextlib.contextmanager
def as_on_a_managed_host() -> Iterator[None]:
    """A module's warnings are in its result, and no others are: not on the console of a controller's part of Ansible that this process has loaded."""
    from ansible.module_utils import _internal
    from ansible.module_utils.common import warnings

    with mock.patch.object(_internal, "is_controller", False), mock.patch.object(warnings, "_global_warnings", {}):
        yield


# Runs a module as __main__, and leaves the most memory that its process ever held beside the arguments file.
_MEASURED = """
import runpy, sys
name, arguments = sys.argv[1:]
sys.argv = [name, arguments]
try:
    runpy.run_module(name, run_name="__main__", alter_sys=True)
finally:
    with open("/proc/self/status") as status, open(arguments + ".peak", "w") as peak:
        peak.write(next(line.split()[1] for line in status if line.startswith("VmHWM:")))
"""


class Apart:
    """A module in a process of its own; `result` waits for it, and sets `peak_bytes`: the most memory it held."""

    def __init__(self, name: str, options: Mapping[str, Any], check: bool = False, diff: bool = False, python: str = sys.executable) -> None:
        make_importable()
        self.name = name
        with tempfile.NamedTemporaryFile("w", prefix="module-args-", suffix=".json", delete=False) as handle:
            json.dump({"ANSIBLE_MODULE_ARGS": _arguments(options, check, diff)}, handle)
        self._arguments_file = handle.name
        env = {**os.environ, "PYTHONPATH": str(COLLECTIONS)}
        self.process = subprocess.Popen(
            [python, "-c", _MEASURED, _MODULES + name, handle.name], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
        )
        self.stderr = ""
        self.peak_bytes = 0

    def result(self, fails: bool = False) -> dict[str, Any]:
        output, self.stderr = self.process.communicate()
        os.unlink(self._arguments_file)
        peak = Path(self._arguments_file + ".peak")
        if peak.exists():
            self.peak_bytes = int(peak.read_text()) * 1024
            peak.unlink()
        if not output.strip():
            raise ModuleFailed("%s printed nothing; exit %s\n%s" % (self.name, self.process.returncode, self.stderr[-4000:]))
        return _judged(self.name, output, fails)

    def kill(self) -> None:
        """SIGKILL, and wait."""
        self.process.kill()
        self.process.communicate()
        os.unlink(self._arguments_file)


def run_module_apart(name: str, options: Mapping[str, Any], check: bool = False, diff: bool = False, fails: bool = False) -> dict[str, Any]:
    return Apart(name, options, check, diff).result(fails)


def _arguments(options: Mapping[str, Any], check: bool, diff: bool) -> dict[str, Any]:
    return {**options, "_ansible_check_mode": check, "_ansible_diff": diff, "_ansible_remote_tmp": tempfile.gettempdir()}


def _judged(name: str, output: str, fails: bool) -> dict[str, Any]:
    lines = [line for line in output.splitlines() if line.startswith("{")]
    if len(lines) != 1:
        raise ModuleFailed("%s printed %d results:\n%s" % (name, len(lines), output[-4000:]))
    result: dict[str, Any] = json.loads(lines[0])
    if bool(result.get("failed")) != fails:
        raise ModuleFailed("%s %s:\n%s" % (name, "succeeded" if fails else "failed", json.dumps(result, indent=1)[:6000]))
    return result


# The real commands


def command(name: str) -> str:
    """A program of the environment that runs the tests."""
    return str(Path(sys.executable).with_name(name))


def ansible_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "CHROMADB_", "COVERAGE_"))}
    env.update(ANSIBLE_CONFIG=str(CHECKOUT / "ansible.cfg"), ANSIBLE_FORCE_COLOR="0", ANSIBLE_NOCOWS="1")
    env.update(extra or {})
    return env


def ansible(module: str, options: Mapping[str, Any], *arguments: str, fails: bool = False) -> dict[str, Any]:
    """`ansible localhost -m infrafabric.chromadb.MODULE -a JSON`, as a user types it; the module's result."""
    make_importable()
    done = run_command(
        [
            *(command("ansible"), "localhost", "-i", "localhost,", "-c", "local", "-m", "infrafabric.chromadb." + module),
            *("-a", json.dumps(options), "-e", "ansible_python_interpreter=" + sys.executable, *arguments),
        ],
        {"ANSIBLE_CALLBACK_RESULT_FORMAT": "json", "ANSIBLE_LOAD_CALLBACK_PLUGINS": "false"},
    )
    head, brace, rest = done.stdout.partition("=> {")
    if not brace:
        raise ModuleFailed("%s\n%s" % (done.stdout[-4000:], done.stderr[-4000:]))
    result: dict[str, Any] = json.JSONDecoder().raw_decode("{" + rest)[0]
    if (done.returncode != 0) != fails:
        raise ModuleFailed("exit %d: %s\n%s\n%s" % (done.returncode, head, json.dumps(result, indent=1)[:6000], done.stderr[-2000:]))
    return result


def ansible_playbook(*arguments: str, extra_env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """`ansible-playbook …` from the checkout; the caller looks at the exit code."""
    make_importable()
    return run_command([command("ansible-playbook"), *arguments], extra_env)


def run_command(words: Sequence[str], extra_env: Mapping[str, str] | None = None, timeout: float = 600) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(words), cwd=CHECKOUT, env=ansible_environment(extra_env), stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip
