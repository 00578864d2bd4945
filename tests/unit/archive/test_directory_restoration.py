# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A directory that is put back: where that is refused, how it is exchanged on lesser systems, and what a failure leaves."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.container import ContainerReader
from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.store import open_store
from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.tree_restoration import TreeRestoration
from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.tree_writer import write_tree
from ansible_collections.infrafabric.chromadb.plugins.module_utils._errors import DiskError, UsageError
from tests.support.rights import directory_without_the_rights_of_root, without_the_rights_of_root

from .conftest import SERVER


@pytest.fixture
def data(tmp_path):
    """What a server left, as it is now: newer than the snapshot that `manifest` is of."""
    directory = tmp_path / "data"
    directory.mkdir()
    (directory / "chroma.sqlite3").write_bytes(b"old")
    return directory


@pytest.fixture
def manifest(store, data):
    written = take(store, data)
    (data / "chroma.sqlite3").write_bytes(b"newer")
    return written


def take(store, data):
    return write_tree(store, "snapshot_20260102_030405", str(data), SERVER, name=None, retention_days=7, verify=True, require_unused=lambda: None)


def built(store, manifest, target):
    restoration = TreeRestoration(manifest, str(target))
    container = ContainerReader(store.archive_path(manifest.snapshot_id), manifest.values["archive_bytes"])
    try:
        restoration.build(container)
    finally:
        container.close()
    return restoration


def content(directory):
    return (Path(directory) / "chroma.sqlite3").read_bytes()


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def test_a_mount_point_is_refused_before_anything_is_done(manifest):
    with pytest.raises(UsageError, match="/proc is a mount point"):
        TreeRestoration(manifest, "/proc").require_possible()


def test_a_directory_whose_parent_is_missing_is_refused(manifest, tmp_path):
    with pytest.raises(UsageError, match=r"nowhere is not there\. Create it first"):
        TreeRestoration(manifest, str(tmp_path / "nowhere" / "data")).require_possible()
    assert not (tmp_path / "nowhere").exists()


def test_a_parent_that_this_user_cannot_write_is_refused(manifest):
    with directory_without_the_rights_of_root() as parent:
        parent.chmod(0o500)
        with without_the_rights_of_root(), pytest.raises(DiskError, match="cannot be written, and the directory is built there") as caught:
            TreeRestoration(manifest, str(parent / "data")).require_possible()
        assert caught.value.details["path"] == str(parent)
        parent.chmod(0o700)


def test_whoever_is_not_root_puts_back_files_of_others_as_their_own():
    """Only root can say whose they are; the permissions come back all the same."""
    with directory_without_the_rights_of_root() as parent:
        data = parent / "data"
        data.mkdir(mode=0o755)
        (data / "chroma.sqlite3").write_bytes(b"old")
        (data / "chroma.sqlite3").chmod(0o644)
        with without_the_rights_of_root():
            (parent / "store").mkdir(mode=0o700)
            store = open_store(str(parent / "store"), for_writing=True)
            restoration = built(store, take(store, data), parent / "restored")
            restoration.exchange()
            status = (parent / "restored" / "chroma.sqlite3").stat()
            assert (content(parent / "restored"), status.st_mode & 0o7777, status.st_uid) == (b"old", 0o644, os.geteuid())
        assert names(parent) == ["data", "restored", "store"]


class LibraryOf:
    """A C library whose kernel answers the exchange of two names with this error; without one, the library does not know it."""

    def __init__(self, error=None):
        self._error = error

    def __getattr__(self, name):
        if self._error is None:
            raise AttributeError(name)
        return lambda *arguments: ctypes.set_errno(self._error) or -1


@pytest.mark.parametrize("error", [None, errno.ENOSYS, errno.EINVAL, errno.ENOTSUP])
def test_where_two_names_cannot_be_exchanged_they_are_renamed_one_by_one(store, manifest, data, monkeypatch, error):
    restoration = built(store, manifest, data)
    monkeypatch.setattr(ctypes, "CDLL", lambda name, use_errno: LibraryOf(error))
    restoration.exchange()
    assert (content(data), content(restoration.aside)) == (b"old", b"newer")
    restoration.discard()
    assert names(data.parent) == ["data", "store"]


def test_an_exchange_that_fails_touches_nothing(store, manifest, data, monkeypatch):
    restoration = built(store, manifest, data)
    monkeypatch.setattr(ctypes, "CDLL", lambda name, use_errno: LibraryOf(errno.EIO))
    with pytest.raises(DiskError, match=f"Cannot exchange {data}: Input/output error"):
        restoration.exchange()
    assert (content(data), content(restoration.beside)) == (b"newer", b"old")
    restoration.abandon()
    assert content(data) == b"newer"
    assert names(data.parent) == ["data", "store"]


def test_after_a_failure_between_two_renames_the_directory_that_was_there_returns(store, manifest, data):
    restoration = built(store, manifest, data)
    os.rename(data, restoration.aside)
    restoration.abandon()
    assert content(data) == b"newer"
    assert names(data.parent) == ["data", "store"]


def test_undoing_where_nothing_was_before_keeps_what_was_restored(store, manifest, data):
    shutil.rmtree(data)
    restoration = built(store, manifest, data)
    restoration.exchange()
    restoration.undo()
    assert content(data) == b"old"
    assert names(data.parent) == ["data", "store"]


@pytest.mark.parametrize(
    ("hook", "failure", "words"),
    [
        (lambda path: path.write_bytes(b""), "drift", "became shorter while it was read"),
        (lambda path: path.unlink(), "disk", "Cannot read .*: No such file"),
    ],
    ids=["shorter", "gone"],
)
def test_a_file_that_shrinks_or_goes_while_it_is_read_leaves_no_snapshot(store, data, monkeypatch, hook, failure, words):
    # The databases are looked at after the directory was listed, and before its files are read.
    def meanwhile(directory):
        hook(data / "chroma.sqlite3")
        return SimpleNamespace(databases=[], migrations={})

    monkeypatch.setattr("ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.tree_writer.directory_contents", meanwhile)
    with pytest.raises(Exception, match=words) as caught:
        take(store, data)
    assert caught.value.failure_class == failure
    assert os.listdir(store.snapshots) == os.listdir(store.manifests) == []


def test_without_verification_a_snapshot_of_files_says_created(store, data):
    written = write_tree(store, "snapshot_20260102_030405", str(data), SERVER, name=None, retention_days=7, verify=False, require_unused=lambda: None)
    assert written.status == "created"


def test_what_stands_where_the_manifest_of_a_snapshot_of_files_belongs_stays(store, data):
    """The archive has its name by then, and nothing else of the run is left."""
    place = Path(store.manifest_path("snapshot_20260102_030405"))
    with pytest.raises(DiskError, match=f"Cannot write {place}"):
        write_tree(store, "snapshot_20260102_030405", str(data), SERVER, name=None, retention_days=7, verify=True, require_unused=place.mkdir)
    assert place.is_dir()
    assert os.listdir(store.snapshots) == ["snapshot_20260102_030405.tar.gz"]
