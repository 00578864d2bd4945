# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Action plugins that run the module of their own name, and show on the console how far it is.

The module writes its figures to a small file (its option `progress_file`). Where this process can read that file, a thread
watches it while the module runs as always. On other hosts the module runs as a job, as with `async`, and is asked about every
one or two seconds; so it also survives a connection that is lost for a while. If no job can be started, it is run as always.
"""

from __future__ import annotations

import json
import os
import secrets
import shlex
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from ansible import constants
from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible.utils.vars import merge_hash

from ansible_collections.infrafabric.chromadb.plugins.plugin_utils._progress_lines import ProgressLines

SWITCH = "CHROMADB_SHOW_PROGRESS"
OFF = ("0", "false", "no", "off")
LOCAL_INTERVAL = 0.5
FIRST_INTERVAL, LAST_INTERVAL = 0.2, 2.0
OUTAGE_SECONDS = 120  # how long a connection may be lost before the host counts as unreachable
SILENCE_SECONDS = 30  # how long a job may say nothing before somebody looks whether its process is still there
JOB_SECONDS = 7 * 24 * 3600  # a job must have a limit; what a user wants to limit is the module's option `deadline`
JOB_KEYS = ("ansible_job_id", "started", "finished", "results_file", "stdout", "stdout_lines", "stderr", "stderr_lines")
RULE = "---"  # between the two files in the answer of one command

display = Display()


@dataclass(frozen=True)
class Job:
    """A module that runs on a host by itself: its id, the file that gets its result, and the file with its figures."""

    id: str
    result_path: str
    progress_path: str


class WatchedModule(ActionBase):  # type: ignore[misc]
    """Runs the module of the task's action. The result is the module's own, unchanged."""

    _supports_check_mode = True
    _supports_async = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        variables = task_vars or {}
        if not self._is_watched():
            own = self._run_as_always(variables)
        else:
            lines = ProgressLines(host_name(variables), display.display)
            own = self._run_here(variables, lines) if self._shares_files() else self._run_as_job(variables, lines)
        merged: dict[str, Any] = merge_hash(result, own)
        return merged

    def _is_watched(self) -> bool:
        wanted = os.environ.get(SWITCH, "true").strip().lower() not in OFF
        for_people = "json" not in str(constants.config.get_config_value("DEFAULT_STDOUT_CALLBACK"))
        task = self._task
        return wanted and for_people and not (task.check_mode or task.async_val or task.no_log or task.args.get("progress_file"))

    def _shares_files(self) -> bool:
        """Whether the module can write a file that this process can read, and nobody else can write."""
        return bool(self._connection.transport == "local") and not self._is_become_unprivileged()

    def _run_as_always(self, variables: dict[str, Any]) -> dict[str, Any]:
        wrap_async = self._task.async_val and not self._connection.has_native_async
        result: dict[str, Any] = self._execute_module(task_vars=variables, wrap_async=wrap_async)
        if wrap_async:
            return result  # of starting the job, not of the module
        self._remove_tmp_path(self._connection._shell.tmpdir)
        return tidied(result)

    def _run_here(self, variables: dict[str, Any], lines: ProgressLines) -> dict[str, Any]:
        # In the directory that Ansible itself takes away at the end, should this process be killed.
        directory = tempfile.mkdtemp(prefix="chromadb-progress-", dir=constants.DEFAULT_LOCAL_TMP)
        path = os.path.join(directory, "progress.json")
        try:
            with watched_file(path, lines):
                result: dict[str, Any] = self._execute_module(module_args={**self._task.args, "progress_file": path}, task_vars=variables)
        finally:
            shutil.rmtree(directory, ignore_errors=True)
        self._remove_tmp_path(self._connection._shell.tmpdir)
        return tidied(result)

    def _run_as_job(self, variables: dict[str, Any], lines: ProgressLines) -> dict[str, Any]:
        try:
            job = self._start(variables)
        except AnsibleConnectionFailure:
            raise
        except AnsibleError as error:
            display.vv(f"{lines.host}: the module runs without progress, as no job could be started: {error}")
            job = None
        if job is None:
            return self._run_as_always(variables)
        result = self._wait(job, variables, lines)
        with suppress(AnsibleConnectionFailure):
            self._low_level_execute_command(f"rm -f {shlex.quote(job.result_path)} {shlex.quote(job.progress_path)}")
        for key in JOB_KEYS:
            result.pop(key, None)
        return tidied(result)

    def _start(self, variables: dict[str, Any]) -> Job | None:
        """Start the module as a job. None if the host did not start one; the module has not run then."""
        directory = self._remote_expand_user(self.get_shell_option("async_dir", default="~/.ansible_async"))
        # The job's own directory is the one place that the module's user can write to, whoever that is.
        progress_path = self._connection._shell.join_path(directory, f"chromadb-progress-{secrets.token_hex(8)}.json")
        before = self._task.async_val
        self._task.async_val = JOB_SECONDS
        try:
            started = self._execute_module(module_args={**self._task.args, "progress_file": progress_path}, task_vars=variables, wrap_async=True)
        finally:
            self._task.async_val = before
        if "ansible_job_id" not in started:
            return None
        return Job(started["ansible_job_id"], self._connection._shell.join_path(directory, started["ansible_job_id"]), progress_path)

    def _wait(self, job: Job, variables: dict[str, Any], lines: ProgressLines) -> dict[str, Any]:
        """Show progress until the job has its result. AnsibleConnectionFailure when the host stays away too long."""
        interval = FIRST_INTERVAL
        newest = ""
        heard = answered = time.monotonic()
        lost = False
        while True:
            time.sleep(interval)
            interval = min(interval * 1.5, LAST_INTERVAL)
            try:
                progress, running = self._ask(job)
                answered, lost = time.monotonic(), False
                if progress != newest:
                    newest, heard = progress, answered
                    lines.show(figures(progress))
                if not running:
                    result = self._result(job, variables)
                    if result.get("finished"):
                        return result
                elif answered - heard > SILENCE_SECONDS:
                    heard = answered
                    # The second question is for a job that ended between the first one and the look at its process.
                    if not self._is_alive(job) and self._ask(job)[1]:
                        return {"failed": True, "msg": f"The module ended without a result on {lines.host}: it was killed, or the host was restarted. "
                                "The same task again continues."}
            except AnsibleConnectionFailure:
                if time.monotonic() - answered > OUTAGE_SECONDS:
                    raise
                if not lost:
                    lines.say("does not answer; the module goes on there, and is asked again")
                lost = True
                with suppress(AnsibleError):
                    self._connection.reset()

    def _ask(self, job: Job) -> tuple[str, bool]:
        """The newest figures as they were written, and whether the job is still running."""
        command = f"cat {shlex.quote(job.progress_path)} 2>/dev/null; echo; echo {RULE}; head -c 300 {shlex.quote(job.result_path)} 2>/dev/null; true"
        return read_answer(self._low_level_execute_command(command)["stdout"])

    def _is_alive(self, job: Job) -> bool:
        """Whether a process of the job exists; on a host that cannot say so, it does."""
        name = job.id.partition(".")[0]
        # The brackets keep the command from finding itself.
        command = f"test -d /proc/self || echo unknown; grep -lsa '[{name[0]}]{name[1:]}' /proc/[0-9]*/cmdline; true"
        return bool(self._low_level_execute_command(command)["stdout"].strip())

    def _result(self, job: Job, variables: dict[str, Any]) -> dict[str, Any]:
        """What the job's module returned, read by Ansible's own means."""
        arguments = {"jid": job.id, "mode": "status", "_async_dir": os.path.dirname(job.result_path)}
        result: dict[str, Any] = self._execute_module("ansible.legacy.async_status", module_args=arguments, task_vars=variables)
        self._remove_tmp_path(self._connection._shell.tmpdir)
        return result


@contextmanager
def watched_file(path: str, lines: ProgressLines) -> Iterator[None]:
    """Show the figures in a file for as long as the block runs, and once more at its end: a module may be done before anybody looked."""
    ended = threading.Event()

    def look() -> None:
        with suppress(OSError), open(path, encoding="utf-8") as file:
            lines.show(figures(file.read()))

    def watch() -> None:
        while not ended.wait(LOCAL_INTERVAL):
            look()

    watcher = threading.Thread(target=watch, name="chromadb-progress", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
        look()


def host_name(variables: dict[str, Any]) -> str:
    return str(variables.get("inventory_hostname") or "localhost")


def read_answer(answer: str) -> tuple[str, bool]:
    """Take apart what the host printed: figures, a rule, the beginning of the job's file. A job without a file is just starting."""
    lines = answer.replace("\r\n", "\n").split("\n")
    if RULE not in lines:
        return "", True
    at = lines.index(RULE)
    progress = next((line for line in reversed(lines[:at]) if line.startswith("{")), "")
    job = "\n".join(lines[at + 1 :]).strip()
    if not job:
        return progress, True
    state = figures(job)
    return progress, state is not None and bool(state.get("started")) and state.get("finished") is False


def figures(text: str) -> dict[str, Any] | None:
    """A JSON object from a file that may be missing, empty or cut off; None then."""
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def tidied(result: dict[str, Any]) -> dict[str, Any]:
    """The module's result without what only this class put into its arguments, and with a failure class if the module died before it could tell one."""
    arguments = (result.get("invocation") or {}).get("module_args")
    if isinstance(arguments, dict) and "progress_file" in arguments:
        arguments["progress_file"] = None
    if result.get("failed"):
        result.setdefault("failure_class", "partial")
    return result
