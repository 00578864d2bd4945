# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A manifest whose hash is right and whose figures contradict each other: each contradiction is told in a sentence of its own."""

from __future__ import annotations

import os
import shutil

import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.manifest import load_manifest
from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.new_manifest import seal
from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.store import new_snapshot_id
from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.tree_writer import write_tree
from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.verify import verify_snapshot
from ansible_collections.infrafabric.chromadb.plugins.module_utils._errors import IntegrityError, UsageError

from .conftest import SERVER, get, make_records, put


@pytest.mark.parametrize(("edit", "words"), [
    (lambda values: values["entries"][2].update(offset=values["entries"][2]["offset"] + 1), "batch_000000.jsonl does not follow the one before."),
    (lambda values: values["collections"]["c"].update(directory="c0002"), "The collection 'c' is not in the place of its own."),
    (lambda values: values["collections"]["c"]["spec"].update(name="d"), "The collection 'c' is not in the place of its own."),
    (lambda values: values["collections"]["c"].update(stored_documents=4), "The rows of the collection 'c' do not add up."),
    (lambda values: values["collections"]["c"].update(deleted_documents=1), "The deleted ids of the collection 'c' do not add up."),
    (lambda values: values["collections"]["c"].update(total_documents=6), "The collection 'c' stores a part only, but the snapshot has no base."),
])  # fmt: skip
def test_a_manifest_that_contradicts_itself_is_told_where(store, write, rewrite_manifest, edit, words):
    manifest = write({"c": [make_records(5)]})
    rewrite_manifest(manifest.snapshot_id, edit)
    problems = verify_snapshot(store, manifest.snapshot_id, "manifest")
    assert words in " ".join(problem.message for problem in problems)
    assert {problem.failure_class for problem in problems} == {"integrity"}


def test_a_manifest_of_files_that_has_a_base_is_told(store, write, rewrite_manifest, tmp_path):
    base = write({"c": [make_records(2)]})
    data = tmp_path / "data"
    data.mkdir()
    (data / "chroma.sqlite3").write_bytes(b"x")
    snapshot_id = new_snapshot_id(store, None)
    write_tree(store, snapshot_id, str(data), SERVER, name=None, retention_days=7, verify=True, require_unused=lambda: None)
    rewrite_manifest(snapshot_id, lambda values: values.update(base={"snapshot_id": base.snapshot_id, "manifest_sha256": base.sha256}))
    assert "holds no collections of its own, and has no base" in verify_snapshot(store, snapshot_id, "manifest")[0].message


def test_a_manifest_that_no_reader_would_accept_is_not_sealed(write):
    values = {key: value for key, value in write({"c": [make_records(5)]}).values.items() if key != "manifest_sha256"}
    assert seal(values).total_chunks == 5
    with pytest.raises(IntegrityError, match=r"would be wrong: total_chunks is 6, not 5\."):
        seal({**values, "total_chunks": 6})


def test_a_manifest_that_cannot_be_read_does_not_hide_that_its_archive_is_missing(store, snapshot):
    snapshot_id, ((archive, _data), (manifest, _json)) = snapshot
    put(manifest, b"{}")
    os.unlink(archive)
    messages = [problem.message for problem in verify_snapshot(store, snapshot_id, "manifest")]
    assert len(messages) == 2
    assert messages[1] == f"The archive {archive} is missing."
    assert len(verify_snapshot(store, snapshot_id, "none")) == 1


def test_a_level_of_verification_that_there_is_not_is_refused(store, snapshot):
    with pytest.raises(UsageError, match="verify must be one of none, manifest, full, not 'all'"):
        verify_snapshot(store, snapshot[0], "all")


def test_a_snapshot_is_read_beside_files_that_are_none(store, snapshot):
    """Such as what somebody who looked after the store left there."""
    put(os.path.join(store.manifests, "snapshot_of_monday.json"), b"{}")
    put(os.path.join(store.snapshots, "notes.txt"), b"")
    moment = load_manifest(store, snapshot[0]).timestamp
    assert new_snapshot_id(store, None, moment) != snapshot[0]
    shutil.rmtree(store.manifests)
    os.unlink(snapshot[1][0][0])
    assert new_snapshot_id(store, None, moment) == snapshot[0]
    assert get(os.path.join(store.snapshots, "notes.txt")) == b""
