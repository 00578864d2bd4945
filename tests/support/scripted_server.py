# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An HTTP server on loopback that answers as a test says: what no real server can be brought to answer on demand.

    with ScriptedServer() as server:
        server.answers["GET", "/api/v1/version"] = "0.4.24"
        server.answers["POST", "/api/v1/collections/c/get"] = lambda body: {"ids": body["ids"]}
        server.answers["GET", "/api/v1/heartbeat"] = Reply(503, {"error": "busy"}, {"Retry-After": "0"})
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple


@dataclass(frozen=True)
class Reply:
    """`body` is sent as JSON unless it is bytes; `reason` takes the place of the status's own words."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    reason: str | None = None


class Turns(list[Any]):
    """One answer after the other, one a request."""


class Request(NamedTuple):
    method: str
    path: str
    body: Any
    headers: Mapping[str, str]


class ScriptedServer:
    """`answers` by method and path, without the query: a Reply, the body of a 200, a function of the request's decoded body that
    returns either, or Turns of these. Everything else is 404."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], Any] = {}
        self.requests: list[Request] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = "http://127.0.0.1:%d" % self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def bodies(self, verb: str) -> list[Any]:
        """Of the requests so far whose path ends so."""
        return [request.body for request in self.requests if request.path.partition("?")[0].endswith("/" + verb)]

    def reply(self, request: Request) -> Reply:
        self.requests.append(request)
        answer = self.answers.get((request.method, request.path.partition("?")[0]), Reply(404, {"detail": "Not Found"}))
        if isinstance(answer, Turns):
            answer = answer.pop(0)
        if callable(answer):
            answer = answer(request.body)
        return answer if isinstance(answer, Reply) else Reply(200, answer)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> ScriptedServer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _handler(script: ScriptedServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            reply = script.reply(Request(self.command, self.path, json.loads(content) if content else None, dict(self.headers)))
            body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            self.send_response(reply.status, reply.reason)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_DELETE = answer

        def log_message(self, *arguments: Any) -> None:
            pass

    return Handler
