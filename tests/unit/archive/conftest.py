# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the tests of snapshots share: a store on a real disk, records of every awkward kind, and a short way to write them."""

from __future__ import annotations

from datetime import datetime, timezone

import numpy as np
import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.manifest import Manifest, ServerIdentity, load_manifest, own_sha256, render_manifest
from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.store import new_snapshot_id, open_store
from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.verify import verify_snapshot
from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.writer import ArchiveWriter
from ansible_collections.infrafabric.chromadb.plugins.module_utils._records.collection_spec import CollectionSpec
from ansible_collections.infrafabric.chromadb.plugins.module_utils._records.digest import CollectionDigest
from ansible_collections.infrafabric.chromadb.plugins.module_utils._records.record_batch import RecordBatch

SERVER = ServerIdentity("http://192.0.2.1:8000", "default_tenant", "default_database")


def make_records(count, *, start=0, dimension=8, seed=0, words=10):
    """A batch of plain records with normalised vectors."""
    random = np.random.default_rng(seed + start)
    vectors = random.standard_normal((count, dimension), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = [f"id-{number}" for number in range(start, start + count)]
    documents = [" ".join(map(str, row)) for row in random.integers(0, 1000, (count, words))]
    metadatas = [{"source": "tests", "source_line": number, "score": 0.5, "disputed": number % 2 == 0} for number in range(start, start + count)]
    return RecordBatch(ids, vectors, documents, [None] * count, metadatas)


def awkward_records():
    """What real databases hold and careless formats lose."""
    metadatas = [
        None, {}, {"a": 1, "b": 1.0, "c": True}, {"big": 2**62 + 1, "small": -(2**62)}, {"zero": -0.0, "tiny": 5e-324, "huge": 1.7976931348623157e308},
        {"list": ["a", "b"], "numbers": [1, 2.5]}, {"": "empty key", "é": "ü", "🎈": "\u2028\u2029\x00\x1f\x7f"}, {"z": 1, "a": 2},
        {"#type": "sparse_vector", "indices": [1], "values": [0.5]},
    ]  # fmt: skip
    documents = [None, "", "plain", "two\nlines\r\n\ttab", "null byte \x00", "🎈 é \u2028 \ufeff", "\ud800 lone", '{"id": "not me"}', "x" * 70_000]
    uris = [None, "", "file:///a", None, None, "s3://é", None, None, None]
    ids = ["plain", " spaces ", "../../etc/passwd", "a/b\\c", "new\nline", "é🎈", "\udfff", '"quoted"', "c0001/batch_000000.npy"]
    vectors = np.zeros((len(ids), 4), dtype="<f4")
    vectors[0] = [0.1, -0.0, 1e-45, 3.4028235e38]
    vectors[1] = [np.nan, np.inf, -np.inf, 1.0]
    vectors[3:] = np.random.default_rng(3).standard_normal((len(ids) - 3, 4)).astype("<f4")
    embedded = np.ones(len(ids), dtype=bool)
    embedded[2] = False
    return RecordBatch(ids, vectors, documents, uris, metadatas, embedded)


def batches_of(batch, size):
    return [batch.select(range(begin, min(begin + size, len(batch)))) for begin in range(0, len(batch), size)]


def digest_of(batches):
    digest = CollectionDigest()
    for batch in batches:
        digest.add(batch)
    return digest.hexdigest()


def as_dict(batches):
    """Each record by its id, comparable bit for bit."""
    records = {}
    for batch in batches:
        for row, record_id in enumerate(batch.ids):
            has_vector = batch.embedded is None or bool(batch.embedded[row])
            assert record_id not in records, f"{record_id} came twice"
            vector = batch.embeddings[row].tobytes() if has_vector else None
            records[record_id] = (batch.documents[row], batch.uris[row], repr(batch.metadatas[row]), vector)
    return records


@pytest.fixture
def store(tmp_path):
    directory = tmp_path / "store"
    directory.mkdir(mode=0o700)
    return open_store(str(directory), for_writing=True)


@pytest.fixture
def write(store):
    """Write a full snapshot of `{name: batches}` and return its manifest."""

    def write_snapshot(collections, *, name=None, now=None, server=SERVER, store=store, space="cosine", **options):
        moment = now or datetime.now(timezone.utc)
        with ArchiveWriter(store, new_snapshot_id(store, name, moment)) as writer:
            for collection, batches in collections.items():
                dimension = max((batch.dimension for batch in batches), default=0)
                writer.begin_collection(CollectionSpec(collection, {"made by": "é"}, space, {"ef_construction": 100}, None, dimension))
                for batch in batches:
                    writer.add(batch)
                writer.end_collection(digest_of(batches), sum(map(len, batches)))
            return writer.finish(server=server, api="v2", version="1.0.0", started=moment, **options)

    return write_snapshot


@pytest.fixture
def write_changes(store):
    """Write an incremental snapshot: `{name: (changed batches, deleted ids, all batches as of now)}`."""

    def write_snapshot(base, collections, *, name=None, now=None):
        moment = now or datetime.now(timezone.utc)
        with ArchiveWriter(store, new_snapshot_id(store, name, moment), base=base) as writer:
            for collection, (changed, deleted, everything) in collections.items():
                writer.begin_collection(CollectionSpec(collection, None, "cosine", {}, None, max((batch.dimension for batch in everything), default=0)))
                for batch in changed:
                    writer.add(batch)
                writer.delete(deleted)
                writer.end_collection(digest_of(everything), sum(map(len, everything)))
            return writer.finish(server=SERVER, api="v2", version="1.0.0", started=moment)

    return write_snapshot


@pytest.fixture
def rewrite_manifest(store):
    """Change a finished manifest as somebody with access to the disk could: with a right hash of its own."""

    def rewrite(snapshot_id, change):
        values = dict(load_manifest(store, snapshot_id).values)
        change(values)
        values["manifest_sha256"] = own_sha256(values)
        with open(store.manifest_path(snapshot_id), "wb") as file:
            file.write(render_manifest(values))
        return Manifest(values)

    return rewrite


@pytest.fixture
def snapshot(store, write):
    """A small snapshot: its id, the paths of archive and manifest, and their bytes."""
    manifest = write({"c": [make_records(5)], "d": [make_records(2, start=10, dimension=2)]})
    paths = store.archive_path(manifest.snapshot_id), store.manifest_path(manifest.snapshot_id)
    return manifest.snapshot_id, [(path, get(path)) for path in paths]


def get(path):
    with open(path, "rb") as file:
        return file.read()


def put(path, data):
    with open(path, "wb") as file:
        file.write(data)


def problems_of(store, snapshot_id, level="full"):
    return verify_snapshot(store, snapshot_id, level)
