# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Requests to one server: kept-alive, bounded, retried with care, and every failure put into a class.

No redirect is followed, no proxy or .netrc is taken from the environment, and no secret appears in a message.
"""

from __future__ import annotations

import json
import ssl
import time
from collections import deque
from http.client import HTTPException, IncompleteRead, RemoteDisconnected
from typing import Any, Callable
from urllib.parse import quote

from .._bounded_json import UnusableJsonError, shallow_json
from .._endpoint import Endpoint
from .._errors import AuthError, IntegrityError, LockedError, OperationError, TimeoutExceededError, TlsError, UnreachableError, VersionError
from .._libraries import create_urllib3_context, requests
from .._printable import printable
from .._secrets import Secrets

# A page of records has 1,000 documents, as long as they are; everything else is short.
MAX_RECORDS_BYTES = 1 << 30
MAX_ANSWER_BYTES = 64 << 20
CHUNK_BYTES = 1 << 20
CONNECT_SECONDS = 10.0
FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 5.0
BUSY_STATUS = (429, 502, 503, 504)
# What triggers in the server's file say, which the role cutover puts there to freeze it.
FROZEN_BY_TRIGGERS = "read-only: a migration is in progress"
LOOKED_AT_BYTES = 20_000
SHOWN_CHARACTERS = 300
# What OpenSSL, by its release, calls an answer that is no TLS.
NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE")


class StatusError(OperationError):
    """The server answered with an error status that its caller may know how to handle."""

    failure_class = "partial"

    def __init__(self, message: str, status: int, reason: str) -> None:
        super().__init__(message, status=status)
        self.status = status
        self.reason = reason


class HttpClient:
    """JSON over HTTP to one endpoint, usable from several threads.

    patience  seconds for which a server that stops answering is waited for, beside the endpoint's retries;
              0 until an operation that can be resumed raises it
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.patience = 0.0
        self._secrets = Secrets(endpoint.secrets)
        # A session serves one thread at a time; appending to and taking from a deque are atomic.
        self._idle: deque[requests.Session] = deque()

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        write: bool = False,
        decode: Callable[[bytes], Any] = shallow_json,
        attempts: int | None = None,
        largest: int | None = None,
    ) -> Any:
        """Send one request below the endpoint's URL and return the decoded answer, of at most `largest` bytes (None: MAX_ANSWER_BYTES).

        `body` is encoded as JSON unless it is bytes already. `write` says that the request changes data: a server
        that keeps answering 429 to it is read-only. `decode` makes the answer of the body. `attempts` takes the place of the endpoint's
        retries and of `patience`. Raises StatusError for any other status of 400 or more.
        """
        payload = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        attempt = 0
        retries, patience = (self.endpoint.retries, self.patience) if attempts is None else (attempts - 1, 0.0)
        begun = time.monotonic()
        while True:
            attempt += 1
            try:
                return self._once(method, path, payload, write, decode, largest or MAX_ANSWER_BYTES)
            except (UnreachableError, _BusyError) as failure:
                spent = time.monotonic() - begun
                if attempt > retries and spent >= patience:
                    if isinstance(failure, _BusyError):
                        raise failure.final() from None
                    raise
                pause = min(FIRST_PAUSE_SECONDS * 2 ** min(attempt - 1, 10), LONGEST_PAUSE_SECONDS)
                time.sleep(failure.wait if isinstance(failure, _BusyError) and failure.wait is not None else pause)

    def _once(self, method: str, path: str, payload: bytes | None, write: bool, decode: Callable[[bytes], Any], largest: int) -> Any:
        url = self.endpoint.url + path
        try:
            session = self._idle.pop()
        except IndexError:
            session = new_session(self.endpoint)
        try:
            response = session.request(
                method, url, data=payload, timeout=(min(CONNECT_SECONDS, self.endpoint.timeout), self.endpoint.timeout), allow_redirects=False, stream=True
            )
            with response:
                content = _read(response, url, largest)
        except requests.exceptions.SSLError as error:
            if any(name in str(error) for name in NO_TLS):
                raise TlsError(f"{self.endpoint.url} does not speak TLS on that port. Begin url with http://, or give the port that does.") from None
            reason = self.without_secrets(_reason(error))
            raise TlsError(f"{self.endpoint.url}: the TLS connection is not trusted: {reason}. Give ca_path, or correct the host name in url.") from None
        except requests.exceptions.ConnectTimeout:
            raise UnreachableError(
                f"{self.endpoint.url} does not answer: no connection within {CONNECT_SECONDS:g} s. Check the address and the firewall."
            ) from None
        except requests.exceptions.ReadTimeout:
            raise TimeoutExceededError(
                f"{self.endpoint.url} took longer than {self.endpoint.timeout:g} s to answer {method} {path}. Raise timeout "
                "(chromadb_source_timeout or chromadb_target_timeout of an inventory)."
            ) from None
        except (requests.exceptions.InvalidHeader, UnicodeEncodeError) as error:
            if getattr(error, "request", None) is not None:
                # It was sent: the header is one of the answer.
                raise UnreachableError(f"{self.endpoint.url}: what it sends is no HTTP (a header contradicts itself).") from None
            raise AuthError("A header, token or password holds characters that HTTP does not allow.") from None
        except (requests.exceptions.ConnectionError, requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError) as error:
            reason = self.without_secrets(_reason(error))
            raise UnreachableError(f"{self.endpoint.url} does not answer: {reason}. Check that the server runs and the address is right.") from None
        except (requests.exceptions.RequestException, ValueError) as error:
            # A header that cannot be read is a ValueError, and may be quoted in it.
            raise UnreachableError(f"{self.endpoint.url}: the request failed: {type(error).__name__}.") from None
        finally:
            self._idle.append(session)
        return self._decoded(method, path, response, content, write, decode)

    def _decoded(self, method: str, path: str, response: requests.Response, content: bytes, write: bool, decode: Callable[[bytes], Any]) -> Any:
        status = response.status_code
        if status >= 400:
            reason = self._server_words(content)
            where = f"{self.endpoint.url} answered {status} to {method} {path}: {reason}"
            if status in BUSY_STATUS:
                raise _BusyError(where, status, reason, write, response.headers.get("Retry-After"))
            if write and ((status == 403 and "ReadOnly" in reason) or FROZEN_BY_TRIGGERS in reason):
                raise LockedError(f"{self.endpoint.url} is held read-only: {reason}. Wait until the freeze is over.")
            if status in (401, 403):
                raise AuthError(f"{where}. Check token, token_header, username and password, and what this user may do.")
            raise StatusError(where, status, reason)
        if status >= 300:
            raise VersionError(f"{self.endpoint.url} answers {method} {path} with a redirect, which is not followed. Give the server's own address as url.")
        if not content:
            return None
        try:
            return decode(content)
        except UnusableJsonError as error:
            raise IntegrityError(f"{self.endpoint.url}: the answer to {method} {path} {error}. Look at the server and at what is in front of it.") from None
        except (ValueError, RecursionError) as error:
            raise IntegrityError(f"{self.endpoint.url}: the answer to {method} {path} is no readable JSON ({type(error).__name__}).") from None

    def _server_words(self, content: bytes) -> str:
        """What the server said is wrong, on one short line without its full stop: it becomes part of a sentence."""
        text = content[:LOOKED_AT_BYTES].decode("utf-8", "replace")
        try:
            answer = json.loads(text)
            if isinstance(answer, dict):
                words = answer.get("message") or answer.get("error") or answer.get("detail") or text
                text = words if isinstance(words, str) else json.dumps(words)
                if answer.get("error") == "ReadOnly":
                    text = f"ReadOnly: {text}"
        except (ValueError, RecursionError):
            pass
        # Secrets go before anything is cut off: a part of one would not be known again.
        text = self.without_secrets(text)
        if len(content) > LOOKED_AT_BYTES:
            text = text[: -self._secrets.longest or None]
        return printable(" ".join(text.split()))[:SHOWN_CHARACTERS].rstrip(". ") or "no explanation"

    def without_secrets(self, text: str) -> str:
        """A server may repeat what it was sent; what it says goes into messages, and from there into logs."""
        return self._secrets.hidden_in(text)


class _BusyError(Exception):
    """The server said that it is busy, or that it takes no writes; worth another try."""

    def __init__(self, where: str, status: int, reason: str, write: bool, retry_after: str | None) -> None:
        super().__init__(where)
        self.where, self.status, self.reason, self.write = where, status, reason, write
        seconds = retry_after or ""
        self.wait = min(float(seconds), LONGEST_PAUSE_SECONDS) if seconds.isascii() and seconds.isdecimal() else None

    def final(self) -> OperationError:
        if self.status == 429 and self.write:
            return LockedError(f"{self.where}. The server takes no writes: it is read-only or overloaded.")
        return UnreachableError(f"{self.where}. The server stays busy.")


def new_session(endpoint: Endpoint) -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    session.headers.update({"Content-Type": "application/json", "Accept": "application/json", "Accept-Encoding": "identity"})
    session.headers.update(endpoint.headers or {})
    if endpoint.token:
        if endpoint.token_header == "x-chroma-token":
            session.headers["X-Chroma-Token"] = endpoint.token
        else:
            session.headers["Authorization"] = f"Bearer {endpoint.token}"
    if endpoint.username:
        session.auth = requests.auth.HTTPBasicAuth(endpoint.username.encode(), (endpoint.password or "").encode())
    # By name in any case: some releases of requests take a context of their own where this is only True.
    session.verify = (endpoint.ca_path or requests.utils.DEFAULT_CA_BUNDLE_PATH) if endpoint.validate_certs else False
    if endpoint.client_cert:
        session.cert = (endpoint.client_cert, endpoint.client_key) if endpoint.client_key else endpoint.client_cert
    if endpoint.url.startswith("https://"):
        session.mount("https://", _tls_adapter(endpoint.validate_certs))
    return session


def _tls_adapter(validate_certs: bool) -> requests.adapters.HTTPAdapter:
    """Connections of TLS 1.2 or newer, whatever this host allows. Whom to trust comes with each request, from the session."""
    context = create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED if validate_certs else ssl.CERT_NONE)
    context.minimum_version = max(context.minimum_version, ssl.TLSVersion.TLSv1_2)
    adapter = requests.adapters.HTTPAdapter()
    adapter.init_poolmanager(requests.adapters.DEFAULT_POOLSIZE, requests.adapters.DEFAULT_POOLSIZE, ssl_context=context)
    return adapter


def quoted(name: str) -> str:
    """A name as one segment of a path."""
    return quote(name, safe="")


def _read(response: requests.Response, url: str, largest: int) -> bytes:
    if response.headers.get("Content-Encoding", "identity") != "identity":
        # None was asked for, and a small answer could grow to any size.
        raise IntegrityError(f"{url}: the answer is compressed, although that was not asked for. Look at the proxy in front of the server.")
    chunks = []
    size = 0
    for chunk in response.iter_content(CHUNK_BYTES):
        size += len(chunk)
        if size > largest:
            raise IntegrityError(f"{url}: the answer is larger than {largest} bytes and was not read to its end.")
        chunks.append(chunk)
    return b"".join(chunks)


def _reason(error: Exception) -> str:
    """The innermost cause, without the library's object names, and without the line that was no HTTP: it may repeat what was sent."""
    cause: BaseException = error
    while True:
        inner = next((part for part in (*reversed(cause.args), getattr(cause, "reason", None)) if isinstance(part, BaseException)), None)
        if inner is None:
            break
        cause = inner
    if isinstance(cause, IncompleteRead):
        return "the answer ends too early"
    if isinstance(cause, HTTPException) and not isinstance(cause, RemoteDisconnected):
        return f"what it sends is no HTTP ({type(cause).__name__})"
    return str(cause).rsplit(": ", 1)[-1] or type(cause).__name__
