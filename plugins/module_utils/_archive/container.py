# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""The archive file: one gzip member around a tar, whose every entry can be read alone.

Before every entry the compressor starts anew (a full flush), so an entry is a span of raw deflate at a known offset, while
every reader of .tar.gz sees an ordinary file. The bytes depend on the content alone: no names, times or users of the host.
"""

from __future__ import annotations

import hashlib
import os
import stat
import struct
import zlib
from dataclasses import dataclass
from typing import Any

from .._errors import IntegrityError, OperationError, UnsafeArchiveError
from .._files import create_file, disk_errors, write_all

BLOCK = 512
MODIFIED = 946684800  # 2000-01-01: fixed, and late enough for GNU tar not to warn
GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"
LAST_BLOCK = b"\x03\x00"
TAR_END = bytes(2 * BLOCK)
TEXT_LEVEL = 4  # half the time of 6, for 5 % more bytes
VECTOR_LEVEL = 1
READ_AT_ONCE = 1 << 20

MAX_ENTRY = 256 << 20  # bytes of one entry; what is written stays far below
BOMB_SIZE, BOMB_RATIO = 64 << 20, 200  # an entry, or an archive, that is both larger and denser is no honest one


@dataclass(frozen=True)
class Entry:
    """One member of an archive: where its span is, how long it is, and what its content must be."""

    name: str
    offset: int
    compressed_size: int
    size: int
    sha256: str
    rows: int | None = None

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name, "offset": self.offset, "compressed_size": self.compressed_size, "size": self.size, "sha256": self.sha256, "rows": self.rows,
        }  # fmt: skip


def tar_header(name: str, size: int) -> bytes:
    """A POSIX ustar header of a regular file, mode 0600, owned by 0:0."""
    encoded = name.encode("ascii")
    if len(encoded) > 100:
        raise ValueError(f"{name} is too long for a tar header")
    fields = struct.pack(
        "100s8s8s8s12s12s8sc100s6s2s32s32s8s8s155s12x",
        encoded, b"0000600", b"0000000", b"0000000", b"%011o" % size, b"%011o" % MODIFIED, b" " * 8, b"0", b"", b"ustar", b"00", b"", b"", b"", b"", b"",
    )  # fmt: skip
    return fields[:148] + b"%06o\0 " % sum(fields) + fields[156:]


class ContainerWriter:
    """Writes a new archive entry by entry. DiskError when the disk does not take it; used by one thread at a time."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.entries: list[Entry] = []
        self.bytes = 0
        self._sha256 = hashlib.sha256()
        self._crc32 = 0
        self._plain_bytes = 0
        # Of the file as it is stored; known when it is finished.
        self.file_bytes, self.file_sha256 = 0, ""
        self.encryption: dict[str, Any] | None = None
        with disk_errors(path, "create"):
            self._descriptor: int | None = self._opened()
        try:
            self._write(GZIP_HEADER)
        except OperationError:
            self.close()
            os.unlink(path)
            raise

    def add(self, name: str, data: bytes, level: int = TEXT_LEVEL, rows: int | None = None) -> None:
        if len(data) > MAX_ENTRY:
            raise IntegrityError(f"The entry {name} would be {len(data) / 1e6:.0f} MB, and at most {MAX_ENTRY / 1e6:.0f} MB can be read back.")
        offset = self.bytes
        self._write(self._span(level, tar_header(name, len(data)), data, bytes(-len(data) % BLOCK)))
        self.entries.append(Entry(name, offset, self.bytes - offset, len(data), hashlib.sha256(data).hexdigest(), rows))

    def finish(self) -> str:
        """End the file, make it durable, and return its SHA-256 as it is stored."""
        self._write(self._span(TEXT_LEVEL, TAR_END))
        self._write(LAST_BLOCK + struct.pack("<II", self._crc32, self._plain_bytes & 0xFFFFFFFF))
        with disk_errors(self.path, "write"):
            self._settle(self._open)
        self.close()
        return self.file_sha256

    def _opened(self) -> int:
        """Where the bytes go."""
        return create_file(self.path)

    def _settle(self, descriptor: int) -> None:
        """Make the file durable, and measure it."""
        os.fsync(descriptor)
        self.file_bytes, self.file_sha256 = self.bytes, self._sha256.hexdigest()

    def close(self) -> None:
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            with disk_errors(self.path, "close"):
                os.close(descriptor)

    def _span(self, level: int, *parts: bytes) -> bytes:
        compressor = zlib.compressobj(level, zlib.DEFLATED, -15)
        result = []
        for part in parts:
            self._crc32 = zlib.crc32(part, self._crc32)
            self._plain_bytes += len(part)
            result.append(compressor.compress(part))
        result.append(compressor.flush(zlib.Z_FULL_FLUSH))
        return b"".join(result)

    def _write(self, data: bytes) -> None:
        with disk_errors(self.path, "write"):
            write_all(self._open, data)
        self._sha256.update(data)
        self.bytes += len(data)

    @property
    def _open(self) -> int:
        if self._descriptor is None:
            raise ValueError(f"{self.path} is closed")
        return self._descriptor


class ContainerReader:
    """Reads single entries of an archive, each checked before a byte of it is handed out; usable from several threads."""

    def __init__(self, path: str, archive_bytes: int, descriptor: int | None = None) -> None:
        """IntegrityError when there is no regular file of exactly this length. A descriptor is of a file that was opened already."""
        self.path = path
        try:
            self._descriptor: int | None = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC) if descriptor is None else descriptor
        except OSError as error:
            raise IntegrityError(f"The archive {path} cannot be opened: {error.strerror}. Fetch it from a copy, or use another snapshot.") from None
        status = os.fstat(self._descriptor)
        if not stat.S_ISREG(status.st_mode):
            self.close()
            raise IntegrityError(f"The archive {path} is not a regular file.")
        if status.st_size != archive_bytes:
            self.close()
            raise IntegrityError(f"The archive {path} has {status.st_size} bytes where its manifest says {archive_bytes}.")

    def close(self) -> None:
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            os.close(descriptor)

    def read(self, entry: Entry) -> bytes:
        """The content of an entry.

        IntegrityError when it is not, to the bit, what the manifest describes; UnsafeArchiveError when it claims what would only fill the memory.
        """
        if entry.size > MAX_ENTRY or (entry.size > BOMB_SIZE and entry.size > entry.compressed_size * BOMB_RATIO):
            raise UnsafeArchiveError(f"The entry {entry.name} of {self.path} claims to hold {entry.size} bytes in {entry.compressed_size}.")
        expected = BLOCK + entry.size + -entry.size % BLOCK
        decompressor = zlib.decompressobj(-15)
        try:
            plain = decompressor.decompress(self.span(entry.offset, entry.compressed_size), expected + 1)
        except zlib.error as error:
            raise IntegrityError(f"The entry {entry.name} of {self.path} cannot be decompressed: {error}.") from None
        view = memoryview(plain)
        if (
            len(plain) != expected
            or decompressor.eof
            or decompressor.unconsumed_tail
            or plain[:BLOCK] != tar_header(entry.name, entry.size)
            or any(view[BLOCK + entry.size :])
        ):
            raise IntegrityError(f"The entry {entry.name} of {self.path} is not laid out as its manifest says.")
        content = view[BLOCK : BLOCK + entry.size]
        if hashlib.sha256(content).hexdigest() != entry.sha256:
            raise IntegrityError(f"The entry {entry.name} of {self.path} does not have the SHA-256 that its manifest says.")
        return bytes(content)

    def span(self, offset: int, length: int) -> bytes:
        pieces = []
        while length > 0:
            piece = self._piece(length, offset)
            if not piece:
                raise IntegrityError(f"The archive {self.path} ends too early.")
            pieces.append(piece)
            offset += len(piece)
            length -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def has_sha256(self, expected: str) -> bool:
        """Whether the whole file has this SHA-256. IntegrityError when it cannot be read."""
        total = hashlib.sha256()
        offset = 0
        while True:
            piece = self._piece(READ_AT_ONCE, offset)
            if not piece:
                return total.hexdigest() == expected
            total.update(piece)
            offset += len(piece)

    def _piece(self, length: int, offset: int) -> bytes:
        """At most so many bytes, none at the end. IntegrityError when the disk does not give them."""
        try:
            return os.pread(self._open, length, offset)
        except OSError as error:
            raise IntegrityError(f"The archive {self.path} cannot be read: {error.strerror}.") from None

    def frame_is_right(self, end: int) -> bool:
        """Whether the file begins with the one gzip header, and after the last entry, at `end`, only closes tar and gzip."""
        decompressor = zlib.decompressobj(-15)
        try:
            tail = self.span(end, os.fstat(self._open).st_size - end)
            return (
                self.span(0, len(GZIP_HEADER)) == GZIP_HEADER
                and decompressor.decompress(tail, len(TAR_END) + 1) == TAR_END
                and decompressor.decompress(decompressor.unconsumed_tail, 1) == b""
                and decompressor.eof
                and len(decompressor.unused_data) == 8
            )
        except (zlib.error, IntegrityError):
            return False

    @property
    def _open(self) -> int:
        if self._descriptor is None:
            raise ValueError(f"{self.path} is closed")
        return self._descriptor
