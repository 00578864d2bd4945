# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""The directory that holds snapshots: where its files are, what they are called, who may change it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

from .._encryption import EncryptionKey
from .._errors import DiskError, UsageError
from .._files import absolute_path, check_private_directory, disk_error, make_private_directory

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
SNAPSHOT_ID = re.compile(r"snapshot_\d{8}_\d{6}(?:_[A-Za-z0-9_-]{1,64})?", re.ASCII)
# The name of the snapshots that a rollback takes of what it is about to change: never what `latest` means.
SAFETY_NAME = "before_rollback"
# How long a snapshot is kept where nobody says, and one of a rollback.
RETENTION_DAYS = SAFETY_RETENTION_DAYS = 7
ARCHIVE_SUFFIX = ".tar.gz"
ENCRYPTED_SUFFIXES = (".age", ".gpg")
MANIFEST_SUFFIX = ".json"
PARTIAL_SUFFIX = ".partial"


@dataclass(frozen=True)
class SnapshotStore:
    """One directory of snapshots; `directory` is absolute and free of links."""

    directory: str
    # What encrypted archives are written and read with.
    key: EncryptionKey | None = field(default=None, compare=False)

    @property
    def snapshots(self) -> str:
        return os.path.join(self.directory, "snapshots")

    @property
    def manifests(self) -> str:
        return os.path.join(self.directory, "manifests")

    @property
    def logs(self) -> str:
        return os.path.join(self.directory, "logs")

    def archive_path(self, snapshot_id: str) -> str:
        """Where the archive is; where it would be, in plain, when there is none."""
        plain = os.path.join(self.snapshots, check_snapshot_id(snapshot_id) + ARCHIVE_SUFFIX)
        return next((plain + suffix for suffix in ENCRYPTED_SUFFIXES if os.path.lexists(plain + suffix)), plain)

    def new_archive_path(self, snapshot_id: str) -> str:
        """Where a new archive will be."""
        return os.path.join(self.snapshots, check_snapshot_id(snapshot_id) + ARCHIVE_SUFFIX) + (f".{self.key.tool}" if self.key else "")

    def manifest_path(self, snapshot_id: str) -> str:
        return os.path.join(self.manifests, check_snapshot_id(snapshot_id) + MANIFEST_SUFFIX)

    def partial_path(self, snapshot_id: str) -> str:
        return os.path.join(self.snapshots, f".{check_snapshot_id(snapshot_id)}{ARCHIVE_SUFFIX}{PARTIAL_SUFFIX}")


def open_store(directory: str | SnapshotStore, *, for_writing: bool = False, create: bool = True, key: EncryptionKey | None = None) -> SnapshotStore:
    """The store in an existing directory.

    DiskError when the directory is missing or (for writing) cannot be written; UsageError when somebody else could change it,
    or when it is a relative path.
    `for_writing` creates the folders inside, never the directory itself: a wrong path must not fill the wrong disk. Without
    `create` it fails just so, but creates nothing: that is for check mode.
    """
    if isinstance(directory, SnapshotStore):
        return directory
    path = os.path.realpath(absolute_path("directory", directory))
    try:
        names = os.listdir(path)
    except FileNotFoundError:
        raise DiskError(f"The snapshot directory {directory} does not exist. Create it (mode 0700), or set another directory.", path=directory) from None
    except NotADirectoryError:
        raise DiskError(f"The snapshot directory {directory} is not a directory. Set another one.", path=directory) from None
    except OSError as error:
        raise disk_error(directory, error, "read the snapshot directory") from error
    check_private_directory(path)
    store = SnapshotStore(path, key)
    folders = (store.snapshots, store.manifests, store.logs)
    for folder in folders:
        if os.path.basename(folder) in names:
            check_private_directory(folder)
    if for_writing:
        if not os.access(path, os.W_OK | os.X_OK):
            raise DiskError(f"The snapshot directory {directory} cannot be written. Run as its owner, or set another directory.", path=directory)
        for folder in folders:
            if create:
                make_private_directory(folder)
            if os.path.lexists(folder) and not os.access(folder, os.W_OK | os.X_OK):
                raise DiskError(f"{folder} cannot be written. Run as its owner, or set another directory.", path=folder)
    return store


def archive_id(name: str) -> str | None:
    """The snapshot that a file of this name is the archive of."""
    suffixes = (ARCHIVE_SUFFIX, *(ARCHIVE_SUFFIX + suffix for suffix in ENCRYPTED_SUFFIXES))
    found = next((name[: -len(suffix)] for suffix in suffixes if name.endswith(suffix)), "")
    return found if SNAPSHOT_ID.fullmatch(found) else None


def check_snapshot_id(snapshot_id: str) -> str:
    """The id itself; UsageError when it is none, so that it can never lead out of the store."""
    if not isinstance(snapshot_id, str) or SNAPSHOT_ID.fullmatch(snapshot_id) is None:
        raise UsageError(f"{snapshot_id!r} is no snapshot id. An id looks like snapshot_20250131_235959 or snapshot_20250131_235959_before-upgrade.")
    return snapshot_id


def new_snapshot_id(store: SnapshotStore, name: str | None, now: datetime | None = None) -> str:
    """An id that this store does not hold yet: the time in UTC, and the name. Where the second is taken, the next free one."""
    if name is not None and NAME.fullmatch(name) is None:
        raise UsageError(f"The name {name!r} of a snapshot must be 1 to 64 letters, digits, '_' or '-'.")
    moment = (now or datetime.now(timezone.utc)).astimezone(timezone.utc)
    taken = taken_seconds(store)
    while moment.strftime("%Y%m%d_%H%M%S") in taken:
        moment += timedelta(seconds=1)
    return f"snapshot_{moment:%Y%m%d_%H%M%S}" + (f"_{name}" if name else "")


def taken_seconds(store: SnapshotStore) -> set[str]:
    """The times in the ids of all files that are there, finished or not."""
    found = set()
    for folder in (store.snapshots, store.manifests):
        for name in list_folder(folder):
            match = re.match(r"\.?snapshot_(\d{8}_\d{6})", name)
            if match:
                found.add(match.group(1))
    return found


def list_folder(folder: str) -> list[str]:
    """The names in a folder, sorted; none when the folder is not there."""
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise disk_error(folder, error, "read") from error


def snapshot_ids(store: SnapshotStore) -> list[str]:
    """The ids that have a manifest, newest first; only these are snapshots."""
    ids = [name[: -len(MANIFEST_SUFFIX)] for name in list_folder(store.manifests) if name.endswith(MANIFEST_SUFFIX)]
    return sorted((snapshot_id for snapshot_id in ids if SNAPSHOT_ID.fullmatch(snapshot_id)), reverse=True)


def partial_files(store: SnapshotStore) -> list[str]:
    """The paths of what killed runs left behind."""
    return [
        os.path.join(folder, name)
        for folder in (store.snapshots, store.manifests)
        for name in list_folder(folder)
        if name.startswith(".") and name.endswith(PARTIAL_SUFFIX)
    ]


def remove_partials(store: SnapshotStore) -> list[str]:
    """Delete what killed runs left behind. Only for the holder of the store's lock: a running writer has such a file too."""
    removed = []
    for path in partial_files(store):
        try:
            os.unlink(path)
        except OSError as error:
            raise disk_error(path, error, "remove") from error
        removed.append(path)
    return removed


def snapshot_time(snapshot_id: str) -> datetime:
    """The moment in the id, UTC; ValueError for a date that does not exist."""
    return datetime.strptime(snapshot_id[9:24], "%Y%m%d_%H%M%S").replace(tzinfo=timezone.utc)


def snapshot_name(snapshot_id: str) -> str | None:
    """The name in the id."""
    return snapshot_id[25:] or None
