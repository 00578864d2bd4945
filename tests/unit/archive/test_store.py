# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The directory: who may own it, what is created in it, what is left in it when a run is killed at any point or the disk is full."""

from __future__ import annotations

import builtins
import os
import resource
import signal
import stat
import sys
from datetime import datetime, timezone

import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive import publish
from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive import writer as writer_module
from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.catalogue import find_snapshots
from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.store import (
    check_snapshot_id,
    new_snapshot_id,
    open_store,
    remove_partials,
    snapshot_name,
)
from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.verify import find_orphans, verify_snapshot
from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.writer import ArchiveWriter
from ansible_collections.infrafabric.chromadb.plugins.module_utils._errors import DiskError, OperationError, UsageError
from ansible_collections.infrafabric.chromadb.plugins.module_utils._files import atomic_write, require_free_space
from ansible_collections.infrafabric.chromadb.plugins.module_utils._records.collection_spec import CollectionSpec
from tests.support.rights import directory_without_the_rights_of_root, without_the_rights_of_root

from .conftest import make_records

MOMENT = datetime(2025, 1, 31, 23, 59, 59, tzinfo=timezone.utc)
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to another user")


def test_the_directory_itself_is_never_created(tmp_path):
    for for_writing in (True, False):
        with pytest.raises(DiskError, match="does not exist"):
            open_store(str(tmp_path / "missing"), for_writing=for_writing)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("directory", ["snapshots", "./snapshots", "", "~nobody-of-this-name/snapshots"])
def test_a_relative_directory_is_refused(tmp_path, monkeypatch, directory):
    """It would begin wherever Ansible happens to run the module."""
    (tmp_path / "snapshots").mkdir(mode=0o700)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=f"directory must be an absolute path, not '{directory}'"):
        open_store(directory, for_writing=True)
    assert os.listdir(tmp_path / "snapshots") == []


def test_a_file_is_no_directory(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError, match="not a directory"):
        open_store(str(tmp_path / "file"))


def test_folders_are_private(tmp_path):
    tmp_path.chmod(0o755)
    old = os.umask(0)
    try:
        store = open_store(str(tmp_path), for_writing=True)
    finally:
        os.umask(old)
    assert sorted(os.listdir(tmp_path)) == ["logs", "manifests", "snapshots"]
    assert {stat.S_IMODE(os.stat(folder).st_mode) for folder in (store.logs, store.manifests, store.snapshots)} == {0o700}


def test_check_mode_fails_alike_and_creates_nothing(tmp_path):
    open_store(str(tmp_path), for_writing=True, create=False)
    assert os.listdir(tmp_path) == []
    tmp_path.chmod(0o777)
    with pytest.raises(UsageError, match="chmod"):
        open_store(str(tmp_path), for_writing=True, create=False)


def test_a_reader_creates_nothing(tmp_path):
    open_store(str(tmp_path))
    assert find_snapshots(str(tmp_path)) == []
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o1777])
def test_a_directory_that_others_can_change_is_refused(tmp_path, mode):
    tmp_path.chmod(mode)
    with pytest.raises(UsageError, match="chmod"):
        open_store(str(tmp_path), for_writing=True)
    tmp_path.chmod(0o700)
    open_store(str(tmp_path), for_writing=True)
    (tmp_path / "snapshots").chmod(mode)
    with pytest.raises(UsageError, match="snapshots can be changed by others"):
        open_store(str(tmp_path))


@needs_root
def test_a_directory_of_somebody_else_is_refused(tmp_path):
    os.chown(tmp_path, 65534, 65534)
    with pytest.raises(UsageError, match="another user"):
        open_store(str(tmp_path))


@needs_root
def test_a_directory_that_cannot_be_written(tmp_path):
    """Root may write everywhere, so another user tries."""
    tmp_path.chmod(0o755)

    def as_nobody(create):
        os.chmod(tmp_path.parent, 0o755)
        os.setresuid(65534, 65534, 65534)
        open_store(str(tmp_path), for_writing=True, create=create)

    assert outcome_of(lambda: as_nobody(True)) == outcome_of(lambda: as_nobody(False)) == "disk"
    assert os.listdir(tmp_path) == []


def test_links_inside_are_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "store").mkdir(mode=0o700)
    (tmp_path / "store" / "snapshots").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="link"):
        open_store(str(tmp_path / "store"), for_writing=True)


def test_the_directory_may_be_a_link(tmp_path):
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert open_store(str(tmp_path / "link"), for_writing=True).directory == str(tmp_path / "real")


@pytest.mark.parametrize("name", ["", "../evil", "a/b", "a b", "é", "x" * 65, ".", "a\n"])
def test_names_that_lead_elsewhere(store, name):
    with pytest.raises(UsageError, match="letters"):
        new_snapshot_id(store, name)
    with pytest.raises(UsageError, match="no snapshot id"):
        check_snapshot_id(f"snapshot_20250131_235959_{name}")


def test_ids_are_the_time_and_the_name(store, write):
    assert new_snapshot_id(store, None, MOMENT) == "snapshot_20250131_235959"
    assert new_snapshot_id(store, "before-upgrade", MOMENT) == "snapshot_20250131_235959_before-upgrade"
    assert snapshot_name("snapshot_20250131_235959_before-upgrade") == "before-upgrade"
    assert snapshot_name("snapshot_20250131_235959") is None
    assert write({}, now=MOMENT, name="first").name == "first"
    assert new_snapshot_id(store, None, MOMENT) == "snapshot_20250201_000000"


def test_leftovers_are_removed_under_the_lock(store):
    paths = [f"{store.snapshots}/.snapshot_20250101_000000.tar.gz.partial", f"{store.manifests}/.snapshot_20250101_000000.json.partial"]
    for path in paths:
        with open(path, "w"):
            pass
    assert remove_partials(store) == paths
    assert find_orphans(store) == []


def test_free_space(tmp_path):
    require_free_space(str(tmp_path), 1)
    with pytest.raises(DiskError, match="MB free, and about"):
        require_free_space(str(tmp_path), 1 << 60)


def test_an_atomic_write_replaces_as_a_whole(tmp_path):
    path = str(tmp_path / "file")
    atomic_write(path, b"old")
    with open(str(tmp_path / ".file.partial"), "w") as file:
        file.write("left behind")
    atomic_write(path, b"new")
    with open(path, "rb") as file:
        assert file.read() == b"new"
    assert os.listdir(tmp_path) == ["file"]
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    with pytest.raises(DiskError, match="missing/file"):
        atomic_write(str(tmp_path / "missing" / "file"), b"")


# A run that ends in the middle


def outcome_of(work):
    """Run something in a child process: None when it went well, a failure class, or the signal that killed it."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        answer = b""
        try:
            work()
        except OperationError as error:
            answer = error.failure_class.encode()
        except builtins.BaseException as error:
            answer = repr(error).encode()
        os.write(writer, answer)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = pipe.read().decode()
    _pid, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return os.WTERMSIG(status)
    return answer or None


STEPS = ("fsync", "rename", "replace", "write", "open", "unlink", "close")


def die_at(step):
    """Kill this process in front of its n-th call that can change a disk."""
    calls = 0

    def before(function):
        def called(*arguments, **options):
            nonlocal calls
            calls += 1
            if calls == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **options)

        return called

    for name in STEPS:
        setattr(os, name, before(getattr(os, name)))


def test_killed_at_every_step_nothing_half_is_ever_visible(store, write):
    """Before each call that touches the disk, once; afterwards the store holds the old snapshot and perhaps the whole new one."""
    old = write({"c": [make_records(3)]}, now=datetime(2024, 1, 1, tzinfo=timezone.utc))
    records = make_records(30)
    killed = 0
    for step in range(1, 1000):

        def work(step=step):
            die_at(step)
            write({"c": [records]})

        outcome = outcome_of(work)
        found = find_snapshots(store)
        assert found[-1].snapshot_id == old.snapshot_id
        assert len(found) <= 2
        for snapshot in found:
            assert verify_snapshot(store, snapshot.snapshot_id) == []
        if outcome is None:
            break
        assert outcome == signal.SIGKILL
        killed += 1
        # What the next run does first; then nothing of the killed one is in its way.
        remove_partials(store)
        for folder in (store.snapshots, store.manifests):
            for name in os.listdir(folder):
                if old.snapshot_id not in name:
                    os.unlink(os.path.join(folder, name))
    assert killed >= 15
    assert len(find_snapshots(store)) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files")
@pytest.mark.parametrize("limit", [0, 9, 200, 1000, 4096, 30_000])
def test_a_full_disk_leaves_nothing(store, write, limit):
    def work():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        write({"c": [make_records(2000)]})

    assert outcome_of(work) == "disk"
    assert os.listdir(store.snapshots) == os.listdir(store.manifests) == []


def test_an_archive_whose_manifest_cannot_be_written_is_taken_back(store, write, monkeypatch):
    def refuse(path, data):
        raise DiskError(f"Cannot write {path}")

    monkeypatch.setattr(publish, "atomic_write", refuse)
    with pytest.raises(DiskError, match="manifests"):
        write({"c": [make_records(3)]})
    assert os.listdir(store.snapshots) == os.listdir(store.manifests) == []


def test_an_archive_that_is_there_is_never_overwritten(store, write):
    manifest = write({"c": [make_records(3)]}, now=MOMENT)
    os.unlink(store.manifest_path(manifest.snapshot_id))
    assert write({"c": [make_records(4)]}, now=MOMENT).snapshot_id != manifest.snapshot_id
    assert len(os.listdir(store.snapshots)) == 2


def test_an_id_that_is_there_is_not_written_again(store, write):
    manifest = write({"c": [make_records(3)]})
    before = [os.stat(path(manifest.snapshot_id)) for path in (store.archive_path, store.manifest_path)]
    with pytest.raises(UsageError, match=f"{manifest.snapshot_id} exists already"):
        ArchiveWriter(store, manifest.snapshot_id)
    assert [os.stat(path(manifest.snapshot_id)) for path in (store.archive_path, store.manifest_path)] == before
    assert len(os.listdir(store.snapshots)) == 1


def test_a_writer_that_has_ended_takes_nothing_more(store):
    writer = ArchiveWriter(store, "snapshot_20250131_235959")
    writer.abort()
    writer.abort()
    with pytest.raises(ValueError, match="the writer is closed"):
        writer.begin_collection(CollectionSpec("c"))
    assert os.listdir(store.snapshots) == []


@pytest.mark.parametrize("folder", ["snapshots", "manifests"])
def test_what_another_run_put_in_the_place_of_a_new_snapshot_is_not_overwritten(store, write, monkeypatch, folder):
    """Two runs without the lock: the second one finds the first one's file, or what stands where its manifest belongs."""
    other = store.archive_path("snapshot_20250131_235959") if folder == "snapshots" else store.manifest_path("snapshot_20250131_235959")
    real = publish.publish

    def appears(*arguments):
        os.mkdir(other)
        real(*arguments)

    monkeypatch.setattr(writer_module, "publish", appears)
    with pytest.raises(DiskError, match="appeared while" if folder == "snapshots" else "Cannot write"):
        write({"c": [make_records(3)]}, now=MOMENT)
    assert os.path.isdir(other)
    assert not [name for name in os.listdir(store.snapshots) if "partial" in name]


def test_a_folder_that_this_user_cannot_write_is_named():
    with directory_without_the_rights_of_root() as directory, without_the_rights_of_root():
        store = open_store(str(directory), for_writing=True)
        os.chmod(store.manifests, 0o500)
        for create in (True, False):
            with pytest.raises(DiskError, match=r"manifests cannot be written\. Run as its owner"):
                open_store(str(directory), for_writing=True, create=create)
        assert open_store(str(directory)).directory == str(directory)
        os.chmod(store.manifests, 0o700)
