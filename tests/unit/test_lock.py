# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Locks: two operations never overlap, the second one learns who is in the way, and nobody dead is."""

from __future__ import annotations

import codecs
import json
import os
import shutil
import signal
import stat
import tempfile
import threading

import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils import _lock
from ansible_collections.infrafabric.chromadb.plugins.module_utils._errors import DiskError, LockedError, UsageError
from ansible_collections.infrafabric.chromadb.plugins.module_utils._lock import lock_directory, server_lock, store_lock
from tests.support.forked import forked

NOBODY = 65534
SERVER = "http://192.0.2.1:8000 tenant/database"


class Holder:
    """Another process, of another user where one is given, that holds a lock until it is told to end, or is killed."""

    def __init__(self, make_lock, user=None):
        ready, self._go = os.pipe(), os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            codecs.lookup("ascii")
            # Only what this process itself opened may keep its lock.
            os.close(self._go[1])
            if user is not None:
                become(user)
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


def become(user):
    os.umask(0o077)
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)


def asked_as(user, make_lock):
    """What another user gets who asks for the lock: locked, or the message of a failure."""
    codecs.lookup("ascii")  # another user may not be able to read where Python keeps it

    def ask():
        become(user)
        return "locked" if try_lock(make_lock()) else ""

    return forked(ask)


@pytest.fixture
def run_directory(monkeypatch):
    """A place for locks such as /run/lock is: whoever comes may write there, and come there."""
    path = tempfile.mkdtemp(prefix="run-lock-")
    os.chmod(path, 0o1777)
    monkeypatch.setattr(_lock, "RUN_DIRECTORY", path)
    yield path
    shutil.rmtree(path)


@pytest.fixture(params=["store", "server"])
def make_lock(request, tmp_path, run_directory):
    """Makes locks on one thing: a directory, or a server."""
    if request.param == "store":
        return lambda operation="rollback": store_lock(str(tmp_path), operation)
    return lambda operation="rollback": server_lock(SERVER, operation)


@pytest.fixture
def make_server_lock(run_directory):
    """Makes locks on a server, which several may share."""
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


def test_rubbish_of_another_user_is_no_holder_and_harms_nobody(run_directory, make_server_lock):
    """Who holds a lock on a server may be anybody, and so may be what is said of them."""
    hostile = {"host": "elsewhere\n\x1b[2J" + "x" * 5000, "pid": {"a": 1}, "operation": "\u202e", "user": 1 << 80, "more": 1}
    os.mkfifo(os.path.join(run_directory, "stat"))
    here = {"host": os.uname().nodename, "pid": f"..{run_directory}", "process_started": None}
    holder = Holder(make_server_lock)
    (path,) = files_in(lock_directory())
    with open(path, "wb") as file:
        file.write(b"[" * 50_000 + b"]" * 50_000 + b"\n" + json.dumps(here).encode() + b"\n" + json.dumps(hostile).encode() + b"\n")
    with pytest.raises(LockedError) as caught:
        try_lock(make_server_lock())
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 700
    assert [set(told) for told in caught.value.details["holders"]] == [set(_lock.HOLDER)]
    holder.end()


def files_in(directory):
    return [os.path.join(directory, name) for name in os.listdir(directory)]


def test_other_servers_do_not_wait(run_directory):
    with server_lock("http://192.0.2.1:8000 t/d", "rollback"):
        assert try_lock(server_lock("http://192.0.2.2:8000 t/d", "rollback"))
        assert try_lock(server_lock("http://192.0.2.1:8000 t/other", "rollback"))
        assert try_lock(server_lock("http://192.0.2.1:8000 t_d", "rollback"))


@pytest.mark.parametrize("umask", [0, 0o027, 0o077])
def test_every_user_of_the_host_can_lock_whatever_the_umask(umask, run_directory):
    before = os.umask(umask)
    try:
        assert try_lock(server_lock(SERVER, "rollback"))
    finally:
        os.umask(before)
    (directory,) = files_in(run_directory)
    assert stat.S_IMODE(os.stat(directory).st_mode) == 0o1777
    assert [stat.S_IMODE(os.stat(path).st_mode) for path in files_in(directory)] == [0o666]


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@as_root
@pytest.mark.parametrize(("held", "asked"), [(True, True), (True, False), (False, True)], ids=["exclusive", "reading-meanwhile", "read-meanwhile"])
@pytest.mark.parametrize("first", [0, NOBODY])
def test_users_of_one_host_exclude_each_other(first, held, asked, make_server_lock):
    second = NOBODY - first
    holder = Holder(lambda: make_server_lock("migrate", exclusive=held), first)
    try:
        assert asked_as(second, lambda: make_server_lock(exclusive=asked)).startswith("lock: The database")
    finally:
        holder.end()
    assert asked_as(second, lambda: make_server_lock(exclusive=asked)) == "locked"
    assert asked_as(first, lambda: make_server_lock(exclusive=asked)) == "locked"


@as_root
@pytest.mark.parametrize("first", [0, NOBODY])
def test_users_of_one_host_read_side_by_side(first, make_server_lock):
    holder = Holder(lambda: make_server_lock("validate", exclusive=False), first)
    assert asked_as(NOBODY - first, lambda: make_server_lock(exclusive=False)) == "locked"
    holder.end()


@as_root
def test_root_relies_on_no_lock_file_of_another_user(make_server_lock):
    """Its owner could take it away while root holds it."""
    assert asked_as(NOBODY, make_server_lock) == "locked"
    (path,) = files_in(lock_directory())
    assert os.stat(path).st_uid == NOBODY
    holder = Holder(make_server_lock)
    assert os.stat(path).st_uid == 0
    assert asked_as(NOBODY, make_server_lock).startswith("lock: ")
    holder.end()
    assert asked_as(NOBODY, make_server_lock) == "locked"


@as_root
@pytest.mark.parametrize(("mode", "answer"), [(0o644, "lock: "), (0o600, "disk: ")])
def test_a_lock_file_that_can_be_read_only_locks_as_well(mode, answer, make_server_lock, monkeypatch):
    monkeypatch.setattr(_lock, "TRIES", 2)
    holder = Holder(make_server_lock)
    (path,) = files_in(lock_directory())
    os.chmod(path, mode)
    assert asked_as(NOBODY, make_server_lock).startswith(answer)
    holder.end()
    assert asked_as(NOBODY, make_server_lock).startswith("locked" if mode == 0o644 else "disk: ")
    # Its owner opens it to all again.
    assert try_lock(make_server_lock())
    assert asked_as(NOBODY, make_server_lock) == "locked"


def test_a_lock_file_that_is_taken_away_is_made_anew(make_server_lock, monkeypatch):
    """Such as those that clean directories of temporary files do; a lock on a file that is gone keeps nobody out."""
    real, taken = _lock._flock, []

    def then_it_goes(descriptor, path, *arguments):
        real(descriptor, path, *arguments)
        if not taken:
            taken.append(path)
            os.unlink(path)

    monkeypatch.setattr(_lock, "_flock", then_it_goes)
    with make_server_lock(), pytest.raises(LockedError):
        in_thread(make_server_lock)
    assert taken


def test_what_is_not_the_directory_of_locks_is_refused(run_directory):
    path = os.path.join(run_directory, "infrafabric-chromadb")
    for mode in (0o777, 0o700, 0o755):
        os.mkdir(path)
        os.chmod(path, mode)
        with pytest.raises(UsageError, match="chmod 1777"):
            try_lock(server_lock(SERVER, "rollback"))
        os.rmdir(path)
    os.mkdir(os.path.join(run_directory, "elsewhere"))
    os.symlink(os.path.join(run_directory, "elsewhere"), path)
    with pytest.raises(UsageError, match="link"):
        try_lock(server_lock(SERVER, "rollback"))


@pytest.mark.parametrize("thing", ["link", "dangling link", "second name", "pipe"])
def test_what_somebody_planted_in_the_place_of_a_lock_is_not_touched(thing, tmp_path, make_server_lock):
    assert try_lock(make_server_lock())
    (path,) = files_in(lock_directory())
    os.unlink(path)
    victim = tmp_path / "victim"
    if thing != "dangling link":
        victim.write_text("precious")
        victim.chmod(0o600)
    if thing == "pipe":
        os.mkfifo(path)
    elif thing == "second name":
        os.link(victim, path)
    else:
        os.symlink(victim, path)
    with pytest.raises(DiskError, match="lock file"):
        try_lock(make_server_lock())
    if thing == "dangling link":
        assert not victim.exists()
    else:
        assert (victim.read_text(), stat.S_IMODE(victim.stat().st_mode)) == ("precious", 0o600)


def test_a_link_in_the_place_of_the_lock_file_is_refused(tmp_path):
    (tmp_path / ".lock").symlink_to(tmp_path / "victim")
    with pytest.raises(DiskError, match="lock file"):
        try_lock(store_lock(str(tmp_path), "rollback"))
    assert not (tmp_path / "victim").exists()


def test_a_directory_that_is_missing(tmp_path):
    with pytest.raises(DiskError, match="missing"):
        try_lock(store_lock(str(tmp_path / "missing"), "rollback"))


@pytest.mark.parametrize("mode", [None, 0o755, 0o700])
def test_where_not_everybody_can_write_the_run_directory_the_temporary_one_serves(mode, tmp_path, run_directory, monkeypatch):
    """Also for those who could: all users of a host must look in the same place."""
    other = tmp_path / "run"
    if mode is not None:
        other.mkdir()
        other.chmod(mode)
    monkeypatch.setattr(_lock, "TEMPORARY_DIRECTORY", run_directory)
    monkeypatch.setattr(_lock, "RUN_DIRECTORY", str(other))
    assert try_lock(server_lock(SERVER, "rollback"))
    assert os.path.isdir(os.path.join(run_directory, "infrafabric-chromadb"))


@pytest.mark.parametrize("name", ["127.0.0.1", "[::1]"])
def test_this_host_is_one_host_by_any_name(name, run_directory):
    holder = Holder(lambda: server_lock("http://localhost:8000 tenant/database", "migrate"))
    try:
        with pytest.raises(LockedError):
            try_lock(server_lock(f"http://{name}:8000 tenant/database", "rollback"))
        for other in (f"http://{name}:8001 tenant/database", f"http://{name}:8000 tenant/notes", "http://127.0.0.10:8000 tenant/database"):
            assert try_lock(server_lock(other, "rollback"))
    finally:
        holder.end()
