# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whatever happens to an archive or a manifest afterwards is noticed: bits, lengths, figures, files in each other's place."""

from __future__ import annotations

import errno
import gzip
import json
import os
import random
import shutil

import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive import writer
from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.manifest import load_manifest, parse_manifest, render_manifest
from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.reader import open_snapshot
from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.verify import Problem, find_orphans, raise_for, require_sound, verify_snapshot
from ansible_collections.infrafabric.chromadb.plugins.module_utils._bounded_json import MAX_NESTING, MAX_VALUES
from ansible_collections.infrafabric.chromadb.plugins.module_utils._errors import IntegrityError, UsageError
from ansible_collections.infrafabric.chromadb.plugins.module_utils._operations.outcome import Context
from ansible_collections.infrafabric.chromadb.plugins.module_utils._operations.snapshot_info import snapshot_info

from .conftest import get, make_records, problems_of, put

FLIPS = int(os.environ.get("CHROMADB_BIT_FLIPS", "600"))


def test_an_untouched_snapshot_has_no_problem(store, snapshot):
    for level in ("none", "manifest", "full"):
        assert problems_of(store, snapshot[0], level) == []
    assert require_sound(store, snapshot[0]).snapshot_id == snapshot[0]


def test_every_flipped_bit_is_noticed(store, snapshot):
    """CHROMADB_BIT_FLIPS=10000 for the whole campaign; a seeded slice of it by default."""
    snapshot_id, files = snapshot
    chance = random.Random(20250131)
    for _flip in range(FLIPS):
        path, data = chance.choice(files)
        bit = chance.randrange(8 * len(data))
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        put(path, damaged)
        assert problems_of(store, snapshot_id), f"bit {bit} of {path}"
        put(path, data)
    assert problems_of(store, snapshot_id) == []


def test_every_bit_of_headers_and_ends_is_noticed(store, snapshot):
    """Where gzip and tar themselves look away: their headers, their padding, their last bytes."""
    snapshot_id, ((path, data), _manifest) = snapshot
    for position in [*range(80), *range(len(data) - 60, len(data))]:
        for bit in range(8):
            damaged = bytearray(data)
            damaged[position] ^= 1 << bit
            put(path, damaged)
            assert problems_of(store, snapshot_id), f"bit {bit} of byte {position}"


def test_every_truncation_is_noticed(store, snapshot):
    snapshot_id, files = snapshot
    for path, data in files:
        # A manifest without its last line break is the same JSON; everything shorter is none.
        for length in range(len(data) - (1 if path.endswith(".json") else 0)):
            put(path, data[:length])
            assert problems_of(store, snapshot_id, "full" if length % 100 == 0 else "manifest"), f"{path} cut to {length} bytes"
        put(path, data)


@pytest.mark.parametrize("more", [b"\0", b"\0" * 512, gzip.compress(b"more", mtime=0), b"x"])
def test_appended_bytes_are_noticed(store, snapshot, more):
    snapshot_id, ((path, data), _manifest) = snapshot
    put(path, data + more)
    assert problems_of(store, snapshot_id, "manifest")


def test_a_disk_that_does_not_give_the_archive_is_one_problem(store, write, monkeypatch):
    """It is said once, not of each entry, and no step of a verification ends in anything else."""
    manifest = write({"c": [make_records(3500)]})

    def damaged(_descriptor, _length, _offset):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "pread", damaged)
    path = store.archive_path(manifest.snapshot_id)
    (unread, frame) = verify_snapshot(store, manifest.snapshot_id)
    assert unread == Problem(f"The archive {path} cannot be read: Input/output error.", "integrity")
    assert "does not begin and end" in frame.message
    result = snapshot_info(
        directory=store.directory, snapshot_id=manifest.snapshot_id, verify="full", expected_manifest_sha256=None, context=Context()
    ).returns
    assert result["snapshots"][0]["problems"][0] == unread.message


def test_all_problems_are_named_not_only_the_first(store, write):
    manifest = write({"c": [make_records(3500)]})
    path = store.archive_path(manifest.snapshot_id)
    data = bytearray(get(path))
    for entry in manifest.entries[3], manifest.entries[6]:
        data[entry.offset + entry.compressed_size // 2] ^= 0x10
    put(path, data)
    messages = [problem.message for problem in problems_of(store, manifest.snapshot_id)]
    assert len(messages) == 3
    assert "SHA-256" in messages[0]
    assert manifest.entries[3].name in messages[1]
    assert manifest.entries[6].name in messages[2]
    with pytest.raises(IntegrityError, match=r"\(2 more problems; see problems\.\)") as caught:
        require_sound(store, manifest.snapshot_id)
    assert caught.value.details["problems"] == messages
    with pytest.raises(IntegrityError, match=r"must not be used: One\. \(1 more problem; see problems\.\)"):
        raise_for(manifest.snapshot_id, [Problem("One."), Problem("Another.")])


def test_no_damaged_record_is_handed_out(store, write):
    manifest = write({"c": [make_records(2500)]})
    path = store.archive_path(manifest.snapshot_id)
    data = bytearray(get(path))
    entry = next(entry for entry in manifest.entries if entry.name.endswith("batch_000001.npy"))
    data[entry.offset + entry.compressed_size - 20] ^= 1
    put(path, data)
    with open_snapshot(store, manifest.snapshot_id) as opened:
        batches = opened.record_set("c").batches()
        assert len(next(batches)) == 1000
        with pytest.raises(IntegrityError, match=r"batch_000001\.npy"):
            next(batches)
        with pytest.raises(IntegrityError, match=r"batch_000001\.npy"):
            opened.record_set("c").fetch(["id-1100"])


def test_missing_files(store, snapshot):
    snapshot_id, ((archive, _data), (manifest, _json)) = snapshot
    os.rename(archive, archive + ".away")
    assert "cannot be opened" in problems_of(store, snapshot_id, "manifest")[0].message
    assert [problem.message.split(" ")[0] for problem in find_orphans(store)] == [archive + ".away"]
    os.rename(archive + ".away", archive)
    os.unlink(manifest)
    with pytest.raises(UsageError, match="no snapshot"):
        problems_of(store, snapshot_id)
    assert [problem.message.split(" ")[0] for problem in find_orphans(store)] == [archive]


def test_files_that_belong_to_nothing_are_reported(store, snapshot):
    for path in (f"{store.snapshots}/.snapshot_20250101_000000.tar.gz.partial", f"{store.snapshots}/notes.txt", f"{store.manifests}/other.json"):
        put(path, b"")
    assert sorted(problem.message.split(" ")[0] for problem in find_orphans(store)) == sorted(
        [f"{store.snapshots}/.snapshot_20250101_000000.tar.gz.partial", f"{store.snapshots}/notes.txt", f"{store.manifests}/other.json"]
    )


# Manifests


def each_field(values, path=()):
    """The path of every field at every depth (of lists, of the first item)."""
    items = values.items() if isinstance(values, dict) else enumerate(values[:1]) if isinstance(values, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from each_field(value, (*path, key))


def changed(value):
    if isinstance(value, bool) or value is None:
        return "changed"
    if isinstance(value, (int, float)):
        return value + 1
    if isinstance(value, str):
        return value[:-1] + ("0" if value[-1:] != "0" else "1")
    if isinstance(value, list):
        return [*value, *value[:1]] if value else ["changed"]
    return {**value, "changed": 1}


@pytest.mark.parametrize("edit", ["changed", "removed"])
def test_every_changed_or_removed_field_is_noticed(store, snapshot, edit):
    snapshot_id, (_archive, (path, data)) = snapshot
    fields = list(each_field(json.loads(data)))
    assert len(fields) > 60
    for field in fields:
        values = json.loads(data)
        parent = values
        for key in field[:-1]:
            parent = parent[key]
        if edit == "removed":
            del parent[field[-1]]
        else:
            parent[field[-1]] = changed(parent[field[-1]])
        put(path, render_manifest(values))
        assert problems_of(store, snapshot_id, "none"), field


@pytest.mark.parametrize(
    "field", ["total_chunks", "total_collections", "archive_bytes", "content_bytes", "snapshot_size_mb", "checksum_sha256", "batch_metadata", "base", "entries"]
)
def test_figures_that_contradict_each_other_are_noticed_even_with_a_right_hash(store, snapshot, rewrite_manifest, field):
    edits = {
        "checksum_sha256": "0" * 64,
        "base": {"snapshot_id": "snapshot_20200101_000000", "manifest_sha256": "0" * 64},
        "batch_metadata": {},
    }

    def edit(values):
        values[field] = edits[field] if field in edits else values[field][:-1] if field == "entries" else values[field] + 1

    rewrite_manifest(snapshot[0], edit)
    assert problems_of(store, snapshot[0], "full")
    if field != "checksum_sha256":
        assert problems_of(store, snapshot[0], "manifest")


def nested(data):
    return data.replace(b'"metadata": {', b'"metadata": {"deep": ' + b"[" * 100_000 + b"]" * 100_000 + b", ", 1)


@pytest.mark.parametrize(
    "edit",
    [
        lambda data: data.replace(b'"status": "verified"', b'"status": "verified", "status": "verified"'),
        lambda data: data.replace(b'"total_chunks": 7', b'"total_chunks": NaN'),
        lambda data: data.replace(b'"total_chunks": 7', b'"total_chunks": 1e999'),
        lambda data: data.replace(b'"total_chunks": 7', b'"total_chunks": 7.0'),
        lambda data: data.replace(b'"total_chunks": 7', b'"total_chunks": true'),
        lambda data: b"\xef\xbb\xbf" + data,
        lambda data: data.replace(b"verified", b"verifi\xff\xfed"),
        lambda data: data + b"{}",
        lambda data: b"[" * 200_000,
        lambda data: b"9" * 10_000,
        lambda data: b"null",
        lambda data: b"",
        nested,
    ],
)
def test_what_is_no_manifest(store, snapshot, edit):
    snapshot_id, (_archive, (path, data)) = snapshot
    assert edit(data) != data
    put(path, edit(data))
    assert [problem.failure_class for problem in problems_of(store, snapshot_id, "none")] == ["integrity"]


def test_what_a_collection_may_be_and_what_is_nested_too_deep(store, snapshot, rewrite_manifest):
    """Such a manifest can be read, and not be returned: its hash says nothing against it."""
    for levels in (MAX_NESTING, 600):
        value = {}
        for _level in range(levels - 1):
            value = {"in": value}
        rewrite_manifest(snapshot[0], lambda values, value=value: values["collections"]["c"]["spec"].update(metadata=value))
        if levels == MAX_NESTING:
            assert load_manifest(store, snapshot[0]).specs()[0].metadata == value
    with pytest.raises(IntegrityError, match="nested more than"):
        load_manifest(store, snapshot[0])


def test_a_manifest_with_too_many_values_is_not_decoded(snapshot, store):
    with open(store.manifest_path(snapshot[0]), "wb") as file:
        file.write(b"[" + b"[]," * (MAX_VALUES // 2 + 1) + b"[]]")
    with pytest.raises(IntegrityError, match="holds more than 4,000,000 values"):
        load_manifest(store, snapshot[0])


def test_the_other_spelling_of_a_value_is_noticed(store, write, rewrite_manifest):
    manifest = write({"c": [make_records(1)]})

    def edit(values):
        values["collections"]["c"]["spec"]["metadata"] = {"control": "\x1b", "backslash": "\\u00AB", "huge": 1e22}

    rewrite_manifest(manifest.snapshot_id, edit)
    path = store.manifest_path(manifest.snapshot_id)
    data = get(path)
    assert load_manifest(store, manifest.snapshot_id)
    for spelling, other in ((rb"\u001b", rb"\u001B"), (b"1e+22", b"1E+22")):
        assert spelling in data
        put(path, data.replace(spelling, other))
        with pytest.raises(IntegrityError):
            load_manifest(store, manifest.snapshot_id)


def test_swapped_manifests_are_noticed(store, write):
    first, second = write({"c": [make_records(3)]}), write({"c": [make_records(3, seed=1)]})
    paths = [store.manifest_path(manifest.snapshot_id) for manifest in (first, second)]
    shutil.move(paths[0], paths[0] + ".x")
    shutil.move(paths[1], paths[0])
    shutil.move(paths[0] + ".x", paths[1])
    for manifest in (first, second):
        assert "mixed up" in problems_of(store, manifest.snapshot_id, "none")[0].message


def test_swapped_archives_are_noticed(store, write):
    first, second = write({"c": [make_records(3)]}), write({"c": [make_records(3, seed=1)]})
    paths = [store.archive_path(manifest.snapshot_id) for manifest in (first, second)]
    shutil.move(paths[0], paths[0] + ".x")
    shutil.move(paths[1], paths[0])
    shutil.move(paths[0] + ".x", paths[1])
    for manifest in (first, second):
        assert problems_of(store, manifest.snapshot_id)


def test_a_snapshot_that_was_replaced_as_a_whole_needs_the_expected_hash(store, snapshot, rewrite_manifest):
    right = load_manifest(store, snapshot[0]).sha256
    assert verify_snapshot(store, snapshot[0], "full", right.upper()) == []
    rewrite_manifest(snapshot[0], lambda values: values.update(timestamp="2020-01-01T00:00:00+00:00"))
    assert verify_snapshot(store, snapshot[0], "full") == []
    assert "not the expected" in verify_snapshot(store, snapshot[0], "none", right)[0].message


def test_a_newer_format_says_so(store, snapshot):
    snapshot_id, (_archive, (path, data)) = snapshot
    put(path, data.replace(b'"format_version": 1', b'"format_version": 2'))
    assert "newer release" in problems_of(store, snapshot_id, "none")[0].message


def test_parse_manifest_accepts_other_white_space(snapshot):
    snapshot_id, (_archive, (_path, data)) = snapshot
    values = json.loads(data)
    assert parse_manifest(json.dumps(values).encode(), snapshot_id).values == values


# Archives whose every hash is right, made by a program that does not keep to the format


def record(**fields):
    return json.dumps({"id": "a", "document": None, "uri": None, "metadata": None, **fields})


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{",
        "[]",
        "null",
        record() + "\n" + record(id="b"),
        record(id=1),
        record(document=1),
        record(uri=[]),
        record(metadata="x"),
        record(embedded=True),
        record(embedded=None),
        record(more=1),
        '{"id": "a", "document": null, "uri": null, "metadata": ' + '{"in": ' * 600 + "null" + "}" * 600 + "}",
        '{"id": "a", "document": null, "uri": null, "data": null}',
        "[" * 100_000,
        "\ud800",
    ],
)
def test_lines_that_are_no_records(store, write, monkeypatch, line):
    monkeypatch.setattr(writer, "encode_texts", lambda batch: line.encode("utf-8", "surrogatepass") + b"\n")
    manifest = write({"c": [make_records(1)]}, verify=False)
    (problem,) = problems_of(store, manifest.snapshot_id)
    assert problem.failure_class == "integrity"
    assert "batch_000000" in problem.message


def test_an_id_that_is_there_twice(store, write):
    records = make_records(4)
    manifest = write({"c": [records, records.select([1])]}, verify=False)
    assert "1 id is twice" in problems_of(store, manifest.snapshot_id)[0].message
    with open_snapshot(store, manifest.snapshot_id) as opened, pytest.raises(IntegrityError, match="already given"):
        opened.record_set("c").fetch(["id-1"])


def test_deleted_ids_that_are_none(store, write, write_changes, monkeypatch):
    records = make_records(4)
    base = write({"c": [records]})
    monkeypatch.setattr(writer, "encode_ids", lambda ids: b"7\n" * len(ids))
    with pytest.raises(IntegrityError, match="no id"):
        write_changes(base, {"c": ([], ["id-0"], [records.select([1, 2, 3])])})


@pytest.mark.parametrize(("content", "words"), [(b'{"name": "other"}\n', "contradicts the manifest"), (b"[" * 100_000, "is no JSON")])
def test_a_description_that_contradicts_the_manifest(store, write, monkeypatch, content, words):
    monkeypatch.setattr(writer, "spec_content", lambda spec: content)
    manifest = write({"c": [make_records(1)]}, verify=False)
    assert words in problems_of(store, manifest.snapshot_id)[0].message


def test_a_snapshot_that_is_said_to_be_based_on_itself(store, snapshot, rewrite_manifest):
    snapshot_id, _files = snapshot
    rewrite_manifest(snapshot_id, lambda values: values.update(base={"snapshot_id": snapshot_id, "manifest_sha256": "0" * 64}))
    assert any("based on itself" in problem.message for problem in problems_of(store, snapshot_id, "manifest"))
    with pytest.raises(IntegrityError):
        open_snapshot(store, snapshot_id)


def test_vectors_that_are_no_vectors(store, write, monkeypatch):
    monkeypatch.setattr(writer, "encode_vectors", lambda batch: b"\x80\x04N.")
    manifest = write({"c": [make_records(1)]}, verify=False)
    assert ".npy file" in problems_of(store, manifest.snapshot_id)[0].message
