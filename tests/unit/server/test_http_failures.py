# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a server, or something in front of it, answers to one request, and the kind of failure that it is."""

from __future__ import annotations

import html
import json
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils._endpoint import Endpoint
from ansible_collections.infrafabric.chromadb.plugins.module_utils._errors import (
    AuthError,
    IntegrityError,
    LockedError,
    OperationError,
    TimeoutExceededError,
    TlsError,
    UnreachableError,
    VersionError,
)
from ansible_collections.infrafabric.chromadb.plugins.module_utils._server import http
from ansible_collections.infrafabric.chromadb.plugins.module_utils._server.http import HttpClient, StatusError, _BusyError, new_session
from ansible_collections.infrafabric.chromadb.plugins.module_utils._server.stopped import require_stopped
from tests.support.authority import Authority
from tests.support.counting_proxy import CountingProxy
from tests.support.scripted_server import Reply, ScriptedServer, Turns

BUSY_AT_ONCE = {"Retry-After": "0"}


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as running:
        yield running


def call(server: ScriptedServer, reply: Any, write: bool = False, **options: Any) -> Any:
    server.answers["POST", "/x"] = reply
    client = HttpClient(Endpoint(server.url, **{"retries": 0, **options}))
    try:
        return client.call("POST", "/x", {"a": 1}, write=write)
    finally:
        client.close()


@pytest.mark.parametrize(
    ("reply", "write", "kind", "words"),
    [
        (Reply(307, b"", {"Location": "http://192.0.2.1/"}), False, VersionError, "with a redirect, which is not followed"),
        (Reply(401, {"detail": "Unauthorized"}), False, AuthError, "answered 401 .*Unauthorized. Check token"),
        (Reply(403, {"error": "AuthError", "message": "Forbidden"}), True, AuthError, "Forbidden. Check token"),
        (Reply(403, {"error": "ReadOnly", "message": "frozen."}), True, LockedError, "held read-only: ReadOnly: frozen. Wait"),
        (Reply(403, {"error": "ReadOnly", "message": "frozen."}), False, AuthError, "answered 403"),
        (Reply(429, {"message": "too many"}, BUSY_AT_ONCE), True, LockedError, "takes no writes"),
        (Reply(429, {"message": "too many"}, BUSY_AT_ONCE), False, UnreachableError, "stays busy"),
        (Reply(503, b"<html>away</html>", BUSY_AT_ONCE), True, UnreachableError, "<html>away</html>. The server stays busy"),
        (Reply(500, b""), False, StatusError, "answered 500 to POST /x: no explanation"),
        (Reply(500, ["a list"]), False, StatusError, "a list"),
        (Reply(500, {"error": "one\n  line. "}), False, StatusError, "/x: one line$"),
        (Reply(200, b"{"), False, IntegrityError, "no readable JSON"),
        (Reply(200, b"[" * 100_000), False, IntegrityError, "no readable JSON"),
        (Reply(200, b"x", {"Content-Encoding": "gzip"}), False, IntegrityError, "the answer is compressed"),
    ],
)
def test_answers_that_are_failures(server: ScriptedServer, reply: Reply, write: bool, kind: type[OperationError], words: str) -> None:
    with pytest.raises(kind, match=words):
        call(server, reply, write)
    assert len(server.requests) == 1


def test_an_empty_answer_is_none(server: ScriptedServer) -> None:
    assert call(server, Reply(200, b"")) is None


def test_a_busy_server_is_asked_again_and_a_failing_one_is_not(server: ScriptedServer) -> None:
    assert call(server, Turns([Reply(503, {}, BUSY_AT_ONCE), Reply(429, {}, BUSY_AT_ONCE), {"done": True}]), write=True, retries=2) == {"done": True}
    assert len(server.requests) == 3
    with pytest.raises(StatusError):
        call(server, Reply(500, {}), retries=2)
    assert len(server.requests) == 4


@pytest.mark.parametrize(
    ("options", "header", "value"),
    [
        ({"token": "hush-hush"}, "Authorization", "Bearer hush-hush"),
        ({"token": "hush-hush", "token_header": "x-chroma-token"}, "X-Chroma-Token", "hush-hush"),
        ({"username": "admin", "password": "hush"}, "Authorization", "Basic YWRtaW46aHVzaA=="),
        ({"headers": {"X-Key": "hush-hush"}}, "X-Key", "hush-hush"),
    ],
)
def test_a_secret_is_sent_and_is_taken_out_of_what_the_server_repeats(server: ScriptedServer, options: dict[str, Any], header: str, value: str) -> None:
    with pytest.raises(AuthError) as caught:
        call(server, Reply(401, {"detail": f"who is {value}?"}), **options)
    assert server.requests[0].headers[header] == value
    assert "who is" in caught.value.message
    assert "hush" not in caught.value.message
    assert "YWRtaW46aHVzaA==" not in caught.value.message


TOKEN = 'canary/"91c7d2+5be038é=='


@pytest.mark.parametrize(
    "repeated",
    [
        TOKEN,
        json.dumps(TOKEN),
        json.dumps(TOKEN, ensure_ascii=False).replace("/", "\\/"),
        json.dumps(json.dumps(TOKEN)),
        quote(TOKEN),
        quote(TOKEN, safe="").lower(),
        html.escape(TOKEN),
        repr({"token": TOKEN}),
    ],
)
@pytest.mark.parametrize("before", [0, 275, 290, 19_985])
def test_a_secret_is_taken_out_however_it_is_spelled_and_wherever_the_answer_is_cut(server: ScriptedServer, repeated: str, before: int) -> None:
    """The fillings are single letters, or spaces that are put together afterwards."""
    filling = ("." if before < 300 else " ") * before
    for body in (f"{filling}{repeated}{'.' * 20_000}".encode(), {"message": filling + repeated}, {"message": {"header": filling + repeated}}):
        with pytest.raises(StatusError) as caught:
            call(server, Reply(500, body), token=TOKEN)
        assert not re.search("cana|91c7|5be0", str(caught.value.message) + caught.value.reason)


def test_a_secret_in_the_bytes_of_a_header_is_taken_out(server: ScriptedServer) -> None:
    with pytest.raises(StatusError) as caught:
        call(server, Reply(500, TOKEN.encode("latin-1")), token=TOKEN)
    assert "canary" not in caught.value.message


def test_the_encoded_password_is_taken_out_as_an_address_spells_it(server: ScriptedServer) -> None:
    with pytest.raises(StatusError, match=r"who is \*+$"):
        call(server, Reply(500, b"who is YWRtaW46aHVzaA%3d%3d"), username="admin", password="hush")


def test_characters_that_no_header_has_are_named_as_such(server: ScriptedServer) -> None:
    with pytest.raises(AuthError, match="characters that HTTP does not allow") as caught:
        call(server, {}, token="hush-hush…")
    assert "hush" not in caught.value.message


@pytest.mark.parametrize(("header", "seconds"), [("0", 0.0), ("3", 3.0), ("9999", 5.0), ("\u00b2", None), ("-1", None), ("soon", None), (None, None)])
def test_how_long_a_busy_server_asks_to_be_left_alone(header: str | None, seconds: float | None) -> None:
    assert _BusyError("where", 503, "busy", False, header).wait == seconds


def test_a_busy_server_with_a_number_that_is_none_stays_busy(server: ScriptedServer) -> None:
    with pytest.raises(UnreachableError, match="stays busy"):
        call(server, Reply(503, {}, {"Retry-After": "\u00b2"}))


def test_nothing_of_the_environment_is_taken(server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a password for this host, nor a proxy for all, which would see the token."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password hush-hush\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with ScriptedServer() as proxy:
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
            monkeypatch.setenv(name.upper(), proxy.url)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        assert call(server, {"done": True}) == {"done": True}
        assert call(server, {"done": True}, token="my-own", token_header="x-chroma-token") == {"done": True}
        assert proxy.requests == []
    assert [request.headers.get("Authorization") for request in server.requests] == [None, None]


def test_certificates_of_the_endpoint_are_those_of_the_connection(tmp_path: Path) -> None:
    pair = new_session(Endpoint("https://localhost", ca_path="ca.pem", client_cert="c.pem", client_key="k.pem"))
    assert (pair.verify, pair.cert) == ("ca.pem", ("c.pem", "k.pem"))
    joint = new_session(Endpoint("https://localhost", ca_path="ca.pem", validate_certs=False, client_cert="both.pem"))
    assert (joint.verify, joint.cert) == (False, "both.pem")


def test_nobody_listens_and_somebody_never_answers() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        url = "http://127.0.0.1:%d" % listener.getsockname()[1]
        with pytest.raises(UnreachableError, match=r"does not answer: .*refused"):
            HttpClient(Endpoint(url, retries=0)).call("GET", "/x")
        require_stopped(Endpoint(url))
        listener.listen()
        with pytest.raises(TimeoutExceededError, match=r"took longer than 0\.1 s to answer GET /x"):
            HttpClient(Endpoint(url, retries=0, timeout=0.1)).call("GET", "/x")
        with pytest.raises(LockedError, match="the server runs"):
            require_stopped(Endpoint(url, timeout=0.1))


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        # What was sent is repeated where HTTP has something else.
        b"Bearer hush-hush\r\n\r\n",
        b"HTTP/hush-hush 200 OK\r\n\r\n",
        b"HTTP/1.1 hush-hush OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhush-hush\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://[hush-hush\r\n\r\n",
    ],
)
def test_a_connection_that_breaks_is_no_answer(sent: bytes) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def serve() -> None:
            connection, _address = listener.accept()
            connection.recv(65536)
            connection.sendall(sent)
            connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(UnreachableError) as caught:
            HttpClient(Endpoint("http://127.0.0.1:%d" % listener.getsockname()[1], retries=0, token="hush-hush")).call("GET", "/x")
        thread.join()
    # Without the token's own help: the line is not quoted at all.
    assert not re.search(r"hush|\*\*|zz|nonsense", caught.value.message)


@pytest.mark.parametrize(
    ("answers", "stopped"),
    [
        ({}, True),
        ({"v2": Reply(502, {"error": "no backend"}), "v1": Reply(502, {})}, True),
        ({"v2": Reply(200, b"hello"), "v1": Reply(302, b"")}, True),
        ({"v2": {"nanosecond heartbeat": 1}}, False),
        ({"v1": {"nanosecond heartbeat": 1}}, False),
        ({"v2": Reply(401, {})}, False),
        ({"v2": Reply(503, {"error": "no backend"})}, True),
        ({"v2": Reply(429, {"error": "too many requests"})}, False),
    ],
)
def test_whether_a_server_is_stopped(server: ScriptedServer, answers: dict[str, Any], stopped: bool) -> None:
    """A proxy that says that its server is away is no server, and neither is another program."""
    for version, answer in answers.items():
        server.answers["GET", f"/api/{version}/heartbeat"] = answer
    if stopped:
        require_stopped(Endpoint(server.url))
    else:
        with pytest.raises(LockedError, match="Stop it first"):
            require_stopped(Endpoint(server.url))


def test_an_answer_that_would_take_all_memory_is_not_read_to_its_end(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MAX_ANSWER_BYTES", 1000)
    assert call(server, Reply(200, b'"' + b"x" * 998 + b'"')) == "x" * 998
    with pytest.raises(IntegrityError, match="larger than 1000 bytes and was not read to its end"):
        call(server, Reply(200, b'"' + b"x" * 999 + b'"'))


def test_an_answer_whose_headers_contradict_each_other_is_no_fault_of_ours(server: ScriptedServer) -> None:
    with pytest.raises(UnreachableError, match="what it sends is no HTTP"):
        call(server, Reply(200, {}, {"Content-Length": "7"}))
    with pytest.raises(AuthError, match="characters that HTTP does not allow"):
        call(server, Reply(200, {}), headers={"x-other": "two\nlines"})


def test_a_certificate_that_is_not_trusted_is_told_from_a_port_without_tls(server: ScriptedServer, tmp_path: Path) -> None:
    with CountingProxy(server.url, Authority(tmp_path / "one").server()) as encrypted, CountingProxy(server.url) as plain:
        with pytest.raises(TlsError, match=r"the TLS connection is not trusted: .*Give ca_path, or correct the host name in url"):
            HttpClient(Endpoint(encrypted.url, retries=0, ca_path=str(Authority(tmp_path / "other").path))).call("GET", "/x")
        with pytest.raises(TlsError, match=r"does not speak TLS on that port. Begin url with http://"):
            HttpClient(Endpoint(plain.url.replace("http:", "https:"), retries=0)).call("GET", "/x")
        assert encrypted.requests == plain.requests == []
