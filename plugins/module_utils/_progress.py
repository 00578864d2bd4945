# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""How far an operation is: phases with seconds and records, and a small file that others may watch."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

PUBLISH_EVERY_SECONDS = 0.2


@dataclass
class Phase:
    """One phase of an operation: its name, how long it was worked on, how many records it handled."""

    name: str
    seconds: float = 0.0
    records: int = 0

    def as_dict(self) -> dict[str, Any]:
        return {"name": self.name, "seconds": round(self.seconds, 3), "records": self.records}


class Progress:
    """Counts phases that may overlap (a pipeline works on several at once) and publishes the newest figures.

    The file, if there is one, holds `{operation, phase, done, total, seconds}` and is replaced atomically.
    It is for watching only: nothing reads it back, so it is not fsynced and failures to write it are ignored.
    """

    def __init__(self, operation: str = "", path: str | None = None) -> None:
        self.operation = operation
        self.started = time.monotonic()
        self.total: int | None = None
        self.done = 0
        self._phases: dict[str, Phase] = {}
        self._current = ""
        self._path = path
        self._published = 0.0
        self._lock = threading.Lock()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    @property
    def phases(self) -> list[Phase]:
        return list(self._phases.values())

    def expect(self, total: int) -> None:
        """How many records the whole operation is about to handle."""
        self.total = total
        self.publish(force=True)

    def declare(self, *names: str) -> None:
        """Fix the order in which phases are reported."""
        for name in names:
            self._phases.setdefault(name, Phase(name))

    @contextmanager
    def phase(self, name: str, records: int = 0) -> Iterator[Phase]:
        """Count the time of a block, and these records, to a phase."""
        phase = self._phases.setdefault(name, Phase(name))
        outer, self._current = self._current, name
        self.publish()
        begun = time.monotonic()
        try:
            yield phase
        finally:
            with self._lock:
                phase.seconds += time.monotonic() - begun
                phase.records += records
                # A phase of the pipeline that ends inside of another one gives its place back.
                if self._current == name:
                    self._current = outer or name

    def advance(self, records: int) -> None:
        """These many more records of the total are finished."""
        with self._lock:
            self.done += records
        self.publish(force=self.done == self.total)

    def publish(self, force: bool = False) -> None:
        if self._path is None:
            return
        now = time.monotonic()
        if not force and now - self._published < PUBLISH_EVERY_SECONDS:
            return
        with self._lock:
            self._published = now
            figures = {"operation": self.operation, "phase": self._current, "done": self.done, "total": self.total, "seconds": round(self.seconds, 1)}
            temporary = f"{self._path}.{os.getpid()}"
            try:
                with open(temporary, "w", encoding="utf-8") as file:
                    json.dump(figures, file)
                os.replace(temporary, self._path)
            except OSError:
                self._path = None
