# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""What a rollback saved before it began. What is not in there as it stands on the server was written since, and is not taken away."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from .._archive.reader import Snapshot, SnapshotRecordSet
from .._errors import DriftError
from .._records.compare import UNCHANGED, Counterpart, compare_batch
from .._records.live import LiveCollection


class SavedState:
    """The safety snapshot, held against the server's records shortly before they are overwritten or deleted."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._names = set(snapshot.manifest.names())
        self._sets: dict[str, SnapshotRecordSet] = {}

    def require(self, live: LiveCollection, ids: Sequence[str], saved_as: str) -> None:
        """DriftError where one of these records is not as it was saved, in the collection that had this name then."""
        found = live.fetch(ids)
        saved = self._set(saved_as)
        held = found.select([]) if saved is None else saved.fetch(found.ids)
        compared = compare_batch(found, held, live.spec.space)
        self._refuse(live, [found.ids[row] for row, status in enumerate(compared.status) if status != UNCHANGED])

    def required(self, live: LiveCollection, pages: Iterable[Sequence[str]], saved_as: str) -> Iterator[Sequence[str]]:
        """The same pages of ids, each when its records were seen to be saved."""
        for ids in pages:
            self.require(live, ids, saved_as)
            yield ids

    def require_all(self, live: LiveCollection, saved_as: str) -> None:
        """The same for a whole collection that is about to go."""
        saved = self._set(saved_as)
        counterpart = Counterpart(saved, live.spec.space)
        try:
            for batch in live.batches():
                compared = counterpart.compare(batch)
                self._refuse(live, [batch.ids[row] for row, status in enumerate(compared.status) if status != UNCHANGED])
        finally:
            counterpart.close()

    def _set(self, name: str) -> SnapshotRecordSet | None:
        if name not in self._names:
            return None
        if name not in self._sets:
            self._sets[name] = self._snapshot.record_set(name)
        return self._sets[name]

    def _refuse(self, live: LiveCollection, ids: list[str]) -> None:
        if ids:
            raise DriftError(
                f"Record {ids[0]!r} of collection {live.name!r} on {live.server.endpoint.url} was written after it was saved in "
                f"{self._snapshot.manifest.snapshot_id}, and would be lost: somebody else writes there. Freeze the writers and run the same task again.",
                collection=live.name,
                ids=ids[:10],
            )
