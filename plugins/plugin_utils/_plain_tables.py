# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Plain values as text for people: lists of dictionaries as tables, dictionaries as keys and values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

GAP = "  "


def plain_lines(value: Any) -> list[str]:
    """The lines of a value; nothing in them can move the cursor of a terminal."""
    if isinstance(value, Mapping):
        return _keys_and_values(value)
    if isinstance(value, list) and value and all(isinstance(row, Mapping) for row in value):
        return _table(value)
    if isinstance(value, list):
        return [line for item in value for line in plain_lines(item)]
    return question_marked(_text(value)).splitlines() or [""]


def question_marked(text: str) -> str:
    """The text with a question mark in place of each character that is not printable, but for line breaks: nothing moves the cursor of a terminal."""
    return "".join(character if character.isprintable() or character == "\n" else "?" for character in text)


def _keys_and_values(value: Mapping[str, Any]) -> list[str]:
    width = max((len(str(key)) for key in value), default=0)
    lines = []
    for key, item in value.items():
        is_nested = isinstance(item, Mapping) or (isinstance(item, list) and any(isinstance(row, Mapping) for row in item))
        if is_nested and item:
            lines += ["", *plain_lines(item)]
        else:
            first, *rest = question_marked(_text(item)).splitlines() or [""]
            lines.append(f"{str(key).ljust(width)}{GAP}{first}".rstrip())
            lines += [f"{' ' * width}{GAP}{line}" for line in rest]
    return lines


def _table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    names = list(dict.fromkeys(str(name) for row in rows for name in row))
    cells = [[question_marked(_text(row.get(name))).replace("\n", " ") for name in names] for row in rows]
    widths = [max(len(text) for text in column) for column in zip(names, *cells)]
    is_number = [all(_is_number(row.get(name)) for row in rows) for name in names]
    return [
        GAP.join(text.rjust(width) if right else text.ljust(width) for text, width, right in zip(line, widths, is_number)).rstrip()
        for line in (names, *cells)
    ]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.1f}" if abs(value) >= 1 else f"{value:.2g}"
    if isinstance(value, list):
        return ", ".join(map(_text, value)) or "-"
    return str(value)
