# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An HTTP proxy on loopback that counts what passes, and breaks it where a test says so.

    with CountingProxy(server.url) as proxy:
        ...
        assert proxy.writes == []
        proxy.faults.append(Fault("eaten", when=every_write, times=1))
"""

from __future__ import annotations

import http.client
import json
import re
import socket
import ssl
import struct
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Callable
from urllib.parse import urlsplit

_READING_POSTS = re.compile(r"/collections/[^/]+/(get|query|search)$")
_RECORD_WRITES = re.compile(r"/collections/[^/]+/(add|upsert|update|delete)$")
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "proxy-connection", "host"}


@dataclass
class Seen:
    """One request that arrived. `records` counts the ids that a write of records names; `status` 0: never answered."""

    method: str
    path: str
    body: bytes
    records: int = 0
    status: int = 0

    @property
    def is_write(self) -> bool:
        if self.method in ("GET", "HEAD", "OPTIONS"):
            return False
        return not (self.method == "POST" and _READING_POSTS.search(self.path))

    @property
    def verb(self) -> str:
        """add, upsert, update, delete, get, query …, or the HTTP method where the path names none."""
        last = self.path.rsplit("/", 1)[-1]
        return last if _RECORD_WRITES.search(self.path) or _READING_POSTS.search(self.path) else self.method.lower()


def every_request(_seen: Seen) -> bool:
    return True


def every_write(seen: Seen) -> bool:
    return seen.is_write


def every_read(seen: Seen) -> bool:
    return not seen.is_write


def with_another_digit(body: bytes) -> bytes:
    """The last digit in the second half of the body is another one; where there is none, nothing is changed. It stays JSON of the same shape."""
    for place in range(len(body) - 1, len(body) // 2, -1):
        if body[place : place + 1].isdigit():
            return body[:place] + (b"7" if body[place : place + 1] != b"7" else b"3") + body[place + 1 :]
    return body


def every_write_of_numbers(seen: Seen) -> bool:
    """A write in which something can be changed."""
    return seen.is_write and with_another_digit(seen.body) != seen.body


@dataclass
class Fault:
    """Something that goes wrong with the requests for which `when` holds.

    kind         latency    waits `seconds`, then goes on
                 held       waits until `until` is set, then goes on
                 refused    closes the connection; the server never hears of the request
                 eaten      the server does the work, the answer is lost and the connection closed
                 reset      TCP reset after `after_bytes` of the answer's body
                 truncated  an orderly end after `after_bytes` of a body that was announced longer
                 corrupted  the answer's body has a byte that no JSON can have
                 corrupted-request  the server gets one digit of the request's body as another one
                 rewritten  the answer's body is what `rewrite` makes of it, with the headers of `headers`
                 status     answers `status` itself, `retry_after` seconds in the header where given; the body is what `rewrite`
                            makes of the request's headers, where given
    skip, times  the first `skip` matching requests pass; then it acts `times` times (None: always)
    """

    kind: str
    when: Callable[[Seen], bool] = every_request
    skip: int = 0
    times: int | None = 1
    seconds: float = 0.0
    until: threading.Event = field(default_factory=threading.Event)
    after_bytes: int = 0
    status: int = 503
    retry_after: int | None = None
    rewrite: Callable[[bytes], bytes] | None = None
    headers: tuple[tuple[str, str], ...] = ()
    acted: int = 0

    def takes(self, seen: Seen) -> bool:
        if (self.times is not None and self.acted >= self.times) or not self.when(seen):
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.acted += 1
        return True


class CountingProxy:
    """Between a client and one server. `requests` holds what passed since the last `reset`."""

    def __init__(self, upstream: str, tls: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(upstream)
        self.upstream = (parts.hostname or "127.0.0.1", parts.port or 80)
        self.requests: list[Seen] = []
        self.faults: list[Fault] = []
        self.lock = threading.Lock()
        self._server = _ProxyServer(self)
        self._scheme = "http"
        if tls is not None:
            self._scheme = "https"
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return "%s://127.0.0.1:%d" % (self._scheme, self._server.server_address[1])

    @property
    def reads(self) -> list[Seen]:
        return [seen for seen in self.requests if not seen.is_write]

    @property
    def writes(self) -> list[Seen]:
        return [seen for seen in self.requests if seen.is_write]

    @property
    def records_written(self) -> Counter[str]:
        """Ids named by writes, by verb; a batch that was sent twice counts twice."""
        counted: Counter[str] = Counter()
        for seen in self.writes:
            counted[seen.verb] += seen.records
        return counted

    def summary(self) -> dict[str, int]:
        """Requests by verb."""
        return dict(Counter(seen.verb for seen in self.requests))

    def reset(self) -> None:
        """Forget the requests and the faults."""
        with self.lock:
            self.requests = []
            self.faults = []

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> CountingProxy:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def arrived(self, seen: Seen) -> list[Fault]:
        """Note the request; the faults that it meets."""
        with self.lock:
            self.requests.append(seen)
            return [fault for fault in self.faults if fault.takes(seen)]


def once(proxy: CountingProxy, when: Callable[[Seen], bool], act: Callable[[], None]) -> list[bool]:
    """Acts before the first such request is passed on; the list is empty until then."""
    done: list[bool] = []

    def hook(seen: Seen) -> bool:
        if when(seen) and not done:
            done.append(True)
            act()
        return False

    proxy.faults.append(Fault("status", when=hook))
    return done


class _ProxyServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, proxy: CountingProxy) -> None:
        self.proxy = proxy
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


class _Handler(BaseHTTPRequestHandler):
    """One client connection, with one connection to the server behind it."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _ProxyServer

    def setup(self) -> None:
        super().setup()
        self.behind: http.client.HTTPConnection | None = None

    def finish(self) -> None:
        if self.behind is not None:
            self.behind.close()
        super().finish()

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

    def _serve(self) -> None:
        body = self._body()
        seen = Seen(self.command, urlsplit(self.path).path, body)
        if _RECORD_WRITES.search(seen.path):
            seen.records = len(json.loads(body or b"{}").get("ids") or [])
        faults = self.server.proxy.arrived(seen)
        for fault in faults:
            if fault.kind == "latency":
                time.sleep(fault.seconds)
            elif fault.kind == "held":
                fault.until.wait()
            elif fault.kind == "refused":
                return self._hang_up()
            elif fault.kind == "status":
                extra = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
                seen.status = fault.status
                text = b'{"error":"fault"}' if fault.rewrite is None else fault.rewrite(str(self.headers).encode())
                return self._answer(fault.status, [("Content-Type", "application/json"), *extra.items(), *fault.headers], text)
            elif fault.kind == "corrupted-request":
                body = with_another_digit(body)
        status, headers, answer = self._forward(body)
        for fault in faults:
            if fault.kind == "eaten":
                return self._hang_up()
            if fault.kind in ("reset", "truncated"):
                self._answer(status, headers, answer[: fault.after_bytes], announced=len(answer))
                return self._hang_up(reset=fault.kind == "reset")
            if fault.kind == "corrupted":
                answer = answer[: len(answer) // 2] + b"\x00" + answer[len(answer) // 2 + 1 :]
            if fault.kind == "rewritten" and fault.rewrite is not None:
                answer = fault.rewrite(answer)
                headers = [*headers, *fault.headers]
        seen.status = status
        self._answer(status, headers, answer)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = _serve

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            chunks = []
            while True:
                size = int(self.rfile.readline().split(b";")[0], 16)
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
                if size == 0:
                    return b"".join(chunks)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP_BY_HOP}
        for attempt in (1, 2):
            if self.behind is None:
                self.behind = http.client.HTTPConnection(*self.server.proxy.upstream, timeout=300)
            try:
                self.behind.request(self.command, self.path, body=body or None, headers=headers)
                response = self.behind.getresponse()
                answer = response.read()
                return response.status, response.getheaders(), answer
            except (OSError, http.client.HTTPException):
                self.behind.close()
                self.behind = None
                if attempt == 2:
                    return 502, [("Content-Type", "application/json")], b'{"error":"nothing answers behind the proxy"}'
        raise AssertionError("unreachable")

    def _answer(self, status: int, headers: Any, body: bytes, announced: int | None = None) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if announced is None else announced))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def _hang_up(self, reset: bool = False) -> None:
        if reset:
            # Closed with lingering off, and not by the handler (which would say goodbye first): the client gets RST.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            socket.close(self.connection.detach())
        self.close_connection = True
