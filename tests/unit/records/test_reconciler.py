# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is written is proved by reading it back, and what does not become what it should is an error that names it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils._endpoint import Endpoint
from ansible_collections.infrafabric.chromadb.plugins.module_utils._errors import IntegrityError
from ansible_collections.infrafabric.chromadb.plugins.module_utils._journal import Journal
from ansible_collections.infrafabric.chromadb.plugins.module_utils._records.compare import Counterpart
from ansible_collections.infrafabric.chromadb.plugins.module_utils._records.live import LiveCollection
from ansible_collections.infrafabric.chromadb.plugins.module_utils._records.reconcile import REPAIR_ROUNDS, Reconciler
from ansible_collections.infrafabric.chromadb.plugins.module_utils._records.record_batch import RecordBatch
from ansible_collections.infrafabric.chromadb.plugins.module_utils._server.api_v2 import ServerV2
from ansible_collections.infrafabric.chromadb.plugins.module_utils._server.capabilities import CHROMA_0_5
from ansible_collections.infrafabric.chromadb.plugins.module_utils._server.http import HttpClient
from ansible_collections.infrafabric.chromadb.plugins.module_utils._server.server import StoredCollection
from tests.support.scripted_server import ScriptedServer

PATH = "/api/v2/tenants/default_tenant/databases/default_database/collections/c/"


class Kept:
    """The records of the collection c on a server of release 0.5: its vectors may be missing. `spoil` changes a record on its way in."""

    def __init__(self, script: ScriptedServer, spoil: Callable[[dict[str, Any]], None] = lambda record: None) -> None:
        self.records: dict[str, dict[str, Any]] = {}
        self.spoil = spoil
        for verb in ("add", "upsert"):
            script.answers["POST", PATH + verb] = self.write
        script.answers["POST", PATH + "get"] = self.get
        script.answers["POST", PATH + "delete"] = self.delete
        script.answers["GET", PATH + "count"] = lambda _body: len(self.records)
        server = ServerV2(HttpClient(Endpoint(script.url, "default_tenant", "default_database", retries=0)), "0.5.0", CHROMA_0_5)
        self.live = LiveCollection(server, StoredCollection("c", "things", dimension=2))

    def write(self, body: dict[str, Any]) -> bool:
        for row, record_id in enumerate(body["ids"]):
            # As Chroma does it: a vector that is not sent stays.
            record = self.records.setdefault(record_id, {"embeddings": None})
            record.update(documents=body["documents"][row], metadatas=body["metadatas"][row])
            if body["embeddings"] is not None:
                record["embeddings"] = body["embeddings"][row]
            self.spoil(record)
        return True

    def get(self, body: dict[str, Any]) -> dict[str, Any]:
        wanted = list(self.records) if body.get("ids") is None else body["ids"]
        ids = [record_id for record_id in wanted if record_id in self.records][body.get("offset") or 0 :][: body.get("limit")]
        return {"ids": ids, **{name: [self.records[record_id].get(name) for record_id in ids] for name in body["include"]}}

    def delete(self, body: dict[str, Any]) -> None:
        for record_id in body["ids"]:
            self.records.pop(record_id, None)


@pytest.fixture
def script() -> Iterator[ScriptedServer]:
    with ScriptedServer() as running:
        yield running


def batch(*ids: str, embedded: Any = None) -> RecordBatch:
    count = len(ids)
    return RecordBatch(list(ids), np.ones((count, 2), dtype="<f4"), ["text"] * count, [None] * count, [{"n": 1} for _id in ids], embedded)


def reconcile(kept: Kept, expected: RecordBatch, journal: Path) -> Reconciler:
    counterpart = Counterpart(kept.live, "l2")
    try:
        with Journal(str(journal)) as lines, Reconciler(kept.live, "l2", 100, lines) as reconciler:
            reconciler.apply(counterpart.compare(expected))
            reconciler.finish()
            return reconciler
    finally:
        counterpart.close()


def test_records_that_the_server_never_holds_as_they_were_sent_are_named(script: ScriptedServer, tmp_path: Path) -> None:
    kept = Kept(script, spoil=lambda record: record.update(documents=record["documents"].upper()))
    with pytest.raises(
        IntegrityError, match=f"2 records of collection 'things' .* do not read back as they were written, after {REPAIR_ROUNDS} attempts"
    ) as caught:
        reconcile(kept, batch("a", "b"), tmp_path / "journal")
    assert caught.value.details["ids"] == ["a", "b"]
    assert len(script.bodies("add") + script.bodies("upsert")) == 1 + REPAIR_ROUNDS


def test_records_that_the_server_spoils_at_first_are_mended(script: ScriptedServer, tmp_path: Path) -> None:
    spoiled: list[Any] = []

    def twice(record: dict[str, Any]) -> None:
        if len(spoiled) < 2:
            spoiled.append(record.update(documents="wrong"))

    kept = Kept(script, twice)
    assert reconcile(kept, batch("a"), tmp_path / "journal").written == 1
    assert kept.records["a"]["documents"] == "text"
    # What was away for a moment is in the journal, for people.
    states = [(entry["state"], entry["ids"]) for entry in map(json.loads, (tmp_path / "journal").read_text().splitlines())]
    assert states == [("replacing", ["a"]), ("replaced", ["a"])]


def test_a_record_that_must_lose_its_vector_is_deleted_and_added_again(script: ScriptedServer, tmp_path: Path) -> None:
    """No write takes a vector away. One that has none already is left alone."""
    kept = Kept(script)
    kept.records = {
        "with": {"embeddings": [1.0, 1.0], "documents": "text", "metadatas": {"n": 1}},
        "without": {"embeddings": None, "documents": "other", "metadatas": {"n": 1}},
    }
    reconcile(kept, batch("with", "without", embedded=np.array([False, False])), tmp_path / "journal")
    assert {record_id: (record["embeddings"], record["documents"]) for record_id, record in kept.records.items()} == {
        "with": (None, "text"),
        "without": (None, "text"),
    }
    assert [body["ids"] for body in script.bodies("delete")] == [["with"]]
    assert len(script.bodies("upsert")) == 1, "known before, not found out by reading back"
