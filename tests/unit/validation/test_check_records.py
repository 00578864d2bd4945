# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Records counted and compared: the census, and the checks records, counts and duplicates."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils._records.collection_spec import CollectionSpec
from ansible_collections.infrafabric.chromadb.plugins.module_utils._server.capabilities import CHROMA_1_5
from ansible_collections.infrafabric.chromadb.plugins.module_utils._validation.census import Census
from ansible_collections.infrafabric.chromadb.plugins.module_utils._validation.checks_counts import (
    SourceFigures,
    TargetFigures,
    check_counts,
    check_counts_of_sample,
    check_duplicates,
    expected_shortfalls,
)
from ansible_collections.infrafabric.chromadb.plugins.module_utils._validation.checks_records import check_records, confidence_bound
from ansible_collections.infrafabric.chromadb.plugins.module_utils._validation.checks_specs import check_specs


@pytest.fixture
def census():
    return Census()


def counts(census, source, target, invalid=0, expected=None):
    return check_counts(census, [SourceFigures("one", source, invalid)], [TargetFigures("sergio_humor", target, target or 0)], expected)


def test_equal_sides_pass(census, comparison, side):
    comparison(census).show(side(), side())
    check = check_records(census)
    assert (check.status, check.figure) == ("passed", 0)
    assert counts(census, 20, 20).status == "passed"


def test_one_changed_document_fails_and_is_named(census, comparison, side):
    actual = side()
    actual.batch.documents[7] = "document 7."
    comparison(census).show(side(), actual)
    check = check_records(census)
    assert (check.status, check.figure) == ("failed", 1)
    assert check.details["changed"] == [{"collection": "sergio_humor", "id": "r7", "fields": ["document"]}]
    assert check.details["collections"][0]["changed_fields"] == {"document": 1}
    assert counts(census, 20, 20).status == "passed"


def test_lost_records_are_named_and_counted(census, comparison, side):
    comparison(census).show(side(), side().without(3, 4))
    check = check_records(census)
    assert (check.status, check.figure) == ("failed", 2)
    assert [case["id"] for case in check.details["lost"]] == ["r3", "r4"]
    check = counts(census, 20, 18)
    assert (check.status, check.figure) == ("failed", 2)
    assert "should hold 20 records and holds 18" in check.summary


def test_a_surplus_record_of_this_migration_fails(census, comparison, side):
    comparison(census).show(side(), side()).surplus(side(1, start=90))
    check = check_records(census)
    assert (check.status, check.details["extra"][0]["id"]) == ("failed", "r90")
    assert counts(census, 20, 21).status == "failed"


def test_a_record_of_somebody_else_only_warns(census, comparison, side):
    comparison(census).show(side(), side()).surplus(side(1, start=90), owned=False)
    check = check_records(census)
    assert (check.status, check.details["foreign"][0]["id"]) == ("warning", "r90")
    assert counts(census, 20, 21).status == "warning"


def test_sources_are_counted_apart_after_a_merge(census, comparison, side):
    both = comparison(census, sources=("one", "two"))
    both.show(side(5), side(5))
    both.show(side(4, start=50, source="two"), side(4, start=50, source="two").without(0), source="two")
    assert census.sources == {"one": [5, 5], "two": [4, 3]}
    sources = [SourceFigures("one", 5), SourceFigures("two", 4)]
    check = check_counts(census, sources, [TargetFigures("sergio_humor", 8, 8)])
    assert check.status == "failed"
    assert "source collection two" in check.summary
    assert [row["found_in_target"] for row in check.details["sources"]] == [5, 3]


def test_a_changed_source_collection_shows_in_its_count(census, comparison, side):
    comparison(census, sources=("one", "two")).show(side(), side().metadata(0, source_collection="two"))
    assert census.sources == {"one": [20, 19], "two": [0, 1]}


def test_without_the_field_records_are_found_by_id(census, comparison, side):
    comparison(census, schema=None, sources=("one", "two")).show(side(), side().without(0))
    assert census.sources == {"one": [20, 19]}


def test_invalid_records_are_not_missed(census, comparison, side):
    comparison(census).show(side(18), side(18))
    assert counts(census, 20, 18, invalid=2).status == "passed"


def test_an_absent_collection_fails_even_when_it_should_be_empty(census, comparison):
    census.tally(comparison(census).subject)
    check = counts(census, 0, None)
    assert (check.status, check.summary) == ("failed", "Collection sergio_humor is not in the target.")


def test_nothing_to_compare_is_not_run(census):
    assert check_counts(census, [], []).status == "not_run"
    assert check_counts(census, [], [], {"one": 3}).status == "failed"


def test_a_record_that_the_source_counts_but_does_not_give_is_seen(census, comparison, side):
    comparison(census).show(side(), side())
    check = counts(census, 21, 20)
    assert check.status == "failed"
    assert "could be read" in str(check.details["faults"])


def test_expected_counts_are_held_against_source_or_target(census, comparison, side):
    comparison(census).show(side(), side())
    assert counts(census, 20, 20, expected={"one": 20, "sergio_humor": 20}).status == "passed"
    assert counts(census, 20, 20, expected={"one": 21}).status == "failed"
    assert counts(census, 20, 20, expected={"sergio_humor": 21}).status == "failed"
    assert expected_shortfalls({"nowhere": 5}, [], []) == {"nowhere": (5, 0)}


def test_ids_stored_twice():
    assert check_duplicates([TargetFigures("a", 5, 5), TargetFigures("b", None, 0)]).status == "passed"
    check = check_duplicates([TargetFigures("a", 7, 5)])
    assert (check.status, check.figure) == ("failed", 2)


def test_no_records_is_not_applicable(census, comparison):
    census.tally(comparison(census).subject)
    assert check_records(census).status == "not_applicable"


def test_many_cases_are_counted_but_few_are_kept(census, comparison, side):
    comparison(census).show(side(500), side(500).without(*range(400)))
    assert census.total("lost") == 400
    assert len(check_records(census).details["lost"]) == 10


@pytest.mark.parametrize(
    ("one_to_one", "held", "status"),
    [(True, 20, "passed"), (True, 19, "failed"), (True, 21, "warning"), (False, 19, "failed"), (True, None, "failed")],
)
def test_counts_when_only_a_sample_was_read(one_to_one, held, status):
    assert check_counts_of_sample([SourceFigures("a", 20)], [TargetFigures("a", held, 0)], one_to_one, invalid_seen=False).status == status


def test_what_a_sample_leaves_possible():
    assert confidence_bound(0, 0) == 100
    assert confidence_bound(1000, 0) == pytest.approx(0.3)
    assert confidence_bound(2, 0) == 100
    assert 1.0 < confidence_bound(1000, 10) < 2.0
    assert confidence_bound(10, 10) == 100


def test_specs_of_collections():
    good = CollectionSpec("a", {"k": 1}, "cosine", {"ef_search": 100}, {"name": "x"}, 4)
    assert check_specs({"a": good}, {"a": good}, CHROMA_1_5).status == "passed"
    assert check_specs({}, {}, CHROMA_1_5).status == "not_run"
    assert check_specs({"a": good}, {"a": None}, CHROMA_1_5).summary == "Collection a is not in the target."


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"space": "l2"}, "distance"),
        ({"index": {"ef_search": 10}}, "index setting ef_search"),
        ({"embedding_function": None}, "embedding function"),
        ({"metadata": {"k": 1.0}}, "collection metadata"),
        ({"metadata": None}, "collection metadata"),
        ({"dimension": 5}, "dimension"),
    ],
)
def test_every_setting_of_a_collection_is_compared(change, words):
    good = CollectionSpec("a", {"k": 1}, "cosine", {"ef_search": 100}, {"name": "x"}, 4)
    check = check_specs({"a": good}, {"a": replace(good, **change)}, CHROMA_1_5)
    assert (check.status, check.figure) == ("failed", 1)
    assert words in check.summary


def test_the_metadata_of_a_merged_collection_only_warns():
    good = CollectionSpec("a", {"k": 1})
    assert check_specs({"a": good}, {"a": replace(good, metadata=None)}, CHROMA_1_5, merged={"a"}).status == "warning"


def test_a_sample_is_held_against_the_counts_that_are_expected():
    sides = [SourceFigures("one", 20)], [TargetFigures("one", 20, 5)]
    assert check_counts_of_sample(*sides, True, False, {"one": 20}).status == "passed"
    check = check_counts_of_sample(*sides, True, False, {"one": 25})
    assert (check.status, check.figure) == ("failed", 5)
    assert check.summary == "Collection one was expected to hold 25 records and holds 20."


def test_a_sample_of_nothing_proves_nothing():
    assert check_counts_of_sample([], [], True, False).status == "not_run"


def test_surplus_records_are_counted_for_the_source_that_they_can_be_told_to_be_of(census, comparison, side):
    """Of several sources only the record itself can tell; what is no name of one was damaged."""
    comparison(census, sources=("one", "two")).surplus(side(3, source="two")).surplus(side(2, start=50, source="nobody's"))
    assert {name: found for name, (_expected, found) in census.sources.items()} == {"two": 3}
    comparison(census, schema=None, sources=("one", "two"), target="other").surplus(side(4))
    comparison(census, schema=None, sources=("one",), target="third").surplus(side(5))
    assert {name: found for name, (_expected, found) in census.sources.items()} == {"two": 3, "one": 5}
    assert census.total("extra") == 14
