# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files that are locked: where they are made, whose they are, and what is told when they cannot be had."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
import tempfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils import _lock
from ansible_collections.infrafabric.chromadb.plugins.module_utils._errors import DiskError, LockedError
from ansible_collections.infrafabric.chromadb.plugins.module_utils._lock import OWN_DIRECTORY, lock_directory, server_lock, store_lock
from tests.support.rights import NOBODY, without_the_rights_of_root

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture
def run_directory(monkeypatch):
    """A place for locks such as /run/lock is: whoever comes may write there, and come there."""
    path = tempfile.mkdtemp(prefix="run-lock-")
    os.chmod(path, 0o1777)
    monkeypatch.setattr(_lock, "RUN_DIRECTORY", path)
    monkeypatch.setattr(_lock, "TRIES", 2)
    monkeypatch.setattr(_lock, "PAUSE_SECONDS", 0.001)
    yield path
    shutil.rmtree(path)


def try_lock():
    with server_lock("http://192.0.2.1:8000 tenant/database", "rollback"):
        return True


def lock_file():
    """The one that `try_lock` has left."""
    (name,) = os.listdir(lock_directory())
    return os.path.join(lock_directory(), name)


def in_another_thread(work):
    """A thread has its own locks, as another process has."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(work).result()


def test_where_nobody_else_can_write_the_directory_of_temporary_files_serves(tmp_path, run_directory, monkeypatch):
    closed, own = tmp_path / "closed", tmp_path / "own"
    for path in (closed, own):
        path.mkdir(mode=0o700)
    monkeypatch.setattr(_lock, "RUN_DIRECTORY", str(closed))
    monkeypatch.setattr(_lock, "TEMPORARY_DIRECTORY", str(closed))
    monkeypatch.setattr(tempfile, "tempdir", str(own))
    with server_lock("http://192.0.2.1:8000 tenant/database", "rollback"), pytest.raises(LockedError):
        in_another_thread(try_lock)
    assert (os.listdir(own), os.listdir(closed)) == ([OWN_DIRECTORY], [])


def test_a_directory_of_locks_that_another_process_makes_first_is_taken(run_directory, monkeypatch):
    real = tempfile.mkdtemp

    def when_another_is_quicker(**options):
        made = real(**options)
        other = os.path.join(run_directory, OWN_DIRECTORY)
        os.mkdir(other)
        os.chmod(other, 0o1777)
        open(os.path.join(other, "a lock of theirs"), "w").close()
        return made

    monkeypatch.setattr(tempfile, "mkdtemp", when_another_is_quicker)
    assert try_lock()
    assert os.listdir(run_directory) == [OWN_DIRECTORY]
    assert len(os.listdir(lock_directory())) == 2


def test_a_directory_of_locks_that_cannot_be_made_is_told_and_leaves_nothing(run_directory, monkeypatch):
    def full(*names):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "rename", full)
    with pytest.raises(DiskError, match=rf"Cannot create {run_directory}/{OWN_DIRECTORY}: No space left on device\. Free some space"):
        try_lock()
    assert os.listdir(run_directory) == []


def test_a_lock_file_that_is_taken_away_again_and_again_is_a_failure(run_directory, monkeypatch):
    """Such as by a cleaner gone wild: a lock on a file that is gone would keep nobody out."""
    real = _lock._flock

    def then_it_goes(descriptor, path, *arguments):
        real(descriptor, path, *arguments)
        os.unlink(path)

    monkeypatch.setattr(_lock, "_flock", then_it_goes)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(DiskError, match="taken away again and again"):
        try_lock()
    assert os.listdir("/proc/self/fd") == before


@as_root
def test_whoever_may_only_read_a_lock_file_locks_it_and_writes_no_name(run_directory):
    assert try_lock()
    os.chmod(lock_file(), 0o644)
    with open(lock_file(), "rb") as file:
        before = file.read()
        with without_the_rights_of_root(), server_lock("http://192.0.2.1:8000 tenant/database", "as nobody"), pytest.raises(LockedError):
            in_another_thread(try_lock)
        file.seek(0)
        assert file.read() == before


@as_root
def test_a_lock_file_that_its_owner_never_opens_to_others_is_named(run_directory):
    assert try_lock()
    os.chmod(lock_file(), 0o600)
    with without_the_rights_of_root(), pytest.raises(DiskError, match=r"cannot be opened: Permission denied\. Remove it if nothing uses it"):
        try_lock()


@as_root
def test_root_makes_a_lock_file_of_another_user_anew(run_directory):
    with without_the_rights_of_root():
        assert try_lock()
    assert os.stat(lock_file()).st_uid == NOBODY
    assert try_lock()
    status = os.stat(lock_file())
    assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (0, 0o666)


@pytest.mark.parametrize("thing", ["pipe", pytest.param("another user's", marks=as_root)])
def test_what_is_no_lock_file_of_this_user_is_not_used_in_a_directory_of_snapshots(tmp_path, thing):
    path = tmp_path / ".lock"
    if thing == "pipe":
        os.mkfifo(path)
    else:
        path.touch()
        os.chown(path, NOBODY, -1)
    with pytest.raises(DiskError, match="is no lock file of this user"), store_lock(str(tmp_path), "rollback"):
        pass


def test_a_holder_that_has_not_written_its_name_yet_is_told_as_such(tmp_path):
    with open(tmp_path / ".lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(LockedError, match="locked by another process, which has not said its name yet") as caught, store_lock(str(tmp_path), "rollback"):
            pass
    assert caught.value.details["holders"] == []
    with store_lock(str(tmp_path), "rollback"):
        assert "rollback" in (tmp_path / ".lock").read_text()
