# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One trap at a time: what a source of some release can hold, and which targets can hold it too.

A target that can hold it must get it, exactly or with a change that is written down here; any other target must refuse
it, with the ids, before a record is written.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any, Callable

from tests.support import trap_data
from tests.support.raw import RawChroma, Record
from tests.support.server_versions import CURRENT, VERSIONS
from tests.support.trap_data import CollectionData, is_ancient, is_modern, vectors

SOURCES = VERSIONS
TARGETS = ("0.5.23", "1.0.21", CURRENT)

# Changes that a copy may make because the target holds nothing else; the first words of what the table says.
ROUNDED = "vectors within 4 ULP, as every cosine index returns them"
NEGATIVE_ZERO = "-0.0 becomes 0.0"
EMPTY_METADATA = "{} becomes null"
SPACE_IN_METADATA = "the distance is written into the collection's metadata, as this release wants it"
SETTINGS_NOT_HELD = "embedding function and index settings of 1.x are not held by this release"
REREAD_FLOAT = "about one in ten floats of 16 or 17 digits comes back one ULP away: 1.x reads JSON numbers that way"
MIXED_LIST = "a list of integers and floats becomes one of floats"
SCHEMA_NOT_HELD = "a schema of 1.5 (which values are indexed) is not held by this release, which indexes all of them"


@dataclass(frozen=True)
class Trap:
    """`build` makes a collection of the given name on the source; `ids` are those that a refusal must name."""

    name: str
    build: Callable[[RawChroma, str, str], Any]
    held_by: Callable[[str], bool] = lambda source: True
    carried_by: Callable[[str], bool] = lambda target: True
    ids: tuple[str, ...] = ()
    changes: frozenset[str] = field(default_factory=frozenset)


def everywhere(version: str) -> bool:
    return True


def ancient(version: str) -> bool:
    return is_ancient(version)


def not_ancient(version: str) -> bool:
    return not is_ancient(version)


def modern(version: str) -> bool:
    return is_modern(version)


def middle(version: str) -> bool:
    return not is_ancient(version) and not is_modern(version)


def current(version: str) -> bool:
    return version == CURRENT


def nowhere(version: str) -> bool:
    return False


def lists(version: str) -> bool:
    return trap_data.holds_lists(version)


def ready(make: Callable[[str], CollectionData]) -> Callable[[RawChroma, str, str], Any]:
    """A collection of `trap_data`, under the name that is wanted."""

    def build(place: RawChroma, name: str, version: str) -> None:
        data = make(version)
        trap_data.write(place, CollectionData(name, data.records, data.metadata, data.configuration))

    return build


def holding(*metadatas: dict[str, Any] | None) -> Callable[[RawChroma, str, str], Any]:
    """One record for each metadata, called r0, r1 ..., among ordinary ones."""

    def build(place: RawChroma, name: str, version: str) -> None:
        rows = vectors(len(metadatas) + 3, seed=80)
        records = [Record("r%d" % n, rows[n], "text", metadata) for n, metadata in enumerate(metadatas)]
        records += [Record("good%d" % n, rows[len(metadatas) + n], "text", {"n": n}) for n in range(3)]
        trap_data.write(place, CollectionData(name, records))

    return build


def ordinary(place: RawChroma, name: str, version: str) -> None:
    """Over the point at which an index is written to disk, so that vectors come from both of its parts."""
    data = trap_data.bulk_collections(2600, dimension=16, characters=60, space="l2")
    records = [record for collection in data for record in collection.records][:2300]
    trap_data.write(place, CollectionData(name, records, {"hnsw:space": "l2"}))


def with_space(space: str) -> Callable[[RawChroma, str, str], Any]:
    def build(place: RawChroma, name: str, version: str) -> None:
        data = trap_data.vectors_trap(space)
        trap_data.write(place, CollectionData(name, data.records, data.metadata))

    return build


def emptied_metadata(place: RawChroma, name: str, version: str) -> None:
    collection = trap_data.write(place, CollectionData(name, [Record("r%d" % n, row, "t", {"a": 1}) for n, row in enumerate(vectors(4))]))
    place.update(collection, ids=["r0"], metadatas=[{"a": None}])


def renamed(place: RawChroma, name: str, version: str) -> None:
    """The collection's metadata is replaced: hnsw:space is gone from it, the index is still cosine."""
    records = [Record("r%d" % n, row * 3, "t", {"n": n}) for n, row in enumerate(vectors(30))]
    collection = trap_data.write(place, CollectionData(name + "-old", records, {"hnsw:space": "cosine", "a": 1}))
    place.modify(collection, new_name=name, new_metadata={"a": 2})


def empty_id(place: RawChroma, name: str, version: str) -> None:
    rows = vectors(3)
    trap_data.write(place, CollectionData(name, [Record("", rows[0], "t", {"n": 0}), Record("r1", rows[1], "t", {"n": 1})]))


def without_vector(place: RawChroma, name: str, version: str) -> None:
    """Two of six records have none: such servers leave them out of the vectors, but not out of the ids."""
    records = [Record("r%d" % n, row, "t%d" % n, {"n": n}) for n, row in enumerate(vectors(6))]
    collection = trap_data.write(place, CollectionData(name, [record for n, record in enumerate(records) if n not in (1, 4)]))
    body = {"ids": ["r1", "r4"], "embeddings": None, "documents": ["t1", "t4"], "metadatas": [{"n": 1}, {"n": 4}]}
    post(place, collection, body)


def post(place: RawChroma, collection: str, body: dict[str, Any]) -> None:
    """An add with what requests itself would not send, such as NaN."""
    answer = place.session.post("%s%s/%s/add" % (place.url, place._root(), collection), data=json.dumps(body), timeout=60)
    answer.raise_for_status()


def strange_vector(number: float) -> Callable[[RawChroma, str, str], Any]:
    def build(place: RawChroma, name: str, version: str) -> None:
        records = [Record("good%d" % n, row, "t", {"n": n}) for n, row in enumerate(vectors(3, dimension=3))]
        collection = trap_data.write(place, CollectionData(name, records))
        post(place, collection, {"ids": ["bad"], "embeddings": [[number] * 3], "documents": ["t"], "metadatas": [{"n": 9}]})

    return build


def infinite_values(place: RawChroma, name: str, version: str) -> None:
    collection = trap_data.write(place, CollectionData(name, [Record("good%d" % n, row, "t", {"n": n}) for n, row in enumerate(vectors(3, dimension=3))]))
    body = {"ids": ["up", "down"], "embeddings": [[1.0] * 3, [2.0] * 3], "documents": ["t", "t"], "metadatas": [{"n": math.inf}, {"n": -math.inf}]}
    post(place, collection, body)


def duplicates(place: RawChroma, name: str, version: str) -> None:
    rows = vectors(4)
    records = [Record("twice", rows[0], "first", {"n": 0}), Record("once", rows[1], "t", {"n": 1}), Record("twice", rows[2], "second", {"n": 2})]
    trap_data.write(place, CollectionData(name, records))


def configured(place: RawChroma, name: str, version: str) -> None:
    hnsw = {"space": "cosine", "ef_construction": 321, "ef_search": 77, "max_neighbors": 24, "resize_factor": 1.5, "sync_threshold": 700}
    trap_data.write(place, CollectionData(name, trap_data._few(25), {"note": "tuned"}, {"hnsw": hnsw}))


def tuned_by_metadata(place: RawChroma, name: str, version: str) -> None:
    metadata = {"hnsw:space": "ip", "hnsw:M": 24, "hnsw:construction_ef": 200, "hnsw:search_ef": 50, "owner": "me"}
    trap_data.write(place, CollectionData(name, trap_data._few(20), metadata))


def unindexed(place: RawChroma, name: str, version: str) -> None:
    trap_data.write(place, CollectionData(name, trap_data._few(31), {"note": "by schema"}, None, trap_data.unindexed_schema()))


def embedding_function(place: RawChroma, name: str, version: str) -> None:
    configuration = {"hnsw": {"space": "l2"}, "embedding_function": {"type": "known", "name": "default", "config": {}}}
    trap_data.write(place, CollectionData(name, trap_data._few(27), None, configuration))


def collection_metadata(place: RawChroma, name: str, version: str) -> None:
    typed: dict[str, Any] = {"int": 1, "float": 1.0, "text": "true", "unicode": "caf\u00e9 \U0001f98a", "big": 2**53 + 1}
    if not is_ancient(version):
        typed["bool"] = True
    trap_data.write(place, CollectionData(name, trap_data._few(19), typed))


def emptiness(place: RawChroma, name: str, version: str) -> None:
    trap_data.write(place, CollectionData(name, [], {"hnsw:space": "cosine", "note": "nothing here"}))


def dimensions(count: int) -> Callable[[RawChroma, str, str], Any]:
    def build(place: RawChroma, name: str, version: str) -> None:
        trap_data.write(place, CollectionData(name, trap_data._few(21, dimension=count)))

    return build


def mixed_documents(version: str) -> CollectionData:
    rows = vectors(6, seed=81)
    documents = [None, "", "text", None, "", " "]
    return CollectionData("", [Record("d%d" % n, row, document, {"n": n}) for n, (row, document) in enumerate(zip(rows, documents))])


def mixed_metadata(version: str) -> CollectionData:
    rows = vectors(4, seed=82)
    return CollectionData("", [Record("m%d" % n, row, "t", {"n": n} if n % 2 else None) for n, row in enumerate(rows)])


TRAPS = (
    Trap("2,300 ordinary records", ordinary, changes=frozenset({REREAD_FLOAT})),
    Trap("odd ids: slashes, newlines, NUL, emoji, NFC and NFD, 5,000 characters", ready(trap_data.ids_trap)),
    Trap("the empty id", empty_id, lambda v: not is_modern(v), middle, ids=("",)),
    Trap('documents: "", NUL, U+2028, 100,000 characters', ready(trap_data.documents_trap)),
    Trap('documents: null beside ""', ready(mixed_documents), not_ancient),
    Trap("neither documents nor metadata", ready(lambda version: trap_data.bare_trap())),
    Trap("metadata: null beside some", ready(mixed_metadata), not_ancient),
    Trap("metadata: {}", holding({}), ancient, changes=frozenset({EMPTY_METADATA})),
    Trap("metadata emptied key by key", emptied_metadata, not_ancient, changes=frozenset({EMPTY_METADATA})),
    Trap(
        "values: 1, 1.0, true and \"1\" apart",
        holding({"v": 1}, {"v": 1.0}, {"v": True}, {"v": "1"}, {"v": 0}, {"v": 0.0}, {"v": False}, {"v": ""}),
    ),
    Trap("values: integers up to 2^63 - 1 and down to -2^63", holding({"v": 2**53 + 1}, {"v": 2**63 - 1}, {"v": -(2**63)})),
    Trap("values: integers beyond", holding({"v": 2**63}, {"v": -(2**63) - 1}, {"v": 10**30}), ancient, nowhere, ids=("r0", "r1", "r2")),
    Trap("values: smallest and greatest floats", holding({"v": 5e-324}, {"v": 1.7976931348623157e308}, {"v": 0.1}, {"v": 1e22})),
    Trap(
        "values: floats of 16 and 17 digits",
        holding({"v": 0.15838287025480557}, {"v": 1700000000.1234567}, {"v": 1 / 7}, {"v": -2.0000000000000004}),
        changes=frozenset({REREAD_FLOAT}),
    ),
    Trap("values: -0.0", holding({"v": -0.0}), ancient, changes=frozenset({NEGATIVE_ZERO})),
    Trap("values: infinite numbers", infinite_values, lambda version: version in ("0.3.29", "0.4.24"), nowhere, ids=("up", "down")),
    Trap("values: texts with NUL, emoji, 20,000 characters, templates", holding({"v": "a\0b"}, {"v": "\U0001f98a"}, {"v": "y" * 20_000}, {"v": "{{ 7 }}"})),
    Trap("values: null", holding({"v": None, "w": 1}), ancient, nowhere, ids=("r0",)),
    Trap(
        "values: lists of one type",
        holding({"v": [1, 2]}, {"v": ["a", ""]}, {"v": [1.5]}, {"v": [True, False]}),
        lists, current, ids=("r0", "r1", "r2", "r3"),
    ),
    Trap("values: lists of integers and floats", holding({"v": [1, 2.5]}), ancient, current, ids=("r0",), changes=frozenset({MIXED_LIST})),
    Trap("values: empty and mixed lists", holding({"v": []}, {"v": [1, "a"]}, {"v": [[1]]}), ancient, nowhere, ids=("r0", "r1", "r2")),
    Trap("values: nested mappings", holding({"v": {"a": 1}}, {"v": {}}), ancient, nowhere, ids=("r0", "r1")),
    Trap(
        "keys: spaces, dots, emoji, 300 characters, 100 of them",
        holding({" ": 1, "a.b": 2, "\U0001f98a": 3, "k" * 300: 4}, {"k%d" % n: n for n in range(100)}),
    ),
    Trap(
        "keys: empty, or beginning with # or $", holding({"": 1}, {"#a": 1}, {"$a": 1}), lambda v: v != CURRENT, lambda v: v != CURRENT, ids=("r0", "r1", "r2")
    ),
    Trap(
        "keys: chroma:document, chroma:uri, chroma:x",
        holding({"chroma:document": 1}, {"chroma:uri": "u"}, {"chroma:x": 1}),
        ancient, nowhere, ids=("r0", "r1", "r2"),
    ),
    # A record of 1.5 with a uri and without metadata reads {}.
    Trap("uris", ready(lambda version: trap_data.uris_trap()), not_ancient, changes=frozenset({EMPTY_METADATA})),
    Trap("vectors: l2, with denormals, zeros, 1e15", with_space("l2")),
    Trap("vectors: inner product, with denormals, zeros, 1e15", with_space("ip")),
    Trap("vectors: cosine", with_space("cosine"), changes=frozenset({ROUNDED})),
    Trap("vectors: NaN", strange_vector(float("nan")), lambda v: v in ("0.3.29", "0.4.24"), nowhere, ids=("bad",)),
    Trap("vectors: greater than a float32", strange_vector(1e39), lambda v: v in ("0.3.29", "0.4.24", "1.0.21"), nowhere, ids=("bad",)),
    Trap("records without a vector", without_vector, middle, middle, ids=("r1", "r4")),
    Trap("one id twice in a collection", duplicates, ancient, nowhere, ids=("twice",)),
    Trap("one dimension", dimensions(1)),
    Trap("1,536 dimensions", dimensions(1536)),
    Trap("an empty collection with a distance", emptiness),
    Trap("collection metadata with types", collection_metadata),
    Trap("index settings in the collection's metadata", tuned_by_metadata, changes=frozenset({ROUNDED})),
    Trap("index settings as configuration", configured, modern, changes=frozenset({ROUNDED, SPACE_IN_METADATA, SETTINGS_NOT_HELD})),
    Trap(
        "a schema: values that are not indexed", unindexed, current, changes=frozenset({ROUNDED, SPACE_IN_METADATA, SETTINGS_NOT_HELD, SCHEMA_NOT_HELD})
    ),
    Trap("an embedding function", embedding_function, modern, changes=frozenset({SETTINGS_NOT_HELD})),
    Trap("a distance that metadata no longer names", renamed, changes=frozenset({ROUNDED, SPACE_IN_METADATA})),
)
