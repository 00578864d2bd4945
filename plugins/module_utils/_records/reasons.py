# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Why a record is refused, by the schema or by the server that it should go to: sentences for people that programs can count."""

from __future__ import annotations

from typing import Any

_LONGEST_VALUE = 60


class Reason(str):
    """The sentence "FIELD: words", which also knows its field and its kind.

    code  stable; from a schema: missing, wrong_type, not_finite, not_in_enum, below_minimum, above_maximum, pattern;
          from a server: see `held_values`; of a vector: missing, not_finite, extreme_length
    kind  "FIELD code": equal for all records that suffer from the same thing
    """

    field: str
    code: str

    def __new__(cls, field: str, code: str, words: str) -> Reason:
        reason = super().__new__(cls, f"{field}: {words}")
        reason.field = field
        reason.code = code
        return reason

    @property
    def kind(self) -> str:
        return f"{self.field} {self.code}"


def shown(value: Any) -> str:
    """A value as it may stand in a sentence: on one line, and not a whole document."""
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 3] + "..."
