# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How much of the machine others used meanwhile: without it, a figure of a pipeline that wants every core says little.

A raw client keeps one core busy at a time. A migration reads, writes and compares at once; where others need the second core, it
is slower for their sake and not for its own.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import TracebackType

_TICKS = os.sysconf("SC_CLK_TCK")


class Others:
    """A context; afterwards `seconds` is how long it took, and `busy` the processor time that other programs used in it."""

    def __init__(self) -> None:
        self.seconds = self.busy = 0.0

    def __enter__(self) -> Others:
        self._began, self._all, self._ours = time.perf_counter(), _machine(), _this_tree()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.seconds = time.perf_counter() - self._began
        self.busy = max(0.0, _machine() - self._all - (_this_tree() - self._ours))


def cores(measured: list[Others]) -> float:
    """How many cores others used, on average over these."""
    return sum(other.busy for other in measured) / max(1e-9, sum(other.seconds for other in measured))


def _machine() -> float:
    """Processor time that anything used since the start of the machine."""
    user, nice, system, _idle, _waiting, *rest = map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:8])
    return (user + nice + system + sum(rest)) / _TICKS


def _this_tree() -> float:
    """Processor time of this process, of those that it started and waited for, and of those that still run."""
    parents: dict[int, int] = {}
    used: dict[int, float] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(path.parent.name)] = int(fields[1])
        used[int(path.parent.name)] = sum(map(int, fields[11:15])) / _TICKS
    total = 0.0
    for process in used:
        ancestor = process
        while ancestor not in (0, os.getpid()):
            ancestor = parents.get(ancestor, 0)
        total += used[process] if ancestor else 0.0
    return total
