# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which part of a collection's schema is its own."""

from __future__ import annotations

import copy
from typing import Any

from ansible_collections.infrafabric.chromadb.plugins.module_utils._records.collection_spec import CollectionSpec, spec_from_dict
from ansible_collections.infrafabric.chromadb.plugins.module_utils._records.indexing_schema import STANDARD, custom_part, with_vector_index
from ansible_collections.infrafabric.chromadb.plugins.module_utils._records.spec_translation import creation_arguments, spec_differences
from ansible_collections.infrafabric.chromadb.plugins.module_utils._server.capabilities import CHROMA_1_0, CHROMA_1_5

DISABLED: dict[str, Any] = {"enabled": False, "config": {}}
CONFIGURATION = {"hnsw": {"space": "ip", "ef_search": 7}, "embedding_function": {"type": "legacy"}}


def as_a_server_tells_it() -> dict[str, Any]:
    """The usual schema of a collection into which integers called n were written."""
    schema = with_vector_index(STANDARD, CONFIGURATION)
    schema["keys"]["n"] = {"int": copy.deepcopy(STANDARD["defaults"]["int"])}
    return schema


def test_the_usual_schema_says_nothing():
    assert custom_part(as_a_server_tells_it()) is None
    assert custom_part(None) is None
    assert custom_part({}) is None


def test_what_is_not_indexed_is_kept_and_nothing_else():
    schema = as_a_server_tells_it()
    schema["keys"]["large"] = {"string": {"fts_index": DISABLED, "string_inverted_index": DISABLED}}
    custom = custom_part(schema)
    assert custom is not None
    assert set(custom["keys"]) == {"#document", "#embedding", "large"}
    assert custom["keys"]["large"] == {"string": {"string_inverted_index": DISABLED}}
    assert custom["keys"]["#embedding"]["float_list"]["vector_index"]["config"] == {"source_key": "#document"}
    assert custom_part(with_vector_index(custom, CONFIGURATION)) == custom


def test_a_key_follows_changed_defaults():
    schema = as_a_server_tells_it()
    schema["defaults"]["int"]["int_inverted_index"] = DISABLED
    custom = custom_part(schema)
    assert custom is not None
    assert custom["keys"]["n"] == {"int": {"int_inverted_index": {"enabled": True, "config": {}}}}


def test_a_collection_is_created_by_schema_or_by_configuration():
    schema = {**STANDARD, "defaults": {**STANDARD["defaults"], "int": {"int_inverted_index": DISABLED}}}
    spec = CollectionSpec("c", None, "ip", {"ef_search": 7}, {"type": "legacy"}, 3, schema)
    arguments = creation_arguments(spec, CHROMA_1_5)
    assert arguments["configuration"] is None
    vector_index = arguments["schema"]["keys"]["#embedding"]["float_list"]["vector_index"]["config"]
    assert vector_index == {"source_key": "#document", "space": "ip", "hnsw": {"ef_search": 7}, "embedding_function": {"type": "legacy"}}
    assert "schema" not in creation_arguments(spec, CHROMA_1_0)
    assert spec_from_dict(spec.as_dict()) == spec
    usual = CollectionSpec("c", None, "ip", {"ef_search": 7}, {"type": "legacy"}, 3)
    assert "schema" not in usual.as_dict()
    assert set(spec_differences(spec, usual, CHROMA_1_5)) == {"schema"}
    assert spec_differences(spec, usual, CHROMA_1_0) == {}


def test_a_collection_without_an_embedding_function_is_given_none():
    """What its schema names there stays: a null would be taken for a choice."""
    schema = with_vector_index(STANDARD, CONFIGURATION)
    again = with_vector_index(schema, {"hnsw": {"space": "l2"}, "embedding_function": None})
    config = again["keys"]["#embedding"]["float_list"]["vector_index"]["config"]
    assert config == {"source_key": "#document", "space": "l2", "hnsw": {}, "embedding_function": {"type": "legacy"}}
    assert "embedding_function" not in with_vector_index(STANDARD, {"hnsw": {"space": "l2"}})["keys"]["#embedding"]["float_list"]["vector_index"]["config"]
