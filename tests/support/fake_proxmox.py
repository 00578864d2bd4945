# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A fake of the API of Proxmox VE, which cannot be had in a test: one guest with its snapshots, and tasks that take a moment.

It answers what community.proxmox asks for in order to take, delete and go back to a snapshot, and 501 to everything else.
What it gets wrong about the real API, no test here can see.
"""

from __future__ import annotations

import json
import re
import ssl
import subprocess
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

USER, TOKEN, SECRET = "tester@pve", "automation", "not-a-real-secret"
NODE, VMID = "node1", 104


class FakeProxmox:
    """`snapshots` by name, `rolled_back` to which names, `fails`: tasks end with an error; `on_snapshot` is called when one is asked for."""

    def __init__(self, directory: Path) -> None:
        self.snapshots: dict[str, dict[str, Any]] = {}
        self.rolled_back: list[str] = []
        self.fails = False
        self.on_snapshot: Callable[[], object] = lambda: None
        self._asked: dict[str, int] = {}
        certificate, key = directory / "certificate.pem", directory / "key.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1", "-keyout", str(key), "-out", str(certificate)],
            check=True, capture_output=True,
        )  # fmt: skip
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = int(self._server.server_address[1])

    def __enter__(self) -> FakeProxmox:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def api(self) -> dict[str, Any]:
        """For chromadb_proxmox."""
        return {"api_host": "127.0.0.1", "api_port": self.port, "api_user": USER, "api_token_id": TOKEN, "api_token_secret": SECRET, "validate_certs": False}

    def answer(self, method: str, path: str, form: dict[str, str]) -> Any:
        """The data for a request; KeyError for what this fake does not know."""
        guest = {"vmid": VMID, "name": "chroma", "node": NODE, "type": "qemu", "status": "running"}
        plain = {"/version": {"version": "8.4.1", "release": "8.4"}, "/cluster/resources": [guest], "/nodes": [{"node": NODE, "status": "online"}]}
        if method == "GET" and path in plain:
            return plain[path]
        task = re.fullmatch(rf"/nodes/{NODE}/tasks/([^/]+)/(status|log)", path)
        if task:
            return [{"n": 1, "t": "working"}] if task[2] == "log" else self._task(task[1])
        snapshots = f"/nodes/{NODE}/qemu/{VMID}/snapshot"
        if (method, path) == ("GET", snapshots):
            return [*self.snapshots.values(), {"name": "current", "running": 1}]
        if (method, path) == ("POST", snapshots):
            self.on_snapshot()
            self.snapshots[form["snapname"]] = {"name": form["snapname"], "snaptime": 1, "description": form.get("description", "")}
            return self._begin("qmsnapshot")
        one = re.fullmatch(rf"{snapshots}/([^/]+)(/rollback)?", path)
        if one and one[1] in self.snapshots and (method, bool(one[2])) == ("POST", True):
            self.rolled_back.append(one[1])
            return self._begin("qmrollback")
        if one and one[1] in self.snapshots and (method, bool(one[2])) == ("DELETE", False):
            del self.snapshots[one[1]]
            return self._begin("qmdelsnapshot")
        raise KeyError(path)

    def _begin(self, kind: str) -> str:
        task = f"UPID:{NODE}:{len(self._asked):08X}:0:0:{kind}:{VMID}:{USER}:"
        self._asked[task] = 0
        return task

    def _task(self, task: str) -> dict[str, str]:
        """Running when it is asked for the first time, at its end the second time."""
        self._asked[task] += 1
        if self._asked[task] < 2:
            return {"status": "running"}
        return {"status": "stopped", "exitstatus": "snapshot failed" if self.fails else "OK"}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                form = dict(parse_qsl(self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()))
                path = unquote(urlsplit(self.path).path)[len("/api2/json") :]
                status, data = 200, None
                if self.headers.get("Authorization") != f"PVEAPIToken={USER}!{TOKEN}={SECRET}":
                    status = 401
                else:
                    try:
                        data = fake.answer(self.command, path, form)
                    except KeyError:
                        status = 501
                body = json.dumps({"data": data}).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_DELETE = do_PUT = handle_any  # noqa: N815

            def log_message(self, *_arguments: object) -> None:
                pass

        return Handler
