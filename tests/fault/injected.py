# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes one step of this process go wrong: the n-th fsync, rename, removal, write or send.

Every way in which the product changes a file or asks a server for something passes through a handful of functions of
`os` and `socket`; `inject` replaces those by counting ones. It works without root, and in the one process that it is called in.

An action is what happens at a point:

    kill         SIGKILL before the step
    torn         half of the bytes of a write or a send, then SIGKILL
    ENOSPC …     the step fails with this error, and so does every later one of its family that needs the disk (a full disk stays full)
    EIO          the step fails with this error, once
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Callable

FSYNC, RENAME, UNLINK, MKDIR, WRITE, SEND = "fsync", "rename", "unlink", "mkdir", "write", "send"
EXCHANGED = ", exchanged"
LASTING = ("ENOSPC", "EDQUOT", "EROFS")
_NEEDS_DISK = (WRITE, FSYNC, RENAME, MKDIR)


@dataclass(frozen=True)
class Point:
    """The `number`-th step of the run (from 0) and what it did, for the messages."""

    number: int
    kind: str
    what: str
    # For durability.py: the thread; the whole path, or the first line of a request; where a rename came from, or the line that is written to a
    # log; and the state of what is synced or renamed: device, inode, size and time of change, of a folder those of everything in it.
    thread: int = 0
    path: str = ""
    origin: str = ""
    state: tuple[Any, ...] = ()

    def __str__(self) -> str:
        return f"{self.kind} #{self.number} {self.what}"


class Injector:
    """Counts steps in `points`; at step `at` it does `action` (None: it only counts).

    `of`: kinds of steps; then it is the `at`-th of these alone, whatever other threads did meanwhile.
    """

    def __init__(self, at: int | None = None, action: str = "kill", of: Sequence[str] = ()) -> None:
        self.points: list[Point] = []
        self.acted: Point | None = None
        self._at, self._action, self._of = at, action, of
        self._counted = 0
        self._lock = threading.Lock()

    def step(self, kind: str, what: str, torn: Callable[[], None], path: str = "", origin: str = "", state: tuple[Any, ...] = ()) -> None:
        """Called before a step; `torn` does half of it."""
        with self._lock:
            point = Point(len(self.points), kind, what, threading.get_ident(), path, origin, state)
            self.points.append(point)
            counts = not self._of or kind in self._of
            here = counts and self._counted == self._at
            self._counted += counts
            if here:
                self.acted = point
            lasting = self.acted is not None and self._action in LASTING and kind in _NEEDS_DISK
        if here and self._action in ("kill", "torn"):
            if self._action == "torn":
                torn()
            os.kill(os.getpid(), signal.SIGKILL)
        if (here or lasting) and self._action not in ("kill", "torn"):
            number = getattr(errno, self._action)
            raise OSError(number, os.strerror(number))


def state_of(place: int | str) -> tuple[Any, ...]:
    """Which file it is and whether it changed; its permissions and names do not count."""
    status = os.stat(place) if isinstance(place, int) else os.lstat(place)
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def states_below(path: str) -> tuple[Any, ...]:
    """The states of a file, or of a folder and everything in it."""
    found = [state_of(path)]
    for folder, folders, files in os.walk(path):
        found += [state_of(os.path.join(folder, name)) for name in [*folders, *files]]
    return tuple(found)


def inject(injector: Injector) -> None:
    """From now on every step of this process goes through the injector."""
    real = {name: getattr(os, name) for name in ("fsync", "rename", "replace", "unlink", "rmdir", "mkdir", "write")}

    def path_of(descriptor: int) -> str:
        try:
            return os.readlink("/proc/self/fd/%d" % descriptor)
        except OSError:
            return "?"

    def nothing() -> None:
        """There is no half of this step."""

    def fsync(descriptor: Any) -> None:
        number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
        path = path_of(number)
        injector.step(FSYNC, os.path.basename(path), nothing, path, state=state_of(number))
        real["fsync"](descriptor)

    def before_rename(old: Any, new: Any, how: str = "") -> None:
        origin = os.path.abspath(str(old))
        injector.step(RENAME, os.path.basename(str(new)) + how, nothing, os.path.abspath(str(new)), origin, states_below(origin))

    def moved(name: str) -> Callable[..., None]:
        def move(old: Any, new: Any, **rest: Any) -> None:
            before_rename(old, new)
            real[name](old, new, **rest)

        return move

    def removed(name: str) -> Callable[..., None]:
        def remove(path: Any, **rest: Any) -> None:
            injector.step(UNLINK, os.path.basename(str(path)), nothing)
            real[name](path, **rest)

        return remove

    def mkdir(path: Any, *mode: Any, **rest: Any) -> None:
        injector.step(MKDIR, os.path.basename(str(path)), nothing, "" if rest else os.path.abspath(str(path)))
        real["mkdir"](path, *mode, **rest)

    def write(descriptor: int, data: Any) -> int:
        view, path = memoryview(data), path_of(descriptor)
        what = "%s, %d bytes" % (os.path.basename(path), len(view))
        line = bytes(view).decode("ascii", "replace") if path.endswith(".jsonl") else ""
        injector.step(WRITE, what, lambda: real["write"](descriptor, view[: len(view) // 2]), path, line)
        return int(real["write"](descriptor, data))

    # renameat2, which exchanges two folders, is no function of `os`.
    restoration = sys.modules.get("ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.tree_restoration")
    if restoration is not None:
        real_exchange = restoration._exchange

        def exchange(one: str, other: str) -> bool:
            before_rename(one, other, EXCHANGED)
            return bool(real_exchange(one, other))

        restoration._exchange = exchange  # type: ignore[attr-defined]

    os.fsync, os.rename, os.replace = fsync, moved("rename"), moved("replace")  # type: ignore[assignment]
    os.unlink, os.rmdir, os.mkdir, os.write = removed("unlink"), removed("rmdir"), mkdir, write  # type: ignore[assignment]
    real_send = socket.socket.sendall

    def sendall(self: socket.socket, data: Any, *flags: Any) -> None:
        view = memoryview(data).cast("B")
        line = bytes(view[:500]).split(b"\r\n", 1)[0].decode("ascii", "replace")
        first = line[:60]
        what = first if first.isprintable() else "%d bytes" % len(view)
        injector.step(SEND, what, lambda: real_send(self, view[: len(view) // 2]), line)
        real_send(self, data, *flags)

    socket.socket.sendall = sendall  # type: ignore[method-assign, assignment]
