# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a power cut would undo, judged by the order of the steps of one whole run: SIGKILL leaves the kernel's cache, and so never shows it.

- A file, or a folder with everything in it, is on the disk as it is now before it gets its final name.
- The folder is on the disk after a rename, before the same thread does anything else.
- A line of a journal or of the audit log is on the disk before the same thread does anything else.
- That the operation began is in the audit log, on the disk, before its first request that writes and its first step beside a server's directory.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence

from .injected import EXCHANGED, FSYNC, MKDIR, RENAME, SEND, WRITE, Point

AUDIT = "rollback_audit.jsonl"
READING = re.compile(r"^(GET|HEAD|OPTIONS) |^POST \S*/(get|query|search)[ ?]")


def durability_violations(points: Sequence[Point], action: str | None, data: str = "") -> list[str]:
    """`action`: what the audit log calls the run (None: it tells it nothing); `data`: the directory of a stopped server that it may change."""
    return [*_renames(points), *_lines(points), *(_begun(points, action, data) if action is not None else ())]


def _following(points: Sequence[Point], point: Point) -> list[Point]:
    """What the same thread did afterwards."""
    return [later for later in points[point.number + 1 :] if later.thread == point.thread]


def _renames(points: Sequence[Point]) -> Iterator[str]:
    synced: set[tuple[object, ...]] = set()
    old = ""
    for point in points:
        if point.kind == FSYNC:
            synced.add(tuple(point.state))
        elif point.kind == RENAME:
            states = [tuple(state) for state in point.state]
            unsynced = [state for state in states if state not in synced]
            # An exchange leaves what was there under the name that the new one had; it is moved away as its server left it.
            if unsynced and point.origin != old:
                yield "%s: %d of %d parts of it were not on the disk as they are" % (point, len(unsynced), len(states))
            old = point.origin if point.what.endswith(EXCHANGED) else ""
            folder = os.path.dirname(point.path)
            rest = (later for later in _following(points, point) if later.kind != RENAME or os.path.dirname(later.path) != folder)
            following = next(rest, None)
            if following is None or following.kind != FSYNC or following.path != folder:
                yield "%s: its folder was not synced before %s" % (point, following or "the end")


def _lines(points: Sequence[Point]) -> Iterator[str]:
    for point in points:
        if point.kind == WRITE and point.path.endswith(".jsonl"):
            following = next((later for later in _following(points, point) if later.kind != WRITE or later.path != point.path), None)
            if following is None or following.kind != FSYNC or following.path != point.path:
                yield "%s: the line was not synced before %s" % (point, following or "the end")


def _begun(points: Sequence[Point], action: str, data: str) -> Iterator[str]:
    begun = len(points)
    for point in points:
        if point.kind == WRITE and point.what.startswith(AUDIT) and _says(point.origin, action):
            begun = next((later.number for later in _following(points, point) if later.kind == FSYNC and later.path == point.path), len(points))
            break
    for point in points[:begun]:
        writing = point.kind == SEND and re.match("(POST|PUT|PATCH|DELETE) ", point.path) and not READING.match(point.path)
        if writing or (data and point.kind in (RENAME, MKDIR) and os.path.dirname(point.path) == os.path.dirname(data)):
            yield "%s: the audit log did not hold that %s began" % (point, action)
    if begun == len(points):
        yield "the audit log does not hold that %s began" % action


def _says(line: str, action: str) -> bool:
    entry = json.loads(line)
    return (entry["action"], entry["status"]) == (action, "initiated")
