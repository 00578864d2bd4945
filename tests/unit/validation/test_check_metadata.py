# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Completeness, types, citations and distribution of the metadata in the target."""

from __future__ import annotations

import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils._validation.checks_metadata import MetadataChecks
from ansible_collections.infrafabric.chromadb.plugins.module_utils._validation.thresholds import Thresholds


def judged(comparison, expected, actual, extra=None, owned=True, schema=True, target="sergio_humor"):
    watch = MetadataChecks(schema, Thresholds())
    both = comparison(watch, target=target) if schema else comparison(watch, schema=None, target=target)
    both.show(expected, actual)
    if extra is not None:
        both.surplus(extra, owned)
    return {check.name: check for check in watch.checks()}


def statuses(checks):
    return {name: check.status for name, check in checks.items()}


def test_good_metadata_passes(comparison, side):
    checks = judged(comparison, side(), side())
    assert set(statuses(checks).values()) == {"passed"}
    assert checks["metadata_completeness"].figure == 100


def test_without_a_schema_nothing_applies(comparison, side):
    assert set(statuses(judged(comparison, side(), side(), schema=False)).values()) == {"not_applicable"}


@pytest.mark.parametrize("gone", [{"drop": ("author",)}, {"author": None}])
def test_one_missing_required_value_fails(comparison, side, gone):
    check = judged(comparison, side(), side().metadata(4, **gone))["metadata_completeness"]
    assert (check.status, check.details["missing_by_field"], check.details["complete_records"]) == ("failed", {"author": 1}, 19)
    assert check.details["examples"][0]["id"] == "r4"


def test_a_record_without_metadata_lacks_everything(comparison, side):
    actual = side()
    actual.batch.metadatas[0] = None
    check = judged(comparison, side(), actual)["metadata_completeness"]
    assert (check.status, sum(check.details["missing_by_field"].values())) == ("failed", 6)


@pytest.mark.parametrize(("field", "value"), [("line", 1.0), ("line", True), ("line", "1"), ("disputed", 1), ("author", 5), ("score", True), ("score", "0.5")])
def test_a_value_of_another_type_warns_and_is_named(comparison, side, field, value):
    check = judged(comparison, side(), side().metadata(2, **{field: value}))["field_types"]
    assert check.status == "warning"
    case = check.details["examples"][0]
    assert (case["field"], case["id"], case["value"]) == (field, "r2", value)


def test_an_integer_is_a_number(comparison, side):
    assert judged(comparison, side(), side().metadata(2, score=1))["field_types"].status == "passed"


def test_types_fail_only_above_their_threshold(comparison, side):
    actual = side()
    for row in range(6):
        actual.metadata(row, line=1.0)
    check = judged(comparison, side(), actual)["field_types"]  # 6 of 140 values
    assert (check.status, round(check.figure, 2)) == ("warning", 4.29)
    actual.metadata(6, line=1.0)
    assert judged(comparison, side(), actual)["field_types"].figure == 5  # exactly at the threshold
    assert judged(comparison, side(), actual)["field_types"].status == "warning"
    actual.metadata(7, line=1.0)
    assert judged(comparison, side(), actual)["field_types"].status == "failed"


@pytest.mark.parametrize(("broken", "status"), [(1, "warning"), (2, "warning"), (3, "failed")])
def test_citations_fail_only_above_their_threshold(comparison, side, broken, status):
    actual = side()
    for row in range(broken):
        actual.metadata(row, citation="http://elsewhere")
    check = judged(comparison, side(), actual)["citations"]
    assert (check.status, check.figure) == (status, 5.0 * broken)


def test_empty_and_absent_citations_are_allowed(comparison, side):
    actual = side().metadata(0, citation="").metadata(1, drop=("citation",))
    check = judged(comparison, side(), actual)["citations"]
    assert (check.status, check.details["values"]) == ("passed", 18)


def test_a_pattern_is_not_fooled_by_a_newline(comparison, side):
    assert judged(comparison, side(), side().metadata(0, citation="if://x\n"))["citations"].status == "warning"


def test_one_misplaced_record_fails_the_distribution(comparison, side):
    check = judged(comparison, side(), side().metadata(9, collection_type="corpus"))["distribution"]
    assert (check.status, check.details["misplaced"], check.details["examples"][0]["id"]) == ("failed", 1, "r9")


def test_a_target_of_no_type_has_no_distribution(comparison, side):
    assert judged(comparison, side(), side(), target="anything")["distribution"].status == "not_applicable"


def test_surplus_records_of_this_migration_count(comparison, side):
    bad = side(1, start=90).metadata(0, drop=("author",))
    assert judged(comparison, side(), side(), extra=bad)["metadata_completeness"].status == "failed"
    assert judged(comparison, side(), side(), extra=bad, owned=False)["metadata_completeness"].status == "passed"
