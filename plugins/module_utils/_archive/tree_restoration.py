# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Puts the directory of a snapshot back: built beside the one that is there, checked, and exchanged with it in one step.

The directory that was there keeps its files, under another name, until the new one is proved to be in its place.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from .._errors import DiskError, IntegrityError, UnsafeArchiveError, UsageError
from .._files import PRIVATE_DIRECTORY, PRIVATE_FILE, disk_errors, fsync_directory, require_free_space, write_all
from .container import ContainerReader, Entry
from .manifest import Manifest
from .tree import HASHERS, Tree, part_hashes, unsafe_paths

RENAME_EXCHANGE = 2
SPACE_FACTOR = 1.02
NEW_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class TreeRestoration:
    """One directory on its way back. `build`, `exchange`, and then `discard` or `undo`; `clean` first takes away what a killed run left."""

    def __init__(self, manifest: Manifest, target: str) -> None:
        self.manifest = manifest
        self.tree: Tree = manifest.tree
        self.target = target
        self.parent, name = os.path.split(target)
        self.beside = os.path.join(self.parent, f".{name}.rollback")
        self.aside = os.path.join(self.parent, f".{name}.before_rollback")
        problems = unsafe_paths(manifest.values["tree"])
        if problems:
            raise UnsafeArchiveError(f"The snapshot {manifest.snapshot_id} must not be used: {problems[0]}", problems=problems)

    def require_possible(self) -> None:
        """UsageError or DiskError when the directory cannot be exchanged, before anything is done."""
        if os.path.ismount(self.target):
            raise UsageError(f"{self.target} is a mount point, and cannot be exchanged. Let the server keep its data in a directory below it.")
        if not os.path.isdir(self.parent):
            raise UsageError(f"data_directory: {self.parent} is not there. Create it first.")
        if not os.access(self.parent, os.W_OK | os.X_OK):
            raise DiskError(f"{self.parent} cannot be written, and the directory is built there. Run as its owner.", path=self.parent)
        require_free_space(self.parent, int(SPACE_FACTOR * self.tree.size))

    def clean(self) -> None:
        """Take away what a killed run left: a half-built directory goes, and the one that was there returns."""
        with disk_errors(self.parent, "clear"):
            if os.path.lexists(self.aside):
                if os.path.lexists(self.target):
                    shutil.rmtree(self.aside)
                else:
                    os.rename(self.aside, self.target)
                fsync_directory(self.parent)
            if os.path.lexists(self.beside):
                shutil.rmtree(self.beside)

    def build(self, container: ContainerReader) -> None:
        """Write everything beside the target, durably, and read it back; IntegrityError when it is not what the snapshot says."""
        owner = self._owner()
        with disk_errors(self.beside, "write"):
            os.mkdir(self.beside, PRIVATE_DIRECTORY)
            root = os.open(self.beside, NEW_DIRECTORY)
            try:
                for path in sorted(self.tree.directories):
                    with _opened(root, _above(path)) as above:
                        os.mkdir(os.path.basename(path), PRIVATE_DIRECTORY, dir_fd=above)
                for file, parts in zip(self.tree.files, self.manifest.part_entries()):
                    with _opened(root, _above(file.path)) as above:
                        _write_file(above, os.path.basename(file.path), file.mode, _contents(container, parts), owner)
                # Permissions last, the deepest first: until then only this user can look inside.
                for path in sorted(self.tree.directories, reverse=True):
                    with _opened(root, path) as directory:
                        _finish(directory, self.tree.directories[path], owner)
                _finish(root, self.tree.mode, owner)
            finally:
                os.close(root)
            fsync_directory(self.parent)
        self._read_back()

    def _owner(self) -> tuple[int, int] | None:
        """Whom the files will belong to: whoever the directory belongs to now, else who it belonged to. None when only root could say so."""
        if os.geteuid() != 0:
            return None
        try:
            status = os.lstat(self.target)
        except FileNotFoundError:
            return self.tree.owner
        return status.st_uid, status.st_gid

    def _read_back(self) -> None:
        with ThreadPoolExecutor(HASHERS, thread_name_prefix="tree-hasher") as threads:
            found = threads.map(part_hashes, [os.path.join(self.beside, file.path) for file in self.tree.files])
            for file, parts, hashes in zip(self.tree.files, self.manifest.part_entries(), found):
                if hashes != [entry.sha256 for entry in parts]:
                    raise IntegrityError(f"{os.path.join(self.beside, file.path)} is not what was written to it. Look at the file system and the kernel's log.")

    def exchange(self) -> None:
        """The built directory takes the target's place, in one step where the kernel and the file system can do that."""
        with disk_errors(self.target, "exchange"):
            if os.path.lexists(self.target):
                if not _exchange(self.beside, self.target):
                    # Between these two there is no directory; `clean` puts the old one back.
                    os.rename(self.target, self.aside)
                    os.rename(self.beside, self.target)
                else:
                    os.rename(self.beside, self.aside)
            else:
                os.rename(self.beside, self.target)
            fsync_directory(self.parent)

    def old_files(self) -> list[str]:
        """The files that were there before, where they are now."""
        return [os.path.join(folder, name) for folder, _folders, names in os.walk(self.aside) for name in names]

    def abandon(self) -> None:
        """After a failure: nothing half-built stays, and the directory that was there is in its place."""
        with disk_errors(self.parent, "clear"):
            if os.path.lexists(self.aside) and not os.path.lexists(self.target):
                os.rename(self.aside, self.target)
            if os.path.lexists(self.beside):
                shutil.rmtree(self.beside)

    def undo(self) -> None:
        """The directory that was there takes its place again."""
        with disk_errors(self.target, "exchange"):
            if os.path.lexists(self.aside):
                os.rename(self.target, self.beside)
                os.rename(self.aside, self.target)
                shutil.rmtree(self.beside)
                fsync_directory(self.parent)

    def discard(self) -> None:
        """The directory that was there goes for good."""
        with disk_errors(self.aside, "remove"):
            if os.path.lexists(self.aside):
                shutil.rmtree(self.aside)
                fsync_directory(self.parent)


def _above(path: str) -> str:
    return path.rpartition("/")[0]


@contextmanager
def _opened(root: int, path: str) -> Iterator[int]:
    """A directory below the root, opened name by name, so that no link that somebody puts in the way is followed."""
    descriptor = os.dup(root)
    try:
        for name in filter(None, path.split("/")):
            inner = os.open(name, NEW_DIRECTORY, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
        yield descriptor
    finally:
        os.close(descriptor)


def _write_file(directory: int, name: str, mode: int, contents: Iterator[bytes], owner: tuple[int, int] | None) -> None:
    descriptor = os.open(name, NEW_FILE, PRIVATE_FILE, dir_fd=directory)
    try:
        for content in contents:
            write_all(descriptor, content)
        _finish(descriptor, mode, owner)
    finally:
        os.close(descriptor)


def _contents(container: ContainerReader, parts: list[Entry]) -> Iterator[bytes]:
    """The checked content of each part; the next one is read and checked while the caller writes this one."""
    with ThreadPoolExecutor(1, thread_name_prefix="archive-reader") as thread:
        coming = [thread.submit(container.read, entry) for entry in parts[:1]]
        for position in range(len(parts)):
            content = coming.pop().result()
            coming += [thread.submit(container.read, entry) for entry in parts[position + 1 : position + 2]]
            yield content


def _finish(descriptor: int, mode: int, owner: tuple[int, int] | None) -> None:
    if owner is not None:
        os.fchown(descriptor, *owner)
    os.fchmod(descriptor, stat.S_IMODE(mode))
    os.fsync(descriptor)


def _exchange(one: str, other: str) -> bool:
    """Exchange two names in one step; False where that is not known."""
    library = ctypes.CDLL(None, use_errno=True)
    call = getattr(library, "renameat2", None)
    if call is None:
        return False
    here = -100  # AT_FDCWD
    if call(here, os.fsencode(one), here, os.fsencode(other), ctypes.c_uint(RENAME_EXCHANGE)) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
        return False
    raise OSError(number, os.strerror(number), other)
