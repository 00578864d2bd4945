# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One entry read alone: its span must be, to the bit, what a writer of this format makes."""

from __future__ import annotations

import gzip
import hashlib
import zlib

import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.container import (
    GZIP_HEADER,
    MAX_ENTRY,
    ContainerReader,
    ContainerWriter,
    Entry,
    tar_header,
)
from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.hostile import hostile_problems
from ansible_collections.infrafabric.chromadb.plugins.module_utils._errors import IntegrityError, UnsafeArchiveError

CONTENT = b"the content of an entry\n" * 30
SIZE = len(CONTENT)
NAME = "c0001/batch_000000.jsonl"


def deflated(plain, flush=zlib.Z_FULL_FLUSH):
    compressor = zlib.compressobj(6, zlib.DEFLATED, -15)
    return compressor.compress(plain) + compressor.flush(flush)


def read(tmp_path, span, *, size=SIZE, name=NAME, content=CONTENT, compressed_size=None):
    path = tmp_path / "archive"
    path.write_bytes(GZIP_HEADER + span)
    reader = ContainerReader(str(path), len(GZIP_HEADER) + len(span))
    try:
        length = len(span) if compressed_size is None else compressed_size
        return reader.read(Entry(name, len(GZIP_HEADER), length, size, hashlib.sha256(content).hexdigest()))
    finally:
        reader.close()


PADDING = bytes(-len(CONTENT) % 512)
PLAIN = tar_header(NAME, len(CONTENT)) + CONTENT + PADDING


def test_a_right_span(tmp_path):
    assert read(tmp_path, deflated(PLAIN)) == CONTENT
    nothing = tar_header(NAME, 0)
    assert read(tmp_path, deflated(nothing), size=0, content=b"") == b""


@pytest.mark.parametrize(
    "span",
    [
        deflated(PLAIN[:-1] + b"x"),
        deflated(PLAIN[:-1]),
        deflated(PLAIN + b"\0"),
        deflated(PLAIN, zlib.Z_FINISH),
        deflated(PLAIN) + deflated(b"more"),
        deflated(PLAIN, zlib.Z_FINISH) + b"more",
        deflated(tar_header("c0001/batch_000001.jsonl", len(CONTENT)) + CONTENT + PADDING),
        deflated(tar_header(NAME, len(CONTENT) + 1) + CONTENT + PADDING),
        deflated(PLAIN.replace(b"ustar", b"USTAR")),
        deflated(PLAIN.replace(b"0000600", b"0000777")),
        b"\xff" * 100,
        b"",
    ],
)
def test_a_span_that_is_laid_out_otherwise(tmp_path, span):
    with pytest.raises(IntegrityError, match=NAME):
        read(tmp_path, span)


def test_content_with_another_hash(tmp_path):
    with pytest.raises(IntegrityError, match="SHA-256"):
        read(tmp_path, deflated(PLAIN), content=b"other")


def test_a_span_beyond_the_end(tmp_path):
    with pytest.raises(IntegrityError, match="ends too early"):
        read(tmp_path, deflated(PLAIN), compressed_size=5000)


@pytest.mark.parametrize("size", [MAX_ENTRY + 1, 1 << 62, 100 << 20])
def test_claims_that_would_only_fill_the_memory(tmp_path, size):
    with pytest.raises(UnsafeArchiveError, match="claims to hold"):
        read(tmp_path, deflated(PLAIN), size=size)


@pytest.fixture
def framed(tmp_path):
    """A finished archive of one entry, and where its end begins."""
    writer = ContainerWriter(str(tmp_path / "archive"))
    writer.add(NAME, CONTENT)
    end = writer.bytes
    writer.finish()
    return tmp_path / "archive", end


def frame_is_right(path, data, end):
    path.write_bytes(data)
    reader = ContainerReader(str(path), len(data))
    try:
        return reader.frame_is_right(end)
    finally:
        reader.close()


def test_the_frame_around_the_entries(framed):
    path, end = framed
    data = path.read_bytes()
    assert gzip.decompress(data)[-1024:] == bytes(1024)
    assert frame_is_right(path, data, end)
    for wrong in (
        data + b"\0",
        data[:-1],
        data + gzip.compress(b""),
        data[:9] + b"\xff" + data[10:],
        data[:end] + deflated(bytes(1024)) + deflated(b"more", zlib.Z_FINISH) + data[-8:],
        data[:end] + deflated(bytes(512), zlib.Z_FINISH) + data[-8:],
        data[:end] + deflated(b"x" * 1024, zlib.Z_FINISH) + data[-8:],
        data[:end] + b"\xff" * 20,
        data[:end],
    ):
        assert not frame_is_right(path, wrong, end)


def test_a_disk_that_does_not_give_the_file_is_damage():
    """Whichever way it is read. The first bytes of a process's memory belong to nothing, and the kernel answers as a broken disk does."""
    reader = ContainerReader("/proc/self/mem", 0)
    for read_it in (lambda: reader.has_sha256("0" * 64), lambda: reader.span(0, 1)):
        with pytest.raises(IntegrityError, match=r"/proc/self/mem cannot be read: Input/output error\."):
            read_it()
    reader.close()
    assert hostile_problems("/proc/self/mem") == []


def test_an_entry_that_could_never_be_read_back_is_not_written(tmp_path):
    writer = ContainerWriter(str(tmp_path / "archive"))
    before = writer.bytes
    # Zeros that nobody looks at take no memory.
    with pytest.raises(IntegrityError, match="at most 268 MB can be read back"):
        writer.add(NAME, bytes(MAX_ENTRY + 1))
    with pytest.raises(ValueError, match="too long for a tar header"):
        writer.add("n" * 101, CONTENT)
    assert (writer.entries, writer.bytes) == ([], before)
    writer.close()


def test_nothing_is_added_to_or_read_from_a_closed_archive(framed):
    path, _end = framed
    data = path.read_bytes()
    writer, reader = ContainerWriter(str(path.parent / "other")), ContainerReader(str(path), len(data))
    for closed in (writer, reader):
        closed.close()
        closed.close()
    for late in (lambda: writer.add(NAME, CONTENT), writer.finish, lambda: reader.span(0, 1)):
        with pytest.raises(ValueError, match="is closed"):
            late()
    assert (path.read_bytes(), (path.parent / "other").read_bytes()) == (data, GZIP_HEADER)
