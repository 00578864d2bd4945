# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The audit log: written before and after, by everybody at once, and every later change of it is noticed."""

from __future__ import annotations

import json
import os
import socket
import stat
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils import _audit, _operation_log
from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.dead_runs import clean_up_if_idle, end_dead_runs
from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.store import open_store
from ansible_collections.infrafabric.chromadb.plugins.module_utils._audit import append_audit, audit_path, audited, people, read_audit, unfinished_rollbacks
from ansible_collections.infrafabric.chromadb.plugins.module_utils._endpoint import Endpoint
from ansible_collections.infrafabric.chromadb.plugins.module_utils._errors import DiskError, IntegrityError, UsageError
from ansible_collections.infrafabric.chromadb.plugins.module_utils._lock import store_lock
from ansible_collections.infrafabric.chromadb.plugins.module_utils._operation_log import OperationLog
from ansible_collections.infrafabric.chromadb.plugins.module_utils._operations.audit_event import audit_event
from ansible_collections.infrafabric.chromadb.plugins.module_utils._operations.audit_info import audit_info
from ansible_collections.infrafabric.chromadb.plugins.module_utils._operations.outcome import Context
from tests.support.rights import directory_without_the_rights_of_root, without_the_rights_of_root

# The fields of an audit line that the original system had, and those that this one adds.
FIELDS = {
    "timestamp", "action", "snapshot_id", "status", "trigger", "user", "rollback_type", "duration_seconds", "collections_affected", "error_message",
    "rollback_success",
} | {"become_user", "controller", "run_id", "dry_run", "reason", "details", "prev_sha256"}  # fmt: skip


@pytest.fixture
def directory(tmp_path):
    return str(tmp_path)


@pytest.fixture
def path(directory):
    return os.path.join(directory, "logs", "rollback_audit.jsonl")


def statuses(directory):
    return [entry["status"] for entry in read_audit(directory).entries]


def test_initiated_before_the_first_effect_and_the_outcome_after(directory, path):
    with audited(directory, "rollback", snapshot_id="snapshot_20250101_000000", trigger="automatic", rollback_type="full", reason="because") as entry:
        assert statuses(directory) == ["initiated"]
        entry.collections_affected = ["a", "b"]
        entry.rollback_success = True
    trail = read_audit(directory)
    assert [line["status"] for line in trail.entries] == ["initiated", "completed"]
    assert trail.chain_intact
    assert trail.problems == []
    last = trail.entries[-1]
    assert set(last) == FIELDS
    assert (last["trigger"], last["rollback_type"], last["reason"], last["dry_run"]) == ("automatic", "full", "because", False)
    assert (last["collections_affected"], last["rollback_success"], last["error_message"]) == (["a", "b"], True, None)
    assert last["duration_seconds"] >= 0
    assert len({line["run_id"] for line in trail.entries}) == 1
    with open(os.path.join(directory, "logs", "rollback.log")) as file:
        plain = file.read().splitlines()
    assert len(plain) == 2
    assert 'rollback completed snapshot="snapshot_20250101_000000"' in plain[-1]
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode) == 0o700


def test_a_failure_is_written_and_goes_on(directory):
    with pytest.raises(IntegrityError), audited(directory, "rollback", rollback_type="partial"):
        raise IntegrityError("the archive is damaged")
    last = read_audit(directory).entries[-1]
    assert (last["status"], last["error_message"], last["rollback_success"]) == ("failed", "the archive is damaged", False)
    assert (last["dry_run"], last["details"]) == (False, {"failure_class": "integrity"})
    with pytest.raises(KeyboardInterrupt), audited(directory, "snapshot"):
        raise KeyboardInterrupt
    last = read_audit(directory).entries[-1]
    assert (last["status"], last["error_message"], last["rollback_success"]) == ("failed", "KeyboardInterrupt", None)


@pytest.mark.parametrize("error", [IntegrityError("The archive is damaged.", ids=["a"]), KeyError("lost"), KeyboardInterrupt()], ids=repr)
def test_a_failure_that_cannot_be_written_is_still_that_failure(directory, monkeypatch, error):
    """What went wrong first is what somebody must know, and that the log lacks it comes after."""
    with pytest.raises(type(error)) as failure, audited(directory, "rollback"):
        end_on_a_full_disk(monkeypatch, error)
    assert failure.value is error
    if isinstance(error, IntegrityError):
        assert str(error) == error.message == "The archive is damaged. The audit log could not take that down: The disk is full."
        assert error.details == {"ids": ["a"]}
    else:
        assert "The disk is full." in error.__notes__[0]
    assert statuses(directory) == ["initiated"]


def end_on_a_full_disk(monkeypatch, error):
    monkeypatch.setattr(_audit, "append_audit", mock.Mock(side_effect=DiskError("The disk is full.")))
    raise error


def test_without_an_audit_line_nothing_is_done(directory):
    with open(os.path.join(directory, "logs"), "w"):
        pass
    effects = []
    with pytest.raises(UsageError, match="logs"), audited(directory, "rollback"):
        effects.append(1)
    assert effects == []


def write_lines(directory, count):
    for _number in range(count):
        with audited(directory, "rollback"):
            pass


@pytest.mark.parametrize("line", range(6))
@pytest.mark.parametrize("edit", ["changed", "removed", "swapped", "rubbish"])
def test_what_is_changed_later_breaks_the_chain_at_its_line(directory, path, line, edit):
    write_lines(directory, 3)
    with open(path, "rb") as file:
        lines = file.read().splitlines(keepends=True)
    if edit == "changed":
        lines[line] = lines[line].replace(b'"user":"', b'"user":"not-')
    elif edit == "removed":
        del lines[line]
    elif edit == "swapped":
        lines[line - 1], lines[line] = lines[line], lines[line - 1]
    else:
        lines[line] = b"\xff{\n"
    with open(path, "wb") as file:
        file.writelines(lines)
    trail = read_audit(directory)
    if line == 5 and edit in ("changed", "removed"):
        # Of the very last line only a copy elsewhere could tell.
        assert trail.chain_intact
        return
    assert not trail.chain_intact
    assert any(f"Line {number} " in trail.problems[0] for number in range(max(1, line), line + 3))


def test_a_torn_last_line_is_tolerated_and_the_chain_goes_on(directory, path):
    write_lines(directory, 2)
    with open(path, "rb") as file:
        data = file.read()
    begin = data[:-1].rfind(b"\n") + 1
    for length in (begin, begin + 1, begin + 50, len(data) - 1):
        with open(path, "wb") as file:
            file.write(data[:length])
        trail = read_audit(directory)
        assert (len(trail.entries), trail.chain_intact) == (3, True)
        write_lines(directory, 1)
        trail = read_audit(directory)
        assert (len(trail.entries), trail.chain_intact) == (5, True)
        assert trail.entries[3].get("after_torn_line", False) == (length > begin)


def test_many_processes_append_one_chain(directory):
    children = []
    for _child in range(8):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                for _number in range(10):
                    with audited(directory, "rollback"):
                        pass
                code = 0
            finally:
                os._exit(code)
        children.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 8
    trail = read_audit(directory)
    assert trail.chain_intact
    assert len(trail.entries) == 160
    assert len({entry["run_id"] for entry in trail.entries}) == 80


def test_what_comes_from_outside_stays_on_its_line(directory, path):
    with audited(directory, "rollback", reason='two\nlines\r"quoted" \u2028') as entry:
        entry.collections_affected = ["evil\n{}"]
    with open(path, "rb") as file:
        assert len(file.read().splitlines()) == 2
    assert read_audit(directory).entries[-1]["collections_affected"] == ["evil\n{}"]


def test_who_it_was(monkeypatch):
    monkeypatch.setenv("SUDO_USER", "alice")
    monkeypatch.setenv("SSH_CONNECTION", "192.0.2.7 50000 192.0.2.1 22")
    monkeypatch.setattr(_audit, "_user_name", lambda uid: "root")
    assert people() == {"user": "alice", "become_user": "root", "controller": "192.0.2.7"}
    monkeypatch.delenv("SUDO_USER")
    monkeypatch.delenv("SSH_CONNECTION")
    monkeypatch.delenv("SSH_CLIENT", raising=False)
    monkeypatch.delenv("DOAS_USER", raising=False)
    monkeypatch.setattr(_audit, "_login_name", lambda: None)
    assert people() == {"user": "root", "become_user": None, "controller": None}


def test_an_audit_log_is_not_written_through_a_link(directory, path, tmp_path):
    os.mkdir(os.path.dirname(path), 0o700)
    os.symlink(tmp_path / "victim", path)
    with pytest.raises(DiskError, match="audit log"):
        append_audit(path, {})
    assert not (tmp_path / "victim").exists()


GOOD_LINE = {
    "timestamp": "2025-01-01T00:00:00+00:00", "action": "rollback", "status": "initiated", "snapshot_id": "snapshot_20250101_000000", "trigger": "manual",
    "rollback_type": "full", "reason": None, "run_id": "r", "collections_affected": [], "details": {"server": "s", "collections": None},
}  # fmt: skip
WRONG_LINES = {
    "deep": b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "rather deep": json.dumps({**GOOD_LINE, "details": json.loads('{"a":' * 200 + "1" + "}" * 200)}).encode(),
    "no object": b"[]",
    "nothing in it": b"{}",
    "without a moment": json.dumps({**GOOD_LINE, "timestamp": "yesterday"}).encode(),
    "without an offset": json.dumps({**GOOD_LINE, "timestamp": "2025-01-01T00:00:00"}).encode(),
    "an endless action": json.dumps({**GOOD_LINE, "action": "a" * 5000}).encode(),
    "no number": json.dumps({**GOOD_LINE, "details": {"a": float("nan")}}).encode(),
    "too large a number": json.dumps(GOOD_LINE).replace('"server": "s"', '"server": 1e999').encode(),
    "details": json.dumps({**GOOD_LINE, "details": ["a"]}).encode(),
    "names": json.dumps({**GOOD_LINE, "collections_affected": [["a"]]}).encode(),
    "scope": json.dumps({**GOOD_LINE, "details": {"server": "s", "collections": [{}]}}).encode(),
    **{name: json.dumps({**GOOD_LINE, name: {}}).encode() for name in ("snapshot_id", "trigger", "rollback_type", "reason", "run_id", "status")},
}


@pytest.mark.parametrize("kind", list(WRONG_LINES))
def test_a_line_that_is_no_entry_is_told_and_keeps_nobody_from_a_rollback(directory, path, kind):
    write_lines(directory, 1)
    with open(path, "ab") as file:
        file.write(WRONG_LINES[kind] + b"\n")
    write_lines(directory, 1)
    trail = read_audit(directory)
    assert (len(trail.entries), trail.chain_intact, trail.problems) == (4, False, [f"Line 3 of {path} cannot be read."])
    outcome = audit_info(directory=directory, limit=None, known_sha256=None, context=Context())
    assert (outcome.returns["chain_intact"], len(outcome.warnings)) == (False, 1)
    assert unfinished_rollbacks(directory) == []
    end_dead_runs(open_store(directory))
    assert len(read_audit(directory).entries) == 4


def test_what_a_line_of_a_run_that_never_ended_lacks_is_not_missed(directory, path):
    """Older releases, or somebody else, wrote less; and an id that is none leads nowhere."""
    write_lines(directory, 1)
    for number, line in enumerate([{}, {"action": "snapshot"}, {"action": "snapshot", "snapshot_id": "../../etc/passwd"}]):
        append_audit(path, {"timestamp": GOOD_LINE["timestamp"], "action": "rollback", "status": "initiated", "run_id": f"r{number}", **line})
    assert len(unfinished_rollbacks(directory)) == 1
    end_dead_runs(open_store(directory))
    trail = read_audit(directory)
    assert [(entry["run_id"], entry["status"], entry["details"]) for entry in trail.entries[-3:]] == [
        (f"r{number}", "failed", {"interrupted": True}) for number in range(3)
    ]
    assert trail.chain_intact


@pytest.mark.parametrize("thing", ["link", "pipe", "directory", "socket"])
def test_what_stands_in_the_place_of_the_audit_log_is_not_read(directory, path, thing, tmp_path, monkeypatch):
    os.mkdir(os.path.dirname(path), 0o700)
    if thing == "link":
        (tmp_path / "other").write_text(json.dumps(GOOD_LINE) + "\n")
        os.symlink(tmp_path / "other", path)
    elif thing == "pipe":
        os.mkfifo(path)
    elif thing == "directory":
        os.mkdir(path)
    else:
        monkeypatch.chdir(os.path.dirname(path))
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(os.path.basename(path))
    trail = read_audit(directory)
    assert (trail.entries, trail.chain_intact) == ([], False)
    assert "no regular file" in trail.problems[0]
    with pytest.raises(DiskError, match="Move it away"):
        append_audit(path, {})


def test_a_pipe_in_the_place_of_a_plain_log_holds_nobody(directory):
    os.mkdir(os.path.join(directory, "logs"), 0o700)
    os.mkfifo(os.path.join(directory, "logs", "rollback.log"))
    with pytest.raises(DiskError, match=r"rollback\.log"):
        OperationLog(directory, "rollback").write("begun")


@pytest.mark.parametrize(("limit", "expected"), [(None, 6), (4, 4), (0, 0), (100, 6)])
def test_audit_info_gives_the_newest_entries_newest_last(directory, limit, expected):
    write_lines(directory, 3)
    outcome = audit_info(directory=directory, limit=limit, known_sha256=None, context=Context())
    assert outcome.changed is False
    assert outcome.returns["chain_intact"] is True
    assert outcome.returns["entries"] == read_audit(directory).entries[6 - expected :]


def test_audit_info_of_a_broken_chain_warns(directory, path):
    write_lines(directory, 3)
    with open(path, "rb") as file:
        lines = file.readlines()
    with open(path, "wb") as file:
        file.writelines(lines[1:])
    outcome = audit_info(directory=directory, limit=1, known_sha256=None, context=Context())
    assert outcome.returns["chain_intact"] is False
    assert outcome.warnings == outcome.returns["problems"]
    assert "Line 1 " in outcome.warnings[0]


def test_a_log_whose_end_was_cut_off_is_noticed_by_what_is_known_of_it(directory, path):
    def look(known=None):
        return audit_info(directory=directory, limit=0, known_sha256=known, context=Context()).returns

    assert look("0" * 64)["chain_intact"]
    write_lines(directory, 2)
    known = look()["last_sha256"]
    write_lines(directory, 1)
    assert look(known)["chain_intact"]
    with open(path, "rb") as file:
        lines = file.readlines()
    for left in (lines[:3], []):
        with open(path, "wb") as file:
            file.writelines(left)
        assert look()["chain_intact"]
        assert known in look(known)["problems"][0]
    os.unlink(path)
    assert not look(known)["chain_intact"]
    with pytest.raises(UsageError, match="known_sha256"):
        look("last")


def test_audit_info_of_a_missing_directory(directory):
    with pytest.raises(DiskError, match="missing"):
        audit_info(directory=os.path.join(directory, "missing"), limit=None, known_sha256=None, context=Context())
    assert audit_info(directory=directory, limit=5, known_sha256=None, context=Context()).returns == {
        "entries": [], "chain_intact": True, "problems": [], "last_sha256": "0" * 64,
    }


def test_the_plain_log_is_one_line_an_event_and_rotated(directory, monkeypatch):
    monkeypatch.setattr(_operation_log, "MAX_BYTES", 2000)
    log = OperationLog(directory, "rollback")
    for number in range(200):
        log.write("two\nlines", collection="evil\nname", number=number)
    names = sorted(os.listdir(os.path.join(directory, "logs")))
    assert names == ["rollback.log", "rollback.log.1", "rollback.log.2", "rollback.log.3"]
    for name in names:
        with open(os.path.join(directory, "logs", name), encoding="ascii") as file:
            lines = file.readlines()
        assert all('two\\nlines collection="evil\\nname" number=' in line for line in lines)
        assert os.path.getsize(log.path) < 2200
    assert lines
    assert json.dumps("evil\nname") in lines[0]


def test_an_event_is_planned_in_check_mode_and_written_otherwise(directory):
    def event(check_mode):
        return audit_event(
            Endpoint("http://192.0.2.1:8000"),
            directory=directory, action="cutover", status="completed", reason=None, snapshot_id=None, details={"a": 1}, context=Context(check_mode=check_mode),
        )  # fmt: skip

    planned = event(check_mode=True)
    assert planned.changed
    assert planned.diff[0]["after"].startswith("cutover completed: http://192.0.2.1:8000")
    assert not os.path.exists(audit_path(directory))
    assert event(check_mode=False).diff == planned.diff
    (entry,) = read_audit(directory).entries
    assert (entry["action"], entry["status"], entry["details"]["a"]) == ("cutover", "completed", 1)


def test_audit_info_of_less_than_nothing_is_refused(directory):
    with pytest.raises(UsageError, match="limit must not be negative, but is -1"):
        audit_info(directory=directory, limit=-1, known_sha256=None, context=Context())


def test_a_run_that_never_ended_is_ended_by_a_reader_only_while_nobody_works(directory, path):
    store = open_store(directory, for_writing=True)
    append_audit(path, {**GOOD_LINE, "action": "rollback", "status": "initiated", "run_id": "dead"})
    with ThreadPoolExecutor(1) as thread:
        with store_lock(directory, "rollback"):
            thread.submit(clean_up_if_idle, store, "snapshot").result()
            assert statuses(directory)[-1] == "initiated"
        thread.submit(clean_up_if_idle, store, "snapshot").result()
    last = read_audit(directory).entries[-1]
    assert (last["run_id"], last["status"], last["details"]) == ("dead", "failed", {**GOOD_LINE["details"], "interrupted": True})


def test_an_audit_log_that_cannot_be_opened_is_a_failure_and_no_empty_log():
    """What is not known is not taken for a log without an unfinished rollback."""
    with directory_without_the_rights_of_root() as directory, without_the_rights_of_root():
        append_audit(audit_path(str(directory), create=True), dict(GOOD_LINE))
        os.chmod(audit_path(str(directory)), 0)
        with pytest.raises(DiskError, match="Permission denied"):
            unfinished_rollbacks(str(directory))
