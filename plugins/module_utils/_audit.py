# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Who did what, when, and how it ended: `logs/rollback_audit.jsonl` of a snapshot directory.

Every line holds the SHA-256 of the line before, so that a line that was changed or taken away is noticed.
`initiated` is on the disk before an operation's first effect, the outcome after its last.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import math
import os
import pwd
import stat
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import IO, Any

from ._bounded_json import shallow_json
from ._errors import DiskError, OperationError
from ._files import PRIVATE_FILE, disk_errors, fsync_directory
from ._journal import append_line, cut_torn_line, last_break
from ._operation_log import LOGS, OperationLog, logs_directory
from ._same_server import by_one_name

AUDIT_FILE = "rollback_audit.jsonl"
FIRST = "0" * 64
INITIATED, COMPLETED, FAILED = "initiated", "completed", "failed"
ROLLBACK, MIGRATE, MIGRATION_UNDONE = "rollback", "migrate", "migration_undone"
MAX_MESSAGE = 2000
MAX_ACTION = 64
NO_FILE = "is no regular file but a link or something else"
# What is read again of a line, and what it may be. The first three are in every line; lines that no module wrote may lack others.
EVERYWHERE = ("timestamp", "action", "status")
TEXTS = ("timestamp", "action", "status", "snapshot_id", "trigger", "rollback_type", "reason", "run_id", "prev_sha256")


@dataclass
class AuditEntry:
    """One operation in the audit log. What is set on it while the operation runs is in the line that ends it."""

    path: str
    action: str
    snapshot_id: str | None = None
    trigger: str = "manual"
    rollback_type: str | None = None
    reason: str | None = None
    run_id: str = ""
    collections_affected: list[str] = field(default_factory=list)
    rollback_success: bool | None = None
    error_message: str | None = None
    details: dict[str, Any] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)

    def write(self, status: str) -> None:
        """A line in the operation's plain log, and one in the chain."""
        fields = {"snapshot": self.snapshot_id, "run": self.run_id, "collections": len(self.collections_affected), "error": self.error_message}
        log = OperationLog(os.path.dirname(os.path.dirname(self.path)), self.action)
        log.write(f"{self.action} {status}", **{name: value for name, value in fields.items() if value})
        append_audit(
            self.path,
            {
                "timestamp": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
                "action": self.action,
                "snapshot_id": self.snapshot_id,
                "status": status,
                "trigger": self.trigger,
                "reason": self.reason,
                **people(),
                "run_id": self.run_id,
                "dry_run": False,  # a run that changes nothing writes no line
                "rollback_type": self.rollback_type,
                "duration_seconds": 0.0 if status == INITIATED else round(time.monotonic() - self.started, 3),
                "collections_affected": list(self.collections_affected),
                "error_message": self.error_message,
                "rollback_success": self.rollback_success,
                "details": self.details,
            },
        )


@contextmanager
def audited(
    directory: str,
    action: str,
    *,
    snapshot_id: str | None = None,
    trigger: str = "manual",
    rollback_type: str | None = None,
    reason: str | None = None,
    details: dict[str, Any] | None = None,
) -> Iterator[AuditEntry]:
    """Write `initiated` durably, run the block, write `completed` or `failed`. DiskError (and no block) when that cannot be written."""
    path = audit_path(directory, create=True)
    entry = AuditEntry(path, action, snapshot_id, trigger, rollback_type, reason, uuid.uuid4().hex, details=dict(details or {}))
    entry.write(INITIATED)
    try:
        yield entry
    except BaseException as error:
        entry.error_message = str(error)[:MAX_MESSAGE] or type(error).__name__
        if isinstance(error, OperationError):
            entry.details = {**entry.details, "failure_class": error.failure_class}
        if entry.rollback_type is not None:
            entry.rollback_success = False
        try:
            entry.write(FAILED)
        except OperationError as unwritten:
            # What went wrong first is what somebody must know.
            _add_to(error, f"The audit log could not take that down: {unwritten.message}")
        raise
    entry.write(COMPLETED)


def _add_to(error: BaseException, sentence: str) -> None:
    """One more sentence: of the message, or, where that is not ours, of the traceback (from Python 3.11)."""
    if isinstance(error, OperationError):
        error.message = f"{error.message} {sentence}"
        error.args = (error.message, *error.args[1:])
    else:
        error.__notes__ = [*getattr(error, "__notes__", ()), sentence]


def audit_path(directory: str, *, create: bool = False) -> str:
    """Where the audit log of a snapshot directory is; with `create`, its folder is made where it is missing."""
    logs = logs_directory(directory) if create else os.path.join(os.path.realpath(directory), LOGS)
    return os.path.join(logs, AUDIT_FILE)


def people() -> dict[str, str | None]:
    """The user whose rights are used, the person behind sudo, su or doas, and the host that they came from."""
    effective = _user_name(os.geteuid())
    login = os.environ.get("SUDO_USER") or os.environ.get("DOAS_USER") or _login_name()
    connection = (os.environ.get("SSH_CONNECTION") or os.environ.get("SSH_CLIENT") or "").split()
    return {
        "user": login or effective,
        "become_user": effective if login and login != effective else None,
        "controller": connection[0] if connection else None,
    }


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _login_name() -> str | None:
    """Whom the kernel remembers as having logged in, whatever they became since."""
    try:
        with open("/proc/self/loginuid", encoding="ascii") as file:
            uid = int(file.read())
    except (OSError, ValueError):
        return None
    return None if uid in (-1, 0xFFFFFFFF) else _user_name(uid)


def append_audit(path: str, entry: dict[str, Any]) -> None:
    """Add one line to the chain, durably; several processes may do so at once. A torn last line is cut off first, and said so."""
    with disk_errors(path, "write the audit log"):
        is_new = not os.path.lexists(path)
        if not is_new and not stat.S_ISREG(os.lstat(path).st_mode):
            raise DiskError(f"The audit log {path} {NO_FILE}. Move it away, and run this again: a new log begins.", path=path)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, PRIVATE_FILE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if is_new:
                fsync_directory(os.path.dirname(path))
            torn = cut_torn_line(descriptor)
            entry = {**entry, "prev_sha256": _last_sha256(descriptor)}
            append_line(descriptor, {**entry, "after_torn_line": True} if torn else entry)
        finally:
            os.close(descriptor)


def _last_sha256(descriptor: int) -> str:
    size = os.fstat(descriptor).st_size
    if size == 0:
        return FIRST
    begin = last_break(descriptor, size - 1)
    return hashlib.sha256(os.pread(descriptor, size - 1 - begin, begin)).hexdigest()


@dataclass(frozen=True)
class AuditTrail:
    """The newest entries, newest last; whether the chain of all of them is whole; what is wrong, with line numbers; the checksum of the last line."""

    entries: list[dict[str, Any]]
    chain_intact: bool
    problems: list[str]
    last_sha256: str = FIRST


def read_audit(directory: str, limit: int | None = None, known_sha256: str | None = None) -> AuditTrail:
    """The audit log of a snapshot directory; an empty trail when nothing was ever done there.

    A chain does not show that its end was cut off. `known_sha256` was the checksum of its last line once, so some line must have it.

    A torn last line (a crash while writing) does not break the chain: it was never acknowledged. A line that cannot be used is a problem,
    and no entry: whatever the log holds, it must keep nobody from a rollback.
    """
    path = audit_path(directory)
    entries: list[dict[str, Any]] = []
    expected = FIRST
    found = known_sha256 in (None, FIRST)
    with disk_errors(path, "read the audit log"), ExitStack() as stack:
        file, problems = _open_log(path)
        stack.callback(file.close)
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                break
            entry = _parsed(line)
            if entry is None:
                problems.append(f"Line {number} of {path} cannot be read.")
            else:
                if entry.get("prev_sha256") != expected:
                    problems.append(f"Line {number} of {path} does not follow the line before it: one of the two was changed, or lines are missing.")
                entries.append(entry)
                if limit is not None and len(entries) > limit:
                    del entries[0]
            expected = hashlib.sha256(line[:-1]).hexdigest()
            found = found or expected == known_sha256
    if not found:
        problems.append(f"No line of {path} has the SHA-256 {known_sha256}: lines were taken away at its end, or it was written anew.")
    return AuditTrail(entries, not problems, problems, expected)


def _open_log(path: str) -> tuple[IO[bytes], list[str]]:
    """The audit log (nothing where there is none), and what is wrong with it. Never through a link, and without waiting for the other end of a pipe."""
    unfit = [f"The audit log {path} {NO_FILE}, and was not read. Move it away: a new log begins."]
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return io.BytesIO(), []
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENXIO):
            raise
        return io.BytesIO(), unfit
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return io.BytesIO(), unfit
    return os.fdopen(descriptor, "rb"), []


def unfinished_rollbacks(directory: str, server: str | None = None) -> list[tuple[str, frozenset[str] | None]]:
    """The rollbacks (of one database) that were begun, failed or were killed, and what they went back to: the snapshot, and the collections (None: all).

    One is finished as soon as another one of the same database has completed that went at least as far.
    """
    begun: list[dict[str, Any]] = []
    for entry in read_audit(directory).entries:
        if entry.get("action") == ROLLBACK and not is_dry_run(entry):
            if entry.get("status") == COMPLETED:
                begun = [older for older in begun if not _finishes(entry, older)]
            else:
                begun.append(entry)
    return [(str(entry.get("snapshot_id")), rollback_scope(entry)) for entry in begun if server is None or _server(entry) in (None, by_one_name(server))]


def ways_back(entries: Iterable[Mapping[str, Any]]) -> set[str]:
    """The snapshots that migrations which nobody took back would be taken back to: of each target, the one of the newest run.

    Only the runbook says that a migration was undone. A rollback by other means leaves its run open, and that run goes back to the same snapshot.
    """
    newest: dict[str, str] = {}
    for entry in entries:
        snapshot_id, server = entry.get("snapshot_id"), _server(entry)
        if not snapshot_id or is_dry_run(entry):
            continue
        if entry.get("action") == MIGRATE and entry.get("status") == INITIATED and isinstance(server, str):
            newest[server] = snapshot_id
        elif entry.get("action") == MIGRATION_UNDONE and entry.get("status") == COMPLETED:
            newest = {target: kept for target, kept in newest.items() if kept != snapshot_id}
    return set(newest.values())


def is_dry_run(entry: Mapping[str, Any]) -> bool:
    """Whether a line is about a run that changed nothing. This release writes none; a line from elsewhere may still say so."""
    return bool(entry.get("dry_run"))


def rollback_scope(entry: Mapping[str, Any]) -> frozenset[str] | None:
    """The collections that a rollback was about, or None: all of the database, those that it takes away included."""
    details = entry.get("details") or {}
    # Every module that brings back says it; a line that something else wrote may not.
    names = details["collections"] if "collections" in details else entry.get("collections_affected") if entry.get("rollback_type") == "partial" else None
    return None if names is None else frozenset(names)


def _finishes(completed: Mapping[str, Any], begun: Mapping[str, Any]) -> bool:
    if _server(begun) is not None and _server(completed) != _server(begun):
        return False
    reached, wanted = rollback_scope(completed), rollback_scope(begun)
    return reached is None or (wanted is not None and wanted <= reached)


def _server(entry: Mapping[str, Any]) -> str | None:
    server = (entry.get("details") or {}).get("server")
    return by_one_name(server) if isinstance(server, str) else None


def _parsed(line: bytes) -> dict[str, Any] | None:
    """The entry of a line, or None where it is none: everything that is read again has the type that it was written with."""
    try:
        entry = shallow_json(line, parse_constant=_finite, parse_float=_finite)
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, dict):
        return None
    details = entry.get("details")
    scope = details.get("collections") if isinstance(details, dict) and entry.get("action") == ROLLBACK else None
    is_sound = (
        all(isinstance(entry.get(name), str) for name in EVERYWHERE)
        and all(isinstance(entry.get(name), (str, type(None))) for name in TEXTS)
        and len(entry["action"]) <= MAX_ACTION
        and isinstance(details, (dict, type(None)))
        and all(_is_names(names) for names in (entry.get("collections_affected"), scope))
        and _is_moment(entry["timestamp"])
    )
    return entry if is_sound else None


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is no JSON")
    return value


def _is_names(value: Any) -> bool:
    return value is None or (isinstance(value, list) and all(isinstance(name, str) for name in value))


def _is_moment(text: str) -> bool:
    try:
        return datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith("Z") else text).tzinfo is not None
    except ValueError:
        return False
