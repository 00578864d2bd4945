# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an application sees: the official client opens each collection of the target as it opened that of the source."""

from __future__ import annotations

import hashlib
from typing import Any
from urllib.parse import urlsplit

import chromadb
import numpy as np
import pytest
from chromadb import EmbeddingFunction, HnswIndexConfig, Schema, StringInvertedIndexConfig, VectorIndexConfig
from chromadb.api import ClientAPI
from chromadb.utils.embedding_functions import register_embedding_function

from tests.support.case import Case
from tests.support.raw import RawChroma

TEXTS = ["a cat on the mat", "a dog in the fog", "the sea in spring", "a train to Bern", "bread and butter", "letters, unsent"]
DIMENSION = 12


@register_embedding_function
class WordHashes(EmbeddingFunction[Any]):
    """Vectors from words, without a model."""

    def __init__(self, dimension: int = DIMENSION) -> None:
        self.dimension = dimension

    def __call__(self, input: Any) -> Any:
        found = np.zeros((len(input), self.dimension), dtype=np.float32)
        for row, text in enumerate(input):
            for word in text.split():
                seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "big")
                found[row] += np.random.default_rng(seed).standard_normal(self.dimension)
        return list(found)

    @staticmethod
    def name() -> str:
        return "word_hashes"

    def get_config(self) -> dict[str, Any]:
        return {"dimension": self.dimension}

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> WordHashes:
        return WordHashes(config["dimension"])


def client_of(place: RawChroma) -> ClientAPI:
    address = urlsplit(place.url)
    return chromadb.HttpClient(host=str(address.hostname), port=int(address.port or 0), tenant=place.tenant, database=place.database)


def schema_of_the_application() -> Schema:
    schema = Schema()
    schema.create_index(config=VectorIndexConfig(space="cosine", embedding_function=WordHashes(), hnsw=HnswIndexConfig(ef_construction=222, max_neighbors=20)))
    schema.delete_index(config=StringInvertedIndexConfig(), key="large")
    return schema


# As applications create their collections.
CREATED: dict[str, dict[str, Any]] = {
    "plain": {"embedding_function": None},
    "default-function": {},
    "by-metadata": {"metadata": {"hnsw:space": "cosine"}, "embedding_function": WordHashes()},
    "by-configuration": {"configuration": {"hnsw": {"space": "ip", "ef_search": 33}}, "embedding_function": WordHashes()},
    "by-schema": {"schema": schema_of_the_application()},
}


@pytest.fixture
def migrated(case: Case) -> Case:
    client = client_of(case.source)
    for name, created in CREATED.items():
        client.create_collection(name, **created).add(
            ids=["id%d" % n for n in range(len(TEXTS))], documents=TEXTS, embeddings=list(WordHashes()(TEXTS)),
            metadatas=[{"n": n, "large": "text %d" % n} for n in range(len(TEXTS))],
        )  # fmt: skip
    case.migrate()
    assert case.migrate()["changed"] is False
    return case


def seen_through(client: ClientAPI, name: str) -> dict[str, Any]:
    """Everything that an application asks of a collection."""
    created = CREATED[name]
    function = {"embedding_function": WordHashes()} if isinstance(created.get("embedding_function"), WordHashes) else {}
    opened = client.get_collection(name, **function)
    again = client.get_or_create_collection(name, **created)
    assert again.id == opened.id
    by_text: Any = None
    if name.startswith("by-"):
        by_text = opened.query(query_texts=["a cat in the fog", "spring bread"], n_results=3)
        assert again.query(query_texts=["a cat in the fog", "spring bread"], n_results=3) == by_text
    by_vector = opened.query(query_embeddings=list(WordHashes()(["the train"])), n_results=3, where={"n": {"$gte": 1}}, where_document={"$contains": "a"})
    try:
        by_large: Any = opened.get(where={"large": "text 3"})["ids"]
    except chromadb.errors.ChromaError as error:
        by_large = str(error)
    everything = opened.get(include=["documents", "metadatas", "uris"])
    return {
        "metadata": opened.metadata, "configuration": opened.configuration_json, "schema": opened.schema and opened.schema.serialize_to_json(),
        "count": opened.count(), "peek": opened.peek()["ids"], "by_text": by_text, "by_vector": by_vector, "by_large": by_large, "everything": everything,
    }  # fmt: skip


@pytest.mark.parametrize("name", CREATED)
def test_each_collection_opens_as_before(name: str, migrated: Case) -> None:
    before, after = seen_through(client_of(migrated.source), name), seen_through(client_of(migrated.target), name)
    for searches in ("by_text", "by_vector"):
        if before[searches] is not None:
            assert np.allclose(before[searches].pop("distances"), after[searches].pop("distances"), atol=1e-5)
    assert after == before
    assert ("indexing is disabled" in str(before["by_large"])) == (name == "by-schema"), "the schema must have had its effect"
    opened = client_of(migrated.target).get_collection(name)
    opened.upsert(ids=["new"], documents=["a new text"], embeddings=list(WordHashes()(["a new text"])))
    assert opened.count() == len(TEXTS) + 1
