# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Progress as whole lines of text, few enough that several hosts and log files stay readable."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

EVERY_SECONDS = 5.0
EVERY_PERCENT = 10
BAR_WIDTH = 20


class ProgressLines:
    """Writes a line for a host when something changed: after each 10 % of the records, and otherwise at most every 5 seconds."""

    def __init__(self, host: str, write: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self.host = host
        self._write = write
        self._clock = clock
        self._written_at = clock()
        self._shown: tuple[str, int] = ("", 0)
        self._first: tuple[int, float] | None = None

    def say(self, sentence: str) -> None:
        self._write(f"{self.host} | {sentence}")

    def show(self, figures: Mapping[str, Any] | None) -> None:
        """Take the newest figures of the module, `{operation, phase, done, total, seconds}`, and write a line if it is time to."""
        if not figures:
            return
        phase, done, total = str(figures.get("phase", "")), int(figures.get("done") or 0), int(figures.get("total") or 0)
        seconds = float(figures.get("seconds") or 0)
        if self._first is None and done:
            self._first = (done, seconds)
        now = self._clock()
        steps = (done - self._shown[1]) * 100 >= EVERY_PERCENT * total > 0
        if (phase, done) == self._shown or not (steps or now - self._written_at >= EVERY_SECONDS):
            return
        self._shown, self._written_at = (phase, done), now
        self.say("  ".join(part for part in self._parts(str(figures.get("operation", "")), phase, done, total, seconds) if part))

    def _parts(self, operation: str, phase: str, done: int, total: int, seconds: float) -> list[str]:
        name = f"{operation}: {phase}" if phase else operation
        if not total:
            return [name, f"{done:,} records" if done else "", duration(seconds)]
        rate = self._rate(done, seconds)
        left = f"ETA {duration((total - done) / rate)}" if rate and done < total else ""
        return [name, drawn(done, total), f"{min(done, total) * 100 // total:3d} %", f"{done:,}/{total:,}", f"{rate:,.0f}/s" if rate else "", left]

    def _rate(self, done: int, seconds: float) -> float:
        """Records a second since the first one was finished; what came before was preparation, and says nothing about the rest."""
        if self._first and done > self._first[0] and seconds > self._first[1]:
            return (done - self._first[0]) / (seconds - self._first[1])
        return done / seconds if seconds > 0 else 0.0


def drawn(done: int, total: int, width: int = BAR_WIDTH) -> str:
    filled = min(done, total) * width // total if total else 0
    return "[" + "#" * filled + "." * (width - filled) + "]"


def duration(seconds: float) -> str:
    """Seconds as people say them: `0.4 s`, `42 s`, `3 min 05 s`, `1 h 02 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
