# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Some records of a collection on a server, as a record set of their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .live import READ_AT_ONCE, LiveCollection
from .record_batch import RecordBatch


class SelectedRecords(LiveCollection):
    """The records of these ids. Every one is read once; one that is gone by then is noted in `movement`."""

    def __init__(self, whole: LiveCollection, ids: Sequence[str]) -> None:
        super().__init__(whole.server, whole.stored, whole._throttle, whole._page)
        self._spec = whole._spec
        self._selected = list(ids)

    def count(self) -> int:
        return len(self._selected)

    def id_pages(self) -> Iterator[list[str]]:
        for start in range(0, len(self._selected), READ_AT_ONCE):
            yield self._selected[start : start + READ_AT_ONCE]

    def batches(self) -> Iterator[RecordBatch]:
        """IntegrityError names a record that is listed and cannot be read."""
        for start in range(0, len(self._selected), self.page_size):
            asked = self._selected[start : start + self.page_size]
            self._throttle.wait(len(asked))
            batch = self.fetch(asked)
            if len(batch) != len(asked):
                self._note_vanished(set(asked) - set(batch.ids) - set(self.unreadable or ()))
            yield batch

    def batches_without_vectors(self) -> Iterator[RecordBatch]:
        for page in self.id_pages():
            yield self.read_without_vectors(page)

    def _note_vanished(self, absent: set[str]) -> None:
        self._require_gone(absent, super().id_pages())
        self.movement.vanished += len(absent)
        self.movement.note(sorted(absent))
