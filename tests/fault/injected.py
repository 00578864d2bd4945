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
import threading
from dataclasses import dataclass
from typing import Any, Callable

FSYNC, RENAME, UNLINK, MKDIR, WRITE, SEND = "fsync", "rename", "unlink", "mkdir", "write", "send"
LASTING = ("ENOSPC", "EDQUOT", "EROFS")
_NEEDS_DISK = (WRITE, FSYNC, RENAME, MKDIR)


@dataclass(frozen=True)
class Point:
    """The `number`-th step of the run (from 0) and what it did, for the messages."""

    number: int
    kind: str
    what: str

    def __str__(self) -> str:
        return f"{self.kind} #{self.number} {self.what}"


class Injector:
    """Counts steps in `points`; at step `at` it does `action` (None: it only counts)."""

    def __init__(self, at: int | None = None, action: str = "kill") -> None:
        self.points: list[Point] = []
        self.acted: Point | None = None
        self._at, self._action = at, action
        self._lock = threading.Lock()

    def step(self, kind: str, what: str, torn: Callable[[], None]) -> None:
        """Called before a step; `torn` does half of it."""
        with self._lock:
            point = Point(len(self.points), kind, what)
            self.points.append(point)
            here = self._at is not None and point.number == self._at
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


def inject(injector: Injector) -> None:
    """From now on every step of this process goes through the injector."""
    real = {name: getattr(os, name) for name in ("fsync", "rename", "replace", "unlink", "mkdir", "write")}
    names: dict[int, str] = {}

    def name_of(descriptor: int) -> str:
        try:
            return os.path.basename(os.readlink("/proc/self/fd/%d" % descriptor))
        except OSError:
            return names.get(descriptor, "?")

    def nothing() -> None:
        """There is no half of this step."""

    def fsync(descriptor: Any) -> None:
        number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
        injector.step(FSYNC, name_of(number), nothing)
        real["fsync"](descriptor)

    def moved(name: str) -> Callable[..., None]:
        def move(old: Any, new: Any, **rest: Any) -> None:
            injector.step(RENAME, os.path.basename(str(new)), nothing)
            real[name](old, new, **rest)

        return move

    def unlink(path: Any, **rest: Any) -> None:
        injector.step(UNLINK, os.path.basename(str(path)), nothing)
        real["unlink"](path, **rest)

    def mkdir(path: Any, *mode: Any, **rest: Any) -> None:
        injector.step(MKDIR, os.path.basename(str(path)), nothing)
        real["mkdir"](path, *mode, **rest)

    def write(descriptor: int, data: Any) -> int:
        view = memoryview(data)
        injector.step(WRITE, "%s, %d bytes" % (name_of(descriptor), len(view)), lambda: real["write"](descriptor, view[: len(view) // 2]))
        return int(real["write"](descriptor, data))

    os.fsync, os.rename, os.replace, os.unlink = fsync, moved("rename"), moved("replace"), unlink  # type: ignore[assignment]
    os.mkdir, os.write = mkdir, write
    real_send = socket.socket.sendall

    def sendall(self: socket.socket, data: Any, *flags: Any) -> None:
        view = memoryview(data).cast("B")
        first = bytes(view[:60]).split(b"\r\n", 1)[0].decode("ascii", "replace")
        injector.step(SEND, first if first.isprintable() else "%d bytes" % len(view), lambda: real_send(self, view[: len(view) // 2]))
        real_send(self, data, *flags)

    socket.socket.sendall = sendall  # type: ignore[method-assign, assignment]
