# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""The `schema` that a collection of Chroma 1.5 has: which values are indexed, so that `where` and `where_document` find them.

It repeats distance, index settings and embedding function under its vector indexes, partly as the server's machine decides
(num_threads). Those are described elsewhere; here they are taken out, and put back when a collection is created. It also names
each metadata key that was ever written, with the defaults of its type: that says nothing, and is left out.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

OWN_KEYS = ("#document", "#embedding")
ELSEWHERE = ("space", "hnsw", "spann", "embedding_function")


def _usual(enabled: bool) -> dict[str, Any]:
    return {"enabled": enabled, "config": {}}


# What a server gives every collection that was created without one.
STANDARD: dict[str, Any] = {
    "defaults": {
        "string": {"fts_index": _usual(False), "string_inverted_index": _usual(True)},
        "float_list": {"vector_index": _usual(False)},
        "sparse_vector": {"sparse_vector_index": {"enabled": False, "config": {"embedding_function": {"type": "unknown"}, "bm25": False}}},
        "int": {"int_inverted_index": _usual(True)},
        "float": {"float_inverted_index": _usual(True)},
        "bool": {"bool_inverted_index": _usual(True)},
    },
    "keys": {
        "#document": {"string": {"fts_index": _usual(True), "string_inverted_index": _usual(False)}},
        "#embedding": {"float_list": {"vector_index": {"enabled": True, "config": {"source_key": "#document"}}}},
    },
}


def custom_part(schema: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A server's schema without its vector indexes' settings; None where nothing else is left than every collection has."""
    if not schema:
        return None
    found = copy.deepcopy(dict(schema))
    for config in _vector_configs(found):
        for name in ELSEWHERE:
            config.pop(name, None)
    found["keys"] = _said_of_keys(found)
    return None if found == STANDARD else found


def with_vector_index(custom: Mapping[str, Any], configuration: Mapping[str, Any]) -> dict[str, Any]:
    """The schema to create a collection with: a custom part, and the `configuration` that would be sent without one."""
    schema = copy.deepcopy(dict(custom))
    settings = dict(configuration["hnsw"])
    space = settings.pop("space")
    for config in _vector_configs(schema):
        config["space"] = space
        config["hnsw"] = settings
        if configuration.get("embedding_function") is not None:
            config["embedding_function"] = configuration["embedding_function"]
    return schema


def _said_of_keys(schema: dict[str, Any]) -> dict[str, Any]:
    """What the schema says of single keys, without what the defaults say already."""
    defaults = schema.get("defaults") or {}
    keys: dict[str, Any] = {}
    for key, types in (schema.get("keys") or {}).items():
        if key not in OWN_KEYS:
            types = {name: _other_than(defaults.get(name) or {}, indexes) for name, indexes in types.items()}
            types = {name: indexes for name, indexes in types.items() if indexes}
        if types:
            keys[key] = types
    return keys


def _other_than(usual: dict[str, Any], indexes: dict[str, Any]) -> dict[str, Any]:
    return {index: value for index, value in indexes.items() if value != usual.get(index)}


def _vector_configs(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The settings of every vector index: of the defaults, and of the key that has one."""
    for types in (schema.get("defaults") or {}, *(schema.get("keys") or {}).values()):
        index = (types.get("float_list") or {}).get("vector_index")
        if index is not None:
            yield index.setdefault("config", {})
