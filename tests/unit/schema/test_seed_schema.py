# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The schema and routes that the roles ship: twelve fields, four groups, and every old record valid by defaults."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.infrafabric.chromadb.plugins.module_utils._schema.fields import fields_for, parse_schema
from ansible_collections.infrafabric.chromadb.plugins.module_utils._schema.routes import parse_routes
from ansible_collections.infrafabric.chromadb.plugins.module_utils._schema.transformation import Transformation

SEEDS = yaml.safe_load((Path(__file__).parents[3] / "roles" / "migrate" / "files" / "seed_schema.yml").read_text())
SOURCES = ("openwebui_core", "openwebui_docs", "my_humor_notes", "sergio_personality", "Rhetorical", "x.rhetorical-1")
TARGETS = ("sergio_personality", "sergio_rhetorical", "sergio_humor", "sergio_corpus")
TWELVE = (
    "source", "source_file", "source_line", "author", "collection_type", "category", "language", "authenticity_score",
    "confidence_level", "disputed", "if_citation_uri", "source_collection",
)


def seeds(on_collision="fail"):
    return Transformation(parse_schema(SEEDS["schema"]), parse_routes(SEEDS["routes"]), None, on_collision, SOURCES)


def migrated(source, record_id, document, metadata):
    transform = seeds()
    place = transform.place(source, record_id, metadata)
    return (place, *transform.metadata_of(source, place.target, record_id, document, metadata))


def test_the_file_holds_the_two_options_and_nothing_else():
    assert set(SEEDS) == {"schema", "routes"}


def test_twelve_required_fields_and_four_groups():
    assert tuple(SEEDS["schema"]["fields"]) == TWELVE
    assert set(SEEDS["schema"]["collections"]) == set(TARGETS)
    for target in TARGETS:
        fields = fields_for(parse_schema(SEEDS["schema"]), target)
        assert {name for name, field in fields.items() if field.required} == set(TWELVE)
        assert len(fields) > len(TWELVE)


@pytest.mark.parametrize(
    ("source", "metadata", "target"),
    [
        ("openwebui_core", None, "sergio_corpus"),
        ("openwebui_core", {"collection_type": "humor"}, "sergio_humor"),
        ("my_humor_notes", {}, "sergio_humor"),
        ("my_humor_notes", {"collection_type": "rhetorical"}, "sergio_rhetorical"),
        ("sergio_personality", {}, "sergio_personality"),
        ("x.rhetorical-1", {}, "sergio_rhetorical"),
        ("Rhetorical", {}, "sergio_corpus"),
        ("openwebui_core", {"collection_type": "unknown"}, "sergio_corpus"),
    ],
)
def test_routes(source, metadata, target):
    assert seeds().place(source, "1", metadata) == (target, "1")


def test_a_record_without_anything_gets_the_defaults():
    place, metadata, reasons = migrated("my_humor_notes", "1", "ha ha", None)
    assert (place.target, reasons) == ("sergio_humor", ())
    assert metadata == {
        "source": "migrated_my_humor_notes", "source_file": "", "source_line": 0, "author": "Unknown", "collection_type": "humor",
        "category": "migrated", "language": "en", "authenticity_score": 0.75, "confidence_level": "medium", "disputed": False,
        "if_citation_uri": "", "source_collection": "my_humor_notes",
    }


def test_metadata_as_open_webui_writes_it_is_kept_and_completed():
    old = {
        "source": "handbook.pdf", "name": "handbook.pdf", "author": "", "page": 3, "total_pages": 40, "start_index": 0, "file_id": "5f0c", "hash": "9a",
        "created_by": "7d", "embedding_config": '{"engine": "", "model": "all-MiniLM-L6-v2"}', "related_frameworks": ["a", "b"],
    }
    place, metadata, reasons = migrated("openwebui_docs", "1", "three short words", old)
    assert (place.target, reasons) == ("sergio_corpus", ())
    assert {key: metadata[key] for key in old} == old
    assert metadata["word_count"] == 3
    assert set(TWELVE) <= set(metadata)


@pytest.mark.parametrize(
    ("key", "value", "kind"),
    [
        ("authenticity_score", 1.7, "authenticity_score above_maximum"),
        ("authenticity_score", "0.9", "authenticity_score wrong_type"),
        ("language", "en-US", "language not_in_enum"),
        ("if_citation_uri", "http://example.org", "if_citation_uri pattern"),
        ("if_citation_uri", "if://citation/a b", "if_citation_uri pattern"),
        ("if_citation_uri", "if://citation/a\n", "if_citation_uri pattern"),
        ("disputed", 0, "disputed wrong_type"),
        ("source_line", -1, "source_line below_minimum"),
        ("collection_type", "unknown", "collection_type not_in_enum"),
    ],
)
def test_what_is_invalid(key, value, kind):
    _place, _metadata, reasons = migrated("openwebui_core", "1", "", {key: value})
    assert [reason.kind for reason in reasons] == [kind]


@pytest.mark.parametrize("uri", ["", "if://citation/sergio-neurodiversity", "if://citation/x-2025-11-30"])
def test_citations(uri):
    assert migrated("openwebui_core", "1", "", {"if_citation_uri": uri})[2] == ()


values = st.one_of(st.text(max_size=8), st.integers(), st.floats(allow_nan=False), st.booleans(), st.none(), st.lists(st.integers(), max_size=2))
keys = st.one_of(st.sampled_from([*TWELVE, "word_count", "humor_type", "trait_score"]), st.text(max_size=5))
records = st.tuples(st.sampled_from(SOURCES), st.one_of(st.none(), st.text(max_size=20)), st.one_of(st.none(), st.dictionaries(keys, values, max_size=8)))


@given(records)
def test_transforming_twice_is_transforming_once(record):
    source, document, metadata = record
    transform = seeds()
    target = transform.place(source, "1", metadata).target
    once, reasons = transform.metadata_of(source, target, "1", document, metadata)
    twice = transform.metadata_of(source, target, "1", document, once)
    assert twice == (once, reasons)
    assert [(key, type(value)) for key, value in twice[0].items()] == [(key, type(value)) for key, value in once.items()]


@given(records)
def test_no_key_is_dropped_and_no_value_changed_but_the_stated_one(record):
    source, document, metadata = record
    before = None if metadata is None else dict(metadata)
    place, new, _reasons = migrated(source, "1", document, metadata)
    assert metadata == before
    fields = fields_for(seeds().schema, place.target)
    for key, value in (metadata or {}).items():
        if key == "source_collection":
            assert new[key] == source
        elif value is None and key in fields:
            assert key in new
        else:
            assert new[key] is value
    assert set(TWELVE) <= set(new)


@given(records)
def test_an_invalid_record_has_a_present_value_that_is_wrong(record):
    source, document, metadata = record
    place, _new, reasons = migrated(source, "1", document, metadata)
    for reason in reasons:
        assert metadata[reason.field] is not None
        assert reason.field in fields_for(seeds().schema, place.target)
