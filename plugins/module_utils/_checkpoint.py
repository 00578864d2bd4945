# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""The checkpoint of a migration: where it is, for people and for the next run, as small JSON files.

Nothing is resumed from a checkpoint's figures: the next run compares, and sends what is missing. The checkpoint says
that a migration is unfinished, and keeps another one, from elsewhere or with other rules, from being mixed into it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from typing import Any

from ._bounded_json import shallow_json
from ._errors import DiskError, UsageError
from ._files import atomic_write, check_private_directory

PREFIX = "checkpoint_"
SOME_SHARD = r"(?:_shard_\d+_of_\d+)?"
SAVE_EVERY_SECONDS = 1.0
ERRORS_KEPT = 20
INITIALIZATION, VALIDATE, IMPORT, VERIFY = "initialization", "validate", "import", "verify"
COMPLETE, VALIDATION_FAILED, ERROR = "migration_complete", "validation_failed", "error"


@dataclass
class Checkpoint:
    """The state of one migration into one target (and shard). Counts are records of the source.

    The migration's id is the same for every run from this source into this target by these rules. `stats` has `writing` once
    something may have been written: before that, it stands in nobody's way.
    """

    migration_id: str
    source: str
    target: str
    transformation: str
    shard: str | None
    timestamp: str = ""
    phase: str = INITIALIZATION
    total_chunks: int = 0
    processed_chunks: int = 0
    successful_chunks: int = 0
    failed_chunks: int = 0
    last_batch_index: int = -1
    errors: list[str] = field(default_factory=list)
    stats: dict[str, Any] = field(default_factory=dict)

    @property
    def owner(self) -> str:
        """In the names of files that a run has under way: whoever holds the lock of this target (and shard) knows that they are nobody else's."""
        return short_digest(self.target) + _shard_part(self.shard)


class CheckpointFile:
    """Saves a checkpoint atomically, at most once a second unless told to."""

    def __init__(self, path: str | None, checkpoint: Checkpoint, resumed: bool) -> None:
        self.checkpoint = checkpoint
        self.resumed = resumed
        self._path = path
        self._saved = 0.0

    def save(self, phase: str | None = None) -> None:
        """Write the figures; a new phase is always written."""
        now = time.monotonic()
        new = phase is not None and phase != self.checkpoint.phase
        if phase is not None:
            self.checkpoint.phase = phase
        if self._path is None or (not new and now - self._saved < SAVE_EVERY_SECONDS):
            return
        self._saved = now
        self.checkpoint.timestamp = datetime.now(timezone.utc).isoformat(timespec="seconds")
        atomic_write(self._path, (json.dumps(asdict(self.checkpoint), indent=2, sort_keys=True) + "\n").encode())

    def begin_writing(self) -> None:
        """From now on, what this run does must be finished by the same rules."""
        self.checkpoint.stats["writing"] = True
        self._saved = -SAVE_EVERY_SECONDS
        self.save()

    def fail(self, message: str, phase: str) -> None:
        """Note why the migration stopped; it stays unfinished."""
        self.checkpoint.errors = [*self.checkpoint.errors[-ERRORS_KEPT + 1 :], message]
        self.save(phase)


def begin_checkpoint(directory: str, source: str, target: str, rules: str, shard: str | None, write: bool) -> CheckpointFile:
    """The unfinished checkpoint of this migration, or a new one; with `write` false (check mode) nothing is saved.

    DiskError for a missing or unwritable directory; UsageError for one that others can change, and where another migration into this target is
    unfinished. One that ended before it wrote anything is forgotten: its correction must be able to begin.
    Who writes holds the lock of the target (and shard), and what runs that were killed had under way is removed first.
    """
    new = _new_checkpoint(source, target, rules, shard)
    if not write and not os.path.lexists(directory):
        # In check mode nothing may have made it yet; then nothing is unfinished.
        return CheckpointFile(None, new, resumed=False)
    _require_directory(directory)
    if write:
        _clear(directory, new)
    for path in _newest_first(directory):
        found = _load(path)
        if found is None or found.target != target or found.shard != shard or found.phase == COMPLETE:
            continue
        if found.source != source or found.transformation != rules:
            if not found.stats.get("writing"):
                if write:
                    _forget(path)
                continue
            what = "from another source" if found.source != source else "with another schema or other routes"
            raise UsageError(
                f"The migration {found.migration_id} into {target} is unfinished and was started {what} ({found.source}). Finish it with its own options, "
                f"or delete {path} to give it up.",
                checkpoint=path,
            )
        return CheckpointFile(path if write else None, found, resumed=bool(found.stats.get("writing")))
    stamp = datetime.now(timezone.utc).strftime("%Y%m%d_%H%M%S")
    path = _free_path(directory, f"{stamp}_{new.owner}")
    return CheckpointFile(path if write else None, new, resumed=False)


def _new_checkpoint(source: str, target: str, rules: str, shard: str | None) -> Checkpoint:
    return Checkpoint("migration_" + short_digest(source, target, rules), source, target, rules, shard)


def short_digest(*texts: str) -> str:
    """Twelve hexadecimal digits that stand for these texts in the name of a file or of a migration."""
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:12]


def _shard_part(shard: str | None) -> str:
    return f"_shard_{shard.replace('/', '_of_')}" if shard else ""


def _clear(directory: str, mine: Checkpoint) -> None:
    """Remove the unfinished files of runs that were killed. A run without shards holds the lock of all shards, and theirs are dead as well."""
    owner = mine.owner if mine.shard else mine.owner + SOME_SHARD
    dead = re.compile(rf"\.{PREFIX}\d{{8}}_\d{{6}}_{owner}(_\d+)?\.json\.partial|\..+\.{owner}\.partial", re.ASCII)
    for name in os.listdir(directory):
        if dead.fullmatch(name):
            _forget(os.path.join(directory, name))


def _forget(path: str) -> None:
    try:
        os.unlink(path)
    except OSError as error:
        raise DiskError(f"{path} cannot be removed: {error.strerror}.") from None


def _require_directory(directory: str) -> None:
    if not os.path.isdir(directory):
        raise DiskError(f"state_directory {directory} does not exist. Create it (mode 0700) for the user that runs the migration, or give another one.")
    # What others plant there would be followed and written, often by root.
    check_private_directory(os.path.realpath(directory))
    if not os.access(directory, os.W_OK | os.X_OK):
        raise DiskError(f"state_directory {directory} cannot be written by this user.")


def _newest_first(directory: str) -> list[str]:
    names = (name for name in os.listdir(directory) if name.startswith(PREFIX) and name.endswith(".json"))
    return [os.path.join(directory, name) for name in sorted(names, reverse=True)]


def _load(path: str) -> Checkpoint | None:
    try:
        with open(path, encoding="utf-8") as file:
            values = shallow_json(file.read())
        return Checkpoint(**{name: values[name] for name in Checkpoint.__dataclass_fields__})
    except OSError as error:
        raise DiskError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError, KeyError, TypeError):
        raise UsageError(f"{path} is no readable checkpoint. Delete it: nothing is lost, the migration compares before it writes.") from None


def _free_path(directory: str, stamp: str) -> str:
    path = os.path.join(directory, f"{PREFIX}{stamp}.json")
    number = 2
    while os.path.exists(path):
        path = os.path.join(directory, f"{PREFIX}{stamp}_{number}.json")
        number += 1
    return path
