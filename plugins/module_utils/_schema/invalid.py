# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Invalid records, counted by reason, with a few of them to show."""

from __future__ import annotations

from collections.abc import Sequence

from .transformation import Invalid

SAMPLE = 20


class InvalidTally:
    """How many records are invalid, how often each kind of reason occurs, and the first few records."""

    def __init__(self) -> None:
        self.count = 0
        self.sample: list[Invalid] = []
        self.reasons: dict[str, int] = {}

    def add(self, invalid: Sequence[Invalid]) -> None:
        self.count += len(invalid)
        self.sample.extend(invalid[: max(0, SAMPLE - len(self.sample))])
        for fault in invalid:
            for reason in fault.reasons:
                self.reasons[reason.kind] = self.reasons.get(reason.kind, 0) + 1
