# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Records as the bytes of an archive's entries: JSON Lines for text, NumPy's .npy for vectors."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .._bounded_json import MAX_NESTING, TOO_DEEP, is_shallow
from .._errors import IntegrityError, InvalidDataError
from .._libraries import np
from .._records.record_batch import RecordBatch

if TYPE_CHECKING:
    from numpy.typing import NDArray

NPY_MAGIC = b"\x93NUMPY\x01\x00"
NPY_HEADER = re.compile(rb"\{'descr': '<f4', 'fortran_order': False, 'shape': \((0|[1-9]\d{0,8}), (0|[1-9]\d{0,8})\), \} *\n")
NPY_ALIGNMENT = 64

_decode = json.JSONDecoder().decode
_plain = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_escaped = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode


def encode_line(value: Any) -> bytes:
    """One line of JSON in UTF-8. What UTF-8 cannot hold (a lone surrogate) is written as an escape, and read back the same."""
    try:
        return _plain(value).encode("utf-8") + b"\n"
    except UnicodeEncodeError:
        return _escaped(value).encode("ascii") + b"\n"


def encode_texts(batch: RecordBatch) -> bytes:
    """One line a record: id, document, uri, metadata, and `"embedded":false` where it has no vector."""
    lines = []
    for row, record_id in enumerate(batch.ids):
        record: dict[str, Any] = {"id": record_id, "document": batch.documents[row], "uri": batch.uris[row], "metadata": batch.metadatas[row]}
        if batch.embedded is not None and not batch.embedded[row]:
            record["embedded"] = False
        try:
            lines.append(encode_line(record))
        except ValueError:
            raise InvalidDataError(f"The metadata of {record_id!r} holds a number that JSON has no word for (NaN or infinite).", ids=[record_id]) from None
    return b"".join(lines)


def encode_vectors(batch: RecordBatch) -> bytes:
    """A .npy file, version 1.0: shape (n, dimension), little-endian float32; zeros where a record has no vector."""
    vectors = np.ascontiguousarray(batch.embeddings, dtype="<f4")
    if batch.embedded is not None and not batch.embedded.all():
        vectors = np.where(batch.embedded[:, None], vectors, np.float32(0)).astype("<f4", copy=False)
    return npy_header(*vectors.shape) + vectors.tobytes()


def npy_header(rows: int, dimension: int) -> bytes:
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {dimension}), }}".encode("ascii")
    padding = -(len(NPY_MAGIC) + 2 + len(text) + 1) % NPY_ALIGNMENT
    text += b" " * padding + b"\n"
    return NPY_MAGIC + struct.pack("<H", len(text)) + text


def decode_vectors(data: bytes, rows: int, name: str) -> NDArray[np.float32]:
    """The vectors of an entry, shape (rows, dimension), read-only; IntegrityError unless it is exactly such a file."""
    if data[: len(NPY_MAGIC)] == NPY_MAGIC and len(data) >= len(NPY_MAGIC) + 2:
        begin = len(NPY_MAGIC) + 2
        end = begin + struct.unpack("<H", data[len(NPY_MAGIC) : begin])[0]
        match = NPY_HEADER.fullmatch(data[begin:end])
        if match is not None:
            dimension = int(match.group(2))
            if int(match.group(1)) == rows and len(data) == end + 4 * rows * dimension:
                result: NDArray[np.float32] = np.frombuffer(data, dtype="<f4", offset=end).reshape(rows, dimension)
                return result
    raise IntegrityError(f"The entry {name} is not the .npy file of {rows} little-endian float32 vectors that it must be.")


def decode_lines(data: bytes, rows: int, name: str) -> list[Any]:
    """The JSON values of an entry, one a line; IntegrityError unless there are `rows` of them."""
    try:
        lines = data.decode("utf-8").split("\n")
        if lines.pop() != "" or len(lines) != rows:
            raise ValueError(f"there are not {rows} lines")
        return [_decode(line) for line in lines]
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"The entry {name} does not hold one JSON value in every line: {error}.") from None


def decode_texts(data: bytes, rows: int, name: str) -> list[dict[str, Any]]:
    """The records of an entry without their vectors; IntegrityError unless each has exactly the known fields."""
    records = decode_lines(data, rows, name)
    for record in records:
        if not isinstance(record, dict) or not _is_record(record):
            raise IntegrityError(f"The entry {name} holds a line that is no record.")
    if not is_shallow(records, MAX_NESTING + 2):
        raise IntegrityError(f"The entry {name} holds a record that {TOO_DEEP}. Use another snapshot.")
    return records


def _is_record(record: dict[str, Any]) -> bool:
    if len(record) != 4 and (len(record) != 5 or record.get("embedded") is not False):
        return False
    try:
        return (
            isinstance(record["id"], str)
            and isinstance(record["document"], (str, type(None)))
            and isinstance(record["uri"], (str, type(None)))
            and isinstance(record["metadata"], (dict, type(None)))
        )
    except KeyError:
        return False


def decode_batch(texts: bytes, vectors: bytes, rows: int, name: str) -> RecordBatch:
    """One batch from its two entries."""
    records = decode_texts(texts, rows, name)
    embedded = None
    if any("embedded" in record for record in records):
        embedded = np.fromiter(("embedded" not in record for record in records), dtype=bool, count=rows)
    return RecordBatch(
        ids=[record["id"] for record in records],
        embeddings=decode_vectors(vectors, rows, name),
        documents=[record["document"] for record in records],
        uris=[record["uri"] for record in records],
        metadatas=[record["metadata"] for record in records],
        embedded=embedded,
    )


def encode_ids(ids: Sequence[str]) -> bytes:
    """One line an id, as a JSON string."""
    return b"".join(encode_line(record_id) for record_id in ids)


def decode_ids(data: bytes, rows: int, name: str) -> list[str]:
    ids = decode_lines(data, rows, name)
    if not all(isinstance(record_id, str) for record_id in ids):
        raise IntegrityError(f"The entry {name} holds a line that is no id.")
    return ids
