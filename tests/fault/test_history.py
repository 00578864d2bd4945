# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The judge of histories can tell right from wrong."""

from __future__ import annotations

from .history import ABSENT, History, Write

TWO = History({"k": [Write(1, 0.0, 1.0), Write(2, 2.0, 3.0)]})


def test_what_was_there_is_explained() -> None:
    assert TWO.explains({"k": 2}, 4.0, 5.0) == []
    assert TWO.explains({"k": 1}, 2.5, 2.6) == []
    assert TWO.explains({"k": 2}, 2.5, 2.6) == []
    assert TWO.explains({}, 0.5, 0.6) == []


def test_a_lost_an_old_and_an_invented_value_are_not() -> None:
    assert TWO.explains({}, 4.0, 5.0) != []
    assert TWO.explains({"k": 1}, 4.0, 5.0) != []
    assert TWO.explains({"k": 2}, 0.0, 1.5) != []
    assert TWO.explains({"k": 9}, 4.0, 5.0) != []
    assert TWO.explains({"k": 2, "other": 1}, 4.0, 5.0) != []


def test_an_answer_that_never_came_leaves_both_open() -> None:
    history = History({"k": [Write(1, 0.0, 1.0), Write(ABSENT, 2.0, None)]})
    assert history.explains({"k": 1}, 4.0, 5.0) == []
    assert history.explains({}, 4.0, 5.0) == []
