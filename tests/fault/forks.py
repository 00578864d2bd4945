# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs modules in forked copies of one process that has imported everything: a run costs what the module costs.

    with Forks() as forks:
        run = forks.run("snapshot", options, at=17)       # SIGKILL at the 17th step
        assert run.killed

A fork may also be given a user (`uid`), a largest file (`largest_file`), an end of memory (`more_memory`: so many bytes of address
space beyond those that it begins with), or another time (`clock_shift`: so many seconds at
each reading of the clock, the last of them at all that follow).
`python -m tests.fault.forks` is the process: one JSON list of jobs a line in, to be done at once, one JSON list of answers a line out.
"""

from __future__ import annotations

import faulthandler
import json
import math
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field
from types import TracebackType
from typing import Any

from tests.support.run_module import CHECKOUT, COLLECTIONS, make_importable

from .injected import Point

RUN_SECONDS = 120.0
MODULES = ("snapshot", "snapshot_info", "snapshot_prune", "migrate", "rollback", "validate", "server_info", "audit_event", "audit_info")


@dataclass
class Run:
    """How a run ended: `result` is what the module printed (None: nothing), `signal` what killed it."""

    result: dict[str, Any] | None
    signal: int
    points: list[Point] = field(default_factory=list)
    acted: Point | None = None
    output: str = ""

    @property
    def killed(self) -> bool:
        return self.signal == signal.SIGKILL

    @property
    def failed(self) -> bool:
        return self.result is None or bool(self.result.get("failed"))

    @property
    def failure_class(self) -> str | None:
        return None if self.result is None else self.result.get("failure_class")

    @property
    def message(self) -> str:
        return self.output[-500:] if self.result is None else str(self.result.get("msg", ""))


class Forks:
    """The process that forks. One run at a time; `start` and `wait` are the halves of `run`."""

    def __init__(self) -> None:
        make_importable()
        env = {**os.environ, "PYTHONPATH": "%s:%s" % (CHECKOUT, COLLECTIONS)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.fault.forks"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env, cwd=CHECKOUT
        )

    def run(self, module: str, options: Mapping[str, Any], check: bool = False, **how: Any) -> Run:
        """`how`: at, action, of (see injected.py), uid, umask, largest_file, more_memory, clock_shift, environment, patience; points: name every step."""
        self.start(module, options, check, **how)
        return self.wait()

    def run_at_once(self, jobs: Sequence[tuple[str, Mapping[str, Any]]]) -> list[Run]:
        """All of these (module, options) at the same time."""
        self._send([_job(module, options) for module, options in jobs])
        return self._received()

    def start(self, module: str, options: Mapping[str, Any], check: bool = False, **how: Any) -> None:
        self._send([{**_job(module, options, check), **how}])

    def wait(self) -> Run:
        return self._received()[0]

    def _send(self, jobs: Sequence[Mapping[str, Any]]) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        stdin.write(json.dumps(jobs) + "\n")
        stdin.flush()

    def _received(self) -> list[Run]:
        stdout = self._process.stdout
        assert stdout is not None
        line = stdout.readline()
        if not line:
            raise RuntimeError("the process that forks ended with %s" % self._process.wait())
        return [self._run_of(answer) for answer in json.loads(line)]

    def _run_of(self, answer: Mapping[str, Any]) -> Run:
        lines = [text for text in answer["output"].splitlines() if text.startswith("{")]
        acted = answer["acted"]
        return Run(
            result=json.loads(lines[0]) if len(lines) == 1 else None,
            signal=answer["signal"],
            points=[Point(*point) for point in answer["points"]],
            acted=Point(*acted) if acted else None,
            output=answer["output"],
        )

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(RUN_SECONDS)

    def __enter__(self) -> Forks:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _job(module: str, options: Mapping[str, Any], check: bool = False) -> dict[str, Any]:
    arguments = {**options, "_ansible_check_mode": check, "_ansible_diff": False, "_ansible_remote_tmp": "/tmp"}
    return {"module": module, "arguments": arguments}


# The process itself


def main() -> None:
    import codecs
    import importlib

    loaded = {name: importlib.import_module("ansible_collections.infrafabric.chromadb.plugins.modules." + name) for name in MODULES}
    import ansible.module_utils.testing
    import requests

    # What is imported late, when it is first used, is imported now: a fork would do it every time.
    requests.Session().close()
    for encoding in ("ascii", "idna", "latin-1"):
        codecs.lookup(encoding)
    assert ansible.module_utils.testing is not None
    for line in sys.stdin:
        children = [_forked(loaded[job["module"]], job) for job in json.loads(line)]
        sys.stdout.write(json.dumps([_ended(*child) for child in children]) + "\n")
        sys.stdout.flush()


def _forked(module: Any, job: dict[str, Any]) -> tuple[int, int, int]:
    """A child at work: its process, and the pipes of its output and its report."""
    reading, writing = os.pipe()
    telling, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(reading)
            os.close(telling)
            code = _child(module, job, writing, told)
        finally:
            os._exit(code)
    os.close(writing)
    os.close(told)
    return pid, reading, telling


def _ended(pid: int, reading: int, telling: int) -> dict[str, Any]:
    output, report = _drain(pid, reading, telling)
    status = os.waitpid(pid, 0)[1]
    answer = {"signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0, "output": output.decode("utf-8", "replace"), "points": [], "acted": None}
    if report:
        answer.update(json.loads(report))
    return answer


def _drain(pid: int, *descriptors: int) -> list[bytes]:
    """What comes out of the pipes until they are closed; a child that hangs is killed, and that is its answer."""
    found = dict.fromkeys(descriptors, b"")
    open_ones = list(descriptors)
    until = time.monotonic() + RUN_SECONDS
    while open_ones:
        ready = select.select(open_ones, [], [], max(0.0, until - time.monotonic()))[0]
        if not ready:
            os.kill(pid, signal.SIGABRT)
            until += RUN_SECONDS
        for descriptor in ready:
            piece = os.read(descriptor, 1 << 16)
            if piece:
                found[descriptor] += piece
            else:
                open_ones.remove(descriptor)
                os.close(descriptor)
    return [found[descriptor] for descriptor in descriptors]


def _child(module: Any, job: dict[str, Any], output: int, report: int) -> int:
    from ansible.module_utils.testing import patch_module_args

    from .injected import Injector, inject

    os.dup2(output, 1)
    os.dup2(output, 2)
    faulthandler.enable()  # one that hangs is aborted, and says where it was
    real_write = os.write
    injector = Injector(job.get("at"), job.get("action", "kill"), job.get("of", ()))
    _limit(job)
    inject(injector)
    code = 0
    with patch_module_args(job["arguments"]), os.fdopen(output, "w", closefd=False) as stream:
        sys.stdout = sys.stderr = stream
        try:
            module.main()
        except SystemExit as ended:
            code = int(ended.code or 0)
    told = {"acted": _plain(injector.acted), "points": [_plain(point) for point in injector.points] if job.get("points") else []}
    data = json.dumps(told).encode()
    while data:
        data = data[real_write(report, data) :]
    return code


def _limit(job: dict[str, Any]) -> None:
    import resource

    # How often figures are saved on the way depends on the clock; the steps of one run must be those of the next.
    checkpoint = sys.modules["ansible_collections.infrafabric.chromadb.plugins.module_utils._checkpoint"]
    checkpoint.SAVE_EVERY_SECONDS = math.inf  # type: ignore[attr-defined]
    if job.get("largest_file"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (job["largest_file"], job["largest_file"]))
    if "patience" in job:
        for name in ("migrate", "rollback"):
            operation = sys.modules["ansible_collections.infrafabric.chromadb.plugins.module_utils._operations." + name]
            operation.PATIENCE_SECONDS = job["patience"]  # type: ignore[attr-defined]
    for name, value in (job.get("environment") or {}).items():
        os.environ[name] = value
    if job.get("clock_shift"):
        _shift_clock(job["clock_shift"])
    if "umask" in job:
        os.umask(job["umask"])
    if "more_memory" in job:
        with open("/proc/self/statm", encoding="ascii") as statm:
            used = int(statm.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + job["more_memory"],) * 2)
    if job.get("uid"):
        os.setgroups([])
        os.setgid(job["uid"])
        os.setuid(job["uid"])


def _shift_clock(shifts: list[float]) -> None:
    """Every module of the product reads another time of day; the monotonic clock goes on as it does for real."""
    import datetime as standard

    left = list(shifts)

    def shift() -> float:
        return left.pop(0) if len(left) > 1 else left[0]

    class Shifted(standard.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return standard.datetime.now(tz) + standard.timedelta(seconds=shift())

    real_time = time.time
    time.time = lambda: real_time() + shift()
    time.tzset()
    for name, module in list(sys.modules.items()):
        if name.startswith("ansible_collections.infrafabric.chromadb") and getattr(module, "datetime", None) is standard.datetime:
            module.datetime = Shifted  # type: ignore[attr-defined]


def _plain(point: Point | None) -> list[Any] | None:
    return None if point is None else list(astuple(point))


if __name__ == "__main__":
    main()
