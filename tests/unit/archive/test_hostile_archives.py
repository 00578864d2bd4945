# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Archives made to harm whoever opens them are refused as such, before anything of them is unpacked."""

from __future__ import annotations

import copy
import gzip
import hashlib
import io
import os
import random
import tarfile

import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive import hostile
from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.hostile import hostile_problems
from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.manifest import own_sha256
from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.verify import require_sound
from ansible_collections.infrafabric.chromadb.plugins.module_utils._errors import UnsafeArchiveError

from .conftest import get, make_records, problems_of, put


def member(name="c0001/batch_000000.jsonl", size=0, kind=tarfile.REGTYPE, link="", content=None):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size
    return info, io.BytesIO(content if content is not None else b"\0" * size)


def tar_gz(*members, tar_format=tarfile.USTAR_FORMAT):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", format=tar_format) as tar:
        for info, content in members:
            tar.addfile(info, content)
    return buffer.getvalue()


def lying_tar_gz(claimed, real):
    """A member whose header claims more than is there."""
    header = _info("c0001/batch_000000.npy", claimed).tobuf(tarfile.USTAR_FORMAT)
    return gzip.compress(header + b"x" * real)


class Zeros(io.RawIOBase):
    def __init__(self, size):
        self.left = size

    def read(self, size=-1):
        size = min(size if size >= 0 else self.left, self.left)
        self.left -= size
        return bytes(size)


def bomb(size):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as tar:
        tar.addfile(_info("c0001/batch_000000.npy", size), Zeros(size))
    return buffer.getvalue()


def _info(name, size):
    info = tarfile.TarInfo(name)
    info.size = size
    return info


HOSTILE = {
    "leads out": lambda: tar_gz(member("../../etc/cron.d/evil", 5)),
    "absolute": lambda: tar_gz(member("/etc/cron.d/evil", 5)),
    "symbolic link": lambda: tar_gz(member("c0001/batch_000000.npy", 0, tarfile.SYMTYPE, "/etc/passwd")),
    "hard link": lambda: tar_gz(member("c0001/batch_000000.npy", 0, tarfile.LNKTYPE, "/etc/passwd")),
    "device": lambda: tar_gz(member("c0001/batch_000000.npy", 0, tarfile.CHRTYPE)),
    "block device": lambda: tar_gz(member("c0001/batch_000000.npy", 0, tarfile.BLKTYPE)),
    "pipe": lambda: tar_gz(member("c0001/batch_000000.npy", 0, tarfile.FIFOTYPE)),
    "directory": lambda: tar_gz(member("c0001", 0, tarfile.DIRTYPE)),
    "twice": lambda: tar_gz(member(size=3), member(size=3)),
    "unknown": lambda: tar_gz(member("c0001/setup.py", 3)),
    "long name": lambda: tar_gz(member("a" * 300, 3), tar_format=tarfile.GNU_FORMAT),
    "pax path": lambda: tar_gz(member("ä" * 120, 3), tar_format=tarfile.PAX_FORMAT),
    "size lie": lambda: lying_tar_gz(1 << 20, 512),
    "huge claim": lambda: lying_tar_gz(7 << 30, 512),
    "huge claim in binary": lambda: gzip.compress(_info("c0001/batch_000000.npy", 9 << 30).tobuf(tarfile.GNU_FORMAT)),
    "bomb": lambda: bomb(100 << 20),
}


@pytest.mark.parametrize("with_right_checksum", [True, False])
@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_archives_are_refused_as_such(store, snapshot, rewrite_manifest, tmp_path, kind, with_right_checksum):
    snapshot_id, ((path, _data), _manifest) = snapshot
    before = sorted(str(file) for file in tmp_path.rglob("*"))
    data = HOSTILE[kind]()
    put(path, data)

    def edit(values):
        values.update(checksum_sha256=hashlib.sha256(data).hexdigest(), archive_bytes=len(data))

    if with_right_checksum:
        rewrite_manifest(snapshot_id, edit)
    with pytest.raises(UnsafeArchiveError):
        require_sound(store, snapshot_id)
    assert sorted(str(file) for file in tmp_path.rglob("*")) == before


def test_a_link_in_the_place_of_the_archive(store, snapshot, tmp_path):
    snapshot_id, ((path, data), _manifest) = snapshot
    elsewhere = tmp_path / "elsewhere"
    put(elsewhere, data)
    os.unlink(path)
    os.symlink(elsewhere, path)
    with pytest.raises(UnsafeArchiveError, match="cannot be opened"):
        require_sound(store, snapshot_id)


def test_a_pipe_in_the_place_of_the_archive_does_not_block(store, snapshot):
    snapshot_id, ((path, _data), _manifest) = snapshot
    os.unlink(path)
    os.mkfifo(path)
    with pytest.raises(UnsafeArchiveError, match="not a regular file"):
        require_sound(store, snapshot_id)


def test_an_entry_that_only_fills_the_memory_is_not_decompressed(store, snapshot, rewrite_manifest):
    def edit(values):
        entries = copy.deepcopy(values["entries"])
        entries[2]["size"] = 1 << 40
        values["entries"] = entries
        values["content_bytes"] = sum(entry["size"] for entry in entries)
        values["compression_ratio"] = round(100 * (1 - values["archive_bytes"] / values["content_bytes"]), 2)

    rewrite_manifest(snapshot[0], edit)
    with pytest.raises(UnsafeArchiveError, match="claims to hold"):
        require_sound(store, snapshot[0])


def test_a_damaged_archive_is_not_called_hostile(store, write):
    manifest = write({"c": [make_records(1500)]})
    path = store.archive_path(manifest.snapshot_id)
    data = get(path)
    chance = random.Random(7)
    for _flip in range(60):
        damaged = bytearray(data)
        for _bit in range(3):
            damaged[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        put(path, damaged)
        assert {problem.failure_class for problem in problems_of(store, manifest.snapshot_id)} == {"integrity"}
    assert own_sha256(manifest.values) == manifest.sha256
    put(path, data)
    assert hostile_problems(path) == []


def test_more_entries_than_any_snapshot_has_are_hostile(tmp_path, monkeypatch):
    monkeypatch.setattr(hostile, "MAX_MEMBERS", 3)
    path = str(tmp_path / "archive")
    for count, problems in ((2, []), (3, []), (4, [f"The archive {path} holds more than 3 entries."])):
        put(path, tar_gz(*(member(f"c0001/batch_{number:06d}.npy") for number in range(count))))
        assert hostile_problems(path) == problems


def test_an_archive_that_ends_where_an_entry_could_begin_is_merely_damaged(tmp_path):
    path = str(tmp_path / "archive")
    for plain in (b"", b"x" * 100):
        put(path, gzip.compress(plain))
        assert hostile_problems(path) == []
