# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real servers and whole playbooks. In a slice, BUDGET_SECONDS and SLICE_SEED choose what is run: the runbook first, then the
other files in the order that the seed draws, and nothing new is begun when a sixth of the time is over: beside other work one takes as long as what is left."""

from __future__ import annotations

import os
import random
import time

import pytest

from tests.support.fixtures import (
    _shared_source_proxy,
    _shared_target_proxy,
    case,
    source,
    source_proxy,
    source_server,
    spare_server,
    target,
    target_proxy,
    target_server,
)

__all__ = [
    "_shared_source_proxy",
    "_shared_target_proxy",
    "case",
    "source",
    "source_proxy",
    "source_server",
    "spare_server",
    "target",
    "target_proxy",
    "target_server",
]

STARTED = time.monotonic()
BUDGET = float(os.environ.get("BUDGET_SECONDS") or 0)
FIRST = "test_runbook.py"
# Several whole runs of playbooks each: one of these alone would be longer than a slice may be.
LONG = {
    "test_a_client_that_comes_later_is_switched_by_another_run",
    "test_a_client_that_names_the_target_already_is_told_before_anybody_is_moved",
    "test_a_client_without_the_runtime_is_moved_and_brought_back",
    "test_a_cutover_that_died_before_the_client_was_restarted_is_not_called_done",
    "test_a_cutover_that_fails_after_the_switch_brings_the_clients_back",
    "test_a_cutover_that_fails_at_once_leaves_another_ones_way_back_alone",
    "test_a_cutover_that_waited_while_another_was_done_takes_nothing_back",
    "test_a_gateway_that_would_lead_its_clients_astray_is_not_switched",
    "test_a_list_of_webhooks_that_is_left_empty_ends_no_run",
    "test_a_marginal_decision_is_enough_where_a_person_says_so",
    "test_a_window_that_ends_after_the_switch_takes_nothing_back_nor_keeps_anybody_from_it",
    "test_a_window_that_ends_during_passes_that_nothing_limits_sees_no_switch",
    "test_a_window_that_ends_during_the_catch_up_sees_no_freeze",
    "test_a_writer_stands_from_the_freeze_to_the_switch_and_then_goes_on",
    "test_an_interrupted_cutover_is_finished_whenever_it_is",
    "test_an_inventory_that_lacks_a_client_brings_no_target_back_under_it",
    "test_clients_go_on_to_a_third_server_and_come_back_to_the_second",
    "test_each_playbook_tells_what_it_does",
    "test_files_of_any_kind_are_switched_when_nobody_postpones_it_any_more",
    "test_from_the_first_check_to_the_rollback_after_the_cutover",
    "test_it_is_named_before_anything_is_switched",
    "test_no_output_shows_what_else_the_files_hold",
    "test_saved_writes_are_migrated_back",
    "test_what_is_edited_while_a_cutover_waits_comes_back",
    "test_what_was_edited_while_a_cutover_waited_is_switched_and_comes_back",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    seed = os.environ.get("SLICE_SEED")
    if seed is not None:
        names = sorted({item.path.name for item in items})
        random.Random(seed).shuffle(names)
        names.sort(key=lambda name: name != FIRST)
        items.sort(key=lambda item: names.index(item.path.name))


def pytest_runtest_setup(item: pytest.Item) -> None:
    if BUDGET and (item.name.partition("[")[0] in LONG or time.monotonic() - STARTED > BUDGET / 6):
        pytest.skip("Left out of this slice, whose time is over, or too short for it: make test-playbooks")
