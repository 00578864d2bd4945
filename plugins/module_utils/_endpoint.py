# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Where a server is and how to be let in."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from ._errors import UsageError

DEFAULT_URL = "http://localhost:8000"
DEFAULT_TENANT = "default_tenant"
DEFAULT_DATABASE = "default_database"
TOKEN_HEADERS = ("authorization", "x-chroma-token")


@dataclass(frozen=True)
class Endpoint:
    """One database on one server. `timeout` is in seconds, for one request; `retries` counts further tries of one request."""

    url: str = DEFAULT_URL
    tenant: str = DEFAULT_TENANT
    database: str = DEFAULT_DATABASE
    token: str | None = field(default=None, repr=False)
    token_header: str = "authorization"
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] | None = field(default=None, repr=False)
    validate_certs: bool = True
    ca_path: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    timeout: float = 120.0
    retries: int = 3

    @property
    def identity(self) -> str:
        """Names the database without a secret: two endpoints with one identity are the same database."""
        return f"{self.url} {self.tenant}/{self.database}"

    @property
    def remarks(self) -> dict[str, str]:
        """What an audit line says of the connection: nothing, unless the server need not prove who it is."""
        return {"certificates": "unchecked"} if self.url.startswith("https://") and not self.validate_certs else {}

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be shown, longest first, also in the form in which it is sent."""
        found = {self.token, self.password, *(self.headers or {}).values()}
        if self.username and self.password:
            found.add(base64.b64encode(f"{self.username}:{self.password}".encode()).decode("ascii"))
        return tuple(sorted((secret for secret in found if secret), key=len, reverse=True))


def parse_endpoint(options: Mapping[str, Any]) -> Endpoint:
    """An endpoint from a module's options (absent ones may be None); UsageError names what cannot be right."""
    given = {name: options[name] for name in Endpoint.__dataclass_fields__ if options.get(name) is not None}
    given["url"] = normalized_url(str(given.get("url", DEFAULT_URL)))
    if given.get("token") and given.get("username"):
        raise UsageError("Both token and username are given; a server takes one of them.")
    if bool(given.get("username")) != (given.get("password") is not None):
        raise UsageError("username and password belong together; only one of them is given.")
    for name, value in (given.get("headers") or {}).items():
        if not isinstance(value, str):
            # Nor is this one repeated.
            raise UsageError(f"headers: {name} must be text, not {type(value).__name__}. Put a number into quotes.")
    for name in ("token", "password", "username", "headers"):
        if not _fits_a_header(given.get(name)):
            # The value is not repeated: it is a secret.
            raise UsageError(f"{name} holds a line break or another character that HTTP does not allow in a header.")
    if given.get("token_header", TOKEN_HEADERS[0]) not in TOKEN_HEADERS:
        raise UsageError(f"token_header must be one of {', '.join(TOKEN_HEADERS)}.")
    if given.get("timeout", 1) <= 0:
        raise UsageError(f"timeout must be more than 0 seconds, not {given['timeout']}.")
    if given.get("retries", 0) < 0:
        raise UsageError(f"retries must not be negative, but is {given['retries']}.")
    if given.get("client_key") and not given.get("client_cert"):
        raise UsageError("client_key is given without client_cert.")
    for name in ("ca_path", "client_cert", "client_key"):
        if name in given and not os.path.exists(given[name]):
            raise UsageError(f"{name}: {given[name]} does not exist.")
    for name in ("tenant", "database"):
        if name in given and (not given[name] or "/" in given[name]):
            raise UsageError(f"{name} must be a name without slashes, not {given[name]!r}.")
    return Endpoint(**given)


def _fits_a_header(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(_fits_a_header(part) for pair in value.items() for part in pair)
    return value is None or not any(character in "\r\n\0" for character in str(value))


def normalized_url(url: str) -> str:
    """The URL as it is used and shown: lower-case scheme and host, no slash at the end, never a password.

    A URL that is refused is not repeated, nor any part of it: with one wrong character, what is meant as a password is read as a host or a path.
    """
    text = url.strip()
    if "@" in text:
        raise UsageError("The URL holds a user name or password. Use the options username and password, or token, instead.")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise UsageError(f"The URL cannot be read: its host or port is none. Expected something like {DEFAULT_URL}.") from None
    if parts.scheme.lower() not in ("http", "https") or not parts.hostname:
        raise UsageError(f"The URL must start with http:// or https:// and name a host, like {DEFAULT_URL}.")
    if any(character.isspace() for character in text):
        raise UsageError("The URL holds a space, which no address has.")
    if "?" in text or "#" in text:
        raise UsageError("The URL must not hold a query or a fragment: only scheme, host, port and, behind a proxy, a path.")
    host = parts.hostname.lower()
    if ":" in host:
        host = f"[{host}]"
    return f"{parts.scheme.lower()}://{host}{f':{port}' if port else ''}{parts.path.rstrip('/')}"
