# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""What Chroma takes as the name of a collection."""

from __future__ import annotations

import ipaddress
import re

SHORTEST, LONGEST = 3, 512
_ALLOWED = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9._-]*[a-zA-Z0-9])?\Z")


def collection_name_fault(name: str) -> str | None:
    """Why Chroma 1.x would refuse this name, in words that continue "the name ..."; None for a good one."""
    if not SHORTEST <= len(name) <= LONGEST:
        return f"has {len(name)} characters; Chroma wants {SHORTEST} to {LONGEST}"
    if not _ALLOWED.match(name):
        return "may hold only letters, digits, '.', '_' and '-' (no accents), and must begin and end with a letter or digit"
    if ".." in name:
        return "may not hold two dots in a row"
    try:
        ipaddress.IPv4Address(name)
    except ValueError:
        return None
    return "may not be an IP address"
