# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""TLS before a server that speaks none, with certificates of a private authority made for the test (by the openssl command)."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

CHUNK = 65536


class Authority:
    """A private certificate authority below a directory; `certify` signs for a host or an address."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.certificate = directory / "ca.pem"
        self._key = directory / "ca.key"
        _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=Private CA",
                 "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
                 "-keyout", str(self._key), "-out", str(self.certificate))  # fmt: skip

    def certify(self, name: str, alternative: str) -> tuple[Path, Path]:
        """A certificate and its key; `alternative` as IP:127.0.0.1 or DNS:localhost."""
        certificate, key, request = (self.directory / (name + suffix) for suffix in (".pem", ".key", ".csr"))
        extensions = self.directory / (name + ".ext")
        extensions.write_text("subjectAltName=%s\n" % alternative)
        _openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=" + name, "-keyout", str(key), "-out", str(request))
        _openssl("x509", "-req", "-in", str(request), "-CA", str(self.certificate), "-CAkey", str(self._key), "-CAcreateserial", "-days", "2",
                 "-extfile", str(extensions), "-out", str(certificate))  # fmt: skip
        return certificate, key


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


class TlsProxy:
    """Ends TLS and passes the bytes on to the server behind. With `client_authority` it demands a client's certificate of that authority."""

    def __init__(self, upstream: str, certificate: Path, key: Path, client_authority: Path | None = None) -> None:
        parts = urlsplit(upstream)
        self._upstream = (str(parts.hostname), int(parts.port or 80))
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate, key)
        if client_authority is not None:
            self._context.load_verify_locations(client_authority)
            self._context.verify_mode = ssl.CERT_REQUIRED
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = "https://127.0.0.1:%d" % self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> TlsProxy:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                plain, _address = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        try:
            with self._context.wrap_socket(plain, server_side=True) as client, socket.create_connection(self._upstream) as server:
                answers = threading.Thread(target=_pass_on, args=(server, client), daemon=True)
                answers.start()
                _pass_on(client, server)
                answers.join()
        except OSError:
            """The handshake failed, which is what some tests want, or one side went away."""


def _pass_on(giver: socket.socket, taker: socket.socket) -> None:
    try:
        while True:
            data = giver.recv(CHUNK)
            if not data:
                break
            taker.sendall(data)
        taker.shutdown(socket.SHUT_WR)
    except OSError:
        """One side went away."""
