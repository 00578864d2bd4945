# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The watch after a cutover: what its rounds prove, and that what was not seen proves nothing."""

from __future__ import annotations

from ansible_collections.infrafabric.chromadb.plugins.module_utils._validation.watch import Limits, Round, Watched, judge_watch, percentile

LIMITS = Limits(max_latency_ms=500, min_queries_per_second=1)


def judged(*rounds, **options):
    watched = Watched(before={"things": 10}, searched=True, rounds=list(rounds), **options)
    decision, reasons, checks = judge_watch(watched, LIMITS)
    return decision, reasons, {check.name: check.status for check in checks}


def test_a_server_that_was_never_asked_is_no_go():
    decision, reasons, statuses = judged()
    assert (decision, set(statuses.values())) == ("no_go", {"not_run", "not_applicable"})
    assert "answers: The server was not asked." in reasons
    assert "counts: No round could count the records." in reasons


def test_rounds_that_could_not_count_prove_no_loss():
    decision, reasons, statuses = judged(Round(0.0, (0.01,), {}, 0), Round(1.0, (0.01,), {}, 0))
    assert (decision, statuses["counts"], statuses["answers"]) == ("no_go", "not_run", "passed")
    assert reasons == ["counts: No round could count the records."]


def test_rounds_in_which_all_is_there_are_go():
    decision, reasons, statuses = judged(Round(0.0, (0.01,), {"things": 10}, 0), Round(1.0, (0.01,), {"things": 12}, 0))
    assert (decision, reasons, statuses["counts"]) == ("go", [], "passed")


def test_the_latency_below_which_most_searches_lie():
    assert percentile([], 0.95) is None
    assert [percentile([3.0, 1.0, 2.0, 4.0], share) for share in (0, 0.5, 1)] == [1.0, 3.0, 4.0]
