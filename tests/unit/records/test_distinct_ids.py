# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Different ids are counted, however many turns it takes."""

from __future__ import annotations

import random

import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils._records import distinct_ids
from ansible_collections.infrafabric.chromadb.plugins.module_utils._records.distinct_ids import DistinctIds


@pytest.mark.parametrize("at_once", [1, 7, 100, 1 << 18])
@pytest.mark.parametrize("number", [0, 1, 99, 300])
def test_each_id_counts_once(at_once: int, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distinct_ids, "AT_ONCE", at_once)
    ids = [f"id {n}" for n in range(number)]
    repeated = ids[: number // 3]
    shuffled = ids + repeated
    random.Random(1).shuffle(shuffled)
    distinct = DistinctIds()
    for start in range(0, len(shuffled), 13):
        distinct.add(shuffled[start : start + 13])
    assert distinct.count() == number
    distinct.close()
