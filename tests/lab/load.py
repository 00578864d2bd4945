# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Clients of one collection, as applications are: kept-alive connections, the collection's UUID remembered, reads and writes.

They never retry: whatever is not answered as it should is counted, and an answer of another content than it must have is a failed
read as well, since a server that is empty answers as fast as the right one. Bounded in time.
"""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Callable
from urllib.parse import urlsplit

import numpy as np

from tests.support.raw import RawChroma, Record

REFUSED = 403
KNOWN_RECORDS = 5
SHOWN = 5


@dataclass(frozen=True)
class Known:
    """What every reader must find, whichever server answers: some records, which no writer changes, and at least so many in all."""

    records: list[Record]
    count: int

    @classmethod
    def of(cls, server: RawChroma, collection: str) -> Known:
        """As the server itself says, before there is any load."""
        page = server.get(collection, limit=KNOWN_RECORDS)
        rows = zip(page["ids"], page["embeddings"], page["documents"])
        return cls([Record(name, np.asarray(vector, dtype="<f4"), document) for name, vector, document in rows], server.count(collection))

    def written(self, name: str) -> Record:
        """What a writer writes under this id. Its vector lies about one of the known ones: a cloud of its own would hide those from an approximate
        search, and many times the same vector does so too. It is as long as that one, since with cosine no other length is kept."""
        writer, turn = (int(part) for part in name.split("-")[1:])
        near = self.records[turn % len(self.records)].embedding
        aside = np.random.default_rng((writer, turn)).normal(size=len(near))
        vector = near / np.linalg.norm(near) + aside / np.linalg.norm(aside) / 2
        return Record(name, (vector * np.linalg.norm(near) / np.linalg.norm(vector)).astype("<f4"), "written under load", {"turn": turn})


@dataclass
class Tally:
    """What the clients saw; times are those of time.monotonic(), at the answer."""

    good_reads: Counter[str] = field(default_factory=Counter)
    failed_reads: list[tuple[float, str]] = field(default_factory=list)
    acknowledged: dict[str, float] = field(default_factory=dict)
    refused: list[float] = field(default_factory=list)
    failed_writes: list[tuple[float, str]] = field(default_factory=list)
    began: float = 0.0
    seconds: float = 0.0

    @property
    def reads(self) -> int:
        return self.good_reads.total()

    @property
    def refused_seconds(self) -> float:
        """From the first write that was refused to the last one."""
        return max(self.refused) - min(self.refused)

    @property
    def requests_per_second(self) -> float:
        return (self.reads + len(self.acknowledged) + len(self.refused)) / self.seconds

    def __str__(self) -> str:
        reads = ", ".join("%d %s" % (number, what) for what, number in sorted(self.good_reads.items()))
        lines = ["%.0f requests/s for %.0f s: good reads %s; %d failed reads" % (self.requests_per_second, self.seconds, reads, len(self.failed_reads))]
        lines.append("%d writes acknowledged, %d refused, %d failed" % (len(self.acknowledged), len(self.refused), len(self.failed_writes)))
        return "; ".join([*lines, *("failed after %.1f s: %s" % (moment - self.began, what) for moment, what in self.failed_reads[:SHOWN])])


class Load:
    """`readers` and `writers` clients, each with a connection of its own and a request every `pause` seconds, for at most `limit` seconds."""

    def __init__(self, url: str, collection: str, known: Known, readers: int = 4, writers: int = 2, pause: float = 0.04, limit: float = 300.0) -> None:
        address = urlsplit(url)
        self._host, self._port = address.hostname or "127.0.0.1", address.port or 80
        self._path = "/api/v2/tenants/default_tenant/databases/default_database/collections/%s" % collection
        self._known = known
        self._pause = pause
        self._limit = limit
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self.tally = Tally()
        self._threads = [threading.Thread(target=self._read, daemon=True) for _reader in range(readers)]
        self._threads += [threading.Thread(target=self._write, args=(n,), daemon=True) for n in range(writers)]

    def __enter__(self) -> Load:
        self.tally.began = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=60)
        self.tally.seconds = time.monotonic() - self.tally.began

    def _connect(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=60)
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def _running(self) -> bool:
        return not self._stop.wait(self._pause) and time.monotonic() - self.tally.began < self._limit

    def _read(self) -> None:
        connection = self._connect()
        turn = 0
        while self._running():
            record = self._known.records[turn // 3 % len(self._known.records)]
            what, method, path, body, judge = self._questions(record)[turn % 3]
            turn += 1
            status, text, connection = self._ask(connection, method, path, body)
            wrong = judged(judge, text) if status == 200 else "%s %s" % (status, text)
            with self._lock:
                if wrong:
                    self.tally.failed_reads.append((time.monotonic(), "%s: %.300s" % (what, wrong)))
                else:
                    self.tally.good_reads[what] += 1

    def _questions(self, record: Record) -> list[tuple[str, str, str, dict[str, object] | None, Callable[[Any], str]]]:
        """Each with what is wrong about an answer to it; "" where nothing is."""
        name, known = record.id, self._known

        def got(answer: Any) -> str:
            said = answer["ids"], answer["documents"]
            return "" if said == ([name], [record.document]) else "%r with %r was expected, and there is %r" % (name, record.document, said)

        def found(answer: Any) -> str:
            # Not each of them: in 5 of 25 collections of 3,000 records on 1.5.9, before any load, one was not found by its own vector, while a get found
            # it; in 2 of 46 others, two. More results (1000) and a filter by its id did not help where that was tried.
            hidden = [one.id for one, ids in zip(known.records, answer["ids"], strict=True) if one.id not in ids]
            return "" if 2 * len(hidden) < len(known.records) else "the vectors of %r find %r" % (hidden, answer["ids"])

        def counted(answer: Any) -> str:
            return "" if answer >= known.count else "%r records, and there were %d at the beginning" % (answer, known.count)

        return [
            ("get", "POST", "/get", {"ids": [name], "include": ["documents"]}, got),
            ("query", "POST", "/query", {"query_embeddings": [one.embedding.tolist() for one in known.records], "n_results": 3, "include": []}, found),
            ("count", "GET", "/count", None, counted),
        ]

    def _write(self, writer: int) -> None:
        connection = self._connect()
        turn = 0
        while self._running():
            turn += 1
            name = "load-%d-%d" % (writer, turn)
            record = self._known.written(name)
            body: dict[str, object] = {"ids": [name], "embeddings": [record.embedding.tolist()], "documents": [record.document], "metadatas": [record.metadata]}
            status, text, connection = self._ask(connection, "POST", "/upsert", body)
            with self._lock:
                if status in (200, 201):
                    self.tally.acknowledged[name] = time.monotonic()
                elif status == REFUSED:
                    self.tally.refused.append(time.monotonic())
                else:
                    self.tally.failed_writes.append((time.monotonic(), "%s %.200s" % (status, text)))

    def _ask(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: dict[str, object] | None
    ) -> tuple[int, str, http.client.HTTPConnection]:
        try:
            connection.request(method, self._path + path, None if body is None else json.dumps(body), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace"), connection
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            try:
                connection = self._connect()
            except OSError:
                pass
            return 0, repr(error), connection


def judged(judge: Callable[[Any], str], text: str) -> str:
    try:
        return judge(json.loads(text))
    except (ValueError, LookupError, TypeError):
        return "not what such an answer is: %s" % text
