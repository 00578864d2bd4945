# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""The vectors in a server's answer, whatever is among them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._libraries import np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def complete(answer: dict[str, Any]) -> bool:
    """Whether there are as many vectors as ids; servers before 1.0 silently leave out those that they lack."""
    vectors = answer.get("embeddings")
    return vectors is not None and len(vectors) == len(answer["ids"])


def vectors_of(rows: Any, dimension: int) -> tuple[NDArray[np.float32], NDArray[np.bool_] | None]:
    """Float32 vectors, shape (n, dimension), and which rows have one (None: all). Numbers beyond float32 become infinite
    and null becomes NaN, which no rule calls equal and every check refuses."""
    if rows is None or len(rows) == 0:
        return np.zeros((0, dimension), dtype="<f4"), None
    if isinstance(rows, np.ndarray):
        return rows, None
    with np.errstate(over="ignore"):
        try:
            array = np.asarray(rows, dtype="<f4")
            if array.ndim == 2:
                return array, None
        except (TypeError, ValueError):
            pass
        widths = [len(row) for row in rows if row is not None]
        width = max(widths) if widths else dimension
        array = np.zeros((len(rows), width), dtype="<f4")
        embedded = np.array([row is not None for row in rows], dtype=bool)
        for place, row in enumerate(rows):
            if row is not None:
                values = np.array([np.nan if number is None else number for number in row], dtype="<f4")
                array[place] = values if len(values) == width else np.nan
    return array, embedded
