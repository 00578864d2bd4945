# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options of a snapshot that contradict each other, or what is in the store already."""

from __future__ import annotations

import os
import shutil
from datetime import datetime, timedelta, timezone

import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.manifest import FILES, ServerIdentity
from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.store import SAFETY_NAME, new_snapshot_id
from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.tree_writer import write_tree
from ansible_collections.infrafabric.chromadb.plugins.module_utils._endpoint import Endpoint
from ansible_collections.infrafabric.chromadb.plugins.module_utils._errors import UsageError
from ansible_collections.infrafabric.chromadb.plugins.module_utils._operations.outcome import Context
from ansible_collections.infrafabric.chromadb.plugins.module_utils._operations.snapshot import snapshot
from tests.support.scripted_server import ScriptedServer

from .conftest import make_records


@pytest.fixture
def empty_server():
    """A server of the current release that holds nothing."""
    database = "/api/v2/tenants/default_tenant"
    with ScriptedServer() as script:
        script.answers = {
            ("GET", "/api/v2/heartbeat"): {"nanosecond heartbeat": 1},
            ("GET", "/api/v2/version"): "1.5.0",
            ("GET", "/api/v2/pre-flight-checks"): {"max_batch_size": 1000},
            ("GET", database): {},
            ("GET", database + "/databases/default_database"): {},
            ("GET", database + "/databases/default_database/collections"): [],
        }
        yield Endpoint(script.url, retries=0)


@pytest.fixture
def take(store, empty_server):
    def run(endpoint=empty_server, **options):
        arguments = {
            "state": "present", "name": None, "collections": None, "method": "records", "data_directory": None, "base": None, "batch_size": None,
            "retention_days": None, "prune": True, "keep_min": 1, "pin": None, "require_consistent": False, "verify": True,
            "encryption_key_file": None, **options,
        }  # fmt: skip
        return snapshot(endpoint, directory=store.directory, context=Context(), **arguments)

    return run


def identity(endpoint):
    return ServerIdentity(endpoint.url, endpoint.tenant, endpoint.database)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"name": SAFETY_NAME}, f"The name '{SAFETY_NAME}' is kept for the snapshots that a rollback takes first"),
        ({"collections": []}, "collections is an empty list"),
        ({"data_directory": "/data"}, "data_directory belongs to method: files"),
        ({"method": FILES}, "method: files needs data_directory"),
        ({"method": FILES, "data_directory": "/data", "collections": ["c"]}, "leave collections out"),
        ({"method": FILES, "data_directory": "/data", "base": "latest"}, "leave base out"),
        ({"state": "absent"}, "state: absent needs the name of a snapshot"),
        ({"batch_size": 0}, "batch_size must be more than 0, not 0"),
        ({"retention_days": -1}, "retention_days must not be negative, but is -1"),
        ({"keep_min": 0}, "keep_min must be at least 1, not 0"),
    ],
)
def test_options_that_contradict_each_other_are_refused_before_anything_is_asked(store, take, options, words):
    nobody = Endpoint("http://127.0.0.1:9", timeout=1.0, retries=0)
    with pytest.raises(UsageError, match=words):
        take(nobody, **options)


def test_a_fuzzy_snapshot_of_the_name_does_not_do_where_a_consistent_one_is_wanted(take, empty_server, write, rewrite_manifest):
    held = write({"c": [make_records(2)]}, name="nightly", server=identity(empty_server))
    assert take(name="nightly", require_consistent=True).changed is False
    rewrite_manifest(held.snapshot_id, lambda values: values.update(consistency={"state": "fuzzy", "changed_ids": {"c": ["id-1"]}}))
    assert take(name="nightly").changed is False
    with pytest.raises(UsageError, match=f"{held.snapshot_id} is fuzzy, and require_consistent is set. Choose another name, or remove it first"):
        take(name="nightly", require_consistent=True)


@pytest.mark.skipif(shutil.which("gpg") is None, reason="gpg is not installed")
def test_a_plain_snapshot_of_the_name_does_not_do_where_an_encrypted_one_is_wanted(take, empty_server, write, tmp_path):
    held = write({"c": [make_records(2)]}, name="nightly", server=identity(empty_server))
    key = tmp_path / "key"
    key.write_text("a long enough passphrase of the test\n")
    key.chmod(0o600)
    with pytest.raises(UsageError, match=f"{held.snapshot_id} is not encrypted, and encryption_key_file is set. Choose another name"):
        take(name="nightly", encryption_key_file=str(key))
    assert take(name="nightly").changed is False


def test_the_first_snapshot_of_a_server_has_no_base_whatever_latest_says(take, write):
    write({"c": [make_records(2)]}, name="of-another-server")
    assert take(base="latest").returns["snapshot"]["base"] is None


def test_a_base_that_the_difference_cannot_be_stored_to_is_refused(store, take, empty_server, write, tmp_path):
    other = write({"c": [make_records(2)]})
    with pytest.raises(UsageError, match=rf"base: {other.snapshot_id} is a snapshot of http://192\.0\.2\.1:8000 .*, not of {empty_server.url}"):
        take(base=other.snapshot_id)
    data = tmp_path / "data"
    data.mkdir()
    (data / "chroma.sqlite3").write_bytes(b"x")
    snapshot_id = new_snapshot_id(store, "files")
    write_tree(store, snapshot_id, str(data), identity(empty_server), name="files", retention_days=7, verify=True, require_unused=lambda: None)
    with pytest.raises(UsageError, match=f"base: {snapshot_id} holds the files of a server, and no records"):
        take(base=snapshot_id)
    assert len(list((tmp_path / "store" / "manifests").iterdir())) == 2, "nothing was stored"


def test_what_is_old_goes_when_one_is_taken_unless_nothing_is_to_be_pruned(store, take, empty_server, write):
    old = write({"c": [make_records(2)]}, server=identity(empty_server), now=datetime.now(timezone.utc) - timedelta(days=30))
    take(prune=False, keep_min=0)  # which says nothing where nothing is pruned
    assert os.path.exists(store.manifest_path(old.snapshot_id))
    take()
    assert not os.path.exists(store.manifest_path(old.snapshot_id))
