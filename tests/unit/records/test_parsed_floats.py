# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Numbers as Chroma 1.x reads them; that the servers really do so is tested on servers."""

from __future__ import annotations

import math
import random

import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils._records.parsed_floats import IN_RECORDS, parsed


@pytest.mark.parametrize("value", [0.5, 1.0, -2.25, 3.14159265358979, 123456.789, 1e15, -0.75, 1e22])
def test_short_numbers_stay(value: float) -> None:
    assert parsed(value, IN_RECORDS) == value


def test_long_numbers_move_by_a_few_units_in_the_last_place() -> None:
    numbers = random.Random(7)
    moved = 0
    for _number in range(2000):
        value = numbers.random() * 10 ** numbers.randrange(-10, 10)
        held = parsed(value, IN_RECORDS)
        assert abs(held - value) <= 4 * math.ulp(value)
        moved += held != value
    # A tenth to a fifth of them, as measured; none would mean that nothing is repeated here.
    assert 100 < moved < 600


def test_signs_and_extremes() -> None:
    value = 1 / 7
    assert parsed(-value, IN_RECORDS) == -parsed(value, IN_RECORDS)
    assert parsed(float("inf"), IN_RECORDS) == float("inf")
    assert parsed(float("-inf"), IN_RECORDS) == float("-inf")
    assert math.isnan(parsed(float("nan"), IN_RECORDS))
    assert parsed(5e-324, IN_RECORDS) >= 0.0
    assert parsed(1.7976931348623157e308, IN_RECORDS) > 1e308
