# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Vectors: missing, changed, of another dimension, not finite, zero, and the means."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils._validation.checks_embeddings import EmbeddingsCheck
from ansible_collections.infrafabric.chromadb.plugins.module_utils._validation.thresholds import Thresholds, parse_thresholds


def judged(comparison, expected, actual, space="l2", limits=None):
    watch = EmbeddingsCheck(limits or Thresholds())
    comparison(watch, space=space).show(expected, actual)
    check = watch.check()
    json.dumps(check.as_dict(), allow_nan=False)
    return check


def test_equal_vectors_pass(comparison, side):
    check = judged(comparison, side(), side())
    assert (check.status, check.figure, check.details["max_mean_difference"]) == ("passed", 0, 0)
    assert check.details["error_classes"][0] == {"up_to": 0.0, "records": 20}


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (lambda vectors: vectors.__setitem__(3, -vectors[3]), "differs"),
        (lambda vectors: vectors.__setitem__([3, 4], vectors[[4, 3]]), "differ"),
        (lambda vectors: vectors.__setitem__((3, 1), np.nan), "NaN"),
        (lambda vectors: vectors.__setitem__((3, 1), np.inf), "NaN or infinite"),
        (lambda vectors: vectors.__setitem__(3, 0), "became zero"),
        (lambda vectors: vectors.__setitem__((3, 1), np.nextafter(vectors[3, 1], np.float32(9))), "differs"),
    ],
    ids=["negated", "swapped", "nan", "infinite", "zero", "last bit of l2"],
)
def test_a_damaged_vector_fails_and_is_named(comparison, side, spoil, word):
    actual = side()
    spoil(actual.batch.embeddings)
    check = judged(comparison, side(), actual)
    assert check.status == "failed"
    assert word in check.summary
    assert check.details["examples"][0]["id"] == "r3"


def test_the_last_bits_of_cosine_vectors_are_no_damage(comparison, side):
    actual = side()
    actual.batch.embeddings[:] = np.nextafter(actual.batch.embeddings, np.float32(9))
    assert judged(comparison, side(), actual, space="cosine").status == "passed"
    assert judged(comparison, side(), actual, space="l2").status == "failed"


def test_missing_vectors_are_counted_in_percent(comparison, side):
    actual = side()
    actual.batch.embedded = np.array([row not in (0, 9) for row in range(20)])
    check = judged(comparison, side(), actual)
    assert (check.status, check.figure, check.details["missing"]) == ("failed", 10, 2)
    assert [case["id"] for case in check.details["examples"]] == ["r0", "r9"]


def test_another_dimension(comparison, side):
    check = judged(comparison, side(dimension=4), side(dimension=5))
    assert (check.status, check.details["wrong_dimension"]) == ("failed", 20)


def test_nothing_expected(comparison, side):
    expected, actual = side(dimension=0), side(dimension=0)
    assert judged(comparison, expected, actual).status == "not_applicable"


def test_zero_and_not_finite_vectors_of_the_source_are_no_loss(comparison, side):
    expected, actual = side(2000), side(2000)
    for one in (expected, actual):
        one.batch.embeddings[3] = 0
    assert judged(comparison, expected, actual).status == "passed"
    for one in (expected, actual):
        one.batch.embeddings[5, 0] = np.nan
    assert judged(comparison, expected, actual).status == "warning"
    for one in (expected, actual):
        one.batch.embeddings[5:10, 0] = np.nan
    assert judged(comparison, expected, actual).status == "failed"


def test_a_moved_mean_warns_where_the_vectors_pass(comparison, side):
    expected, actual = side(), side()
    for one in (expected, actual):
        one.batch.embeddings *= 1e6
    actual.batch.embeddings += np.float32(0.2)
    limits = parse_thresholds({"max_mean_difference": 0.01})
    check = judged(comparison, expected, actual, space="cosine", limits=limits)
    assert check.status == "warning"
    assert check.details["max_mean_difference"] == pytest.approx(0.2, rel=0.2)


def test_lost_records_do_not_move_the_mean(comparison, side):
    assert judged(comparison, side(), side().without(0, 1, 2)).details["max_mean_difference"] == 0


def test_vectors_of_two_lengths_and_none_at_all_spoil_no_mean(comparison, side):
    """A damaged collection can hold both; what has no vectors moves none."""
    watch = EmbeddingsCheck(Thresholds())
    both = comparison(watch, space="l2").show(side(), side()).show(side(dimension=5), side(dimension=5))
    assert (watch.check().status, watch.check().details["max_mean_difference"]) == ("passed", 0)
    moved = side(start=50)
    moved.batch.embeddings += np.float32(1)
    both.show(side(start=50), moved)
    assert watch.check().details["max_mean_difference"] > 0

    bare = [side(), side()]
    for one in bare:
        one.batch.embedded = np.zeros(20, dtype=bool)
    check = judged(comparison, *bare)
    assert (check.status, check.details["mean_differences"]) == ("not_applicable", {})
    for one in bare:
        one.batch.embedded, one.batch.embeddings[:] = None, np.nan
    check = judged(comparison, *bare)
    assert (check.status, check.details["mean_differences"], check.details["max_mean_difference"]) == ("failed", {"sergio_humor": None}, 0)
