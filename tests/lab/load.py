# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Clients of one collection, as applications are: kept-alive connections, the collection's UUID remembered, reads and writes.

They never retry: whatever is not answered as it should is counted. Bounded in time; needs the standard library alone.
"""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from dataclasses import dataclass, field
from types import TracebackType
from urllib.parse import urlsplit

REFUSED = 403


@dataclass
class Tally:
    """What the clients saw; times are those of time.monotonic(), at the answer."""

    reads: int = 0
    failed_reads: list[tuple[float, str]] = field(default_factory=list)
    acknowledged: dict[str, float] = field(default_factory=dict)
    refused: list[float] = field(default_factory=list)
    failed_writes: list[tuple[float, str]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def requests_per_second(self) -> float:
        return (self.reads + len(self.acknowledged) + len(self.refused)) / self.seconds


class Load:
    """`readers` and `writers` clients, each with a connection of its own and a request every `pause` seconds, for at most `limit` seconds."""

    def __init__(self, url: str, collection: str, dimension: int = 4, readers: int = 4, writers: int = 2, pause: float = 0.04, limit: float = 300.0) -> None:
        address = urlsplit(url)
        self._host, self._port = address.hostname or "127.0.0.1", address.port or 80
        self._path = "/api/v2/tenants/default_tenant/databases/default_database/collections/%s" % collection
        self._vector = [0.5] * dimension
        self._pause = pause
        self._limit = limit
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self.tally = Tally()
        self._threads = [threading.Thread(target=self._read, daemon=True) for _reader in range(readers)]
        self._threads += [threading.Thread(target=self._write, args=(n,), daemon=True) for n in range(writers)]

    def __enter__(self) -> Load:
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=60)
        self.tally.seconds = time.monotonic() - self._began

    def _connect(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=60)
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def _running(self) -> bool:
        return not self._stop.wait(self._pause) and time.monotonic() - self._began < self._limit

    def _read(self) -> None:
        connection = self._connect()
        questions: list[tuple[str, str, dict[str, object] | None]] = [
            ("POST", "/get", {"limit": 3, "include": ["documents"]}),
            ("POST", "/query", {"query_embeddings": [self._vector], "n_results": 3}),
            ("GET", "/count", None),
        ]
        turn = 0
        while self._running():
            method, path, body = questions[turn % len(questions)]
            turn += 1
            status, text, connection = self._ask(connection, method, path, body)
            with self._lock:
                if status == 200:
                    self.tally.reads += 1
                else:
                    self.tally.failed_reads.append((time.monotonic(), "%s %s: %s %s" % (method, path, status, text)))

    def _write(self, writer: int) -> None:
        connection = self._connect()
        turn = 0
        while self._running():
            turn += 1
            name = "load-%d-%d" % (writer, turn)
            body = {"ids": [name], "embeddings": [self._vector], "documents": ["written under load"], "metadatas": [{"turn": turn}]}
            status, text, connection = self._ask(connection, "POST", "/upsert", body)
            with self._lock:
                if status in (200, 201):
                    self.tally.acknowledged[name] = time.monotonic()
                elif status == REFUSED:
                    self.tally.refused.append(time.monotonic())
                else:
                    self.tally.failed_writes.append((time.monotonic(), "%s %s" % (status, text)))

    def _ask(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: dict[str, object] | None
    ) -> tuple[int, str, http.client.HTTPConnection]:
        try:
            connection.request(method, self._path + path, None if body is None else json.dumps(body), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace")[:200], connection
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            try:
                connection = self._connect()
            except OSError:
                pass
            return 0, repr(error), connection
