# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Collections that hold every value that is easily lost on the way, as far as a release of Chroma can hold it.

`build(place, version, total)` writes them and fills the rest up to `total` records with ordinary ones. Everything is
deterministic, so that two builds are equal.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .raw import RawChroma, Record
from .server_versions import CURRENT

DIMENSION = 8

# The six collections of the case that the project was made for, with shares that add up to one.
BULK_SHARES = (
    ("openwebui_core", 0.340),
    ("openwebui_docs", 0.236),
    ("openwebui_functions", 0.134),
    ("openwebui_pipelines", 0.102),
    ("openwebui_pain_points", 0.091),
    ("openwebui_careers", 0.097),
)
_WORDS = """
    function pipeline model server collection vector search answer question user interface configuration default value
    database document chunk embedding language metaphor frame reader project career interview system memory network
    migration snapshot record identity relationship therapy humour analysis evidence citation source target plan
"""


@dataclass
class CollectionData:
    name: str
    records: list[Record] = field(default_factory=list)
    metadata: dict[str, Any] | None = None
    configuration: dict[str, Any] | None = None
    schema: dict[str, Any] | None = None


def is_ancient(version: str) -> bool:
    return version.startswith("0.3.")


def is_modern(version: str) -> bool:
    """1.x: configuration on create, no records without vectors."""
    return version == CURRENT or not version.startswith("0.")


def holds_lists(version: str) -> bool:
    return version == CURRENT or is_ancient(version)


def vectors(count: int, dimension: int = DIMENSION, seed: int = 1) -> Any:
    """Unit vectors, shape (count, dimension), float32."""
    values = np.random.default_rng(seed).standard_normal((count, dimension))
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype("<f4")


def text(seed: int, characters: int) -> str:
    rng = np.random.default_rng(seed)
    words = rng.choice(_WORDS.split(), characters // 5 + 1)
    return " ".join(words)[:characters]


def ids_trap(version: str) -> CollectionData:
    nfc = unicodedata.normalize("NFC", "cafe\u0301")
    ids = [
        "plain", "Plain", "a/b", "../up", "a%2Fb", "line\nbreak", "carriage\r\nreturn", "tab\tbed", "nul\0byte", " leading",
        "trailing ", "emoji-\U0001f98a", nfc, unicodedata.normalize("NFD", nfc), "\u2028separator", "\u202eright-to-left",
        "{{ 7 * 7 }}", "{% raw %}", "$(touch owned)", "`id`", "'; DROP TABLE embeddings; --", "<script>alert(1)</script>", '"quoted"',
        "back\\slash", "0", "-1", "null", "true", "#hash", "a:b", "a" * 5000, "\u00e4" * 1000,
    ]  # fmt: skip
    if is_ancient(version):
        # It pastes ids into its SQL.
        ids = [i for i in ids if "'" not in i]
    rows = vectors(len(ids), seed=11)
    return CollectionData("traps-ids", [Record(i, row, "document of %d" % n, {"n": n}) for n, (i, row) in enumerate(zip(ids, rows))])


def documents_trap(version: str) -> CollectionData:
    documents = [
        None, "", " ", "\n", "nul\0inside", "line\u2028separator", "{{ lookup('pipe', 'id') }}", "\U0001f98a" * 100, "x" * 100_000,
        "cafe\u0301", "caf\u00e9", "null", "ends with newline\n", None,
    ]  # fmt: skip
    rows = vectors(len(documents), seed=12)
    metadata = {"hnsw:space": "ip"}
    records = [Record("d%02d" % n, row, document, {"n": n}) for n, (document, row) in enumerate(zip(documents, rows))]
    if is_ancient(version):
        # All records of a request have a document, or none has; the same for metadata.
        records = [record for record in records if record.document is not None]
    else:
        records += [Record("d%02d" % (len(documents) + n), row, None, None) for n, row in enumerate(vectors(3, seed=13))]
    return CollectionData("traps-documents", records, metadata)


def bare_trap() -> CollectionData:
    return CollectionData("traps-vectors-only", [Record("b%02d" % n, row) for n, row in enumerate(vectors(7, seed=29))])


def metadata_trap(version: str) -> CollectionData:
    values: list[dict[str, Any] | None] = [
        None,
        {"same": 1}, {"same": 1.0}, {"same": True}, {"same": "1"}, {"same": 0}, {"same": 0.0}, {"same": False}, {"same": ""},
        {"big": 2**53 + 1}, {"big": -(2**53) - 1}, {"big": 2**63 - 1}, {"big": -(2**63)},
        {"float": 5e-324}, {"float": 1.7976931348623157e308}, {"float": 0.1}, {"float": -1e-7}, {"float": 1e22}, {"float": -0.0},
        {"text": "nul\0inside"}, {"text": "\U0001f98a"}, {"text": "y" * 20_000}, {"text": "{{ 7 * 7 }}"}, {"text": "true"},
        {"key with space": 1, "dotted.key": 2, " ": 3, "\U0001f98a": 4, "k" * 300: 5, "null": 6, "id": 7, "document": "d", "uri": "u"},
        {"many%03d" % n: n for n in range(100)},
    ]  # fmt: skip
    if holds_lists(version):
        values += [{"list": [1, 2]}, {"list": ["a", "", "b"]}, {"list": [1.5, -2.0]}, {"list": [True, False]}, {"list": [2**53 + 1]}]
        values += [{"list": ["one"], "scalar": 1}]
    if is_ancient(version):
        values = [value for value in values if value is not None]
    else:
        values.append({})
    rows = vectors(len(values), seed=14)
    return CollectionData("traps-metadata", [Record("m%02d" % n, row, "m", value) for n, (value, row) in enumerate(zip(values, rows))])


def uris_trap() -> CollectionData:
    uris = ["file:///a b", None, "https://example.org/?q=1&r=\u00e9", "x" * 2000, "s3://bucket/key"]
    rows = vectors(len(uris), seed=15)
    return CollectionData("traps-uris", [Record("u%d" % n, row, None if n % 2 else "d", None, uri) for n, (uri, row) in enumerate(zip(uris, rows))])


def vectors_trap(space: str) -> CollectionData:
    """Numbers at the edges of float32; without those that a cosine index itself turns into 0 or NaN."""
    special = [[0.0] * DIMENSION, [1.0] + [0.0] * (DIMENSION - 1), [0.1] * DIMENSION, [1 / 3] * DIMENSION]
    if space != "cosine":
        special += [
            [1e-45] * DIMENSION, [-1e-40] * DIMENSION, [1.1754944e-38] * DIMENSION, [1e15] * DIMENSION, [-0.0] * DIMENSION,
            [16777217.0] * DIMENSION, [0.30000000000000004] * DIMENSION,
        ]  # fmt: skip
    rows = np.vstack([np.asarray(special, dtype="<f4"), vectors(60, seed=16) * 7])
    return CollectionData(
        "traps-vectors-%s" % space, [Record("v%03d" % n, row, "v", {"n": n}) for n, row in enumerate(rows)], {"hnsw:space": space}
    )


def overlap_traps() -> list[CollectionData]:
    first, second = vectors(20, seed=17), vectors(20, seed=18)
    return [
        CollectionData("traps-overlap-a", [Record("same-%d" % n, row, "from a", {"n": n}) for n, row in enumerate(first)]),
        CollectionData("traps-overlap-b", [Record("same-%d" % n, row, "from b", {"n": -n}) for n, row in enumerate(second)]),
    ]


def specification_traps(version: str) -> list[CollectionData]:
    """Collections whose specification is the trap: settings, metadata, dimensions, emptiness."""
    tuned = {"hnsw:space": "ip", "hnsw:M": 24, "hnsw:construction_ef": 200, "hnsw:search_ef": 50, "owner": "me"}
    typed: dict[str, Any] = {"int": 1, "float": 1.0, "text": "true", "unicode": "caf\u00e9 \U0001f98a", "big": 2**53 + 1}
    if not is_ancient(version):
        typed["bool"] = True
    found = [
        CollectionData("traps-empty"),
        CollectionData("traps-empty-cosine", metadata={"hnsw:space": "cosine", "note": "nothing here"}),
        CollectionData("traps-collection-metadata", _few(19), typed),
        CollectionData("traps-tuned-by-metadata", _few(20), tuned),
        CollectionData("traps-one-dimension", _few(21, dimension=1)),
        CollectionData("traps-many-dimensions", _few(22, dimension=1536)),
        CollectionData("a.b", _few(23)),
        CollectionData("n" * 63, _few(24)),
    ]
    if is_modern(version):
        hnsw = {"space": "cosine", "ef_construction": 321, "ef_search": 77, "max_neighbors": 24, "resize_factor": 1.5, "sync_threshold": 700}
        function = {"type": "known", "name": "default", "config": {}}
        found += [
            CollectionData("traps-tuned", _few(25), {"note": "tuned"}, {"hnsw": hnsw}),
            CollectionData("traps-tuned-ip", _few(26), None, {"hnsw": {"space": "ip", "ef_search": 11}}),
            CollectionData("traps-embedding-function", _few(27), None, {"hnsw": {"space": "l2"}, "embedding_function": function}),
            CollectionData("n" * 300, _few(28)),
        ]
    if version == CURRENT:
        found.append(CollectionData("traps-schema", _few(30), {"note": "not everything is indexed"}, None, unindexed_schema()))
    return found


def unindexed_schema() -> dict[str, Any]:
    """A schema as the client of 1.5 sends it: a cosine index of its own settings, one key of which texts are not indexed, and no integers at all."""
    enabled, disabled = {"enabled": True, "config": {}}, {"enabled": False, "config": {}}
    vectors_of = {
        "space": "cosine", "embedding_function": {"type": "known", "name": "default", "config": {}}, "source_key": "#document",
        "hnsw": {"ef_construction": 222, "max_neighbors": 20, "ef_search": 55, "sync_threshold": 700, "resize_factor": 1.3},
    }  # fmt: skip
    return {
        "defaults": {
            "string": {"fts_index": disabled, "string_inverted_index": enabled},
            "float_list": {"vector_index": {"enabled": False, "config": vectors_of}},
            "sparse_vector": {"sparse_vector_index": {"enabled": False, "config": {"embedding_function": {"type": "unknown"}, "bm25": False}}},
            "int": {"int_inverted_index": disabled},
            "float": {"float_inverted_index": enabled},
            "bool": {"bool_inverted_index": enabled},
        },
        "keys": {
            "#document": {"string": {"fts_index": enabled, "string_inverted_index": disabled}},
            "#embedding": {"float_list": {"vector_index": {"enabled": True, "config": vectors_of}}},
            "large": {"string": {"string_inverted_index": disabled}},
        },
    }


def _few(seed: int, dimension: int = DIMENSION) -> list[Record]:
    return [Record("r%d" % n, row, "r", {"n": n}) for n, row in enumerate(vectors(5, dimension, seed))]


def trap_collections(version: str = CURRENT) -> list[CollectionData]:
    """Every trap that this release holds and that a copy to the current release must carry."""
    found = [ids_trap(version), documents_trap(version), bare_trap(), metadata_trap(version), *(vectors_trap(space) for space in ("l2", "ip", "cosine"))]
    found += [*overlap_traps(), *specification_traps(version)]
    if not is_ancient(version):
        found.append(uris_trap())
    return found


def bulk_collections(records: int, dimension: int = 32, characters: int = 300, space: str = "cosine") -> list[CollectionData]:
    """Ordinary records in six collections: ids, text, vectors and the old metadata of the case."""
    counts = [int(records * share) for _name, share in BULK_SHARES]
    counts[0] += records - sum(counts)
    found = []
    for position, ((name, _share), count) in enumerate(zip(BULK_SHARES, counts)):
        rows = vectors(count, dimension, seed=100 + position)
        pages = [text(1000 * position + n, characters) for n in range(min(count, 200))]
        chunks = [
            Record(
                "%s-%06d" % (name, n),
                row,
                "%d %s" % (n, pages[n % len(pages)]),
                {"source": "docs/%s.md" % name, "source_line": n, "author": "Team", "language": "en", "score": n / 7, "reviewed": n % 3 == 0},
            )
            for n, row in enumerate(rows)
        ]
        found.append(CollectionData(name, chunks, {"hnsw:space": space, "description": "chunks of %s" % name}))
    return found


def build(place: RawChroma, version: str = CURRENT, total: int | None = None, dimension: int = 32) -> int:
    """Write the traps, and ordinary records up to `total`; how many records there are now."""
    collections = trap_collections(version)
    held = sum(len(collection.records) for collection in collections)
    if total is not None:
        collections += bulk_collections(total - held, dimension)
        held = total
    for collection in collections:
        write(place, collection)
    return held


def write(place: RawChroma, collection: CollectionData) -> str:
    """One collection, new; its id."""
    collection_id = place.create(collection.name, collection.metadata, collection.configuration, collection.schema)
    place.add(collection_id, collection.records)
    return collection_id
