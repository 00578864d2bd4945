# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Vectors that are read in one go are those that JSON would have given, or the answer is read as JSON reads it."""

from __future__ import annotations

import json
from unittest import mock

import numpy as np
import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ansible_collections.infrafabric.chromadb.plugins.module_utils._server import answers
from ansible_collections.infrafabric.chromadb.plugins.module_utils._server.answers import decode_records

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False) | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**70), 2**70)


def compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


@given(st.integers(1, 5).flatmap(lambda width: st.lists(st.lists(FLOATS, min_size=width, max_size=width), min_size=1, max_size=4)), st.text())
@example([[1e308, -0.0, 3.5e38, 5e-324]], "")
@pytest.mark.parametrize("library", [orjson, None], ids=["orjson", "without"])
def test_the_same_numbers_bit_for_bit(library: object, rows: list[list[float]], document: str) -> None:
    content = compact({"ids": ["a"], "documents": [document, '"embeddings":[[1]]', None], "embeddings": rows, "uris": None})
    with np.errstate(over="ignore"):
        expected = np.asarray([[float(number) for number in row] for row in rows], dtype="<f4")
    with mock.patch.object(answers, "orjson", library):
        answer = decode_records(content)
    assert isinstance(answer["embeddings"], np.ndarray)
    assert answer["embeddings"].tobytes() == expected.tobytes()
    del answer["embeddings"]
    assert answer == {"ids": ["a"], "documents": [document, '"embeddings":[[1]]', None], "uris": None}


@pytest.mark.parametrize("library", [orjson, None], ids=["orjson", "without"])
def test_numbers_beyond_double_precision_are_infinite(library: object) -> None:
    with mock.patch.object(answers, "orjson", library):
        assert decode_records(b'{"embeddings":[[1e999,-1e999,1.5]]}')["embeddings"].tolist() == [[float("inf"), float("-inf"), 1.5]]


@pytest.mark.parametrize(
    "vectors",
    [[], [None], [[1.0], None], [None, [1.0]], [[1.0], [1.0, 2.0]], [[1.0, None]], [[]], [[], []], [[1.0], [[2.0]]], [["1"]], [[True]], [[[1.0], [2.0]]], None],
)
def test_what_is_no_matrix_of_numbers_is_read_as_json(vectors: object) -> None:
    answer = {"ids": [], "embeddings": vectors}
    assert decode_records(compact(answer)) == answer


@pytest.mark.parametrize(
    "answer",
    [
        {"metadatas": [{"embeddings": [[1.0, 2.0]]}], "embeddings": [None]},
        {"metadatas": [{"embeddings": [[1.0, 2.0]]}]},
        {"embeddings": None, "metadatas": [{"embeddings": [[1.0, 2.0]]}]},
        [{"embeddings": [[1.0]]}],
    ],
)
def test_a_key_of_that_name_elsewhere_is_not_mistaken(answer: object) -> None:
    assert decode_records(compact(answer)) == answer


def test_a_key_elsewhere_beside_empty_vectors_is_not_mistaken() -> None:
    answer = {"metadatas": [{"embeddings": [[1.0, 2.0]]}], "embeddings": []}
    assert decode_records(compact(answer)) == answer


@pytest.mark.parametrize("library", [orjson, None], ids=["orjson", "without"])
@pytest.mark.parametrize("content", [b'{"embeddings":[[1.0,2.0]', b'{"embeddings":[[1.0,]]}', b'{"embeddings":[[1.0,2.0]]', b'{"embeddings":[[1.0..2]]}', b""])
def test_what_is_no_json_is_refused(content: bytes, library: object) -> None:
    with mock.patch.object(answers, "orjson", library), pytest.raises(ValueError, match=r"Expecting|char|Extra"):
        decode_records(content)
