# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The format: what goes in comes out to the bit, and every ordinary tool can open it."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive import manifest as manifest_module
from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.encoding import decode_vectors, encode_vectors
from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.manifest import load_manifest
from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.reader import open_snapshot
from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.verify import verify_snapshot
from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.writer import ArchiveWriter
from ansible_collections.infrafabric.chromadb.plugins.module_utils._errors import IntegrityError, InvalidDataError, UsageError
from ansible_collections.infrafabric.chromadb.plugins.module_utils._records.collection_spec import CollectionSpec
from ansible_collections.infrafabric.chromadb.plugins.module_utils._records.record_batch import RecordBatch, empty_batch

from .conftest import SERVER, as_dict, awkward_records, batches_of, digest_of, make_records


def test_awkward_records_come_back_to_the_bit(store, write):
    records = awkward_records()
    manifest = write({"awkward": [records]})
    with open_snapshot(store.directory, manifest.snapshot_id) as snapshot:
        record_set = snapshot.record_set("awkward")
        read = list(record_set.batches())
        assert as_dict(read) == as_dict([records])
        assert [list(batch.ids) for batch in read] == list(record_set.id_pages())
        assert digest_of(read) == record_set.digest == manifest.digest("awkward")
        assert record_set.spec == snapshot.collections()[0]
        assert (record_set.spec.metadata, record_set.spec.space, record_set.spec.index) == ({"made by": "é"}, "cosine", {"ef_construction": 100})


def test_fetch_gives_what_exists_in_the_order_asked_for(store, write):
    records = make_records(2500)
    manifest = write({"c": [records]})
    with open_snapshot(store.directory, manifest.snapshot_id) as snapshot:
        found = snapshot.record_set("c").fetch(["id-2400", "nobody", "id-3", "id-1500", "id-4", "id-3"])
        assert found.ids == ["id-2400", "id-3", "id-1500", "id-4"]
        assert as_dict([found]) == as_dict([records.select([2400, 3, 1500, 4])])
        nothing = snapshot.record_set("c").fetch(["nobody"])
        assert (len(nothing), nothing.dimension) == (0, 8)
        everything = snapshot.record_set("c").fetch(records.ids)
        assert everything.ids == records.ids
        assert as_dict([everything]) == as_dict([records])


def test_the_bytes_do_not_depend_on_how_the_server_was_read(store, write):
    records = make_records(2345)
    archives = []
    for size in (7, 1000, 5000):
        manifest = write({"c": batches_of(records, size)})
        with open(store.archive_path(manifest.snapshot_id), "rb") as file:
            archives.append(file.read())
    assert archives[0] == archives[1] == archives[2]


def test_large_documents_make_smaller_batches(store, write):
    records = make_records(10)
    records.documents[:] = ["long " * 600_000] * 10
    manifest = write({"c": [records]})
    assert len(manifest.collection("c")["batches"]) == 4
    with open_snapshot(store.directory, manifest.snapshot_id) as snapshot:
        assert as_dict(snapshot.record_set("c").batches()) == as_dict([records])


def test_an_empty_server_and_an_empty_collection(store, write):
    nothing = write({})
    empty = write({"empty": [empty_batch()]})
    for manifest in (nothing, empty):
        assert manifest.total_chunks == 0
        assert verify_snapshot(store, manifest.snapshot_id) == []
    with open_snapshot(store, empty.snapshot_id) as snapshot:
        record_set = snapshot.record_set("empty")
        assert (list(record_set.batches()), list(record_set.id_pages()), len(record_set.fetch(["a"]))) == ([], [], 0)
        with pytest.raises(UsageError, match="no collection 'other'"):
            snapshot.record_set("other")


@pytest.fixture
def archive(store, write):
    manifest = write({"first": [make_records(1200)], "second": [awkward_records()]})
    return store.archive_path(manifest.snapshot_id), manifest


def expected_contents(path, manifest):
    """Every entry, read the way the manifest describes it."""
    with open(path, "rb") as file:
        data = file.read()
    contents = {}
    for entry in manifest.entries:
        plain = zlib.decompressobj(-15).decompress(data[entry.offset : entry.offset + entry.compressed_size])
        contents[entry.name] = plain[512 : 512 + entry.size]
        assert hashlib.sha256(contents[entry.name]).hexdigest() == entry.sha256
    return contents


@pytest.mark.parametrize("mode", ["r:gz", "r|gz", "r:*", "r|*"])
def test_pythons_tarfile_opens_it(archive, mode):
    path, manifest = archive
    with tarfile.open(path, mode) as tar:
        contents = {}
        for member in tar:
            assert member.isreg()
            assert (member.mode, member.uid, member.gid, member.mtime) == (0o600, 0, 0, 946684800)
            contents[member.name] = tar.extractfile(member).read()
    assert contents == expected_contents(path, manifest)


def test_gnu_tar_and_gzip_open_it(archive, tmp_path):
    path, manifest = archive
    subprocess.run(["gzip", "-t", path], check=True)
    listed = subprocess.run(["tar", "-tzf", path], check=True, capture_output=True, text=True)
    assert listed.stdout.splitlines() == [entry.name for entry in manifest.entries]
    assert listed.stderr == ""
    target = tmp_path / "extracted"
    target.mkdir()
    extracted = subprocess.run(["tar", "-xzf", path, "-C", str(target), "--no-same-owner"], check=True, capture_output=True, text=True)
    assert extracted.stderr == ""
    for name, content in expected_contents(path, manifest).items():
        assert (target / name).read_bytes() == content


def test_numpy_and_json_open_the_entries(archive):
    path, manifest = archive
    contents = expected_contents(path, manifest)
    vectors = np.load(io.BytesIO(contents["c0001/batch_000000.npy"]), allow_pickle=False)
    assert (vectors.shape, vectors.dtype.str) == ((1000, 8), "<f4")
    assert vectors.tobytes() == make_records(1200).embeddings[:1000].tobytes()
    lines = contents["c0001/batch_000000.jsonl"].decode("utf-8").split("\n")
    assert [json.loads(line)["id"] for line in lines[:-1]] == make_records(1200).ids[:1000]
    assert json.loads(contents["c0002/collection.json"])["name"] == "second"


def test_pandas_opens_the_entries(archive):
    """It is not among what the tests need; the slice of the snapshots installs it, and insists that this ran."""
    pandas = pytest.importorskip("pandas")
    path, _manifest = archive
    expected = make_records(1200)
    with tarfile.open(path, "r:gz") as tar:
        frame = pandas.read_json(tar.extractfile("c0001/batch_000000.jsonl"), lines=True)
        vectors = pandas.DataFrame(np.load(io.BytesIO(tar.extractfile("c0001/batch_000000.npy").read())), index=frame["id"])
    assert list(frame["id"]) == expected.ids[:1000]
    assert list(frame["document"]) == expected.documents[:1000]
    assert list(frame["metadata"]) == expected.metadatas[:1000]
    assert vectors.loc["id-7"].to_numpy().tobytes() == expected.embeddings[7].tobytes()


@pytest.mark.parametrize(("rows", "dimension"), [(0, 0), (1, 0), (3, 1), (1000, 384), (7, 65_536)])
def test_vectors_are_npy_files(rows, dimension):
    vectors = np.random.default_rng(1).standard_normal((rows, dimension)).astype("<f4")
    data = encode_vectors(RecordBatch([""] * rows, vectors, [None] * rows, [None] * rows, [None] * rows))
    assert np.load(io.BytesIO(data)).tobytes() == vectors.tobytes()
    assert np.load(io.BytesIO(data)).shape == (rows, dimension)
    assert decode_vectors(data, rows, "entry").tobytes() == vectors.tobytes()
    for wrong in (data[:-1], data + b"\0", data[:80], b"", data.replace(b"'<f4'", b"'<f8'"), data.replace(b"False", b"True ")):
        if wrong != data:
            with pytest.raises(IntegrityError, match="entry"):
                decode_vectors(wrong, rows, "entry")
    with pytest.raises(IntegrityError):
        decode_vectors(data, rows + 1, "entry")


def test_files_are_private_and_nothing_is_left_over(store, archive):
    path, manifest = archive
    for file in (path, store.manifest_path(manifest.snapshot_id)):
        assert oct(os.stat(file).st_mode & 0o7777) == "0o600"
    names = {folder: os.listdir(folder) for folder in (store.snapshots, store.manifests)}
    assert names == {store.snapshots: [f"{manifest.snapshot_id}.tar.gz"], store.manifests: [f"{manifest.snapshot_id}.json"]}


def test_every_field_of_the_original_manifest_is_there(archive):
    path, manifest = archive
    values = manifest.values
    with open(path, "rb") as file:
        data = file.read()
    assert values["checksum_sha256"] == hashlib.sha256(data).hexdigest()
    assert values["archive_bytes"] == len(data)
    assert values["snapshot_size_mb"] == round(len(data) / 1e6, 3)
    assert 0 < values["compression_ratio"] < 100
    assert (values["chromadb_url"], values["chromadb_version"], values["status"], values["error_message"]) == (SERVER.url, "1.0.0", "verified", None)
    assert (values["total_chunks"], values["total_collections"]) == (1209, 2)
    assert values["collections"]["first"]["total_documents"] == 1200
    assert values["batch_metadata"] == {"first": ["batch_000000", "batch_000001"], "second": ["batch_000000"]}
    assert (manifest.retention_until - manifest.timestamp).days == 7
    assert manifest.summary().keys() == values.keys() - {"entries"}


def test_a_number_without_a_json_word_is_refused_by_name(store, write):
    records = make_records(3)
    records.metadatas[1] = {"score": float("nan")}
    with pytest.raises(InvalidDataError, match="id-1"):
        write({"c": [records]})
    assert os.listdir(store.snapshots) == []


def test_leaving_early_leaves_nothing(store):
    def stop_half_way():
        with ArchiveWriter(store, "snapshot_20250101_000000") as writer:
            writer.begin_collection(CollectionSpec("c"))
            writer.add(make_records(3000))
            raise RuntimeError("the caller's own")

    with pytest.raises(RuntimeError, match="the caller's own"):
        stop_half_way()
    assert os.listdir(store.snapshots) == []
    assert os.listdir(store.manifests) == []


def test_calls_out_of_turn_are_errors_of_the_caller(store):
    with ArchiveWriter(store, "snapshot_20250101_000000") as writer:
        with pytest.raises(ValueError, match="no collection is open"):
            writer.add(make_records(1))
        writer.begin_collection(CollectionSpec("c"))
        with pytest.raises(ValueError, match="out of turn"):
            writer.begin_collection(CollectionSpec("d"))
        with pytest.raises(ValueError, match="base"):
            writer.delete(["a"])
        with pytest.raises(ValueError, match="out of turn"):
            writer.finish(server=SERVER, api="v2", version=None)


def test_a_wrong_digest_never_becomes_a_snapshot(store):
    with ArchiveWriter(store, "snapshot_20250101_000000") as writer:
        writer.begin_collection(CollectionSpec("c"))
        writer.add(make_records(3))
        writer.end_collection(digest_of([make_records(3, seed=1)]), 3)
        with pytest.raises(IntegrityError, match="digest"):
            writer.finish(server=SERVER, api="v2", version=None)
    assert os.listdir(store.snapshots) == []


def test_an_id_given_twice_never_becomes_a_snapshot(store):
    twice = [make_records(3), make_records(1)]
    with ArchiveWriter(store, "snapshot_20250101_000000") as writer:
        writer.begin_collection(CollectionSpec("c"))
        for batch in twice:
            writer.add(batch)
        writer.end_collection(digest_of(twice), 4)
        with pytest.raises(IntegrityError, match="1 id is twice"):
            writer.finish(server=SERVER, api="v2", version=None)


def test_without_verification_it_says_created(store, write):
    manifest = write({"c": [make_records(3)]}, verify=False, retention_days=1)
    assert manifest.status == "created"
    assert (load_manifest(store, manifest.snapshot_id).retention_until - manifest.timestamp).days == 1
    assert verify_snapshot(store, manifest.snapshot_id) == []


def test_the_size_of_a_usual_snapshot(store, write):
    """9,832 records of 384 normalised numbers and 500 characters: at most 17 MB."""
    random = np.random.default_rng(5)
    words = np.array(["".join(chr(97 + letter) for letter in random.integers(0, 26, random.integers(2, 10))) for _word in range(3000)])
    batches = []
    for begin in range(0, 9832, 1000):
        records = make_records(min(1000, 9832 - begin), start=begin, dimension=384, words=0)
        chosen = words[random.zipf(1.3, (len(records), 120)) % len(words)]
        records.documents[:] = [" ".join(row)[:500] for row in chosen]
        batches.append(records)
    manifest = write({"c": batches})
    assert manifest.total_chunks == 9832
    assert manifest.values["archive_bytes"] <= 17_000_000


MEMORY = """
import sys
sys.path.insert(0, {tree!r})
from ansible_collections.infrafabric.chromadb.tests.unit.archive.conftest import SERVER, ArchiveWriter, CollectionDigest, CollectionSpec
from ansible_collections.infrafabric.chromadb.tests.unit.archive.conftest import make_records, open_store
from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.reader import open_snapshot
store = open_store(sys.argv[1], for_writing=True)
digest = CollectionDigest()
with ArchiveWriter(store, "snapshot_20250101_000000") as writer:
    writer.begin_collection(CollectionSpec("c"))
    for start in range(0, int(sys.argv[2]), 1000):
        records = make_records(1000, start=start, dimension=64, words=0)
        digest.add(records)
        writer.add(records)
    writer.end_collection(digest.hexdigest(), digest.records)
    writer.finish(server=SERVER, api="v2", version=None)
with open_snapshot(store, "snapshot_20250101_000000") as snapshot:
    for page in snapshot.record_set("c").id_pages():
        snapshot.record_set("c").fetch(page[:10])
# Not ru_maxrss: that begins with the peak of the process that started this one.
print(int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) // 1024)
"""


def test_memory_does_not_grow_with_the_records(tmp_path):
    tree = str(Path(manifest_module.__file__).parents[6])
    peaks = []
    for count in (2_000, 20_000):
        directory = tmp_path / str(count)
        directory.mkdir(mode=0o700)
        program = MEMORY.format(tree=tree)
        done = subprocess.run([sys.executable, "-c", program, str(directory), str(count)], check=True, capture_output=True, text=True)
        peaks.append(int(done.stdout))
    assert peaks[1] <= 150
    assert peaks[1] - peaks[0] <= 30
