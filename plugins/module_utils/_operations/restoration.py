# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""One collection on its way back to what a snapshot says."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

from .._archive.reader import SnapshotRecordSet
from .._errors import DriftError, IntegrityError, InvalidDataError
from .._journal import Journal
from .._progress import Progress
from .._records.collection_changes import create, fixed_differences, mend, remove
from .._records.compare import SAMPLE_IDS, ComparedBatch, Counterpart, Difference
from .._records.digest import FieldSum
from .._records.held_values import canonical_metadata, problems
from .._records.id_sets import IdSets
from .._records.live import LiveCollection
from .._records.read_ahead import map_ahead, read_ahead
from .._records.reconcile import Reconciler
from .._records.record_batch import RecordBatch
from .._records.spec_translation import spec_differences
from .._server.capabilities import Capabilities
from .._server.server import Server, StoredCollection
from .saved_state import SavedState

BATCH_SIZE = 1000
# Up to this part of its records, a damaged collection is mended by asking the archive for single records.
MENDED_BY_ID = 0.5
# Records that differ are kept from the comparison to the writing up to this size, of both sides; beyond it they are read again.
KEPT_BYTES = 8 << 20
# The longest name of a collection that every release takes.
LONGEST_NAME = 63


class Restoration:
    """Compared first (nothing is written), then applied.

    in_place  writes the difference; the collection keeps the id that clients hold
    swap      builds the collection beside the live one and exchanges the names: needed where the distance differs, which
              Chroma cannot change. A crash between the two renames is finished by the next run.
    """

    def __init__(
        self, server: Server, records: SnapshotRecordSet, stored: dict[str, StoredCollection], snapshot_id: str, strategy: str, journal_directory: str
    ) -> None:
        self.server = server
        self.records = records
        self.difference = Difference()
        self.spec_differences: dict[str, tuple[Any, Any]] = {}
        self.fixed = ""
        self.written = 0
        self._beside = helper_name(self.name, "__rb_", snapshot_id)
        self._aside = helper_name(self.name, "__old_", snapshot_id)
        self._stored = stored.get(self.name)
        self._built = stored.get(self._beside)
        self._left = stored.get(self._aside)
        self._strategy = strategy
        self._journal = os.path.join(journal_directory, "rollback_journal.jsonl")
        self._ids = IdSets()
        self._counterpart: Counterpart | None = None
        self._fields = FieldSum()
        self._replace = False
        self._kept: list[ComparedBatch] | None = []
        self._kept_bytes = 0

    @property
    def name(self) -> str:
        return self.records.spec.name

    @property
    def missing(self) -> bool:
        return self._stored is None

    @property
    def changed(self) -> bool:
        return self.missing or bool(self.spec_differences) or not self.difference.empty or self._built is not None or self._left is not None

    @property
    def swaps(self) -> bool:
        return self._replace

    @property
    def helper_names(self) -> tuple[str, str]:
        """The collections that exist only while this one is swapped."""
        return self._beside, self._aside

    @property
    def leftovers(self) -> list[str]:
        """Those of them that are there already."""
        return [stored.name for stored in (self._built, self._left) if stored is not None]

    def close(self) -> None:
        self._ids.close()
        if self._counterpart is not None:
            self._counterpart.close()

    def result(self) -> dict[str, Any]:
        difference = self.difference
        return {"name": self.name, "added": difference.added, "changed": difference.changed, "deleted": difference.deleted, "unchanged": difference.unchanged}

    def compare(self, progress: Progress) -> None:
        """Hold every record of the snapshot against the live one, and against what the server can hold at all."""
        live = None if self._stored is None else LiveCollection(self.server, self._stored)
        if live is not None:
            self.spec_differences = spec_differences(self.records.spec, live.spec, self.server.capabilities)
            fixed = self.fixed = "; ".join(fixed_differences(self.spec_differences))
            self._replace = bool(fixed)
            if self._replace and self._strategy == "in_place":
                raise DriftError(
                    f"Collection {self.name!r} cannot be brought back in place: {fixed}. Use strategy: auto or swap.",
                    collection=self.name,
                )
        self._counterpart = Counterpart(live, self.records.spec.space)
        for compared in map_ahead(self._counterpart.compare, read_ahead(self._summed(self._held(self.records.batches())))):
            self.difference.count(compared)
            self._remember(compared.different())
            progress.advance(len(compared.status))
        for page in self._counterpart.surplus():
            self.difference.count_deleted(page)
        if self._strategy == "swap" and live is not None and not self.difference.empty:
            self._replace = True

    def _remember(self, compared: ComparedBatch) -> None:
        """What is to be written: the records themselves while they are few, and always their ids."""
        if not compared.status:
            return
        self._ids.add("differing", compared.expected.ids)
        if self._kept is not None:
            self._kept.append(compared)
            self._kept_bytes += sum(batch.weight(row) for batch in (compared.expected, compared.actual) for row in range(len(batch)))
            if self._kept_bytes > KEPT_BYTES:
                self._kept = None

    def _summed(self, batches: Iterator[RecordBatch]) -> Iterator[RecordBatch]:
        for batch in batches:
            if not self.missing:
                self._fields.add(batch)
            yield batch

    def _held(self, batches: Iterator[RecordBatch]) -> Iterator[RecordBatch]:
        for batch in batches:
            yield held_batch(self.name, batch, self.server.capabilities)

    def apply(self, saved: SavedState | None) -> None:
        """Write the difference and prove each batch by reading it back. With `saved`, nothing goes that is not in there as it stands."""
        if self._replace or (self.missing and self._built is not None):
            self._swap(saved)
        else:
            self._write_in_place(saved)
        if self._built is not None:
            remove(self.server, self._built)
        if self._left is not None:
            if saved is not None:
                # One that this run put aside has had its own name when it was saved, and clients that know its id can write to it still.
                own = self._stored is not None and self._left.id == self._stored.id
                saved.require_all(LiveCollection(self.server, self._left), self.name if own else self._left.name)
            remove(self.server, self._left)

    def _write_in_place(self, saved: SavedState | None) -> None:
        if self._stored is None:
            stored = create(self.server, self.records.spec)
        elif self.spec_differences:
            stored = mend(self.server, self._stored, self.records.spec, self.spec_differences)
        else:
            stored = self._stored
        self._reconcile(LiveCollection(self.server, stored), self.missing, None if self.missing else saved)

    def _reconcile(self, live: LiveCollection, fresh: bool, saved: SavedState | None) -> None:
        with ExitStack() as stack:
            counterpart = self._compared
            if fresh:
                counterpart = Counterpart(live, self.records.spec.space)
                stack.callback(counterpart.close)

            def require_saved(ids: Sequence[str]) -> None:
                if saved is not None:
                    saved.require(live, ids, self.name)

            journal = stack.enter_context(Journal(self._journal))
            reconciler = Reconciler(live, self.records.spec.space, BATCH_SIZE, journal, before_write=require_saved)
            stack.enter_context(reconciler)
            for compared in self._to_write(counterpart, fresh):
                reconciler.apply(compared)
            reconciler.finish()
            surplus = counterpart.surplus()
            reconciler.delete(surplus if saved is None else saved.required(live, surplus, self.name))
            self.written = reconciler.written

    def _to_write(self, counterpart: Counterpart, fresh: bool) -> Iterator[ComparedBatch]:
        """What was found to differ, without reading it again where it was little enough to be kept."""
        if self._kept is not None and not fresh:
            yield from self._kept
            return
        whole = fresh or self._ids.count("differing") > MENDED_BY_ID * self.records.count
        for batch in read_ahead(self._held(self.records.batches() if whole else self._differing())):
            yield counterpart.compare(batch)

    def _differing(self) -> Iterator[RecordBatch]:
        for ids in self._ids.pages("differing", BATCH_SIZE):
            yield self.records.fetch(ids)

    @property
    def _compared(self) -> Counterpart:
        if self._counterpart is None:
            raise RuntimeError("nothing was compared yet")
        return self._counterpart

    def _require_same_ids(self, live: LiveCollection) -> None:
        missing = self._compared.missing_from(live.id_pages())
        for ids, words in ((missing, "lacks"), (next(self._compared.appeared(), []), "has gained")):
            if ids:
                raise DriftError(
                    f"Collection {live.name!r} {words} {ids[0]!r} after the rollback: somebody else writes there, or the server did not do what it answered. "
                    "Freeze the writers and run the same task again.",
                    collection=live.name,
                    ids=ids[:SAMPLE_IDS],
                )

    def prove(self, stored: StoredCollection) -> None:
        """Afterwards, once more: DriftError unless ids, documents, uris and metadata are the snapshot's. Each vector was compared or read back before.

        Where this run made the collection, all of it was just read back, and the ids are enough.
        """
        live = LiveCollection(self.server, stored)
        if self.missing:
            self._require_same_ids(live)
            return
        found = FieldSum()
        for batch in live.batches_without_vectors():
            found.add(batch)
        if found.value == self._fields.value:
            return
        counterpart = Counterpart(live, self.records.spec.space)
        difference = Difference()
        try:
            for batch in self._held(self.records.batches()):
                difference.count(counterpart.compare(batch))
            for page in counterpart.surplus():
                difference.count_deleted(page)
        finally:
            counterpart.close()
        ids = difference.changed_ids + difference.added_ids + difference.deleted_ids
        if ids:
            raise DriftError(
                f"Record {ids[0]!r} of collection {self.name!r} is not the snapshot's after the rollback: somebody else writes there, or the server did not do "
                "what it answered. Freeze the writers and run the same task again.",
                collection=self.name,
                ids=ids,
            )

    def _swap(self, saved: SavedState | None) -> None:
        built = self._built
        wanted = self.records.spec.renamed(self._beside)
        if built is not None and spec_differences(wanted, LiveCollection(self.server, built).spec, self.server.capabilities):
            # What an earlier run left there was made otherwise.
            remove(self.server, built)
            built = None
        if built is None:
            built = create(self.server, wanted)
        self._reconcile(LiveCollection(self.server, built), fresh=True, saved=None)
        self._require_same_ids(LiveCollection(self.server, built))
        if self._stored is not None:
            if self._left is not None:
                # An earlier run had exchanged the two and no time to remove the old one; its name is needed again.
                if saved is not None:
                    saved.require_all(LiveCollection(self.server, self._left), self._left.name)
                remove(self.server, self._left)
            self.server.modify_collection(self._stored.id, name=self._aside)
        self.server.modify_collection(built.id, name=self.name)
        now = {collection.name: collection for collection in self.server.list_collections()}
        if self.name not in now or now[self.name].id != built.id:
            raise IntegrityError(
                f"{self.server.endpoint.url} did not give the name {self.name!r} to the collection that was built as {self._beside!r}.", collection=self.name
            )
        self._built, self._left = None, now.get(self._aside)


def helper_name(name: str, mark: str, snapshot_id: str) -> str:
    """The name of a collection that exists only during a swap: readable where every release takes it, else cut and told apart by a hash."""
    readable = f"{name}{mark}{snapshot_id}"
    if len(readable) <= LONGEST_NAME:
        return readable
    end = mark + hashlib.sha256(readable.encode("utf-8")).hexdigest()[:16]
    return name[: LONGEST_NAME - len(end)] + end


def held_batch(collection: str, batch: RecordBatch, capabilities: Capabilities) -> RecordBatch:
    """The records as a server with these capabilities holds them; InvalidDataError names the first that it cannot hold."""
    for row, record_id in enumerate(batch.ids):
        faults: tuple[str, ...] = problems(record_id, batch.documents[row], batch.metadatas[row], capabilities, batch.uris[row])
        if batch.embedded is not None and not batch.embedded[row] and not capabilities.missing_vectors:
            faults += ("embedding: missing, and the server takes no record without one",)
        if faults:
            raise InvalidDataError(f"Record {record_id!r} of collection {collection!r} cannot be brought back to this server: {faults[0]}.", ids=[record_id])
    metadatas = [canonical_metadata(metadata, capabilities) for metadata in batch.metadatas]
    return RecordBatch(batch.ids, batch.embeddings, batch.documents, batch.uris, metadatas, batch.embedded)
