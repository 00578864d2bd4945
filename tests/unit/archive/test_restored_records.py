# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Records of a snapshot on their way back: into the form that the server holds, and never over what nobody saved."""

from __future__ import annotations

import numpy as np
import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.reader import open_snapshot
from ansible_collections.infrafabric.chromadb.plugins.module_utils._endpoint import Endpoint
from ansible_collections.infrafabric.chromadb.plugins.module_utils._errors import DriftError, InvalidDataError
from ansible_collections.infrafabric.chromadb.plugins.module_utils._operations.restoration import LONGEST_NAME, Restoration, held_batch, helper_name
from ansible_collections.infrafabric.chromadb.plugins.module_utils._operations.saved_state import SavedState
from ansible_collections.infrafabric.chromadb.plugins.module_utils._records.live import LiveCollection
from ansible_collections.infrafabric.chromadb.plugins.module_utils._records.record_batch import RecordBatch
from ansible_collections.infrafabric.chromadb.plugins.module_utils._server.api_v2 import ServerV2
from ansible_collections.infrafabric.chromadb.plugins.module_utils._server.capabilities import CHROMA_0_5, CHROMA_1_5
from ansible_collections.infrafabric.chromadb.plugins.module_utils._server.http import HttpClient
from ansible_collections.infrafabric.chromadb.plugins.module_utils._server.server import StoredCollection
from tests.support.scripted_server import ScriptedServer

from .conftest import make_records


def batch(metadatas, embedded=None):
    count = len(metadatas)
    return RecordBatch([f"r{row}" for row in range(count)], np.ones((count, 2), dtype="<f4"), ["text"] * count, [None] * count, metadatas, embedded)


def test_records_come_back_in_the_form_in_which_the_server_holds_them():
    assert held_batch("c", batch([{"a": -0.0}, {}]), CHROMA_1_5).metadatas == [{"a": 0.0}, None]


def test_the_first_record_that_this_server_cannot_hold_is_named():
    """A snapshot of an older release may hold what the present one refuses."""
    with pytest.raises(InvalidDataError, match="Record 'r1' of collection 'c' cannot be brought back to this server: a: ") as caught:
        held_batch("c", batch([None, {"a": None}, {"a": None}]), CHROMA_1_5)
    assert caught.value.details["ids"] == ["r1"]
    without_a_vector = batch([None, None], np.array([True, False]))
    with pytest.raises(InvalidDataError, match=r"Record 'r1' .*embedding: missing, and the server takes no record without one"):
        held_batch("c", without_a_vector, CHROMA_1_5)
    assert held_batch("c", without_a_vector, CHROMA_0_5).embedded is without_a_vector.embedded


def test_names_that_exist_during_a_swap_are_taken_by_every_release_and_differ():
    assert helper_name("things", "__rb_", "snapshot_1") == "things__rb_snapshot_1"
    names = {helper_name(name, mark, "snapshot_1") for name in ("n" * 512, "n" * 511) for mark in ("__rb_", "__old_")}
    assert len(names) == 4
    assert {len(name) for name in names} == {LONGEST_NAME}


@pytest.fixture
def server():
    """It lists one record in every collection."""
    with ScriptedServer() as script:
        path = "/api/v2/tenants/default_tenant/databases/default_database/collections/"
        for collection in ("saved", "newer"):
            script.answers["POST", f"{path}{collection}/get"] = lambda body: {
                "ids": ["id-0"], **{name: [[1.0] * 8 if name == "embeddings" else None] for name in body["include"]}
            }  # fmt: skip
            script.answers["GET", f"{path}{collection}/count"] = 1
        yield ServerV2(HttpClient(Endpoint(script.url, retries=0)), "1.5.0", CHROMA_1_5)


def live(server, name):
    return LiveCollection(server, StoredCollection(name, name, None, {"hnsw": {"space": "l2"}}, None, 8))


def test_what_is_not_in_the_safety_snapshot_is_not_taken_away(store, write, server):
    """Neither a record that is another one there, nor a collection that is not in there at all; what is gone already harms nobody."""
    manifest = write({"saved": [make_records(2)], "empty": []})
    with open_snapshot(store, manifest.snapshot_id) as snapshot:
        saved = SavedState(snapshot)
        for name in ("saved", "newer"):
            for require in (lambda name: saved.require(live(server, name), ["id-0"], name), lambda name: saved.require_all(live(server, name), name)):
                with pytest.raises(DriftError, match=f"collection '{name}' .* was written after it was saved in {manifest.snapshot_id}") as caught:
                    require(name)
                assert caught.value.details["ids"] == ["id-0"]


def test_nothing_is_applied_that_was_not_compared(store, write, server, tmp_path):
    manifest = write({"saved": [make_records(2)]})
    with open_snapshot(store, manifest.snapshot_id) as snapshot:
        stored = {"saved": live(server, "saved").stored}
        restoration = Restoration(server, snapshot.record_set("saved"), stored, manifest.snapshot_id, "auto", str(tmp_path))
        with pytest.raises(RuntimeError, match="nothing was compared yet"):
            restoration.apply(None)
        restoration.close()
