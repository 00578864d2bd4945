# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""A directory of files as a snapshot sees it: what is in it, by which names, and whether it is still the same."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from .._errors import UsageError
from .._files import disk_errors

PERMISSIONS = 0o777
PART_BYTES = 8 << 20
HASHERS = 2
MAX_DEPTH = 16


@dataclass(frozen=True)
class TreeFile:
    """A regular file: its path below the root, and in how many parts its content is stored."""

    path: str
    mode: int
    size: int
    parts: int

    def as_dict(self) -> dict[str, Any]:
        return {"path": self.path, "mode": self.mode, "size": self.size, "parts": self.parts}


@dataclass(frozen=True)
class Tree:
    """Everything below a directory, each list sorted by path; `owner` is the root's uid and gid."""

    mode: int
    owner: tuple[int, int]
    directories: dict[str, int]
    files: list[TreeFile]
    # What tells that a file was touched since: it is not part of what is stored.
    signature: dict[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)

    def as_dict(self) -> dict[str, Any]:
        return {
            "mode": self.mode,
            "uid": self.owner[0],
            "gid": self.owner[1],
            "directories": [{"path": path, "mode": mode} for path, mode in self.directories.items()],
            "files": [file.as_dict() for file in self.files],
        }


def tree_from_dict(values: dict[str, Any]) -> Tree:
    """What a manifest says."""
    files = [TreeFile(file["path"], file["mode"], file["size"], file["parts"]) for file in values["files"]]
    return Tree(values["mode"], (values["uid"], values["gid"]), {entry["path"]: entry["mode"] for entry in values["directories"]}, files)


def scan_tree(root: str) -> Tree:
    """What is below a directory. UsageError names what is neither a directory nor a regular file: a copy of a link is no copy."""
    directories: dict[str, int] = {}
    files: list[TreeFile] = []
    signature: dict[str, tuple[int, ...]] = {}
    with disk_errors(root, "read"):
        status = os.lstat(root)
        for path, found in sorted(_walk(root, "")):
            if stat.S_ISDIR(found.st_mode):
                directories[path] = found.st_mode & PERMISSIONS
                continue
            if not stat.S_ISREG(found.st_mode):
                raise UsageError(f"{os.path.join(root, path)} is neither a directory nor a regular file. Move it out of the directory of the server.")
            files.append(TreeFile(path, found.st_mode & PERMISSIONS, found.st_size, -(-found.st_size // PART_BYTES)))
            signature[path] = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    return Tree(status.st_mode & PERMISSIONS, (status.st_uid, status.st_gid), directories, files, signature)


def _walk(root: str, below: str, depth: int = 1) -> Iterator[tuple[str, os.stat_result]]:
    if depth > MAX_DEPTH:
        raise UsageError(f"{os.path.join(root, below)} lies deeper than any directory of a server does.")
    with os.scandir(os.path.join(root, below)) as entries:
        for entry in entries:
            path = f"{below}/{entry.name}" if below else entry.name
            if not is_safe_path(path):
                raise UsageError(f"{os.path.join(root, path)!r} has a name that cannot be stored. Rename it, or move it out of the directory of the server.")
            found = entry.stat(follow_symlinks=False)
            yield path, found
            if stat.S_ISDIR(found.st_mode):
                yield from _walk(root, path, depth + 1)


def is_safe_path(path: str) -> bool:
    """Whether a path stays below the directory that it is put into, and is the only spelling of itself."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return False
    parts = path.split("/")
    return all(part not in ("", ".", "..") and "\0" not in part and len(part.encode("utf-8")) <= 255 for part in parts) and len(parts) <= MAX_DEPTH


def unsafe_paths(values: dict[str, Any]) -> list[str]:
    """In sentences, what paths a manifest holds that none of a scanned directory would."""
    directories, files = [entry["path"] for entry in values["directories"]], [entry["path"] for entry in values["files"]]
    problems = [f"It holds a path that leads out of its directory: {path!r}." for path in (*directories, *files) if not is_safe_path(path)]
    known = set(directories)
    if len(known | set(files)) != len(directories) + len(files):
        problems.append("It holds a path twice.")
    problems += [
        f"It holds {path!r} in a directory that it does not hold." for path in (*directories, *files) if "/" in path and path.rpartition("/")[0] not in known
    ]
    return problems


@dataclass(frozen=True)
class TreeDifference:
    """Paths of files: what a restoration would add, change and delete, and what is as it should be."""

    added: list[str]
    changed: list[str]
    deleted: list[str]
    unchanged: list[str]
    # Directories or permissions differ.
    shape: bool = False

    @property
    def empty(self) -> bool:
        return not (self.added or self.changed or self.deleted or self.shape)


def compare_tree(expected: Tree, hashes: Sequence[Sequence[str]], root: str) -> TreeDifference:
    """A directory against what is stored: `hashes` are the SHA-256 of the parts of each file of `expected`."""
    if not os.path.lexists(root):
        return TreeDifference([file.path for file in expected.files], [], [], [], True)
    found = scan_tree(root)
    there = {file.path: file for file in found.files}
    wanted = {file.path for file in expected.files}
    with ThreadPoolExecutor(HASHERS, thread_name_prefix="tree-hasher") as threads:
        same = {
            file.path: threads.submit(part_hashes, os.path.join(root, file.path))
            for file in expected.files
            if file.path in there and there[file.path].size == file.size
        }
        unchanged = [file.path for file, parts in zip(expected.files, hashes) if file.path in same and same[file.path].result() == list(parts)]
    good = set(unchanged)
    modes = {file.path: file.mode for file in expected.files}
    return TreeDifference(
        added=[path for path in modes if path not in there],
        changed=[path for path in modes if path in there and path not in good],
        deleted=[path for path in there if path not in wanted],
        unchanged=unchanged,
        shape=found.directories != expected.directories or any(there[path].mode != modes[path] for path in good),
    )


def part_hashes(path: str) -> list[str]:
    """The SHA-256 of each part of a file, as it lies on the disk."""
    hashes: list[str] = []
    with disk_errors(path, "read"):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            while True:
                part = file.read(PART_BYTES)
                if not part:
                    return hashes
                hashes.append(hashlib.sha256(part).hexdigest())
