# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What clients did to a database, with the moments of it, and whether what somebody read later can be explained by it.

Every key belongs to one client, which writes one value after the other, each value once. So for each key the history is a
line, and a value that was read at some time must be one that the key had at some moment of the reading: no acknowledged write is
lost, none is invented. A write whose answer never came may have happened or not.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import requests

from tests.support import trap_data
from tests.support.raw import RawChroma, RawError, Record

ABSENT = -1


@dataclass
class Write:
    """A value (ABSENT: a deletion) that a key was given: asked at `begun`, acknowledged at `ended` (None: never)."""

    value: int
    begun: float
    ended: float | None = None


@dataclass
class History:
    """The writes of each key, in the order in which its client made them. Before the first one the key is absent."""

    writes: dict[str, list[Write]] = field(default_factory=dict)

    def explains(self, found: Mapping[str, int], begun: float, ended: float) -> list[str]:
        """What was read between the two moments and cannot have been there; `found` has no entry for a key that was absent."""
        lines = ["%s came from nowhere" % key for key in found if key not in self.writes]
        for key, writes in self.writes.items():
            possible = self.possible(writes, begun, ended)
            value = found.get(key, ABSENT)
            if value not in possible:
                lines.append("%s is %s, and was one of %s" % (key, value, sorted(possible)))
        return lines

    @staticmethod
    def possible(writes: list[Write], begun: float, ended: float) -> set[int]:
        """The values that a key can have had at some moment between the two."""
        # The last write that was surely over before the reading began hides everything before it.
        certain = max((place for place, write in enumerate(writes) if write.ended is not None and write.ended <= begun), default=-1)
        before = {writes[certain].value} if certain >= 0 else {ABSENT}
        return before | {write.value for write in writes[certain + 1 :] if write.begun <= ended}


class Client(threading.Thread):
    """Writes to keys of its own until it is stopped; every operation is in the history before it is sent."""

    def __init__(self, place: RawChroma, collection_id: str, number: int, seed: int, history: History) -> None:
        super().__init__(daemon=True)
        self.place = RawChroma(place.url, place.tenant, place.database)
        self.collection_id, self.history = collection_id, history
        self.random = random.Random("%d-%d" % (seed, number))
        self.keys = ["k%d-%d" % (number, key) for key in range(12)]
        self.vectors = trap_data.vectors(64, seed=number)
        self.stopped = threading.Event()
        self.next = number * 1_000_000
        for key in self.keys:
            history.writes[key] = []

    def run(self) -> None:
        while not self.stopped.is_set():
            self.act()
            self.stopped.wait(self.random.random() / 100)

    def act(self) -> None:
        chosen = self.random.sample(self.keys, self.random.randint(1, 4))
        deletes = self.random.random() < 0.25
        self.next += 1
        writes = [Write(ABSENT if deletes else self.next, time.monotonic()) for _key in chosen]
        for key, write in zip(chosen, writes):
            self.history.writes[key].append(write)
        try:
            if deletes:
                self.place.delete(self.collection_id, chosen)
            else:
                row = self.vectors[self.next % 64]
                self.place.upsert(self.collection_id, [Record(key, row, "value %d" % self.next, {"value": self.next}) for key in chosen])
        except (requests.RequestException, RawError):
            return
        for write in writes:
            write.ended = time.monotonic()

    def stop(self) -> None:
        self.stopped.set()
        self.join(60)


def values(records: Mapping[str, Record]) -> tuple[dict[str, int], list[str]]:
    """The value of each key, and the records that contradict themselves."""
    found: dict[str, int] = {}
    torn = []
    for key, record in records.items():
        value: Any = (record.metadata or {}).get("value")
        if record.document != "value %s" % value:
            torn.append("%s is torn: %r %r" % (key, record.document, record.metadata))
        found[key] = value
    return found, torn
