# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Clients write while migrations, snapshots and rollbacks run and are killed: every value that is found afterwards can be explained,
no acknowledged write is lost and none invented. The seed of a round is in the message of its violation."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.chroma_server import ChromaServer
from tests.support.raw import RawChroma

from . import oracle
from .conftest import Tally
from .forks import Forks
from .history import ABSENT, Client, History, values

ROUNDS = tuple(range(40))
KILLED_WITHIN = 140  # steps of a run, about
NAME = "things"


class Round:
    """A source with two clients, a target, a store and a state directory."""

    def __init__(self, source: RawChroma, target: RawChroma, directory: Path, seed: int) -> None:
        self.source, self.target, self.seed = source.fresh_database("history"), target.fresh_database("history"), seed
        self.store, self.state = directory / ("store-%d" % seed), directory / ("state-%d" % seed)
        for place in (self.store, self.state):
            place.mkdir(mode=0o700)
        self.random = random.Random(seed)
        self.history = History()
        self.begun = time.monotonic()

    def clients(self, place: RawChroma) -> list[Client]:
        collection_id = place.create(NAME)
        found = [Client(place, collection_id, number, self.seed, self.history) for number in (1, 2)]
        for client in found:
            for _operation in range(8):
                client.act()
            client.start()
        return found

    def migration(self) -> dict[str, Any]:
        return {"source": self.source.endpoint, "target": self.target.endpoint, "state_directory": str(self.state), "batch_size": 6, "prune": True}

    def records(self, place: RawChroma) -> tuple[dict[str, int], list[str]]:
        found = place.contents()
        return values(found[NAME].records) if NAME in found else ({}, [])

    def final(self, place: RawChroma, name: str) -> list[str]:
        """After the clients have stopped, the source itself holds what they were told; and `place` holds what the source does."""
        now = time.monotonic()
        held, torn = self.records(self.source)
        found = torn + self.history.explains(held, now, now)
        if place is not self.source:
            found += ["%s: %s" % (name, line) for line in oracle.equality_violations(self.source.contents(), place.contents())]
        return found


@pytest.fixture
def rounds(source_server: ChromaServer, target_server: ChromaServer, tmp_path: Path, tally: Tally) -> list[Round]:
    source, target = RawChroma(source_server.url), RawChroma(target_server.url)
    return [Round(source, target, tmp_path, 1000 * tally.seed + number) for number in tally.chosen(ROUNDS)]


def test_migrations_that_die_while_clients_write(rounds: list[Round], forks: Forks, tally: Tally) -> None:
    for one in rounds:
        clients = one.clients(one.source)
        found: list[str] = []
        for _run in range(3):
            at = one.random.randrange(KILLED_WITHIN) if one.random.random() < 0.7 else None
            run = forks.run("migrate", one.migration(), at=at)
            if run.failed and not run.killed and run.failure_class not in ("drift", "partial"):
                found.append("a migration failed: %s" % run.message)
            # Whatever it copied, the source held it at some moment since the beginning.
            held, torn = one.records(one.target)
            found += torn + ["target: %s" % line for line in one.history.explains(held, one.begun, time.monotonic()) if "is -1" not in line]
        for client in clients:
            client.stop()
        last = forks.run("migrate", one.migration())
        if last.failure_class == "drift":
            # It says so where a request of a killed run arrived while it was at work.
            last = forks.run("migrate", one.migration())
        if last.failed:
            found.append("the last catch-up failed: %s" % last.message)
        tally.point("migrate", "seed %d" % one.seed, found + one.final(one.target, "target"))


def test_snapshots_that_die_while_clients_write(rounds: list[Round], forks: Forks, tally: Tally) -> None:
    """A snapshot that is visible is of the time in which it was taken, record by record."""
    for one in rounds:
        clients = one.clients(one.source)
        options = {**one.source.endpoint, "directory": str(one.store), "batch_size": 6}
        found: list[str] = []
        taken: list[tuple[str, float, float]] = []
        for _run in range(3):
            at = one.random.randrange(KILLED_WITHIN) if one.random.random() < 0.5 else None
            begun = time.monotonic()
            run = forks.run("snapshot", options, at=at)
            if run.result is not None and not run.failed:
                taken.append((run.result["snapshot"]["snapshot_id"], begun, time.monotonic()))
            elif not run.killed and run.failure_class not in ("drift", "integrity"):
                found.append("a snapshot failed: %s" % run.message)
        for client in clients:
            client.stop()
        found += oracle.store_violations(one.store) + oracle.chain_violations(one.store)
        for snapshot_id, begun, ended in taken:
            place = one.target.fresh_database("restored")
            back = forks.run("rollback", {**place.endpoint, "directory": str(one.store), "snapshot_id": snapshot_id})
            if back.failed:
                found.append("%s cannot be brought back: %s" % (snapshot_id, back.message))
                continue
            held, torn = values(place.contents()[NAME].records)
            found += torn + ["%s: %s" % (snapshot_id, line) for line in one.history.explains(held, begun, ended)]
        tally.point("snapshot", "seed %d" % one.seed, found + one.final(one.source, "source"))


def test_rollbacks_that_die_while_clients_write(rounds: list[Round], forks: Forks, tally: Tally) -> None:
    """What clients were told before a rollback began is in its safety snapshot; afterwards the database is the snapshot's, exactly."""
    for one in rounds:
        clients = one.clients(one.source)
        options = {**one.source.endpoint, "directory": str(one.store)}
        first = forks.run("snapshot", {**options, "name": "first"})
        found = ["the snapshot failed: %s" % first.message] if first.failed else []
        while sum(len(writes) for writes in one.history.writes.values()) < 120:
            clients[0].stopped.wait(0.01)
        snapshot_id = first.result["snapshot"]["snapshot_id"] if first.result else ""
        begun = time.monotonic()
        run = forks.run("rollback", {**options, "snapshot_id": snapshot_id}, at=one.random.randrange(2 * KILLED_WITHIN) if one.random.random() < 0.6 else None)
        ended = time.monotonic()
        if run.failed and not run.killed and run.failure_class not in ("drift", "integrity", "partial"):
            found.append("the rollback failed: %s" % run.message)
        for client in clients:
            client.stop()
        held, torn = one.records(one.source)
        known = {write.value for writes in one.history.writes.values() for write in writes} | {ABSENT}
        found += torn + ["%s is %s, which nobody wrote" % (key, value) for key, value in held.items() if value not in known]
        # The rollback's own safety snapshots hold what had been acknowledged when they were taken.
        for entry in oracle.audit_entries(one.store):
            if entry["action"] == "snapshot" and entry["status"] == "completed" and "before_rollback" in entry["snapshot_id"]:
                place = one.target.fresh_database("saved")
                back = forks.run("rollback", {**place.endpoint, "directory": str(one.store), "snapshot_id": entry["snapshot_id"]})
                if back.failed:
                    found.append("the safety snapshot cannot be brought back: %s" % back.message)
                    continue
                saved, torn = values(place.contents()[NAME].records)
                found += torn + ["safety: %s" % line for line in one.history.explains(saved, begun, ended)]
                break
        again = forks.run("rollback", {**options, "snapshot_id": snapshot_id})
        if again.failed:
            found.append("the last rollback failed: %s" % again.message)
        copy = one.target.fresh_database("copy")
        forks.run("rollback", {**copy.endpoint, "directory": str(one.store), "snapshot_id": snapshot_id})
        found += ["after the rollback: %s" % line for line in oracle.equality_violations(copy.contents(), one.source.contents())]
        tally.point("rollback", "seed %d" % one.seed, found)
