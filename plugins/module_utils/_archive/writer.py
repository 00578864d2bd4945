# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Writes a snapshot: complete and checked, or never visible.

The archive grows under a hidden name; only when it is durable and has been read back does it get its name, and only then
is the manifest written, which is what makes it a snapshot.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any, Callable

from .._errors import UsageError
from .._files import disk_errors
from .._records.collection_spec import CollectionSpec
from .._records.read_ahead import NEVER_BEGAN, POLL_SECONDS
from .._records.record_batch import RecordBatch, concatenate
from .container import TEXT_LEVEL, VECTOR_LEVEL, ContainerWriter
from .encoding import encode_ids, encode_texts, encode_vectors
from .encrypted import new_container
from .layout import FORMAT_ENTRY, format_content, spec_content
from .manifest import Consistency, Manifest, ServerIdentity
from .new_manifest import build_values, seal
from .publish import publish
from .reader import load_chain
from .store import RETENTION_DAYS, SnapshotStore, snapshot_name
from .verify import archive_problems, raise_for

BATCH_ROWS = 1000
BATCH_BYTES = 8 << 20  # of text and vectors, about; whichever limit comes first
QUEUED_BATCHES = 2
IDS_PER_ENTRY = 10_000


class ArchiveWriter:
    """One new snapshot. The caller holds the store's lock; leaving the `with` block before `finish` removes every trace.

    With a `base`, only what differs from it is added, and what it has too many is named by `delete`.
    Encoding and compressing happen in one thread of their own, behind a short queue.
    """

    def __init__(self, store: SnapshotStore, snapshot_id: str, *, base: Manifest | None = None) -> None:
        self._store = store
        self.snapshot_id = snapshot_id
        self._base = base
        self._path = store.partial_path(snapshot_id)
        if os.path.lexists(store.archive_path(snapshot_id)) or os.path.lexists(store.manifest_path(snapshot_id)):
            raise UsageError(f"The snapshot {snapshot_id} exists already. Choose another name, or delete it first.")
        self.stored = 0
        self._started = datetime.now(timezone.utc)
        self._collections: dict[str, dict[str, Any]] = {}
        self._current: _OpenCollection | None = None
        self._container: ContainerWriter | None = new_container(self._path, store.key)
        self._worker = _Worker()
        self._put(FORMAT_ENTRY, format_content)

    def __enter__(self) -> ArchiveWriter:
        return self

    def __exit__(self, *exception: object) -> None:
        self.abort()

    def begin_collection(self, spec: CollectionSpec) -> None:
        if self._current is not None or spec.name in self._collections:
            raise ValueError(f"begin_collection({spec.name!r}) out of turn")
        self._current = _OpenCollection(spec, f"c{len(self._collections) + 1:04d}")
        self._put(f"{self._current.directory}/collection.json", lambda: spec_content(spec))

    def add(self, batch: RecordBatch) -> None:
        """Records of the open collection, as many as you like; each id once. Waits while the disk is slower than the caller."""
        collection = self._opened()
        for piece in collection.cut(batch):
            self._put_batch(collection, piece)

    def delete(self, ids: Sequence[str]) -> None:
        """Ids that the base has in the open collection, and this snapshot has no more."""
        if self._base is None:
            raise ValueError("only a snapshot with a base can delete")
        collection = self._opened()
        collection.deleted_ids.extend(ids)
        while len(collection.deleted_ids) >= IDS_PER_ENTRY:
            self._put_deleted(collection)

    def end_collection(self, digest: str, count: int) -> None:
        """`digest` and `count` are those of the whole collection as of this snapshot, whatever part of it is stored here."""
        collection = self._opened()
        rest = collection.rest()
        if rest is not None:
            self._put_batch(collection, rest)
        if collection.deleted_ids:
            self._put_deleted(collection)
        self._collections[collection.spec.name] = collection.description(digest, count)
        self.stored += collection.stored
        self._current = None

    def finish(
        self,
        *,
        server: ServerIdentity,
        api: str,
        version: str | None,
        consistency: Consistency | None = None,
        retention_days: int | None = None,
        name: str | None = None,
        verify: bool = True,
        started: datetime | None = None,
        selected: bool = False,
    ) -> Manifest:
        """Make the snapshot visible and return its manifest.

        With `verify` everything is read back from the disk first. IntegrityError when that is not what was written,
        DiskError when the disk failed; then nothing is visible.
        """
        if self._current is not None or self._container is None:
            raise ValueError("finish out of turn")
        self._worker.finish()
        checksum = self._container.finish()
        manifest = seal(
            build_values(
                snapshot_id=self.snapshot_id,
                name=name or snapshot_name(self.snapshot_id),
                started=started or self._started,
                finished=datetime.now(timezone.utc),
                verified=verify,
                server=server,
                api=api,
                version=version,
                consistency=consistency or Consistency(),
                base=self._base,
                collections=self._collections,
                entries=self._container.entries,
                archive_bytes=self._container.file_bytes,
                checksum=checksum,
                encryption=self._container.encryption,
                retention_days=RETENTION_DAYS if retention_days is None else retention_days,
                selected=selected,
            )
        )
        if verify:
            bases = load_chain(self._store, self._base.snapshot_id) if self._base is not None else []
            archives = [(self._path, manifest), *((self._store.archive_path(base.snapshot_id), base) for base in bases)]
            raise_for(self.snapshot_id, archive_problems(archives, "full", self._store.key))
        self._publish(manifest)
        return manifest

    def abort(self) -> None:
        """Stop, and leave nothing behind; after `finish` it does nothing."""
        self._worker.stop()
        if self._container is not None:
            self._container.close()
            self._container = None
            if os.path.lexists(self._path):
                with disk_errors(self._path, "remove"):
                    os.unlink(self._path)

    def _publish(self, manifest: Manifest) -> None:
        publish(self._store, manifest, self._path)
        self._container = None

    def _opened(self) -> _OpenCollection:
        if self._current is None:
            raise ValueError("no collection is open")
        return self._current

    def _put(self, name: str, content: Callable[[], bytes], level: int = TEXT_LEVEL, rows: int | None = None) -> None:
        container = self._container
        if container is None:
            raise ValueError("the writer is closed")
        self._worker.submit(lambda: container.add(name, content(), level, rows))

    def _put_batch(self, collection: _OpenCollection, batch: RecordBatch) -> None:
        name = collection.next_batch(len(batch))
        self._put(f"{collection.directory}/{name}.jsonl", lambda: encode_texts(batch), TEXT_LEVEL, len(batch))
        self._put(f"{collection.directory}/{name}.npy", lambda: encode_vectors(batch), VECTOR_LEVEL, len(batch))

    def _put_deleted(self, collection: _OpenCollection) -> None:
        ids, collection.deleted_ids = collection.deleted_ids[:IDS_PER_ENTRY], collection.deleted_ids[IDS_PER_ENTRY:]
        name = f"deleted_{len(collection.deleted):06d}"
        collection.deleted.append(name)
        collection.deleted_count += len(ids)
        self._put(f"{collection.directory}/{name}.jsonl", lambda: encode_ids(ids), TEXT_LEVEL, len(ids))


class _OpenCollection:
    """The collection that is being written: what it has so far, and the records that do not fill a batch yet."""

    def __init__(self, spec: CollectionSpec, directory: str) -> None:
        self.spec = spec
        self.directory = directory
        self.batches: list[str] = []
        self.deleted: list[str] = []
        self.deleted_ids: list[str] = []
        self.deleted_count = 0
        self.stored = 0
        self._held: list[RecordBatch] = []
        self._held_rows = self._held_bytes = 0

    def cut(self, batch: RecordBatch) -> list[RecordBatch]:
        """The full batches that these records complete: the archive's batches do not depend on how it was read."""
        full = []
        begin = 0
        for row in range(len(batch)):
            self._held_rows += 1
            self._held_bytes += batch.weight(row)
            if self._held_rows >= BATCH_ROWS or self._held_bytes >= BATCH_BYTES:
                self._held.append(batch if begin == 0 and row + 1 == len(batch) else batch.select(range(begin, row + 1)))
                full.append(concatenate(self._held))
                self._held, self._held_rows, self._held_bytes, begin = [], 0, 0, row + 1
        if begin < len(batch):
            self._held.append(batch if begin == 0 else batch.select(range(begin, len(batch))))
        return full

    def rest(self) -> RecordBatch | None:
        held, self._held = self._held, []
        return concatenate(held) if held else None

    def next_batch(self, rows: int) -> str:
        name = f"batch_{len(self.batches):06d}"
        self.batches.append(name)
        self.stored += rows
        return name

    def description(self, digest: str, count: int) -> dict[str, Any]:
        return {
            "total_documents": count,
            "batches": self.batches,
            "directory": self.directory,
            "stored_documents": self.stored,
            "deleted_documents": self.deleted_count,
            "deleted": self.deleted,
            "digest": digest,
            "spec": self.spec.as_dict(),
        }


class _Worker:
    """One thread that does jobs in order behind a short queue. After a failure it does no more, and the next call raises it."""

    def __init__(self) -> None:
        self._jobs: queue.Queue[Callable[[], None] | None] = queue.Queue(maxsize=2 * QUEUED_BATCHES)
        self._failure: BaseException | None = None
        self._asked = self._done = 0  # each written by one thread alone
        self._thread: threading.Thread | None = threading.Thread(target=self._run, name="archive-writer", daemon=True)
        self._thread.start()

    def submit(self, job: Callable[[], None]) -> None:
        self._raise()
        self._asked += 1
        if not self._put(job):
            raise MemoryError(NEVER_BEGAN)

    def finish(self) -> None:
        """Wait for all jobs."""
        self.stop(drop=False)
        self._raise()
        if self._done < self._asked:
            raise MemoryError(NEVER_BEGAN)

    def stop(self, drop: bool = True) -> None:
        if self._thread is None:
            return
        if drop and self._failure is None:
            self._failure = RuntimeError("the writer was stopped")
        self._put(None)
        self._thread.join()
        self._thread = None

    def _put(self, job: Callable[[], None] | None) -> bool:
        while self._thread is not None and self._thread.is_alive():
            try:
                self._jobs.put(job, timeout=POLL_SECONDS)
                return True
            except queue.Full:
                continue
        return False

    def _run(self) -> None:
        while True:
            job = self._jobs.get()
            if job is None:
                return
            if self._failure is None:
                try:
                    job()
                    self._done += 1
                except BaseException as error:
                    self._failure = error

    def _raise(self) -> None:
        if self._failure is not None:
            raise self._failure
