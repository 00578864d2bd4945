# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a server says of a collection is not believed, and a collection that does not become what it should is an error."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils._errors import DriftError, IntegrityError, UsageError
from ansible_collections.infrafabric.chromadb.plugins.module_utils._records.collection_changes import create, mend
from ansible_collections.infrafabric.chromadb.plugins.module_utils._records.collection_spec import CollectionSpec
from ansible_collections.infrafabric.chromadb.plugins.module_utils._records.record_batch import RecordBatch
from ansible_collections.infrafabric.chromadb.plugins.module_utils._records.spec_translation import (
    creation_arguments,
    held_spec,
    measured_space,
    read_spec,
    spec_differences,
)
from ansible_collections.infrafabric.chromadb.plugins.module_utils._schema.plan import MigrationPlan, _agreed_spec
from ansible_collections.infrafabric.chromadb.plugins.module_utils._schema.transformation import FAIL, Transformation
from ansible_collections.infrafabric.chromadb.plugins.module_utils._server.capabilities import CHROMA_0_4, CHROMA_0_5, CHROMA_1_5, Capabilities
from ansible_collections.infrafabric.chromadb.plugins.module_utils._server.http import StatusError
from ansible_collections.infrafabric.chromadb.plugins.module_utils._server.server import Server, StoredCollection

FUNCTION = {"name": "default", "type": "known"}
SPEC = CollectionSpec("things", {"owner": "tests"}, "l2", {"ef_search": 100}, FUNCTION, 2)


class Told:
    """A server that holds one collection, notes what it is told to change, and does it unless it is `stubborn`."""

    def __init__(self, stored: StoredCollection, capabilities: Capabilities = CHROMA_1_5, stubborn: bool = False) -> None:
        self.stored: StoredCollection | None = stored
        self.capabilities = capabilities
        self.endpoint = SimpleNamespace(url="http://192.0.2.10:8000")
        self.stubborn = stubborn
        self.told: list[dict[str, Any]] = []
        self.rows: list[Any] = []
        self.answer: Any = None

    def modify_collection(self, _collection_id: str, **changes: Any) -> None:
        self.told.append(changes)
        assert self.stored is not None
        if self.stubborn:
            return
        if "metadata" in changes:
            self.stored = replace(self.stored, metadata={key: value for key, value in changes["metadata"].items() if value is not None} or None)
        held = self.stored.configuration or {}
        for key, value in (changes.get("configuration") or {}).items():
            held = {**held, key: {**(held.get(key) or {}), **value}}
        self.stored = replace(self.stored, configuration=held)

    def create_collection(self, **_arguments: Any) -> StoredCollection:
        assert self.stored is not None
        return self.stored

    def find_collection(self, _name: str) -> StoredCollection | None:
        return self.stored

    def get(self, *_words: Any, **_more: Any) -> dict[str, Any]:
        return {"embeddings": self.rows}

    def query(self, *_words: Any) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def as_server(told: Told) -> Server:
    return cast(Server, told)


def stored(**changes: Any) -> StoredCollection:
    configuration = {"hnsw": {"space": "l2", "ef_search": 100}, "embedding_function": FUNCTION}
    return replace(StoredCollection("an-id", "things", {"owner": "tests"}, configuration, None, 0), **changes)


def mended(told: Told, spec: CollectionSpec = SPEC) -> StoredCollection:
    assert told.stored is not None
    return mend(as_server(told), told.stored, spec, spec_differences(spec, read_spec(as_server(told), told.stored), told.capabilities))


def test_what_differs_is_changed_and_nothing_else() -> None:
    told = Told(stored(metadata={"owner": "somebody", "old": 1}))
    assert mended(told).metadata == {"owner": "tests"}
    assert told.told == [{"metadata": {"owner": "tests"}}]

    told = Told(stored(configuration={"hnsw": {"space": "l2", "ef_search": 7}, "embedding_function": {**FUNCTION, "name": "another"}}))
    mended(told)
    assert told.told == [{"configuration": {"hnsw": {"ef_search": 100}, "embedding_function": FUNCTION}}]


def test_metadata_that_should_be_none_is_taken_away_key_by_key() -> None:
    told = Told(stored(metadata={"old": 1}))
    assert mended(told, replace(SPEC, metadata=None)).metadata is None
    assert told.told == [{"metadata": {"old": None}}]


def test_a_function_that_should_not_be_there_cannot_be_taken_away() -> None:
    with pytest.raises(IntegrityError, match="still has embedding_function"):
        mended(Told(stored()), replace(SPEC, embedding_function=None))


def test_a_server_that_changes_nothing_is_an_error() -> None:
    with pytest.raises(IntegrityError, match=r"still has metadata .*after it was changed"):
        mended(Told(stored(metadata=None), stubborn=True))


@pytest.mark.parametrize("meanwhile", [None, stored(id="another-id")], ids=["gone", "another"])
def test_a_collection_that_is_replaced_meanwhile_is_drift(meanwhile: StoredCollection | None) -> None:
    told = Told(stored(metadata=None))
    before, told.stored = told.stored, meanwhile
    assert before is not None
    with pytest.raises(DriftError, match="replaced by another one"):
        mend(as_server(told), before, SPEC, {})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"configuration": {"hnsw": {"space": "ip", "ef_search": 100}, "embedding_function": FUNCTION}}, "space is 'ip' instead of 'l2'"),
        ({"schema": {"keys": {"owner": {"string": {"string_inverted_index": {"enabled": False, "config": {}}}}}, "defaults": {}}}, "schema is"),
    ],
)
def test_what_cannot_be_changed_is_refused_before_anything_is(changes: dict[str, Any], words: str) -> None:
    told = Told(stored(metadata=None, **changes))
    with pytest.raises(DriftError, match=words):
        mended(told)
    assert told.told == []


def test_a_collection_that_is_made_otherwise_is_an_error() -> None:
    with pytest.raises(IntegrityError, match="created the collection 'things' with space 'cosine' instead of 'l2'"):
        create(as_server(Told(stored(configuration={"hnsw": {"space": "cosine"}, "embedding_function": FUNCTION}))), SPEC)


def test_settings_of_old_servers_are_in_the_metadata() -> None:
    old = replace(stored(), metadata={"hnsw:space": "ip", "hnsw:search_ef": 30}, configuration=None)
    spec = read_spec(as_server(Told(old, CHROMA_0_4)), old)
    assert (spec.space, spec.index, spec.embedding_function) == ("ip", {"ef_search": 30}, None)
    assert held_spec(replace(spec, index={"ef_search": 50}), CHROMA_0_4).metadata == {"hnsw:space": "ip", "hnsw:search_ef": 50}
    assert read_spec(as_server(Told(old, CHROMA_0_4)), replace(old, metadata={"hnsw:space": "nonsense"})).space == "l2"


def test_the_usual_distance_is_not_written_into_the_metadata_of_old_servers() -> None:
    assert held_spec(SPEC, CHROMA_0_4).metadata == {"owner": "tests"}
    assert held_spec(replace(SPEC, metadata=None), CHROMA_0_4).metadata is None
    # What says so already stays.
    assert held_spec(replace(SPEC, metadata={"hnsw:space": "l2"}), CHROMA_0_4).metadata == {"hnsw:space": "l2"}


def near(vector: list[float], space: str) -> dict[str, Any]:
    asked, found = 2 * np.asarray(vector), np.asarray(vector)
    product = float(asked @ found)
    lengths = float(np.linalg.norm(asked) * np.linalg.norm(found))
    distance = {"l2": float(((asked - found) ** 2).sum()), "ip": 1 - product, "cosine": 1 - product / (lengths or 1)}[space]
    return {"embeddings": [[vector]], "distances": [[distance]]}


@pytest.mark.parametrize("space", ["l2", "ip", "cosine"])
def test_the_distance_is_what_an_answer_shows_whatever_the_server_says(space: str) -> None:
    told = Told(stored(dimension=2), CHROMA_0_5)
    told.rows, told.answer = [None, [0.0, 0.0], [3.0, 4.0]], near([3.0, 4.0], space)
    assert measured_space(as_server(told), "an-id") == space


@pytest.mark.parametrize(
    ("rows", "answer"),
    [
        ([], None),
        ([[0.0, 0.0], [1e9, 0.0]], None),
        ([[3.0, 4.0]], {"embeddings": [[[0.0, 0.0]]], "distances": [[25.0]]}),
        ([[3.0, 4.0]], {"embeddings": [[[3.0, 4.0]]], "distances": [[float("nan")]]}),
        ([[3.0, 4.0]], {"embeddings": [[[3.0, 4.0]]], "distances": [[77.0]]}),
        ([[3.0, 4.0]], {"embeddings": [[]], "distances": [[]]}),
        ([[3.0, 4.0]], {"embeddings": None}),
        ([[3.0, 4.0]], StatusError("no", 500, "it is broken")),
    ],
    ids=["no record", "no fit record", "no length", "no number", "no space", "no answer", "null", "an error"],
)
def test_where_no_answer_shows_it_the_distance_is_unknown(rows: list[Any], answer: Any) -> None:
    told = Told(stored(dimension=2))
    told.rows, told.answer = rows, answer
    assert measured_space(as_server(told), "an-id") is None


def test_each_difference_has_its_name() -> None:
    other = CollectionSpec("things", {"owner": True}, "ip", {"ef_search": 7}, None, 3, {"keys": {}})
    assert set(spec_differences(SPEC, other, CHROMA_1_5)) == {"space", "metadata", "index.ef_search", "embedding_function", "schema", "dimension"}
    assert spec_differences(SPEC, replace(SPEC, index={}, dimension=None), CHROMA_1_5) == {}


def test_a_server_takes_a_schema_or_a_configuration() -> None:
    assert creation_arguments(replace(SPEC, embedding_function=None), CHROMA_1_5)["configuration"] == {"hnsw": {"space": "l2", "ef_search": 100}}
    both = creation_arguments(replace(SPEC, schema={"defaults": {}, "keys": {}}), CHROMA_1_5)
    assert both["configuration"] is None
    assert both["schema"]
    assert creation_arguments(replace(SPEC, space="cosine"), CHROMA_0_4)["metadata"] == {"owner": "tests", "hnsw:space": "cosine"}


# What a plan makes of several


def test_collections_that_contradict_each_other_cannot_be_merged() -> None:
    others = [replace(SPEC, name="left", space="ip"), replace(SPEC, name="right", embedding_function=None, dimension=3)]
    with pytest.raises(UsageError, match=r"(?s)distance differs \(left: 'ip'.*embedding function differs.*dimension differs \(left: 2, right: 3\)"):
        _agreed_spec("both", others)


def test_what_all_agree_on_is_kept() -> None:
    left = replace(SPEC, name="left", metadata={"owner": "tests", "side": "left"}, index={"ef_search": 100, "max_neighbors": 8}, schema={"keys": {}})
    right = replace(SPEC, name="right", metadata={"owner": "tests", "side": "right"}, dimension=None)
    assert _agreed_spec("both", [left, right]) == CollectionSpec("both", {"owner": "tests"}, "l2", {"ef_search": 100}, FUNCTION, 2, None)
    assert _agreed_spec("both", [left]) == left.renamed("both")


def test_a_vector_that_the_target_cannot_hold_is_named() -> None:
    vectors = np.array([[1, 0], [0, 0], [np.nan, 0], [1e30, 1e30], [0, 0]], dtype="<f4")
    batch = RecordBatch(list("abcde"), vectors, [None] * 5, [None] * 5, [None] * 5, np.array([True, False, True, True, True]))
    plan = MigrationPlan([], cast(Any, None), CHROMA_1_5)
    source = cast(Any, SimpleNamespace(spec=replace(SPEC, space="cosine")))
    faults = plan._vector_faults(source, batch)
    assert {row: words.split(":")[1].split()[0] for row, words in faults.items()} == {1: "missing,", 2: "holds", 3: "its"}
    assert {row: words.kind for row, words in faults.items()} == {1: "embedding missing", 2: "embedding not_finite", 3: "embedding extreme_length"}
    assert MigrationPlan([], cast(Any, None), CHROMA_0_4)._vector_faults(cast(Any, SimpleNamespace(spec=SPEC)), batch.select([0, 1])) == {}
    # Such a record does not travel, and its vector is one reason among others.
    batch.metadatas[1] = {"a": None}
    plan = MigrationPlan([], Transformation(None, (), None, FAIL, ["things"]), CHROMA_1_5)
    (part,) = plan.transform(cast(Any, SimpleNamespace(spec=replace(SPEC, space="cosine"), name="things")), batch)
    assert (part.records.ids, part.invalid_ids) == (["a", "e"], ["b", "c", "d"])
    assert [reason.partition(":")[0] for reason in part.invalid[0].reasons] == ["a", "embedding"]
