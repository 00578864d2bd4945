# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Searches: true neighbours found in one walk, index answers judged beside them, latency."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.infrafabric.chromadb.plugins.module_utils._errors import UsageError
from ansible_collections.infrafabric.chromadb.plugins.module_utils._validation.checks_search import check_latency, check_semantic_equivalence
from ansible_collections.infrafabric.chromadb.plugins.module_utils._validation.neighbours import ExactSearch, Neighbour, Query, TrueNeighbours, distances
from ansible_collections.infrafabric.chromadb.plugins.module_utils._validation.search_quality import judge_query
from ansible_collections.infrafabric.chromadb.plugins.module_utils._validation.searches import parse_queries, place_queries, sample_ids
from ansible_collections.infrafabric.chromadb.plugins.module_utils._validation.thresholds import Thresholds, parse_thresholds

TARGET = "sergio_humor"


def query(side, row=0):
    return Query(TARGET, side.batch.embeddings[row].copy(), f"record {side.batch.ids[row]}")


def searched(comparison, queries, pairs, space="l2", extra=None):
    search = ExactSearch(queries)
    both = comparison(search, space=space)
    for expected, actual in pairs:
        both.show(expected, actual)
    if extra is not None:
        both.surplus(extra)
    return search.found


def index_answer(side, vector, space="l2", count=10):
    far = distances(space, vector[None, :].astype(np.float64), side.batch.embeddings)[0]
    return [(side.batch.ids[row], float(far[row])) for row in np.argsort(far, kind="stable")[:count]]


@pytest.mark.parametrize("space", ["l2", "ip", "cosine"])
def test_true_neighbours_are_those_of_all_batches_together(comparison, side, space):
    parts = [side(30, start=100 * part) for part in range(4)]
    asked = query(parts[2], 5)
    found = searched(comparison, [asked], [(part, part) for part in parts], space)[0]
    ids = [record_id for part in parts for record_id in part.batch.ids]
    far = distances(space, asked.vector[None, :].astype(np.float64), np.concatenate([part.batch.embeddings for part in parts]))[0]
    assert [neighbour.id for neighbour in found.expected] == [ids[row] for row in np.argsort(far)[:10]]
    assert found.actual == found.expected


@given(st.integers(0, 2**32 - 1), st.sampled_from(["l2", "ip", "cosine"]), st.integers(1, 60), st.integers(1, 17))
@settings(max_examples=60, deadline=None)
def test_true_neighbours_do_not_depend_on_the_batches(seed, space, count, size):
    from .conftest import Comparison, Side

    whole = Side(count, seed=seed)
    asked = query(whole)
    parts = []
    for start in range(0, count, size):
        part = Side(1)
        part.batch = whole.batch.select(range(start, min(count, start + size)))
        parts.append((part, part))
    one = searched(Comparison, [asked], [(whole, whole)], space)[0]
    other = searched(Comparison, [asked], parts, space)[0]
    assert [near.id for near in other.expected] == [near.id for near in one.expected]
    assert [near.distance for near in other.expected] == pytest.approx([near.distance for near in one.expected])
    assert judge_query(asked, space, one, None, None).true_divergence == 0


def test_distances_are_those_of_chroma():
    left, right = np.array([[1.0, 0.0]]), np.array([[0.0, 2.0]], dtype="<f4")
    assert distances("l2", left, right)[0, 0] == 5
    assert distances("ip", left, right)[0, 0] == 1
    assert distances("cosine", left, right)[0, 0] == 1
    assert distances("cosine", left, np.zeros((1, 2), dtype="<f4"))[0, 0] == 1
    assert distances("l2", left, np.array([[np.nan, 0]], dtype="<f4"))[0, 0] == np.inf


def test_lost_negated_and_surplus_records_diverge(comparison, side):
    asked = query(side(30))
    clean = searched(comparison, [asked], [(side(30), side(30))])[0]
    assert judge_query(asked, "l2", clean, None, None).true_divergence == 0
    nearest = [int(neighbour.id[1:]) for neighbour in clean.expected]
    lost = searched(comparison, [asked], [(side(30), side(30).without(*nearest[:5]))])[0]
    assert judge_query(asked, "l2", lost, None, None).true_divergence == pytest.approx(100 * (1 - 5 / 15))
    negated = side(30)
    negated.batch.embeddings *= -1
    assert judge_query(asked, "l2", searched(comparison, [asked], [(side(30), negated)])[0], None, None).true_divergence > 50
    extra = side(3, start=70)
    extra.batch.embeddings[:] = asked.vector
    nearer = searched(comparison, [asked], [(side(30), side(30))], extra=extra)[0]
    assert judge_query(asked, "l2", nearer, None, None).true_divergence > 20


def test_a_collection_of_fewer_than_ten_that_loses_one(comparison, side):
    asked = query(side(4))
    found = searched(comparison, [asked], [(side(4), side(4).without(3))])[0]
    assert judge_query(asked, "l2", found, None, None).true_divergence == pytest.approx(25)


def test_records_at_the_same_distance_are_interchangeable(comparison, side):
    expected, actual = side(40), side(40)
    for one in (expected, actual):
        one.batch.embeddings[:] = one.batch.embeddings[0]
    actual.batch = actual.batch.select(list(reversed(range(40))))
    asked = query(expected)
    found = searched(comparison, [asked], [(expected, actual)])[0]
    answers = index_answer(expected, asked.vector), index_answer(actual, asked.vector)
    assert {record_id for record_id, _far in answers[0]} != {record_id for record_id, _far in answers[1]}
    result = judge_query(asked, "l2", found, *answers)
    assert (result.true_divergence, result.index_divergence, result.recall_source, result.recall_target) == (0, 0, 1, 1)


def test_the_approximation_of_an_index_is_no_damage(comparison, side):
    expected = side(200)
    asked = query(expected)
    found = searched(comparison, [asked], [(expected, side(200))])[0]
    good = index_answer(expected, asked.vector, count=10)
    poor = index_answer(expected, asked.vector, count=12)[2:]
    result = judge_query(asked, "l2", found, good, poor)
    assert (result.true_divergence, result.recall_source, result.recall_target) == (0, 1, 0.8)
    assert result.index_divergence == pytest.approx(100 * (1 - 8 / 12))
    check = check_semantic_equivalence([result] * 5, True, Thresholds())
    assert (check.status, check.figure) == ("passed", 0)
    assert check.details["recall_at_10"] == {"source": 1, "target": 0.8}


def test_a_broken_index_fails(comparison, side):
    expected = side(200)
    asked = query(expected)
    found = searched(comparison, [asked], [(expected, side(200))])[0]
    good, wrong = index_answer(expected, asked.vector), index_answer(expected, -asked.vector)
    wrong = [(record_id, 99.0) for record_id, _far in wrong]
    check = check_semantic_equivalence([judge_query(asked, "l2", found, good, wrong)] * 5, True, Thresholds())
    assert check.status == "failed"
    assert "index of sergio_humor is damaged" in check.summary


@pytest.mark.parametrize(
    ("found_before", "found_now", "status"),
    [(10, 9, "passed"), (10, 8, "passed"), (10, 7, "warning"), (3, 2, "passed"), (2, 1, "warning"), (0, 0, "warning")],
)
def test_a_poor_index_is_not_hidden_by_good_ones(comparison, side, found_before, found_now, status):
    expected = side(200)
    asked = query(expected)
    truth = searched(comparison, [asked], [(expected, side(200))])[0]
    good = index_answer(expected, asked.vector)
    fine = [judge_query(Query(f"other_{number}", asked.vector, "x"), "l2", truth, good, good) for number in range(95)]
    poor = [judge_query(asked, "l2", truth, good[:found_before], good[:found_now])] * 5
    check = check_semantic_equivalence(fine + poor, True, Thresholds())
    assert check.status == status, check.summary
    assert status == "passed" or "sergio_humor" in check.summary


def test_a_few_searches_of_a_broken_index_are_a_doubt(comparison, side):
    expected = side(200)
    asked = query(expected)
    truth = searched(comparison, [asked], [(expected, side(200))])[0]
    good = index_answer(expected, asked.vector)
    fine = [judge_query(Query("other", asked.vector, "x"), "l2", truth, good, good)] * 95
    poor = [judge_query(asked, "l2", truth, good, good[:1])]
    assert check_semantic_equivalence(fine + poor, True, Thresholds()).status == "warning"


@pytest.mark.parametrize(("kept", "limit", "status"), [(7, 30, "passed"), (7, 29.9, "failed"), (8, 20, "passed"), (8, 19.9, "failed")])
def test_a_divergence_equal_to_its_limit_is_allowed(side, kept, limit, status):
    """Of ten neighbours, the target has 7 or 8, and nothing else: 3 or 2 of 10."""
    here = [Neighbour(n / 10, f"r{n}", n / 10 if n < kept else math.inf) for n in range(10)]
    truth = TrueNeighbours(here, here[:kept])
    result = judge_query(query(side()), "l2", truth, None, None)
    limits = parse_thresholds({"max_query_divergence_percent": limit, "max_divergence_percent": 30, "warn_divergence_percent": 30})
    assert check_semantic_equivalence([result], True, limits).status == status


def results(comparison, side, *lost):
    judged = []
    for count in lost:
        asked = query(side(60))
        nearest = [int(n.id[1:]) for n in searched(comparison, [asked], [(side(60), side(60))])[0].expected]
        found = searched(comparison, [asked], [(side(60), side(60).without(*nearest[:count]))])[0]
        judged.append(judge_query(asked, "l2", found, None, None))
    return judged


@pytest.mark.parametrize(
    ("lost", "limits", "status"),
    [
        ((0, 0, 0, 0), {}, "passed"),
        ((1, 0, 0, 0), {}, "passed"),  # 18 % in one, 4.5 % on average
        ((1, 1, 1, 0), {}, "warning"),  # 13.6 % on average
        ((2, 0, 0, 0), {}, "failed"),  # 33 % in one search
        ((2, 2, 2, 2), {"max_query_divergence_percent": 90}, "failed"),  # 33 % on average
        ((1, 1, 1, 0), {"warn_divergence_percent": 14}, "passed"),
    ],
)
def test_thresholds_of_divergence(comparison, side, lost, limits, status):
    assert check_semantic_equivalence(results(comparison, side, *lost), True, parse_thresholds(limits)).status == status


def test_a_failed_search_fails(comparison, side):
    judged = [judge_query(query(side()), "l2", None, None, None, "the server says 500")]
    check = check_semantic_equivalence(judged, True, Thresholds())
    assert check.status == "failed"
    assert "500" in check.summary


def test_what_a_sample_can_tell(side):
    asked = query(side())
    assert judge_query(asked, "l2", None, [], [], held=1.0).true_divergence == 0
    assert judge_query(asked, "l2", None, [], [], held=0.5).true_divergence == pytest.approx(100 * (1 - 0.5 / 1.5))
    assert check_semantic_equivalence([judge_query(asked, "l2", None, None, None)], True, Thresholds()).status == "failed"


def test_no_searches():
    assert check_semantic_equivalence([], True, Thresholds()).status == "not_run"
    assert check_semantic_equivalence([], False, Thresholds()).status == "not_applicable"
    assert check_latency([], True, Thresholds()).status == "not_run"
    assert check_latency([], False, Thresholds()).status == "not_applicable"


def test_latency_is_judged_by_its_95th_percentile():
    assert check_latency([0.001] * 99 + [5.0], True, Thresholds()).status == "passed"
    check = check_latency([0.01] * 90 + [0.6] * 10, True, Thresholds())
    assert (check.status, check.figure) == ("failed", pytest.approx(600))
    assert check_latency([0.2] * 10, True, Thresholds()).status == "failed"  # 5 a second
    assert check_latency([0.2] * 10, True, parse_thresholds({"min_queries_per_second": 5})).status == "passed"


def test_a_slow_first_search_is_told_and_not_judged():
    check = check_latency([0.01] * 100, True, Thresholds(), ["things"] * 100, {"things": 3.0})
    assert (check.status, check.details["slowest_first_ms"]) == ("passed", 3000)
    assert "first search of a collection took 3000 ms" in check.summary
    assert "first search" not in check_latency([0.01] * 100, True, Thresholds(), ["things"] * 100, {"things": 0.3}).summary


def test_a_slow_collection_does_not_hide_among_fast_ones():
    collections = ["slow"] * 5 + ["fast"] * 195
    check = check_latency([0.9] * 3 + [0.01] * 197, True, Thresholds(), collections)
    assert check.status == "failed"
    assert "Half of the searches in slow take longer than 900 ms" in check.summary
    assert check_latency([0.9] * 2 + [0.01] * 198, True, Thresholds(), collections).status == "passed"


@pytest.mark.parametrize(
    ("given", "word"),
    [({"text": "hello"}, "model"), ({"embedding": []}, "finite"), ({"embedding": ["x"]}, "finite"), ({"embedding": [float("nan")]}, "finite"), ({}, "finite")],
)
def test_queries_that_cannot_be_searched_for(given, word):
    with pytest.raises(UsageError, match=word):
        parse_queries([given])


def test_queries_of_one_collection_are_of_one_length():
    given = parse_queries([{"embedding": [1, 2], "collection": "empty"}, {"embedding": [1, 2, 3], "collection": "empty"}])
    with pytest.raises(UsageError, match=r"queries\[1\].*3 numbers.*'empty' has 2"):
        place_queries(given, {"empty": None})


def test_queries_find_their_collections():
    placed = place_queries(parse_queries([{"embedding": [1, 2]}, {"embedding": [1, 2, 3], "collection": "b"}]), {"a": 2, "b": 3, "c": 2})
    assert [one.collection for one in placed] == ["a", "c", "b"]
    with pytest.raises(UsageError, match="no target collection"):
        place_queries(parse_queries([{"embedding": [1], "collection": "z"}]), {"a": 1})
    with pytest.raises(UsageError, match="have 2"):
        place_queries(parse_queries([{"embedding": [1], "collection": "a"}]), {"a": 2})
    with pytest.raises(UsageError, match="that dimension"):
        place_queries(parse_queries([{"embedding": [1]}]), {"a": 2})


@given(st.lists(st.text(), unique=True), st.integers(0, 20), st.integers(0, 5), st.randoms())
def test_a_sample_depends_on_ids_and_seed_alone(ids, count, seed, random):
    chosen = sample_ids(ids, count, seed)
    assert len(chosen) == min(count, len(ids)) == len(set(chosen))
    shuffled = list(ids)
    random.shuffle(shuffled)
    assert sample_ids(shuffled, count, seed) == chosen


def test_a_collection_that_diverges_does_not_hide_among_others(comparison, side):
    limits = parse_thresholds({"max_query_divergence_percent": 90})
    fine = [replace(one, query=Query("other", one.query.vector, "x")) for one in results(comparison, side, *[0] * 20)]
    check = check_semantic_equivalence([*fine, *results(comparison, side, 2, 2)], True, limits)
    assert check.status == "failed"
    assert check.figure < limits.max_divergence_percent
    assert "Searches in sergio_humor diverge by 33.3 % on average" in check.summary


def test_a_search_that_nothing_answers_on_either_side_does_not_diverge(side):
    assert judge_query(query(side()), "l2", TrueNeighbours(), None, None).true_divergence == 0
    one = [Neighbour(0.0, "r0", math.inf)]
    assert judge_query(query(side()), "l2", TrueNeighbours(one, []), None, None).true_divergence == 100


def test_records_of_other_collections_and_without_a_fitting_vector_are_no_neighbours(comparison, side):
    asked = query(side(20))
    search = ExactSearch([asked])
    comparison(search, target="other").show(side(30), side(30)).surplus(side(3, start=70))
    assert search.found == [TrueNeighbours()]
    comparison(search).show(side(5, start=100, dimension=5), side(5, start=100, dimension=5))
    assert search.found == [TrueNeighbours()]
    bare = side(20)
    bare.batch.embedded = np.array([row >= 15 for row in range(20)])
    comparison(search).show(side(20), bare)
    assert len(search.found[0].expected) == 10
    assert sorted(neighbour.id for neighbour in search.found[0].actual) == [f"r{row}" for row in range(15, 20)]
