# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Was an archive made to do harm? Asked only about archives that are already refused, to say which kind of refusal it is.

The tar stream is walked in bounded memory and nothing is written; only headers whose own checksum is right are judged,
so that a damaged archive is not called a hostile one.
"""

from __future__ import annotations

import os
import re
import stat
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from .container import BLOCK, BOMB_RATIO, BOMB_SIZE, MAX_ENTRY
from .manifest_schema import ENTRY_NAME

READ_AT_ONCE = 64 << 10
PLAIN_AT_ONCE = 1 << 20
MAX_TOTAL = 64 << 30
MAX_MEMBERS = 1_000_000
MAX_PROBLEMS = 20
SAFE_NAME = re.compile(ENTRY_NAME.encode("ascii"))
TYPES = {
    b"1": "a hard link", b"2": "a symbolic link", b"3": "a character device", b"4": "a block device", b"5": "a directory", b"6": "a named pipe",
    b"L": "a GNU long name", b"K": "a GNU long link", b"S": "a sparse file", b"x": "a pax header", b"g": "a global pax header", b"X": "a pax header",
}  # fmt: skip


class _BombError(Exception):
    """It grows beyond every measure."""


class _DamagedError(Exception):
    """What follows cannot be read, and says nothing about anybody's intentions."""


def hostile_problems(path: str) -> list[str]:
    """In sentences, what an archive holds that no snapshot ever holds; empty when it is merely damaged, or cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return [f"The archive {path} is a symbolic link."] if os.path.islink(path) else []
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return [f"The archive {path} is not a regular file."]
        return [f"The archive {path} {problem}" for problem in _walk(_Stream(_plain(file)))][:MAX_PROBLEMS]


def _plain(file: BinaryIO) -> Iterator[bytes]:
    """The decompressed stream in pieces, to the end of the gzip member; _DamagedError where it has none."""
    decompressor = zlib.decompressobj(31)
    compressed = plain = 0
    while not decompressor.eof:
        try:
            data = file.read(READ_AT_ONCE)
        except OSError:
            raise _DamagedError from None
        if not data:
            raise _DamagedError
        compressed += len(data)
        while data and not decompressor.eof:
            try:
                piece = decompressor.decompress(data, PLAIN_AT_ONCE)
            except zlib.error:
                raise _DamagedError from None
            data = decompressor.unconsumed_tail
            plain += len(piece)
            if plain > MAX_TOTAL or (plain > BOMB_SIZE and plain > compressed * BOMB_RATIO):
                raise _BombError
            if piece:
                yield piece


class _Stream:
    """Takes and skips bytes of a stream without keeping it."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._held = b""

    def take(self, count: int) -> bytes:
        while len(self._held) < count:
            piece = next(self._pieces, None)
            if piece is None:
                break
            self._held += piece
        result, self._held = self._held[:count], self._held[count:]
        return result

    def skip(self, count: int) -> bool:
        """False when the stream ends before."""
        while count > len(self._held):
            count -= len(self._held)
            piece = next(self._pieces, None)
            if piece is None:
                self._held = b""
                return False
            self._held = piece
        self._held = self._held[count:]
        return True


def _walk(stream: _Stream) -> Iterator[str]:
    seen: set[bytes] = set()
    try:
        for _member in range(MAX_MEMBERS + 1):
            header = stream.take(BLOCK)
            if len(header) < BLOCK or not header.strip(b"\0") or not _checksum_is_right(header):
                return
            name, prefix, kind = header[:100].split(b"\0")[0], header[345:500].split(b"\0")[0], header[156:157]
            full = prefix + b"/" + name if prefix and header[257:263] == b"ustar\0" else name
            shown = full.decode("utf-8", "backslashreplace")
            if kind not in (b"0", b"\0", b"7"):
                yield f"holds {TYPES.get(kind, 'an entry of an unknown type')}: {shown!r}."
            elif SAFE_NAME.fullmatch(full) is None:
                yield f"holds an entry that no snapshot has: {shown!r}."
            if full in seen:
                yield f"holds {shown!r} twice."
            seen.add(full)
            size = _number(header[124:136])
            if size is None or size > MAX_ENTRY:
                yield f"claims {'a wrong number of' if size is None else size} bytes for {shown!r}."
                return
            if not stream.skip(size + -size % BLOCK):
                yield f"ends inside {shown!r}, for which it claims {size} bytes."
                return
        yield f"holds more than {MAX_MEMBERS} entries."
    except _DamagedError:
        return
    except _BombError:
        yield "grows far beyond what any snapshot does when it is decompressed."


def _checksum_is_right(header: bytes) -> bool:
    stored = _number(header[148:156])
    return stored == sum(header[:148]) + 8 * 32 + sum(header[156:])


def _number(field: bytes) -> int | None:
    if field[:1] in (b"\x80", b"\xff"):
        return int.from_bytes(field[1:], "big")
    text = field.strip(b" \0")
    try:
        return int(text, 8) if text else 0
    except ValueError:
        return None
