# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a schema may say, and what is said to a user whose schema cannot work."""

from __future__ import annotations

import math

import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils._errors import UsageError
from ansible_collections.infrafabric.chromadb.plugins.module_utils._schema.fields import Field, fields_for, parse_schema, value_fault
from ansible_collections.infrafabric.chromadb.plugins.module_utils._schema.invalid import InvalidTally
from ansible_collections.infrafabric.chromadb.plugins.module_utils._schema.shape import check_shape
from ansible_collections.infrafabric.chromadb.plugins.module_utils._schema.transformation import Invalid


def one_field(**rules):
    return {"fields": {"x": rules}}


@pytest.mark.parametrize("nothing", [None, {}, "none"])
def test_no_schema_is_a_faithful_copy(nothing):
    assert parse_schema(nothing) is None


def test_what_is_left_out_and_what_is_null_are_the_same():
    assert parse_schema(one_field(type="string", default=None, enum=None, minimum=None)) == parse_schema(one_field(type="string"))
    assert parse_schema({"fields": {"x": {"type": "string"}}, "collections": None}) == parse_schema(one_field(type="string"))


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ([], "schema: must be a mapping, not []"),
        ("seeds", "schema: must be a mapping, not 'seeds'"),
        (False, "schema: must be a mapping, not False"),
        ({"field": {}}, "schema: unknown key 'field'; known are collections, fields"),
        ({"fields": []}, "schema.fields: must be a mapping, not []"),
        ({"fields": {}}, "schema: names no field"),
        ({"fields": {"x": {}}}, "schema.fields.x: lacks 'type'"),
        ({"fields": {"x": "string"}}, "schema.fields.x: must be a mapping, not 'string'"),
        ({"fields": {"": {"type": "string"}}}, "begins with '#'"),
        ({"fields": {"#x": {"type": "string"}}}, "schema.fields.#x: Chroma takes no metadata key"),
        ({"fields": {"chroma:document": {"type": "string"}}}, "chroma:"),
        ({"fields": {7: {"type": "string"}}}, "schema.fields.7"),
        (one_field(type="float"), "schema.fields.x.type: 'float' is none of string, integer, number, boolean"),
        (one_field(type="string", choices=["a"]), "schema.fields.x: unknown key 'choices'; known are default, derive, enum"),
        (one_field(type="string", required="yes"), "schema.fields.x.required: must be true or false, not 'yes'"),
        (one_field(type="string", derive="clock"), "schema.fields.x.derive: 'clock' is none of source_collection"),
        (one_field(type="string", enum=[]), "schema.fields.x.enum: may not be empty"),
        (one_field(type="string", enum="a"), "schema.fields.x.enum: must be a list, not 'a'"),
        (one_field(type="string", enum=["a", 1]), "schema.fields.x.enum: 1 is not text"),
        (one_field(type="integer", enum=[1, True]), "schema.fields.x.enum: True is not an integer"),
        (one_field(type="integer", default=1.0), "schema.fields.x.default: 1.0 is not an integer"),
        (one_field(type="integer", default=True), "schema.fields.x.default: True is not an integer"),
        (one_field(type="boolean", default=0), "schema.fields.x.default: 0 is not true or false"),
        (one_field(type="number", default="0.5"), "schema.fields.x.default: '0.5' is not a number"),
        (one_field(type="number", default=math.inf), "schema.fields.x.default: inf is not a finite number"),
        (one_field(type="string", default=["a"]), "schema.fields.x.default: must be text or a number or true or false, not ['a']"),
        (one_field(type="string", enum=["a", "b"], default="c"), "schema.fields.x.default: 'c' is none of a, b"),
        (one_field(type="number", maximum=1, default=2), "schema.fields.x.default: 2 is above the maximum 1"),
        (one_field(type="string", pattern="^a$", default="b"), "schema.fields.x.default: 'b' does not match ^a$"),
        (one_field(type="string", default="from {source_colection}"), "schema.fields.x.default: {source_colection} is not known"),
        (one_field(type="string", minimum=1), "schema.fields.x.minimum: only an integer or a number has one"),
        (one_field(type="number", minimum="1"), "schema.fields.x.minimum: must be a number, not '1'"),
        (one_field(type="number", minimum=math.nan), "schema.fields.x.minimum: nan is not a finite number"),
        (one_field(type="number", minimum=2, maximum=1), "schema.fields.x: the minimum 2 is above the maximum 1"),
        (one_field(type="integer", pattern="a"), "schema.fields.x.pattern: only a string has one"),
        (one_field(type="string", pattern="(a"), "schema.fields.x.pattern: (a is no regular expression: missing )"),
        (one_field(type="integer", derive="source_collection"), "schema.fields.x.derive: source_collection gives text, this field's type is integer"),
        (one_field(type="string", derive="word_count"), "schema.fields.x.derive: word_count gives an integer"),
        ({"collections": {"t": {}}}, "schema.collections.t: lacks 'fields'"),
        ({"collections": {"t": {"fields": {"x": {"type": "text"}}}}}, "schema.collections.t.fields.x.type: 'text' is none of"),
        ({"collections": {"t": {"fields": {"x": {"type": "integer", "default": "1"}}}}}, "schema.collections.t.fields.x.default: '1' is not an integer"),
    ],
)
def test_a_schema_that_cannot_work_is_refused_by_path_and_reason(schema, words):
    with pytest.raises(UsageError) as refused:
        parse_schema(schema)
    assert words in refused.value.message


def test_a_rule_without_words_of_its_own_is_told_in_those_of_the_library():
    with pytest.raises(UsageError, match=r"^limits\.a: data\.a must be smaller than or equal to 3$"):
        check_shape("limits", {"a": 5}, '{"properties": {"a": {"maximum": 3}}}')
    check_shape("limits", {"a": 3}, '{"properties": {"a": {"maximum": 3}}}')


def test_fields_of_a_target_are_the_common_ones_and_its_own():
    schema = parse_schema({
        "fields": {"a": {"type": "string"}, "b": {"type": "string"}},
        "collections": {"notes": {"fields": {"b": {"type": "integer"}}}, "notes_*": {"fields": {"c": {"type": "boolean"}}}},
    })
    assert {name: field.type for name, field in fields_for(schema, "other").items()} == {"a": "string", "b": "string"}
    assert {name: field.type for name, field in fields_for(schema, "notes").items()} == {"a": "string", "b": "integer"}
    assert {name: field.type for name, field in fields_for(schema, "notes_2024").items()} == {"a": "string", "b": "string", "c": "boolean"}
    assert fields_for(None, "notes") == {}


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        (Field("x", "string"), "", None),
        (Field("x", "string"), 1, "wrong_type"),
        (Field("x", "string"), ["a"], "wrong_type"),
        (Field("x", "integer"), 2**70, None),
        (Field("x", "integer"), 1.0, "wrong_type"),
        (Field("x", "integer"), True, "wrong_type"),
        (Field("x", "number"), 1, None),
        (Field("x", "number"), True, "wrong_type"),
        (Field("x", "number"), math.nan, "not_finite"),
        (Field("x", "number"), -math.inf, "not_finite"),
        (Field("x", "number", minimum=0.0, maximum=1.0), 1.0, None),
        (Field("x", "number", minimum=0.0, maximum=1.0), -0.1, "below_minimum"),
        (Field("x", "number", minimum=0.0, maximum=1.0), 1.7, "above_maximum"),
        (Field("x", "boolean"), False, None),
        (Field("x", "boolean"), 0, "wrong_type"),
        (Field("x", "string", enum=("a", "b")), "A", "not_in_enum"),
        (Field("x", "string", pattern="b"), "abc", None),
        (Field("x", "string", pattern="^b"), "abc", "pattern"),
        (Field("x", "string", pattern="c$"), "abc\n", "pattern"),
        (Field("x", "string", pattern=r"c\$"), "c$\n", None),
    ],
)
def test_a_value_against_its_field(field, value, code):
    fault = value_fault(field, value)
    assert (fault.code if fault else None) == code


def test_a_reason_is_a_sentence_that_can_be_counted():
    score = Field("authenticity_score", "number", maximum=1.0)
    reasons = [value_fault(score, 1.7), value_fault(score, 2), value_fault(score, "x" * 1000)]
    assert reasons[0] == "authenticity_score: 1.7 is above the maximum 1.0"
    assert len(reasons[2]) < 120
    tally = InvalidTally()
    tally.add([Invalid("c", str(number), (reason,)) for number, reason in enumerate(reasons)])
    assert tally.reasons == {"authenticity_score above_maximum": 2, "authenticity_score wrong_type": 1}
