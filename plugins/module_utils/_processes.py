# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""The processes of this host, as far as this user may look at them in /proc."""

from __future__ import annotations

import os
from collections.abc import Collection


def processes() -> list[int]:
    """The ids of all processes that can be seen; OSError without /proc."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def has_open(pid: int, nodes: Collection[tuple[int, int]]) -> bool:
    """Whether a process has one of these files open, each given as (st_dev, st_ino); False where that may not be seen."""
    folder = f"/proc/{pid}/fd"
    try:
        descriptors = os.listdir(folder)
    except OSError:
        return False
    for descriptor in descriptors:
        try:
            status = os.stat(f"{folder}/{descriptor}")
        except OSError:
            continue
        if (status.st_dev, status.st_ino) in nodes:
            return True
    return False


def started(pid: object) -> str | None:
    """The kernel's start time of a process, which tells it from a later one with the same id; None when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None
