# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The table of decisions: every trigger at, below and above its threshold, every check in every state."""

from __future__ import annotations

import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils._errors import UsageError
from ansible_collections.infrafabric.chromadb.plugins.module_utils._validation.check import CHECKS, Check
from ansible_collections.infrafabric.chromadb.plugins.module_utils._validation.decision import Totals, decide
from ansible_collections.infrafabric.chromadb.plugins.module_utils._validation.thresholds import Thresholds, parse_thresholds

FINE = Totals(expected=1000, invalid=0, lost=0)


def checks(**statuses):
    return [Check(name, statuses.get(name, "passed"), 0.0, 0.0, "records", f"About {name}.") for name in CHECKS]


def decided(totals=FINE, limits=None, **statuses):
    decision = decide(checks(**statuses), totals, parse_thresholds(limits))
    return decision.decision, decision.rollback_required


def test_all_passed_is_go_without_a_reason():
    decision = decide(checks(), FINE, Thresholds())
    assert (decision.decision, decision.rollback_required, decision.reasons) == ("go", False, ())
    assert decided(metadata_completeness="not_applicable", citations="not_applicable", latency="not_applicable") == ("go", False)


@pytest.mark.parametrize("name", ["counts", "embeddings", "records", "specs", "metadata_completeness", "semantic_equivalence", "field_types", "citations"])
def test_failed_data_is_no_go_and_wants_a_rollback(name):
    assert decided(**{name: "failed"}) == ("no_go", True)


def test_a_slow_target_is_no_go_but_rolling_back_would_not_help():
    assert decided(latency="failed") == ("no_go", False)


@pytest.mark.parametrize("name", ["distribution", "duplicates"])
def test_other_failures_are_for_people_to_decide(name):
    assert decided(**{name: "failed"}) == ("marginal", False)


@pytest.mark.parametrize("name", CHECKS)
def test_a_warning_is_marginal(name):
    assert decided(**{name: "warning"}) == ("marginal", False)


@pytest.mark.parametrize("name", CHECKS)
def test_what_was_not_run_blocks(name):
    assert decided(**{name: "not_run"}) == ("no_go", False)
    left_out = [check for check in checks() if check.name != name]
    decision = decide(left_out, FINE, Thresholds())
    assert (decision.decision, decision.rollback_required) == ("no_go", False)
    assert any(name in reason for reason in decision.reasons)


@pytest.mark.parametrize(
    ("totals", "decision"),
    [
        (Totals(1000, 0, 50), "go"),  # exactly 5 %; the checks that see it are not asked here
        (Totals(1000, 0, 51), "no_go"),
        (Totals(100_000, 0, 100), "go"),
        (Totals(100_000, 0, 101), "no_go"),
        (Totals(0, 0, 0, 3000), "no_go"),
        (Totals(1000, 0, 0, 60), "no_go"),
        (Totals(0, 0, 0), "go"),
    ],
)
def test_lost_records(totals, decision):
    assert decided(totals) == (decision, decision == "no_go")


@pytest.mark.parametrize(("invalid", "decision"), [(0, "go"), (9, "go"), (10, "marginal"), (50, "marginal"), (51, "no_go"), (1000, "no_go")])
def test_the_share_of_valid_records(invalid, decision):
    assert decided(Totals(1000 - invalid, invalid, 0)) == (decision, decision == "no_go")


def test_missing_embeddings_above_their_threshold():
    judged = checks()
    judged[CHECKS.index("embeddings")] = Check("embeddings", "passed", 5.1, 5.0, "%", "")
    assert decide(judged, FINE, Thresholds()).decision == "no_go"
    assert decide(judged, FINE, parse_thresholds({"max_missing_embeddings_percent": 5.1})).decision == "go"


def test_reasons_say_what_and_how_much():
    decision = decide(checks(records="failed"), Totals(2000, 0, 120), Thresholds())
    assert decision.reasons == (
        "data loss: 6.00 % of the expected records are not in the target, more than 5 %.",
        "data loss: 120 records are not in the target, more than 100.",
        "records: About records.",
    )


def test_percentages():
    assert Totals(0, 0, 0, 3000).data_loss_percent == 100
    assert Totals(900, 0, 50, 100).data_loss_percent == 15
    assert Totals(95, 5, 0).valid_ratio == 0.95
    assert (Totals(0, 0, 0).data_loss_percent, Totals(0, 0, 0).valid_ratio) == (0, 1)


def test_thresholds_of_the_user():
    assert parse_thresholds({"max_lost_records": 0, "min_valid_ratio": None}).max_lost_records == 0
    assert decided(Totals(100_000, 0, 1), {"max_lost_records": 0}) == ("no_go", True)


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"max_loss": 1}, "unknown"),
        ({"max_lost_records": "many"}, "not a number"),
        ({"max_lost_records": True}, "0 or more"),
        ({"max_latency_ms": -1}, "0 or more"),
        ({"max_latency_ms": float("nan")}, "0 or more"),
        ({"min_valid_ratio": 95}, "between 0 and 1"),
        ({"warn_divergence_percent": 25}, "above max_divergence_percent"),
    ],
)
def test_thresholds_that_cannot_be(given, word):
    with pytest.raises(UsageError, match=word):
        parse_thresholds(given)
