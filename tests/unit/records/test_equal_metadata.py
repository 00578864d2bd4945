# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When metadata is the same: by type and bit, however deep, as what a server holds is compared."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.infrafabric.chromadb.plugins.module_utils._records.compare import metadata_equal

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
VALUES = SCALARS | st.lists(SCALARS | st.lists(SCALARS, max_size=2), max_size=3)
METADATA = st.none() | st.dictionaries(st.text(), VALUES, max_size=3)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (None, {}),
        ({"a": 1}, {"a": 1.0}),
        ({"a": 1}, {"a": True}),
        ({"a": 0.0}, {"a": -0.0}),
        ({"a": 1}, {"b": 1}),
        ({"a": 1}, {"a": 1, "b": None}),
        ({"a": None}, {"b": None}),
        ({"a": [1, 2]}, {"a": [2, 1]}),
        ({"a": [1]}, {"a": [1, 1]}),
        ({"a": [1]}, {"a": [True]}),
        ({"a": [0.5, 0.0]}, {"a": [0.5, -0.0]}),
        ({"a": [[0.0]]}, {"a": [[-0.0]]}),
    ],
)
def test_what_differs_in_type_sign_order_or_number_differs(one: Any, other: Any) -> None:
    assert not metadata_equal(one, other)
    assert not metadata_equal(other, one)
    assert metadata_equal(one, copy.deepcopy(one))


@given(METADATA, METADATA)
def test_it_is_what_json_spells_alike(one: Any, other: Any) -> None:
    spelled = [json.dumps(value, sort_keys=True) for value in (one, other)]
    assert metadata_equal(one, other) is (spelled[0] == spelled[1])
    assert metadata_equal(one, json.loads(spelled[0]))
