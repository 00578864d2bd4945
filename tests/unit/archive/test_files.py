# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Snapshots of directories, without a server: what is stored, what is refused, what is put back, and what a hostile one can do."""

from __future__ import annotations

import io
import os
import random
import shutil
import subprocess
import sys
import tarfile
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive import tree, tree_restoration
from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.container import ContainerReader
from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.retention import prune
from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.server_directory import require_server_directory
from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.store import new_snapshot_id
from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.tree_restoration import TreeRestoration
from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.tree_writer import write_tree
from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.verify import require_sound, verify_snapshot
from ansible_collections.infrafabric.chromadb.plugins.module_utils._endpoint import Endpoint
from ansible_collections.infrafabric.chromadb.plugins.module_utils._errors import (
    DiskError,
    DriftError,
    IntegrityError,
    LockedError,
    UnsafeArchiveError,
    UsageError,
)
from ansible_collections.infrafabric.chromadb.plugins.module_utils._open_files import require_unused
from ansible_collections.infrafabric.chromadb.plugins.module_utils._operations import rollback_files, snapshot_files
from ansible_collections.infrafabric.chromadb.plugins.module_utils._operations.outcome import Context
from tests.support.rights import directory_without_the_rights_of_root, without_the_rights_of_root

from .conftest import SERVER, make_records

NOWHERE = Endpoint("http://127.0.0.1:9", timeout=1.0, retries=0)


@pytest.fixture
def data(tmp_path):
    """A directory as a server leaves it, one file larger than a part, one empty, one folder empty."""
    directory = tmp_path / "data"
    (directory / "segment").mkdir(parents=True)
    (directory / "empty").mkdir(mode=0o750)
    (directory / "chroma.sqlite3").write_bytes(random.Random(1).randbytes(3000))
    (directory / "segment" / "header.bin").write_bytes(b"\0" * 700)
    (directory / "segment" / "zero").touch(mode=0o640)
    return directory


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(tree, "PART_BYTES", 1024)
    monkeypatch.setattr("ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.tree_writer.PART_BYTES", 1024)


def take(store, data, *, now=None, require_unused=lambda: None, verify=True):
    snapshot_id = new_snapshot_id(store, None, now)
    return write_tree(store, snapshot_id, str(data), SERVER, name=None, retention_days=7, verify=verify, require_unused=require_unused)


def restore(store, manifest, target):
    restoration = TreeRestoration(manifest, str(target))
    restoration.require_possible()
    container = ContainerReader(store.archive_path(manifest.snapshot_id), manifest.values["archive_bytes"])
    try:
        restoration.build(container)
    finally:
        container.close()
    restoration.exchange()
    return restoration


def everything(directory):
    return {
        str(path.relative_to(directory)): (path.stat().st_mode, path.read_bytes() if path.is_file() else None) for path in sorted(Path(directory).rglob("*"))
    }


def test_what_was_stored_comes_back(store, data, small_parts, tmp_path):
    before = everything(data)
    manifest = take(store, data)
    assert [file.parts for file in manifest.tree.files] == [3, 1, 0]
    assert verify_snapshot(store, manifest.snapshot_id) == []
    (data / "chroma.sqlite3").write_bytes(b"another")
    (data / "later").write_bytes(b"x")
    restoration = restore(store, manifest, data)
    assert everything(data) == before
    assert (Path(restoration.aside) / "later").exists()
    restoration.discard()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "store"]
    new = tmp_path / "new"
    restore(store, manifest, new)
    assert everything(new) == before


def test_a_stranger_reads_it_with_tar(store, data, small_parts, tmp_path):
    manifest = take(store, data)
    archive = store.archive_path(manifest.snapshot_id)
    subprocess.run(["gzip", "-t", archive], check=True)
    subprocess.run(["tar", "xzf", archive, "-C", str(tmp_path)], check=True)
    parts = sorted((tmp_path / "f0001").iterdir())
    assert b"".join(part.read_bytes() for part in parts) == (data / manifest.tree.files[0].path).read_bytes()
    with tarfile.open(archive, "r|gz") as streamed:
        assert [member.name for member in streamed] == [entry.name for entry in manifest.entries]


def test_what_cannot_be_copied_is_refused(store, data):
    for make in (lambda path: path.symlink_to("/etc/passwd"), os.mkfifo, lambda path: (data.parent / "far").touch() or path.symlink_to("../far")):
        odd = data / "segment" / "odd"
        make(odd)
        with pytest.raises(UsageError, match="odd is neither"):
            take(store, data)
        odd.unlink()
    with open(os.fsencode(data) + b"/\xff", "wb"):
        pass
    with pytest.raises(UsageError, match="name that cannot be stored"):
        take(store, data)
    assert not os.listdir(store.snapshots)


def test_a_file_that_changes_meanwhile_leaves_no_snapshot(store, data):
    def server_came():
        raise LockedError("a server came")

    with pytest.raises(DriftError, match=r"chroma\.sqlite3"):
        take(store, data, require_unused=lambda: (data / "chroma.sqlite3").write_bytes(b"x" * 3000))
    with pytest.raises(LockedError):
        take(store, data, require_unused=server_came)
    assert not os.listdir(store.snapshots)
    assert not os.listdir(store.manifests)


def test_an_open_file_is_noticed_and_its_holder_named(data):
    held = data / "segment" / "header.bin"
    files = [str(path) for path in data.rglob("*") if path.is_file()]
    require_unused(str(data), files)
    program = "import sys; file = open(sys.argv[1], 'rb'); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", program, str(held)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        with pytest.raises(LockedError, match=f"process {process.pid} "):
            require_unused(str(data), files)
        process.communicate()
    require_unused(str(data), files)


def test_a_server_that_keeps_no_file_open_is_noticed(data):
    """As the releases before 0.4 do, which are told their directory in the environment."""
    program = "print('up', flush=True); import sys; sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program, "chromadb.app:app"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=data.parent, env={"PERSIST_DIRECTORY": "data"}
    ) as process:
        process.stdout.readline()
        with pytest.raises(LockedError, match=f"process {process.pid} .* serves it"):
            require_unused(str(data), [])
        process.communicate()


def test_every_flipped_bit_is_noticed(store, data, small_parts):
    manifest = take(store, data)
    chance = random.Random(5)
    for path in (store.archive_path(manifest.snapshot_id), store.manifest_path(manifest.snapshot_id)):
        content = Path(path).read_bytes()
        for _flip in range(150):
            bit = chance.randrange(8 * len(content))
            damaged = bytearray(content)
            damaged[bit // 8] ^= 1 << bit % 8
            Path(path).write_bytes(damaged)
            assert verify_snapshot(store, manifest.snapshot_id), f"bit {bit} of {path}"
        Path(path).write_bytes(content)
    assert verify_snapshot(store, manifest.snapshot_id) == []


@pytest.mark.parametrize("path", ["../evil", "/etc/evil", "segment/../../evil", "segment/./x", "segment//x", "nowhere/x", "chroma.sqlite3", "a\0b", ""])
def test_hostile_paths_are_refused_and_nothing_is_written(store, data, rewrite_manifest, path):
    manifest = take(store, data)
    before = everything(data.parent)

    def edit(values):
        values["tree"]["files"][1]["path"] = path

    hostile = rewrite_manifest(manifest.snapshot_id, edit)
    with pytest.raises((UnsafeArchiveError, IntegrityError)) as caught:
        require_sound(store, manifest.snapshot_id)
    assert caught.type is UnsafeArchiveError or path == ""
    with pytest.raises(UnsafeArchiveError):
        TreeRestoration(hostile, str(data))
    shutil.rmtree(store.directory)
    assert {name for name in before if not name.startswith("store")} == set(everything(data.parent))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_an_archive_with_links_in_it_is_hostile(store, data, rewrite_manifest, kind):
    manifest = take(store, data)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        info = tarfile.TarInfo("f0001/part_000000.bin")
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)
    Path(store.archive_path(manifest.snapshot_id)).write_bytes(buffer.getvalue())
    rewrite_manifest(manifest.snapshot_id, lambda values: values.update(archive_bytes=len(buffer.getvalue())))
    with pytest.raises(UnsafeArchiveError):
        require_sound(store, manifest.snapshot_id)


def test_a_tree_that_is_missing_or_too_much(store, data, write, rewrite_manifest):
    files, records = take(store, data), write({"c": [make_records(2)]})
    rewrite_manifest(files.snapshot_id, lambda values: values.pop("tree"))
    rewrite_manifest(records.snapshot_id, lambda values: values.update(tree=files.values["tree"]))
    for snapshot in (files, records):
        assert "and does not" in verify_snapshot(store, snapshot.snapshot_id)[0].message


def test_parts_that_do_not_add_up(store, data, rewrite_manifest):
    manifest = take(store, data)
    rewrite_manifest(manifest.snapshot_id, lambda values: values["tree"]["files"][0].update(size=1))
    assert "do not add up" in verify_snapshot(store, manifest.snapshot_id)[0].message


def test_a_run_that_was_killed_is_cleared_away(store, data):
    before = everything(data)
    manifest = take(store, data)
    restoration = TreeRestoration(manifest, str(data))
    # Killed while building.
    os.mkdir(restoration.beside)
    (Path(restoration.beside) / "half").touch()
    restoration.clean()
    assert everything(data.parent / "data") == before
    # Killed between the two renames of a file system that cannot exchange.
    os.rename(data, restoration.aside)
    restoration.clean()
    assert everything(data) == before
    # Killed after the exchange.
    shutil.copytree(data, restoration.aside)
    restoration.clean()
    assert everything(data) == before
    assert sorted(path.name for path in data.parent.iterdir()) == ["data", "store"]


@pytest.mark.parametrize("atomic", [True, False])
def test_a_server_that_starts_during_the_exchange_keeps_its_directory(store, data, monkeypatch, atomic):
    manifest = take(store, data)
    (data / "chroma.sqlite3").write_bytes(b"newer")
    newer = everything(data)
    if not atomic:
        monkeypatch.setattr(tree_restoration, "_exchange", lambda one, other: False)

    def began(directory, files):
        raise LockedError("a server came")

    monkeypatch.setattr(rollback_files, "require_unused", began)
    with pytest.raises(LockedError):
        roll_back(store, manifest, data)
    assert everything(data) == newer
    assert sorted(path.name for path in data.parent.iterdir()) == ["data", "store"]


def roll_back(store, manifest, data, **options):
    arguments = {
        "data_directory": str(data), "whole": True, "asked": True, "to_a_moment": False, "safety_snapshot": False, "discard_new_writes": False,
        "trigger": "manual", "reason": None, "expected_manifest_sha256": None, "context": Context(), **options,
    }  # fmt: skip
    return rollback_files.rollback_files(NOWHERE, store, manifest.snapshot_id, **arguments)


def test_a_damaged_disk_does_not_take_the_old_directory_away(store, data, monkeypatch):
    manifest = take(store, data)
    (data / "chroma.sqlite3").write_bytes(b"newer")
    newer = everything(data)
    monkeypatch.setattr(tree_restoration, "part_hashes", lambda path: ["0" * 64])
    with pytest.raises(IntegrityError, match="not what was written"):
        roll_back(store, manifest, data)
    assert everything(data) == newer
    assert sorted(path.name for path in data.parent.iterdir()) == ["data", "store"]


def test_a_server_that_is_started_while_the_directory_is_built_is_not_exchanged_away(store, data, monkeypatch):
    """It answers, and has no file open: only asking it again right before the exchange tells."""
    manifest = take(store, data)
    (data / "chroma.sqlite3").write_bytes(b"newer")
    newer = everything(data)
    build = TreeRestoration.build

    def answers(endpoint):
        raise LockedError("The server answers.")

    def build_while_it_starts(restoration, container):
        build(restoration, container)
        monkeypatch.setattr(snapshot_files, "require_stopped", answers)

    monkeypatch.setattr(TreeRestoration, "build", build_while_it_starts)
    monkeypatch.setattr(TreeRestoration, "exchange", lambda restoration: pytest.fail("the directory of a running server was exchanged"))
    with pytest.raises(LockedError, match="answers"):
        roll_back(store, manifest, data)
    assert everything(data) == newer
    assert sorted(path.name for path in data.parent.iterdir()) == ["data", "store"]


def test_directories_that_are_not_a_servers_are_left_alone(store, data, tmp_path):
    manifest = take(store, data)
    home = tmp_path / "home"
    home.mkdir()
    (home / "letter").touch()
    for wrong in (home, store.directory, tmp_path, Path(store.directory) / "new"):
        with pytest.raises(UsageError, match=r"sqlite3|in one another|not there"):
            roll_back(store, manifest, wrong)
    assert [path.name for path in home.iterdir()] == ["letter"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to others")
def test_the_owner_of_the_directory_stays_its_owner(store, data):
    for path in (data, *data.rglob("*")):
        os.chown(path, 4711, 4712)
    manifest = take(store, data)
    assert manifest.tree.owner == (4711, 4712)
    os.chown(data, 4713, 4714)
    restore(store, manifest, data).discard()
    assert {(path.stat().st_uid, path.stat().st_gid) for path in (data, *data.rglob("*"))} == {(4713, 4714)}


def test_files_and_records_do_not_push_each_other_out(store, data, write):
    now = datetime.now(timezone.utc)
    records = write({"c": [make_records(2)]}, now=now - timedelta(days=30))
    older, newer = take(store, data, now=now - timedelta(seconds=5)), take(store, data)
    result = prune(store, retention_days=7, now=now + timedelta(days=8))
    assert result.deleted == [older.snapshot_id]
    assert newer.snapshot_id in {kept["snapshot_id"] for kept in result.kept}
    assert records.snapshot_id in {kept["snapshot_id"] for kept in result.kept}


def test_a_directory_deeper_than_any_of_a_server_is_refused(store, data):
    (data / "/".join("d" * 16)).mkdir(parents=True)
    with pytest.raises(UsageError, match="d/d lies deeper than any directory of a server does"):
        take(store, data)
    assert not os.listdir(store.snapshots)


@pytest.mark.parametrize("thing", ["missing", "file"])
def test_a_data_directory_that_is_none_is_refused(tmp_path, thing):
    path = tmp_path / thing
    if thing == "file":
        path.touch()
    with pytest.raises(UsageError, match=f"data_directory: {path} is not there, or is no directory"):
        require_server_directory(str(path))


@pytest.mark.skipif(os.geteuid() != 0, reason="what a file system does not tell others, it tells root")
def test_where_the_kernel_grants_no_lease_only_root_can_tell_who_uses_a_file():
    """As on some network file systems; of a directory it grants none either."""
    with directory_without_the_rights_of_root() as directory:
        require_unused(str(directory), [str(directory)])
        with without_the_rights_of_root(), pytest.raises(DiskError, match=r"cannot be told on this file system \(Invalid argument\)\. Run as root"):
            require_unused(str(directory), [str(directory)])
        held = os.open(directory, os.O_RDONLY)
        program = "print('open', flush=True); import sys; sys.stdin.read()"
        with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[held]) as process:
            process.stdout.readline()
            with pytest.raises(LockedError, match=f"process {process.pid} .* has a file of it open"):
                require_unused(str(directory), [str(directory)])
            process.communicate()
        os.close(held)
