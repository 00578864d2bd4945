# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Text from the data, made fit to stand in a report: nothing in it may act as markup, control a terminal, or turn the reading direction."""

from __future__ import annotations

import html
import re
import unicodedata
from typing import Any

# Control characters, characters that turn the direction, private and unassigned ones, lone surrogates: shown by their number.
_HIDDEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
LONGEST = 200
# What `shortened` of check.py puts behind a text that it has cut.
_CUT_BEFORE = re.compile(r"\.\.\. \((\d+) characters\)$")


def plain(value: Any, longest: int = LONGEST) -> str:
    """On one line, with everything that is not to be seen written out, and not longer than a line or two."""
    text = value if isinstance(value, str) else str(value)
    cut = text if len(text) <= longest else text[:longest]
    shown = "".join(_visible(character) for character in cut)
    if cut is text:
        return shown
    before = _CUT_BEFORE.search(text, len(text) - 40)
    return f"{shown}... ({int(before[1]) if before else len(text):,} characters)"


def _visible(character: str) -> str:
    if character.isprintable() and unicodedata.category(character) not in _HIDDEN:
        return character
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def for_html(value: Any, longest: int = LONGEST) -> str:
    """For HTML and XML, as text and inside attributes."""
    return html.escape(plain(value, longest), quote=True)


def for_markdown(value: Any, longest: int = LONGEST) -> str:
    """For a sentence or a table cell in Markdown."""
    return re.sub(r"([\\`*_{}\[\]()<>#+!|~&])", r"\\\1", plain(value, longest))


def code_for_markdown(value: Any, longest: int = LONGEST) -> str:
    """As code in Markdown, also inside a table."""
    text = plain(value, longest).replace("|", "\\|")
    fence = "`" * (max((len(run) for run in re.findall(r"`+", text)), default=0) + 1)
    pad = " " if text.startswith("`") or text.endswith("`") or not text.strip() else ""
    return f"{fence}{pad}{text}{pad}{fence}"
