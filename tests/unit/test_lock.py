# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Locks: two operations never overlap, the second one learns who is in the way, and nobody dead is."""

from __future__ import annotations

import json
import os
import signal
import stat
import threading

import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils import _lock
from ansible_collections.infrafabric.chromadb.plugins.module_utils._errors import DiskError, LockedError, UsageError
from ansible_collections.infrafabric.chromadb.plugins.module_utils._lock import server_lock, store_lock

SERVER = "http://192.0.2.1:8000 tenant/database"


class Holder:
    """Another process that holds a lock until it is told to end, or is killed."""

    def __init__(self, make_lock):
        ready, self._go = os.pipe(), os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            # Only what this process itself opened may keep its lock.
            os.close(self._go[1])
            with make_lock():
                os.write(ready[1], b"1")
                os.read(self._go[0], 1)
            os._exit(0)
        assert os.read(ready[0], 1) == b"1"
        for descriptor in (*ready, self._go[0]):
            os.close(descriptor)

    def end(self):
        os.close(self._go[1])
        os.waitpid(self.pid, 0)

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._go[1])


@pytest.fixture(params=["store", "server"])
def make_lock(request, tmp_path, monkeypatch):
    """Makes locks on one thing: a directory, or a server."""
    monkeypatch.setattr(_lock, "RUN_DIRECTORY", str(tmp_path))
    if request.param == "store":
        return lambda operation="rollback": store_lock(str(tmp_path), operation)
    return lambda operation="rollback": server_lock(SERVER, operation)


@pytest.fixture
def make_server_lock(tmp_path, monkeypatch):
    """Makes locks on a server, which several may share."""
    monkeypatch.setattr(_lock, "RUN_DIRECTORY", str(tmp_path))
    return lambda operation="rollback", **options: server_lock(SERVER, operation, **options)


def try_lock(lock):
    with lock:
        return True


def test_the_second_one_learns_who_holds_it(make_lock):
    holder = Holder(lambda: make_lock("snapshot"))
    try:
        with pytest.raises(LockedError) as caught:
            try_lock(make_lock("rollback"))
        assert f"snapshot (process {holder.pid} of " in caught.value.message
        assert os.uname().nodename in caught.value.message
        assert caught.value.details["holders"][0]["pid"] == holder.pid
    finally:
        holder.end()
    assert try_lock(make_lock())


def test_a_dead_holder_never_blocks(make_lock):
    for _round in range(3):
        Holder(make_lock).kill()
        assert try_lock(make_lock())


def test_shared_locks_share_and_exclude_exclusive_ones(make_server_lock):
    first = Holder(lambda: make_server_lock("validate", exclusive=False))
    second = Holder(lambda: make_server_lock("compare", exclusive=False))
    assert try_lock(make_server_lock("third", exclusive=False))
    with pytest.raises(LockedError) as caught:
        try_lock(make_server_lock())
    assert {holder["operation"] for holder in caught.value.details["holders"]} >= {"validate", "compare"}
    first.kill()
    with pytest.raises(LockedError) as caught:
        try_lock(make_server_lock())
    assert "validate" not in caught.value.message
    second.end()
    assert try_lock(make_server_lock())


def test_an_exclusive_lock_excludes_shared_ones(make_server_lock):
    holder = Holder(make_server_lock)
    with pytest.raises(LockedError):
        try_lock(make_server_lock(exclusive=False))
    holder.end()


def test_the_same_thread_may_nest(make_lock):
    with make_lock("rollback"):
        with make_lock("snapshot"), make_lock("prune"):
            pass
        with pytest.raises(LockedError):
            in_thread(make_lock)
    assert try_lock(make_lock())


def test_an_exclusive_lock_includes_a_shared_one(make_server_lock):
    with make_server_lock("rollback"), make_server_lock("validate", exclusive=False):
        pass
    assert try_lock(make_server_lock())


def test_a_shared_lock_does_not_become_exclusive(make_server_lock):
    with make_server_lock(exclusive=False), pytest.raises(LockedError):
        try_lock(make_server_lock())
    assert try_lock(make_server_lock())


def in_thread(make_lock):
    """Take the lock in another thread, and raise what that raises."""
    caught = []

    def work():
        try:
            try_lock(make_lock())
        except LockedError as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if caught:
        raise caught[0]


def test_an_error_inside_gives_the_lock_back(make_lock):
    with pytest.raises(RuntimeError), make_lock():
        raise RuntimeError
    assert try_lock(make_lock())


def test_the_file_says_who(tmp_path):
    with store_lock(str(tmp_path), "rollback"):
        pass
    path = tmp_path / ".lock"
    holder = json.loads(path.read_text())
    assert (holder["pid"], holder["operation"], holder["host"]) == (os.getpid(), "rollback", os.uname().nodename)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_rubbish_in_the_file_is_no_holder(tmp_path):
    (tmp_path / ".lock").write_bytes(b'\xff\n[]\n{"pid": "../../x", "host": "' + os.uname().nodename.encode() + b'"}\n')
    assert try_lock(store_lock(str(tmp_path), "rollback"))


def test_other_servers_do_not_wait(tmp_path, monkeypatch):
    monkeypatch.setattr(_lock, "RUN_DIRECTORY", str(tmp_path))
    with server_lock("http://192.0.2.1:8000 t/d", "rollback"):
        assert try_lock(server_lock("http://192.0.2.2:8000 t/d", "rollback"))
        assert try_lock(server_lock("http://192.0.2.1:8000 t/other", "rollback"))
        assert try_lock(server_lock("http://192.0.2.1:8000 t_d", "rollback"))
    (directory,) = tmp_path.iterdir()
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_a_directory_of_locks_that_somebody_else_prepared_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(_lock, "RUN_DIRECTORY", str(tmp_path))
    path = tmp_path / f"infrafabric-chromadb-{os.geteuid()}"
    path.mkdir(mode=0o700)
    path.chmod(0o777)
    with pytest.raises(UsageError, match="can be changed by others"):
        try_lock(server_lock("http://192.0.2.1:8000 t/d", "rollback"))
    path.rmdir()
    (tmp_path / "elsewhere").mkdir()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="link"):
        try_lock(server_lock("http://192.0.2.1:8000 t/d", "rollback"))


def test_a_link_in_the_place_of_the_lock_file_is_refused(tmp_path):
    (tmp_path / ".lock").symlink_to(tmp_path / "victim")
    with pytest.raises(DiskError, match="lock file"):
        try_lock(store_lock(str(tmp_path), "rollback"))
    assert not (tmp_path / "victim").exists()


def test_a_directory_that_is_missing(tmp_path):
    with pytest.raises(DiskError, match="missing"):
        try_lock(store_lock(str(tmp_path / "missing"), "rollback"))


def test_where_the_run_directory_cannot_be_written_the_temporary_one_serves(tmp_path, monkeypatch):
    monkeypatch.setattr(_lock, "RUN_DIRECTORY", str(tmp_path / "missing"))
    monkeypatch.setattr(_lock.tempfile, "gettempdir", lambda: str(tmp_path))
    assert try_lock(server_lock("http://192.0.2.1:8000 t/d", "rollback"))
    assert (tmp_path / f"infrafabric-chromadb-{os.geteuid()}").is_dir()


@pytest.mark.parametrize("name", ["127.0.0.1", "[::1]"])
def test_this_host_is_one_host_by_any_name(name, tmp_path, monkeypatch):
    monkeypatch.setattr(_lock, "RUN_DIRECTORY", str(tmp_path))
    holder = Holder(lambda: server_lock("http://localhost:8000 tenant/database", "migrate"))
    try:
        with pytest.raises(LockedError):
            try_lock(server_lock(f"http://{name}:8000 tenant/database", "rollback"))
        for other in (f"http://{name}:8001 tenant/database", f"http://{name}:8000 tenant/notes", "http://127.0.0.10:8000 tenant/database"):
            assert try_lock(server_lock(other, "rollback"))
    finally:
        holder.end()
