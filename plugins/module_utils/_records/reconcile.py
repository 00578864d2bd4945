# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Apply a difference to a collection on a live server, and prove each batch by reading it back.

Chroma's `upsert` merges metadata and never clears a uri, nor (from 1.0 on) a document; and on 1.5 a new record can be born with
list values of a deleted collection. So keys that must go are sent as null, what an upsert cannot clear is deleted and added
again, and whatever the read-back finds wrong is mended the same way, a bounded number of times.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Callable

from .._errors import IntegrityError
from .._journal import Journal
from .._server.capabilities import Capabilities
from .._server.server import RecordColumns
from .collection_changes import deletable_parts
from .compare import ADDED, UNCHANGED, ComparedBatch, Difference, compare_batch
from .live import LiveCollection
from .record_batch import Metadata, RecordBatch, concatenate

REPAIR_ROUNDS = 5


@dataclass
class _Work:
    """Records to be written; `keys` holds, by row, the metadata keys that must go, `replaced` the rows to delete first.

    `new`: the target had none of them when it was compared.
    """

    records: RecordBatch
    keys: dict[int, tuple[str, ...]] = field(default_factory=dict)
    replaced: tuple[int, ...] = ()
    new: bool = False


class Reconciler:
    """Brings one collection to what is expected of it, batch by batch.

    The read-back of a batch runs while the next one is written; `finish` waits for the last. `on_verified` is told how many
    records were written and proved. The journal names the records that are away between their deletion and their addition.
    `before_write` is told the ids of each batch, and may refuse.
    """

    def __init__(
        self,
        target: LiveCollection,
        space: str,
        batch_size: int,
        journal: Journal,
        on_verified: Callable[[int], None] = lambda records: None,
        before_write: Callable[[Sequence[str]], None] = lambda ids: None,
    ) -> None:
        self.difference = Difference()
        self.written = 0
        self._target = target
        self._space = space
        self._batch_size = min(batch_size, target.server.capabilities.max_batch)
        self._journal = journal
        self._on_verified = on_verified
        self._before_write = before_write
        self._waiting: list[_Work] = []
        self._waiting_records = 0
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="read-back")
        self._proof: tuple[_Work, Future[_Work | None]] | None = None

    def __enter__(self) -> Reconciler:
        return self

    def __exit__(self, *exception: object) -> None:
        self._reader.shutdown(wait=True)

    def apply(self, compared: ComparedBatch) -> None:
        """Take over what a compared batch asks for; written as soon as there is enough for a full request."""
        self.difference.count(compared)
        rows = [row for row, status in enumerate(compared.status) if status != UNCHANGED]
        if not rows:
            return
        work = _work(compared, rows, self._target.server.capabilities)
        start = 0
        while start < len(rows):
            # Requests are filled up: what was read at once is seldom what is best written at once.
            part = _part(work, range(start, min(start + self._batch_size - self._waiting_records, len(rows))))
            self._waiting.append(part)
            self._waiting_records += len(part.records)
            start += len(part.records)
            if self._waiting_records >= self._batch_size:
                self.flush()

    def flush(self) -> None:
        """Write what waits."""
        if not self._waiting:
            return
        work = _joined(self._waiting)
        self._waiting, self._waiting_records = [], 0
        self._before_write(work.records.ids)
        self._write(work)
        self._settle()
        self._proof = (work, self._reader.submit(self._prove, work.records))

    def finish(self) -> Difference:
        """Write the rest, wait for the last proof, and say what the difference was."""
        self.flush()
        self._settle()
        return self.difference

    def delete(self, pages: Iterable[Sequence[str]]) -> None:
        """Delete records by id."""
        for ids in deletable_parts(pages):
            self._delete(ids)
            self.difference.count_deleted(ids)

    def _delete(self, ids: Sequence[str]) -> None:
        """Delete, and see that they are gone: where an id was changed on its way, another record went in its place."""
        target = self._target
        target.server.delete(target.stored.id, ids)
        for start in range(0, len(ids), target.page_size):
            left = target.server.get(target.stored.id, ids=ids[start : start + target.page_size])["ids"]
            if left:
                raise IntegrityError(
                    f"Record {left[0]!r} of collection {target.name!r} on {target.server.endpoint.url} is there after it was deleted: it was written again, "
                    "or the request was changed on its way and may have deleted another one. Run the same task again, which compares everything.",
                    collection=target.name,
                    ids=left[:10],
                )

    def _write(self, work: _Work) -> None:
        server, collection = self._target.server, self._target.stored.id
        records = work.records
        away = [records.ids[row] for row in work.replaced]
        if away:
            self._journal.append({"state": "replacing", "collection": self._target.name, "ids": away})
            self._delete(away)
        metadatas: list[Metadata | None] = list(records.metadatas)
        for row, keys in work.keys.items():
            metadatas[row] = {**(metadatas[row] or {}), **dict.fromkeys(keys)}
        # To add costs the server less. It would leave a record that came meanwhile as it is, which the read-back finds.
        write = server.add if work.new else server.upsert
        write(collection, RecordColumns(records.ids, records.embeddings, records.documents, records.uris, metadatas, records.embedded))
        if away:
            self._journal.append({"state": "replaced", "collection": self._target.name, "ids": away})

    def _prove(self, records: RecordBatch) -> _Work | None:
        """Read back what was written; what is wrong with it, as new work, or None."""
        found = compare_batch(records, self._target.fetch(records.ids), self._space)
        rows = [row for row, status in enumerate(found.status) if status != UNCHANGED]
        return replace(_work(found, rows, self._target.server.capabilities), new=False) if rows else None

    def _settle(self) -> None:
        """Wait for the proof that is under way and mend what it found."""
        if self._proof is None:
            return
        (work, proof), self._proof = self._proof, None
        wrong = proof.result()
        for attempt in range(REPAIR_ROUNDS):
            if wrong is None:
                break
            if attempt:
                # What a merge could not mend is deleted and added again: deleting cleans up what a ghost left.
                wrong = _Work(wrong.records, {}, tuple(range(len(wrong.records))))
            self._write(wrong)
            wrong = self._prove(wrong.records)
        if wrong is not None:
            raise IntegrityError(
                f"{len(wrong.records)} records of collection {self._target.name!r} on {self._target.server.endpoint.url} "
                f"do not read back as they were written, after {REPAIR_ROUNDS} attempts; the first is {wrong.records.ids[0]!r}.",
                collection=self._target.name,
                ids=wrong.records.ids[:10],
            )
        self.written += len(work.records)
        self._on_verified(len(work.records))


def _work(compared: ComparedBatch, rows: Sequence[int], capabilities: Capabilities) -> _Work:
    keys: dict[int, tuple[str, ...]] = {}
    replaced = []
    expected, actual = compared.expected, compared.actual
    for position, row in enumerate(rows):
        if compared.status[row] == ADDED:
            continue
        place = compared.rows[row]
        if _needs_replacing(expected, row, actual, place, capabilities):
            replaced.append(position)
            continue
        surplus = tuple(key for key in (actual.metadatas[place] or {}) if key not in (expected.metadatas[row] or {}))
        if surplus:
            keys[position] = surplus
    return _Work(expected.select(rows), keys, tuple(replaced), new=all(compared.status[row] == ADDED for row in rows))


def _needs_replacing(expected: RecordBatch, row: int, actual: RecordBatch, place: int, capabilities: Capabilities) -> bool:
    """Whether only deleting and adding makes the record what it should be."""
    if expected.documents[row] is None and actual.documents[place] is not None and not capabilities.null_clears_document:
        return True
    if expected.uris[row] is None and actual.uris[place] is not None:
        return True
    if expected.embedded is not None and not expected.embedded[row] and (actual.embedded is None or actual.embedded[place]):
        return True
    if not expected.metadatas[row]:
        return actual.metadatas[place] is not None
    return False


def _part(work: _Work, rows: range) -> _Work:
    if len(rows) == len(work.records):
        return work
    return _Work(
        work.records.select(rows),
        {row - rows.start: keys for row, keys in work.keys.items() if row in rows},
        tuple(row - rows.start for row in work.replaced if row in rows),
        work.new,
    )


def _joined(parts: Sequence[_Work]) -> _Work:
    if len(parts) == 1:
        return parts[0]
    keys: dict[int, tuple[str, ...]] = {}
    replaced: list[int] = []
    before = 0
    for part in parts:
        keys.update({before + row: names for row, names in part.keys.items()})
        replaced.extend(before + row for row in part.replaced)
        before += len(part.records)
    return _Work(concatenate([part.records for part in parts]), keys, tuple(replaced), all(part.new for part in parts))
