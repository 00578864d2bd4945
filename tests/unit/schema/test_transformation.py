# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What becomes of a record: its place, its metadata, and the reasons why it is invalid."""

from __future__ import annotations

import copy

import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils._errors import UsageError
from ansible_collections.infrafabric.chromadb.plugins.module_utils._schema.corrections import parse_corrections
from ansible_collections.infrafabric.chromadb.plugins.module_utils._schema.fields import parse_schema
from ansible_collections.infrafabric.chromadb.plugins.module_utils._schema.routes import parse_routes
from ansible_collections.infrafabric.chromadb.plugins.module_utils._schema.transformation import Transformation

STATED = {"source_collection": {"type": "string", "derive": "source_collection"}, "where_to": {"type": "string", "derive": "target_collection"}}
ROUTES = [{"where": {"kind": "joke"}, "to": "humor", "id_prefix": "j-"}, {"from": "b*", "to": "books"}]
CORRECTIONS = {"src": {"7": {"kind": "joke", "bad": None, "score": 0.5}}}
FIELDS = {"a": {"type": "string", "default": "x"}, "b": {"type": "integer"}}


def transformation(fields=None, collections=None, routes=None, corrections=None, on_collision="fail", sources=("src",)):
    schema = None if fields is None and collections is None else {"fields": fields or {}, "collections": collections or {}}
    return Transformation(parse_schema(schema), parse_routes(routes), parse_corrections(corrections), on_collision, sources)


def metadata_of(fields, metadata, *, target="target", document="one two  three\n", source="src", **more):
    return transformation(fields, sources=[source], **more).metadata_of(source, target, "id", document, metadata)


class TestMetadata:
    def test_without_schema_the_very_same_object_comes_back(self):
        for metadata in ({"a": [1]}, {}, None):
            new, reasons = transformation().metadata_of("src", "src", "id", None, metadata)
            assert new is metadata
            assert reasons == ()

    def test_present_values_stay_unknown_keys_stay_missing_ones_are_filled_in(self):
        fields = {"a": {"type": "string", "default": "x"}, "b": {"type": "integer", "default": 0}, "c": {"type": "boolean"}}
        before = {"a": "mine", "unknown": [1, 2.5], "other": None}
        given = copy.deepcopy(before)
        assert metadata_of(fields, given) == ({"a": "mine", "unknown": [1, 2.5], "other": None, "b": 0}, ())
        assert given == before

    def test_no_metadata_at_all(self):
        assert metadata_of({"a": {"type": "string", "default": "x"}}, None) == ({"a": "x"}, ())
        assert metadata_of({"a": {"type": "string"}}, None) == (None, ())
        assert metadata_of({"a": {"type": "string"}}, {}) == ({}, ())

    def test_null_in_a_field_counts_as_missing(self):
        assert metadata_of({"a": {"type": "string", "default": "x"}}, {"a": None}) == ({"a": "x"}, ())

    def test_a_required_field_that_nothing_fills_in(self):
        new, reasons = metadata_of({"a": {"type": "string", "required": True}}, {"b": 1})
        assert new == {"b": 1}
        assert reasons == ("a: missing required field a",)
        assert reasons[0].kind == "a missing"

    def test_every_fault_is_named(self):
        fields = {"a": {"type": "number", "maximum": 1.0}, "b": {"type": "string", "enum": ["x"]}, "c": {"type": "integer", "required": True}}
        _new, reasons = metadata_of(fields, {"a": 1.7, "b": "y"})
        assert reasons == ("a: 1.7 is above the maximum 1.0", "b: 'y' is none of x", "c: missing required field c")

    def test_values_keep_their_type(self):
        new, reasons = metadata_of({"a": {"type": "number", "minimum": 0, "maximum": 1, "default": 0.5}}, {"a": 1})
        assert reasons == ()
        assert isinstance(new["a"], int)
        _new, reasons = metadata_of({"a": {"type": "number", "enum": [1, 0.5], "default": 1}}, {"a": True})
        assert [reason.code for reason in reasons] == ["wrong_type"]

    def test_a_default_may_name_the_collections(self):
        fields = {"a": {"type": "string", "default": "from {source_collection} to {target_collection}"}}
        assert metadata_of(fields, None) == ({"a": "from src to target"}, ())

    def test_a_default_that_breaks_its_own_rules_for_one_collection_makes_the_records_invalid(self):
        fields = {"a": {"type": "string", "default": "{source_collection}", "pattern": "^a"}}
        assert metadata_of(fields, None, source="alpha") == ({"a": "alpha"}, ())
        assert metadata_of(fields, None, source="beta") == ({"a": "beta"}, ("a: 'beta' does not match ^a",))
        assert metadata_of(fields, {"a": "abc"}, source="beta") == ({"a": "abc"}, ())

    def test_fields_of_one_target_do_not_touch_another(self):
        both = transformation({"a": {"type": "string", "default": "x"}}, {"notes*": {"fields": {"b": {"type": "string", "required": True}}}})
        assert both.metadata_of("src", "notes_1", "id", None, None)[1] == ("b: missing required field b",)
        assert both.metadata_of("src", "other", "id", None, None) == ({"a": "x"}, ())


class TestDerivations:
    def test_the_collections_of_this_migration_are_stated_whatever_the_record_says(self):
        stated = {"source_collection": "src", "where_to": "target"}
        assert metadata_of(STATED, None) == (stated, ())
        assert metadata_of(STATED, {"source_collection": "an earlier one", "where_to": 7}) == (stated, ())

    def test_a_stated_collection_still_has_to_fit_its_rules(self):
        fields = {"source_collection": {"type": "string", "derive": "source_collection", "enum": ["other"]}}
        assert metadata_of(fields, None) == ({"source_collection": "src"}, ("source_collection: 'src' is none of other",))

    def test_who_states_the_source(self):
        assert transformation(STATED).states_source("target")
        assert not transformation({"source_collection": {"type": "string"}}).states_source("target")
        assert not transformation().states_source("target")
        own = transformation(collections={"one": {"fields": STATED}})
        assert own.states_source("one")
        assert not own.states_source("two")

    @pytest.mark.parametrize(
        ("target", "expected"),
        [
            ("sergio_humor", "humor"), ("sergio_corpus_v2", "corpus"), ("humor-2025", "humor"), ("personality", "personality"),
            ("humor_of_corpus", "corpus"), ("notes", "fallback"), ("myhumor", "fallback"), ("sergio_Humor", "fallback"),
        ],
    )
    def test_collection_type_is_read_from_the_target(self, target, expected):
        fields = {"collection_type": {"type": "string", "derive": "collection_type", "default": "fallback"}}
        assert metadata_of(fields, {}, target=target) == ({"collection_type": expected}, ())

    def test_collection_type_knows_the_fields_own_enum_and_keeps_what_is_there(self):
        fields = {"kind": {"type": "string", "derive": "collection_type", "enum": ["recipe", "wine"], "required": True}}
        assert metadata_of(fields, {}, target="my_wine") == ({"kind": "wine"}, ())
        assert metadata_of(fields, {"kind": "recipe"}, target="my_wine") == ({"kind": "recipe"}, ())
        assert metadata_of(fields, {}, target="my_humor")[1] == ("kind: missing required field kind",)
        assert metadata_of(fields, {"kind": "beer"}, target="my_wine")[1] == ("kind: 'beer' is none of recipe, wine",)

    def test_word_count(self):
        fields = {"words": {"type": "integer", "derive": "word_count", "minimum": 1}}
        assert metadata_of(fields, {}) == ({"words": 3}, ())
        assert metadata_of(fields, {"words": 99}) == ({"words": 99}, ())
        assert metadata_of(fields, {}, document=None) == ({"words": 0}, ("words: 0 is below the minimum 1",))


class TestPlace:
    def test_routes_and_prefix(self):
        to = transformation(routes=ROUTES, sources=["a", "b"])
        assert to.place("a", "1", {"kind": "joke"}) == ("humor", "j-1")
        assert to.place("a", "1", None) == ("a", "1")
        assert to.place("b", "1", {"kind": "essay"}) == ("books", "1")

    def test_only_targets_that_several_collections_reach_are_merged(self):
        assert transformation(routes=ROUTES, sources=["a", "b"]).merged_targets == {"humor"}
        assert transformation(routes=ROUTES, sources=["a"]).merged_targets == frozenset()
        assert transformation(routes=ROUTES, sources=["a", "b", "b2"]).merged_targets == {"humor", "books"}
        assert transformation(routes=[{"from": "a", "to": "bbb"}], sources=["a", "bbb"]).merged_targets == {"bbb"}

    def test_in_merged_targets_every_id_gets_the_prefix_and_in_no_other(self):
        to = transformation(routes=ROUTES, sources=["a", "b"], on_collision="prefix")
        assert to.place("a", "1", {"kind": "joke"}) == ("humor", "a:j-1")
        assert to.place("b", "1", {}) == ("books", "1")
        assert to.place("a", "1", {}) == ("a", "1")

    def test_collisions_are_not_hidden_by_default(self):
        to = transformation(routes=[{"from": "*", "to": "all"}], sources=["a", "b"])
        assert to.place("a", "1", {}) == to.place("b", "1", {}) == ("all", "1")

    def test_unknown_on_collision(self):
        with pytest.raises(UsageError, match="on_collision: 'rename' is neither fail nor prefix"):
            transformation(on_collision="rename")


class TestCorrections:
    def test_they_come_before_routes_and_schema(self):
        to = transformation({"score": {"type": "number", "maximum": 1.0}}, routes=ROUTES, corrections=CORRECTIONS)
        wrong = {"bad": {}, "score": 5.0, "kept": 1}
        assert to.place("src", "7", wrong) == ("humor", "j-7")
        assert to.metadata_of("src", "humor", "7", None, wrong) == ({"score": 0.5, "kept": 1, "kind": "joke"}, ())
        assert wrong == {"bad": {}, "score": 5.0, "kept": 1}

    def test_they_touch_one_record_only(self):
        to = transformation(corrections=CORRECTIONS)
        metadata = {"kind": "essay"}
        assert to.metadata_of("src", "src", "8", None, metadata)[0] is metadata
        assert to.metadata_of("other", "other", "7", None, metadata)[0] is metadata
        assert to.metadata_of("src", "src", "7", None, None) == ({"kind": "joke", "score": 0.5}, ())

    def test_a_correction_may_empty_the_metadata(self):
        assert transformation(corrections={"src": {"7": {"a": None}}}).metadata_of("src", "src", "7", None, {"a": 1}) == ({}, ())
        assert transformation(corrections={"src": {"7": {"a": None}}}).metadata_of("src", "src", "7", None, None) == (None, ())

    @pytest.mark.parametrize(
        ("value", "words"),
        [
            ([], "corrections: must be a mapping"),
            ({"src": []}, "corrections.src: must be a mapping"),
            ({"src": {"7": "joke"}}, "corrections.src.7: must be a mapping, not 'joke'"),
            ({"src": {"7": {"a": {"b": 1}}}}, "corrections.src.7.a: must be"),
            ({"src": {7: {"a": 1}}}, "corrections.src.7: 7 is no text; quote"),
        ],
    )
    def test_corrections_that_cannot_work(self, value, words):
        with pytest.raises(UsageError) as refused:
            parse_corrections(value)
        assert words in refused.value.message


class TestIdentity:
    def test_nothing_to_do(self):
        assert transformation().is_identity
        assert transformation(routes=ROUTES).is_identity
        assert not transformation(FIELDS).is_identity
        assert not transformation(corrections={"src": {"1": {"a": 1}}}).is_identity

    def test_how_settings_are_written_does_not_matter(self):
        reordered = {"b": {"type": "integer", "default": None}, "a": {"default": "x", "required": False, "type": "string"}}
        assert transformation(FIELDS).identity == transformation(reordered).identity
        assert len(transformation().identity) == 64

    @pytest.mark.parametrize(
        "other",
        [
            {"fields": {"a": {"type": "string", "default": "y"}, "b": {"type": "integer"}}},
            {"fields": {"a": {"type": "string", "default": "x"}}},
            {"fields": FIELDS, "routes": [{"from": "*", "to": "all"}]},
            {"fields": FIELDS, "corrections": {"src": {"1": {"a": "z"}}}},
            {"fields": FIELDS, "on_collision": "prefix"},
            {},
        ],
    )
    def test_what_they_say_does(self, other):
        assert transformation(**other).identity != transformation(FIELDS).identity

    def test_the_order_of_routes_matters(self):
        routes = [{"from": "a*", "to": "one"}, {"from": "*", "to": "two"}]
        assert transformation(routes=routes).identity != transformation(routes=routes[::-1]).identity

    def test_one_and_one_point_zero_are_not_the_same_setting(self):
        one, point = ({"n": {"type": "number", "default": default}} for default in (1, 1.0))
        assert transformation(one).identity != transformation(point).identity
