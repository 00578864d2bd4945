# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Is the output that a document shows what the command prints?

Everything counts but times, dates, ids, digests, decimals, sizes (up to 1,000 of a unit, or beyond) and the width of columns. A number that is a
result, one of percent or behind a word such as "lost" or "ratio", counts to its last digit; so do whole hours and days, which somebody chose.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Callable

SNAPSHOT_ID = re.compile(r"snapshot_\d{8}_\d{6}(?:_[A-Za-z0-9_-]+)?")


def _size(found: re.Match[str]) -> str:
    return "%s %s" % ("SIZE" if len(found["whole"]) <= 3 else "SIZE OF THOUSANDS", found["unit"])


def _decimal(found: re.Match[str]) -> str:
    return found[0] if found["named"] or found["percent"] else "N"


_MASKS: list[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]] = [
    (re.compile(r"snapshot_\d{8}_\d{6}"), "snapshot_ID"),
    (re.compile(r"(pre_migration|checkpoint|report|validation|monitoring|migration)_\d{8}_\d{6}\w*"), r"\1_ID"),
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"), "UUID"),
    (re.compile(r"\b(?=[0-9a-f]*[a-f])(?=[0-9a-f]*\d)[0-9a-f]{12,64}\b"), "DIGEST"),
    (re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)?)?"), "TIME"),
    (re.compile(r"(?<!\d)\d{8}[Tt_]?\d{6}Z?(?!\d)"), "TIME"),
    # How well a snapshot compresses depends on the ids in it, and on this machine's zlib.
    (re.compile(r"\d+\.\d+(?= % smaller than its content)"), "N"),
    # What this machine's disk has.
    (re.compile(r"\d+ MB (?=(?:are )?free\b)"), "SIZE MB "),
    (re.compile(r"(?<![\d.])(?P<whole>\d+)(?:\.\d+)?(?: |\n *)(?P<unit>[KMG]i?B)\b"), _size),
    (re.compile(r"(?P<named>\b(?:\w*_)?(?:lost|loss|ratio|percent)(?:_\w*)?\W{1,5})?(?<![\d.])\d+\.\d+(?:[eE]-?\d+)?(?![\d.]*\d)(?P<percent>\s*%)?"), _decimal),
    # Seconds since 1970.
    (re.compile(r"\b1\d{9}\b"), "TIME"),
    # Durations: "12 s", "4.1 ms", of "1 h 30 min" the minutes; a long text may be wrapped in one.
    (re.compile(r"\b(?:(?:\d+|N)(?: |\n *)(?:min|s|ms|seconds|minutes)\b ?)+"), "DURATION "),
    (re.compile(r"\b\d+\s+a\s+second"), "N a second"),
    (re.compile(r"core \d+\.\d+\.\w+"), "core VERSION"),
    (re.compile(r"\[[=.]+\]|[=.]{8,}"), "BAR"),
    (re.compile(r"[ *]*\*{3,}"), ""),
    (re.compile(r"\b(?:pid|process) \d+"), "process N"),
    # A line of the audit log: who did it.
    (re.compile(r"\b(manual|automatic|time_based) +\S+ +(?=[N\d])"), r"\1 USER "),
    (re.compile(r"\s+"), " "),
]


def masked(text: str) -> str:
    for pattern, name in _MASKS:
        text = pattern.sub(name, text)
    return text.strip()


def difference(shown: Sequence[str], printed: Sequence[str]) -> str | None:
    """None if they agree, else what is not as shown. "..." in the shown lines stands for anything.

    Line ends count as spaces: where Ansible wraps a text depends on the length of this machine's paths.
    """
    found = masked("\n".join(printed))
    pieces = [masked(piece) for piece in _ELLIPSIS.split("\n".join(shown))]
    place = 0
    for number, piece in enumerate(pieces):
        last = number == len(pieces) - 1
        start = found.find(piece, place) if not last else max(place, len(found) - len(piece))
        if number == 0 and start > 0 and not last:
            start = -1
        if start < 0 or (last and found[start:] != piece) or (number == 0 and last and found != piece):
            return "%r is not there. After what agrees comes %r" % (piece, found[place : place + 300])
        place = start + len(piece)
    return None


# Three dots by themselves; in the bar of a timeline there may be three as well.
_ELLIPSIS = re.compile(r"(?<![.=])\.\.\.(?![.=])")


_HOST = re.compile(r"(?:ok|changed|fatal|failed|skipping|included): \[?([\w.-]+)")


def by_host(printed: Sequence[str]) -> list[str]:
    """The hosts of each task in the order of their names: they come as they are ready."""
    ordered: list[str] = []
    chunks: list[tuple[str, list[str]]] = []
    for line in [*printed, ""]:
        host = _HOST.match(line)
        if host:
            chunks.append((host[1], [line]))
        elif chunks and line.strip():
            chunks[-1][1].append(line)
        else:
            ordered += [each for _host, lines in sorted(chunks, key=lambda chunk: chunk[0]) for each in lines]
            chunks = []
            ordered.append(line)
    return ordered[:-1]


def abridged(printed: Sequence[str]) -> list[str]:
    """Of a playbook's output what a reader wants: what tasks tell, failures, and the timeline. Other output as it is."""
    if not any(line.startswith("PLAY RECAP") for line in printed):
        return list(printed)
    kept: list[str] = []
    for block in "\n".join(printed).split("\n\n"):
        lines = [line for line in block.splitlines() if line.strip()]
        if any(line.endswith(("=> ", "=>")) or line.startswith(("fatal", "RUNBOOK", "decision")) for line in lines):
            kept += [line for line in lines if not line.startswith(("included:", "skipping:"))]
        elif kept[-1:] != ["..."]:
            kept.append("...")
    return kept
