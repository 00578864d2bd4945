# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""A snapshot as record sets: read where it lies, entry by entry, never extracted."""

from __future__ import annotations

import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from .._encryption import EncryptionKey
from .._errors import IntegrityError, UsageError
from .._records.collection_spec import CollectionSpec, spec_from_dict
from .._records.id_sets import IdSets
from .._records.record_batch import RecordBatch, concatenate, empty_batch
from .._temporary_database import temporary_database, temporary_database_errors
from .container import ContainerReader, Entry
from .encoding import decode_batch, decode_ids, decode_texts
from .encrypted import open_container
from .layout import layout_problems
from .manifest import Manifest, load_manifest
from .store import SnapshotStore, open_store

MAX_CHAIN = 1000
CACHED_BATCHES = 6
ASKED_AT_ONCE = 500


class Layer:
    """One archive of a chain: what it stores of each collection. `checked` names the entries that were found to be right."""

    def __init__(self, path: str, manifest: Manifest, key: EncryptionKey | None) -> None:
        self.manifest = manifest
        self._container = open_container(path, manifest, key)
        self._entries = {entry.name: entry for entry in manifest.entries}
        self.checked: set[str] = set()

    def close(self) -> None:
        self._container.close()

    @property
    def container(self) -> ContainerReader:
        return self._container

    def holds(self, name: str) -> bool:
        return name in self.manifest.values["collections"]

    def batch_names(self, name: str) -> list[str]:
        """`c0001/batch_000000` and so on."""
        collection = self.manifest.collection(name)
        return [f"{collection['directory']}/{batch}" for batch in collection["batches"]]

    def ids(self, batch: str) -> list[str]:
        entry = self._entries[f"{batch}.jsonl"]
        return [record["id"] for record in decode_texts(self._read(entry), entry.rows or 0, entry.name)]

    def batch(self, batch: str) -> RecordBatch:
        return decode_batch(*self._read_batch(batch), batch)

    def batches(self, name: str) -> Iterator[RecordBatch]:
        """All batches of a collection; the next one is read and checked while the caller works on this one."""
        names = self.batch_names(name)
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="archive-reader") as thread:
            coming = [thread.submit(self._read_batch, batch) for batch in names[:1]]
            for position, batch in enumerate(names):
                contents = coming.pop().result()
                if position + 1 < len(names):
                    coming.append(thread.submit(self._read_batch, names[position + 1]))
                yield decode_batch(*contents, batch)

    def _read_batch(self, batch: str) -> tuple[bytes, bytes, int]:
        texts, vectors = self._entries[f"{batch}.jsonl"], self._entries[f"{batch}.npy"]
        return self._read(texts), self._read(vectors), texts.rows or 0

    def deleted(self, name: str) -> Iterator[list[str]]:
        collection = self.manifest.collection(name)
        for part in collection["deleted"]:
            entry = self._entries[f"{collection['directory']}/{part}.jsonl"]
            yield decode_ids(self._read(entry), entry.rows or 0, entry.name)

    def _read(self, entry: Entry) -> bytes:
        content = self._container.read(entry)
        self.checked.add(entry.name)
        return content


class SnapshotRecordSet:
    """A collection as of a snapshot. Archives are read newest first, so the first version of a record that is met is the one that counts."""

    def __init__(self, layers: Sequence[Layer], name: str) -> None:
        newest = layers[0].manifest
        collection = newest.collection(name)
        self._name = name
        self._spec = spec_from_dict(collection["spec"])
        self.count = int(collection["total_documents"])
        self.digest = str(collection["digest"])
        self._layers: list[Layer] = []
        for layer in layers:
            # A collection that an older snapshot lacks was new afterwards: what lies below was another one.
            if not layer.holds(name):
                break
            self._layers.append(layer)
        self._places = _Places()
        self._cache: OrderedDict[tuple[int, str], RecordBatch] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def spec(self) -> CollectionSpec:
        return self._spec

    def id_pages(self) -> Iterator[list[str]]:
        """Every id once, in pages, in the order in which `batches` reads them."""
        for _layer, _batch, ids, rows in self._walk_ids():
            if rows:
                yield ids if len(rows) == len(ids) else [ids[row] for row in rows]

    def batches(self) -> Iterator[RecordBatch]:
        """Every record once. IntegrityError before a record is handed out that is not what was written."""
        newer = _Newer(self._layers, self._name)
        try:
            for layer in self._layers:
                for batch in layer.batches(self._name):
                    rows = newer.rows(layer, batch.ids)
                    if rows:
                        yield batch if len(rows) == len(batch) else batch.select(rows)
                newer.finish(layer)
        finally:
            newer.close()

    def fetch(self, ids: Sequence[str]) -> RecordBatch:
        """The records of these ids that the collection has, in the order asked for."""
        with self._lock:
            if not self._places.built:
                self._places.build(self._walk_ids())
            places = self._places.find(ids)
            order: dict[tuple[int, str], list[int]] = {}
            found: dict[str, tuple[tuple[int, str], int]] = {}
            for record_id in ids:
                if record_id in places and record_id not in found:
                    layer, batch, row = places[record_id]
                    rows = order.setdefault((layer, batch), [])
                    found[record_id] = ((layer, batch), len(rows))
                    rows.append(row)
            begin, pieces, begins = 0, [], {}
            for place, rows in order.items():
                pieces.append(self._cached(place).select(rows))
                begins[place] = begin
                begin += len(rows)
        if not pieces:
            return empty_batch(self._spec.dimension or 0)
        together = concatenate(pieces)
        wanted = [begins[place] + position for place, position in found.values()]
        return together if wanted == list(range(len(together))) else together.select(wanted)

    def close(self) -> None:
        self._places.close()
        self._cache.clear()

    def _walk_ids(self) -> Iterator[tuple[int, str, list[str], list[int]]]:
        newer = _Newer(self._layers, self._name)
        try:
            for position, layer in enumerate(self._layers):
                for name in layer.batch_names(self._name):
                    ids = layer.ids(name)
                    yield position, name, ids, newer.rows(layer, ids)
                newer.finish(layer)
        finally:
            newer.close()

    def _cached(self, place: tuple[int, str]) -> RecordBatch:
        batch = self._cache.pop(place, None)
        if batch is None:
            batch = self._layers[place[0]].batch(place[1])
            while len(self._cache) >= CACHED_BATCHES:
                self._cache.popitem(last=False)
        self._cache[place] = batch
        return batch


class _Newer:
    """The ids that newer archives of a chain have already decided: given there, or deleted there. The oldest need not be kept."""

    def __init__(self, layers: Sequence[Layer], name: str) -> None:
        self._oldest = layers[-1]
        self._name = name
        self._sets = IdSets() if len(layers) > 1 else None
        self._any = False

    def rows(self, layer: Layer, ids: list[str]) -> list[int]:
        """Which of these records count."""
        if self._sets is None:
            return list(range(len(ids)))
        decided = set(self._sets.present("ids", ids)) if self._any else set()
        if layer is not self._oldest:
            self._sets.add("this", ids)
        return [row for row, record_id in enumerate(ids) if record_id not in decided]

    def finish(self, layer: Layer) -> None:
        if self._sets is None or layer is self._oldest:
            return
        for page in self._sets.pages("this", 1000):
            self._sets.add("ids", page)
        self._sets.clear("this")
        for page in layer.deleted(self._name):
            self._sets.add("ids", page)
        self._any = True

    def close(self) -> None:
        if self._sets is not None:
            self._sets.close()


class _Places:
    """Where each record lies, in a temporary SQLite database that spills to disk by itself."""

    def __init__(self) -> None:
        self.built = False
        self._batches: list[tuple[int, str]] = []
        self._database = temporary_database()
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("CREATE TABLE places (id BLOB PRIMARY KEY, batch INTEGER NOT NULL, row INTEGER NOT NULL) WITHOUT ROWID")

    def build(self, walk: Iterator[tuple[int, str, list[str], list[int]]]) -> None:
        self._database.execute("BEGIN")
        for layer, name, ids, rows in walk:
            number = len(self._batches)
            self._batches.append((layer, name))
            try:
                self._database.executemany("INSERT INTO places VALUES (?, ?, ?)", ((_key(ids[row]), number, row) for row in rows))
            except sqlite3.IntegrityError:
                raise IntegrityError(f"The entry {name} holds an id that the snapshot has already given.") from None
        self._database.execute("COMMIT")
        self.built = True

    def find(self, ids: Sequence[str]) -> dict[str, tuple[int, str, int]]:
        found = {}
        for start in range(0, len(ids), ASKED_AT_ONCE):
            keys = [_key(record_id) for record_id in ids[start : start + ASKED_AT_ONCE]]
            marks = ",".join("?" * len(keys))
            with temporary_database_errors():
                for key, batch, row in self._database.execute(f"SELECT id, batch, row FROM places WHERE id IN ({marks})", keys):
                    found[key.decode("utf-8", "surrogatepass")] = (*self._batches[batch], row)
        return found

    def close(self) -> None:
        self._database.close()


def _key(record_id: str) -> bytes:
    return record_id.encode("utf-8", "surrogatepass")


class Snapshot:
    """A snapshot with the archives that it needs, open. Use it as a context manager."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self._layers = list(layers)
        self._record_sets: dict[str, SnapshotRecordSet] = {}
        self.manifest = self._layers[0].manifest

    @property
    def layers(self) -> list[Layer]:
        """The newest archive first."""
        return self._layers

    def collections(self) -> list[CollectionSpec]:
        return self.manifest.specs()

    def record_set(self, name: str) -> SnapshotRecordSet:
        """UsageError when the snapshot has no such collection."""
        if name not in self._record_sets:
            self._record_sets[name] = SnapshotRecordSet(self._layers, name)
        return self._record_sets[name]

    def close(self) -> None:
        for record_set in self._record_sets.values():
            record_set.close()
        for layer in self._layers:
            layer.close()

    def __enter__(self) -> Snapshot:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def load_chain(store: SnapshotStore, snapshot_id: str) -> list[Manifest]:
    """The manifests that a snapshot needs, itself first. IntegrityError when one of its bases is missing or another one."""
    chain, problem = known_chain(store, snapshot_id)
    if problem is not None:
        raise IntegrityError(problem)
    return chain


def known_chain(store: SnapshotStore, snapshot_id: str) -> tuple[list[Manifest], str | None]:
    """The manifests that a snapshot needs, itself first, as far as they are there, and what is wrong with the next one."""
    chain = [load_manifest(store, snapshot_id)]
    while chain[-1].base_id is not None:
        try:
            base = load_manifest(store, chain[-1].base_id)
        except UsageError:
            return chain, f"The snapshot {chain[-1].snapshot_id} needs its base {chain[-1].base_id}, which is missing."
        except IntegrityError as error:
            return chain, error.message
        if base.sha256 != chain[-1].base_sha256:
            return chain, f"The snapshot {chain[-1].snapshot_id} was made on another {base.snapshot_id} than the one that is there."
        if len(chain) > MAX_CHAIN:
            return chain, f"The snapshot {snapshot_id} has more than {MAX_CHAIN} bases below it."
        chain.append(base)
    return chain, None


def open_snapshot(directory: str | SnapshotStore, snapshot_id: str) -> Snapshot:
    """Open a snapshot and all its bases. Manifests and lengths are checked here, each entry when it is read.

    UsageError when there is no such snapshot, IntegrityError when it or a base is not what was written.
    """
    store = open_store(directory)
    chain = load_chain(store, snapshot_id)
    return open_layers([(store.archive_path(manifest.snapshot_id), manifest) for manifest in chain], store.key)


def open_layers(archives: Sequence[tuple[str, Manifest]], key: EncryptionKey | None) -> Snapshot:
    """Open archives at the given paths, the newest first."""
    layers: list[Layer] = []
    try:
        for path, manifest in archives:
            problems = layout_problems(manifest)
            if problems:
                raise IntegrityError(f"The manifest of {manifest.snapshot_id} contradicts itself: {' '.join(problems)}")
            layers.append(Layer(path, manifest, key))
    except BaseException:
        for layer in layers:
            layer.close()
        raise
    return Snapshot(layers)
