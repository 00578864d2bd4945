# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Takes secrets out of what others say, however they spell them."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from itertools import groupby

MASK = "********"
# JSON within JSON within a log has seven of them before a quotation mark.
BACKSLASHES = r"\\{0,8}"
# The most characters that one character becomes: as many backslashes, and &#x10ffff;
LONGEST_SPELLING = 18


class Secrets:
    """What must not be repeated, as it is and as it is written into JSON, an address or a page, or into one of these within another.

    longest  the characters of the longest spelling: a part of a secret that stands at the end of a text is no longer than that
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        texts = {text for secret in secrets for text in (secret, _read_as_utf8(secret)) if text.strip()}
        self.longest = LONGEST_SPELLING * max(map(len, texts), default=0)
        # The longest first, so that nothing of it is left behind in a shorter one.
        spellings = "|".join(_spellings(text) for text in sorted(texts, key=len, reverse=True))
        self._pattern = re.compile(spellings, re.IGNORECASE) if spellings else None

    def hidden_in(self, text: str) -> str:
        return self._pattern.sub(MASK, text) if self._pattern else text


def _spellings(text: str) -> str:
    """A pattern of the text in which each character may be spelled in its own way."""
    parts = []
    for character, run in groupby(text):
        count = len(list(run))
        if character == "\\":
            # In one piece: a choice for each of them would take forever where it does not fit.
            parts.append(r"(?:\\|%%5c|&#92;|&#x5c;){%d,%d}" % (count, 8 * count))
        else:
            parts.append(f"(?:{BACKSLASHES}(?:{'|'.join(_spellings_of_one(character))}))" + "{%d}" % count)
    return "".join(parts)


def _spellings_of_one(character: str) -> list[str]:
    """Upper and lower case are one."""
    number = ord(character)
    ways = {re.escape(character), f"u{number:04x}", f"x{number:02x}", f"&#{number};", f"&#x{number:x};", re.escape(html.escape(character)), _in_url(character)}
    if number > 0xFFFF:
        # JSON writes it as two.
        halves = character.encode("utf-16-be").hex()
        ways.add(f"u{halves[:4]}{BACKSLASHES}u{halves[4:]}")
    if character == " ":
        ways.add(r"\+")
    return sorted(ways, key=len, reverse=True)


def _in_url(character: str) -> str:
    return "".join(f"%{byte:02x}" for byte in character.encode("utf-8", "surrogatepass"))


def _read_as_utf8(secret: str) -> str:
    """A header is sent in Latin-1, and a server that repeats those bytes is read in UTF-8."""
    try:
        return secret.encode("latin-1").decode("utf-8", "replace")
    except UnicodeEncodeError:
        return secret
