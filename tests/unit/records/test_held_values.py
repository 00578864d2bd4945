# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The reasons why a server cannot hold a record. What servers really do is asked of them in the integration tests."""

from __future__ import annotations

import math

import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils._records.held_values import canonical_metadata, problems
from ansible_collections.infrafabric.chromadb.plugins.module_utils._server.capabilities import (
    CHROMA_0_3,
    CHROMA_0_4,
    CHROMA_0_5,
    CHROMA_1_0,
    CHROMA_1_5,
)

ALL = (CHROMA_0_3, CHROMA_0_4, CHROMA_0_5, CHROMA_1_0, CHROMA_1_5)
ORDINARY = {"text": "caf\u00e9", "whole": -(2**63), "number": 0.5, "flag": True, "Content": "", "k#": 1, "chroma": 2}


@pytest.mark.parametrize("capabilities", ALL, ids=lambda value: value.generation)
def test_an_ordinary_record_is_held_by_all_and_stays_the_same_object(capabilities):
    assert problems("id/\n\U0001f98a", "a document", ORDINARY, capabilities) == ()
    assert canonical_metadata(ORDINARY, capabilities) is ORDINARY


@pytest.mark.parametrize(
    ("metadata", "kinds"),
    [
        ({"a": None}, ["a null_value"]),
        ({"a": []}, ["a empty_list"]),
        ({"a": {}}, ["a nested_value"]),
        ({"a": [1, "x"]}, ["a mixed_list"]),
        ({"a": [True, 1]}, ["a mixed_list"]),
        ({"a": [[1]]}, ["a mixed_list"]),
        ({"a": [2**53 + 1, 0.5]}, ["a mixed_list"]),
        ({"a": 2**63}, ["a huge_integer"]),
        ({"a": [2**63]}, ["a huge_integer"]),
        ({"a": [2**63, 0.5]}, ["a huge_integer"]),
        ({"a": math.nan}, ["a not_finite"]),
        ({"a": [0.5, math.inf]}, ["a not_finite"]),
        ({"a": "\ud800"}, ["a not_unicode"]),
        ({"": 1}, ["'' refused_key"]),
        ({"#a": 1}, ["#a refused_key"]),
        ({"$a": 1}, ["$a refused_key"]),
        ({"chroma:document": 1}, ["chroma:document reserved_key"]),
        ({"\ud800": 1}, ["'\\ud800' not_unicode"]),
        ({"#a": None, "b": []}, ["#a refused_key", "#a null_value", "b empty_list"]),
    ],
)
def test_what_the_current_release_cannot_hold(metadata, kinds):
    assert [reason.kind for reason in problems("1", "d", metadata, CHROMA_1_5)] == kinds


def test_ids_documents_and_uris():
    assert [reason.kind for reason in problems("", "d", None, CHROMA_1_5)] == ["id empty_id"]
    assert problems("", "d", None, CHROMA_0_5) == ()
    assert [reason.kind for reason in problems("\ud800", "\ud800", None, CHROMA_1_5, "\ud800")] == ["id not_unicode", "document not_unicode", "uri not_unicode"]
    assert [reason.kind for reason in problems("1", None, None, CHROMA_0_3, "u")] == ["document null_record", "uri unknown_uri", "metadata null_record"]
    assert problems("1", None, None, CHROMA_1_5, "u") == ()


def test_lists_need_a_server_that_knows_them():
    assert [reason.kind for reason in problems("1", "d", {"a": ["x"], "b": ["y"]}, CHROMA_1_0)] == ["a list_value", "b list_value"]
    assert problems("1", "d", {"a": [[], {"b": None}]}, CHROMA_0_3) == ()
    assert [reason.kind for reason in problems("1", "d", {"a": [[], {"b": math.nan}]}, CHROMA_0_3)] == ["a not_finite"]


def test_a_record_that_fits_into_no_request():
    def kinds(document, metadata=None):
        return [reason.kind for reason in problems("1", document, metadata, CHROMA_1_5)]

    assert kinds("y" * (38 << 20)) == []
    assert kinds("y" * (39 << 20)) == ["record too_large"]
    assert kinds("\u00e9" * (6 << 20)) == []
    assert kinds("\u00e9" * (7 << 20)) == ["record too_large"]
    assert kinds("y", {"a": "y" * (20 << 20), "b": "y" * (20 << 20)}) == ["record too_large"]
    assert problems("1", "y" * (39 << 20), None, CHROMA_0_5) == ()


@pytest.mark.parametrize(
    ("metadata", "canonical"),
    [
        ({"a": -0.0, "b": 0}, {"a": 0.0, "b": 0}),
        ({"a": [1, 2.5]}, {"a": [1.0, 2.5]}),
        ({"a": [-0.0, 1.5]}, {"a": [0.0, 1.5]}),
        ({"a": [2**53, 0.5]}, {"a": [float(2**53), 0.5]}),
        ({"a": [2**53 + 1, 0.5]}, {"a": [2**53 + 1, 0.5]}),
        ({"a": [10**400, 0.5]}, {"a": [10**400, 0.5]}),
        ({"a": [1, 2], "b": [True], "c": ["x"], "d": []}, {"a": [1, 2], "b": [True], "c": ["x"], "d": []}),
        ({}, None),
        (None, None),
    ],
)
def test_the_form_in_which_the_current_release_holds_metadata(metadata, canonical):
    given = repr(metadata)
    assert repr(canonical_metadata(metadata, CHROMA_1_5)) == repr(canonical)
    assert repr(metadata) == given


def test_the_oldest_keeps_everything_as_it_is():
    for metadata in ({}, {"a": -0.0}, {"a": [1, -0.0]}):
        assert canonical_metadata(metadata, CHROMA_0_3) is metadata


def test_a_release_that_reads_numbers_right_keeps_them_in_lists_as_well():
    """From 1.0 on, some numbers of a list change in the last place; before, only what kind of numbers they are, and a zero's sign."""
    long = 0.009714285714285713
    assert canonical_metadata({"a": [long, -0.0, 2]}, CHROMA_0_5) == {"a": [long, 0.0, 2.0]}
    assert canonical_metadata({"a": [long, 0.5]}, CHROMA_0_5) == {"a": [long, 0.5]}
    assert canonical_metadata({"a": [long, 0.5]}, CHROMA_1_5) != {"a": [long, 0.5]}
