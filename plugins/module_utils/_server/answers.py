# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""A server's answer to a request for records, decoded without making a Python object of every number.

Vectors are nine tenths of such an answer. Read in one go they cost half the memory, and less time than as lists.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._bounded_json import MAX_VALUES, bounded_json
from .._libraries import np, orjson

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Unescaped quotes cannot stand inside of a JSON string, so this is a key, whatever the documents say.
_VECTORS = b'"embeddings":[['
_END = b"]]"
_BETWEEN = b"],["
_TAKEN_OUT = b'"(taken out)"'
# A Python object is made of each of so many numbers at a time: half a megabyte.
NUMBERS_AT_ONCE = 16_384
_NUMBERS = b"0123456789+-.eE,[]"


def decode_records(content: bytes, values: int = MAX_VALUES) -> Any:
    """The decoded answer; `embeddings` is a float32 array of shape (n, dimension) where every row is so many numbers, and
    otherwise (rows without a vector, rows of different lengths, spaces between the numbers) the list that JSON gives.

    Numbers beyond float32 become infinite. ValueError and RecursionError are those of `json`; UnusableJsonError where there are more
    `values` beside the vectors.
    """
    begin = content.find(_VECTORS)
    if begin >= 0:
        begin += len(_VECTORS) - 2
        end = content.find(_END, begin)
        vectors = _vectors(content[begin + 2 : end]) if end >= 0 else None
        if vectors is not None:
            answer = bounded_json(content[:begin] + _TAKEN_OUT + content[end + len(_END) :], values)
            # In this place it says that the key found was the answer's own, and the last one of its name.
            if isinstance(answer, dict) and answer.get("embeddings") == bounded_json(_TAKEN_OUT):
                answer["embeddings"] = vectors
                return answer
    return bounded_json(content, values)


def _vectors(text: bytes) -> NDArray[np.float32] | None:
    if text.translate(None, _NUMBERS):
        return None
    rows = text.split(_BETWEEN)
    width = rows[0].count(b",") + 1
    if any(row.count(b",") != width - 1 or b"[" in row or b"]" in row for row in rows):
        return None
    vectors = np.empty((len(rows), width), dtype="<f4")
    at_once = max(1, NUMBERS_AT_ONCE // width)
    with np.errstate(over="ignore"):
        for start in range(0, len(rows), at_once):
            part = rows[start : start + at_once]
            numbers = _numbers(b",".join(part), len(part) * width)
            if numbers is None:
                return None
            vectors[start : start + at_once] = numbers.reshape(len(part), width)
    return vectors


def _numbers(text: bytes, expected: int) -> NDArray[np.float32] | None:
    """So many numbers between commas, rounded to double precision first, as JSON's numbers are; None where they are no such numbers."""
    if orjson is not None:
        try:
            return np.fromiter(orjson.loads(b"[" + text + b"]"), dtype="<f4", count=expected)
        except ValueError:
            pass  # it takes nothing beyond double precision, where others say infinite
    try:
        numbers: NDArray[np.float32] = np.fromstring(text, dtype="<f4", sep=",")
    except ValueError:
        return None
    return numbers if len(numbers) == expected else None
