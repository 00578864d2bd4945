# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Whether two names are one server. `localhost` and its two addresses are; other names of one address may be, or be told apart by a proxy, and
other addresses of this host may have servers of their own.

A database is named by `Endpoint.identity`: the URL, a space, tenant and database.
"""

from __future__ import annotations

import ipaddress
import socket
from functools import lru_cache
from urllib.parse import SplitResult, urlsplit

THIS_HOST = "localhost"
LOOPBACK = (THIS_HOST, "127.0.0.1", "::1", "0.0.0.0", "::")
PORTS = {"http": 80, "https": 443}
# Nothing is sent to it: it only has the kernel choose the address that it would send from.
ANY_PORT = 9


def by_one_name(identity: str) -> str:
    """The identity, or URL, with `localhost` for its addresses. No name is looked up."""
    url, rest = _parts(identity)
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:  # whatever an old log holds
        return identity
    if parts.hostname not in LOOPBACK:
        return identity
    return f"{parts.scheme}://{THIS_HOST}{port}{parts.path}" + (f" {rest}" if rest else "")


def same_database(one: str, other: str) -> bool:
    """Whether two identities certainly name one database."""
    return one == other or by_one_name(one) == by_one_name(other)


def perhaps_same_database(one: str, other: str) -> bool:
    """The same, or by names and addresses of one host. Names are looked up where all else is equal."""
    (url, rest), (other_url, other_rest) = _parts(one), _parts(other)
    return rest == other_rest and perhaps_same_server(url, other_url)


def perhaps_same_server(url: str, other: str) -> bool:
    """The same of two URLs. A name that cannot be looked up is only its own."""
    if by_one_name(url) == by_one_name(other):
        return True
    try:
        one, two = urlsplit(url), urlsplit(other)
        if (_port(one), one.path) != (_port(two), two.path):
            return False
    except ValueError:
        return False
    return bool(_addresses(one.hostname or "") & _addresses(two.hostname or ""))


def _parts(identity: str) -> tuple[str, str]:
    """The URL, and what follows the space."""
    words = identity.split(" ", maxsplit=1)
    return words[0], words[1] if len(words) > 1 else ""


def _port(parts: SplitResult) -> int | None:
    return parts.port or PORTS.get(parts.scheme)


@lru_cache(maxsize=64)
def _addresses(host: str) -> frozenset[str]:
    """The addresses of a host; `localhost` when one of them is this host's."""
    try:
        found = {str(entry[4][0]).partition("%")[0] for entry in socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)}
    except (OSError, UnicodeError):
        return frozenset({host})
    return frozenset({THIS_HOST}) if any(map(_is_own, found)) else frozenset(found)


@lru_cache(maxsize=64)
def _is_own(host: str) -> bool:
    """Whether it is an address of this host."""
    address = ipaddress.ip_address(host)
    if address.is_loopback or address.is_unspecified:
        return True
    try:
        with socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            # Binding would do as well where a host may bind addresses that it does not have.
            probe.connect((host, ANY_PORT))
            return bool(probe.getsockname()[0] == host)
    except OSError:
        return False
