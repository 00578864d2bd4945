# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What must hold after something died, judged without any code of the product. Each function returns violations as lines.

- Only complete snapshots are visible: whatever has a manifest has an archive of exactly the bytes that it names, and holds what the server held.
- Each record is the old one or the expected one, or the journal says that it is being replaced.
- The audit log is a chain, begins an operation before its first effect, and at the end holds how it ended.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.support.equality import contents_differences, record_differences, typed
from tests.support.raw import Contents, Record

SHOWN = 5


def store_violations(store: Path) -> list[str]:
    """Manifests without a complete archive."""
    found = []
    for manifest in sorted((store / "manifests").glob("*.json")):
        archive = store / "snapshots" / (manifest.stem + ".tar.gz")
        try:
            values = json.loads(manifest.read_bytes())
            data = archive.read_bytes()
        except (OSError, ValueError) as error:
            found.append("%s is visible and not complete: %s" % (manifest.stem, error))
            continue
        if len(data) != values["archive_bytes"] or hashlib.sha256(data).hexdigest() != values["checksum_sha256"]:
            found.append("%s is visible, and its archive is another one than the manifest says" % manifest.stem)
    return found


def visible(store: Path) -> list[str]:
    """The ids of the snapshots, in the order in which they were written, whatever their clocks said."""
    return [path.stem for path in sorted((store / "manifests").glob("*.json"), key=lambda path: path.stat().st_mtime_ns)]


def leftovers(store: Path) -> list[str]:
    return ["%s was left behind" % path.relative_to(store) for path in sorted(store.rglob("*.partial"))]


def mode_violations(directory: Path) -> list[str]:
    """The directory itself, and files and folders in it, that others could read."""
    found = []
    for path in [directory, *sorted(directory.rglob("*"))]:
        mode = path.lstat().st_mode & 0o777
        if mode & 0o077:
            found.append("%s has mode %04o" % (path.relative_to(directory), mode))
    return found


def record_violations(
    old: Mapping[str, Contents], expected: Mapping[str, Contents], actual: Mapping[str, Contents], away: Iterable[tuple[str, str]]
) -> list[str]:
    """Records that are neither the old nor the expected ones. `away`: (collection, id) of the records that a journal says are being replaced."""
    found = []
    replaced = set(away)
    seen = _with_swapped(actual)
    for name in sorted({*old, *expected, *seen}):
        before, after, now = old.get(name), expected.get(name), seen.get(name)
        if now is None:
            if before is not None and after is not None:
                found.append("collection %r is gone" % name)
            continue
        if before is None and after is None:
            found.append("collection %r came from nowhere" % name)
            continue
        # A swapped collection waits under its own name or beside it; its parts are not mixed.
        spaces = {one.space for one in (before, after) if one is not None}
        if now.space not in spaces:
            found.append("%s: space %s is neither" % (name, now.space))
        known = [typed(one.metadata or None) for one in (before, after) if one is not None]
        if typed(now.metadata or None) not in known:
            found.append("%s: collection metadata %r is neither" % (name, now.metadata))
        for record_id in {*(before.records if before else ()), *(after.records if after else ()), *now.records}:
            line = _record_violation(
                before.records.get(record_id) if before else None, after.records.get(record_id) if after else None, now.records.get(record_id),
                now.space, (name, record_id) in replaced,
            )  # fmt: skip
            if line:
                found.append("%s: id %.60r %s" % (name, record_id, line))
    return found


def _record_violation(before: Record | None, after: Record | None, now: Record | None, space: str, away: bool) -> str | None:
    if now is None:
        return None if before is None or after is None or away else "is gone"
    if before is None and after is None:
        return "came from nowhere"
    lines = [record_differences(one, now, space) for one in (before, after) if one is not None]
    return None if [] in lines else "is neither the old nor the expected one: %s" % "; ".join(lines[-1])


def _with_swapped(actual: Mapping[str, Contents]) -> dict[str, Contents]:
    """Collections by the name that they have, or had before a swap put them aside; those that are being built do not count."""
    found = {name: contents for name, contents in actual.items() if "__rb_" not in name and "__old_" not in name}
    for name, contents in actual.items():
        if "__old_" in name:
            found.setdefault(name.split("__old_")[0], contents)
    return found


def journalled(*journals: Path) -> list[tuple[str, str]]:
    """The records that are away according to the journals; torn last lines do not count."""
    away: list[tuple[str, str]] = []
    for journal in journals:
        for line in journal.read_bytes().split(b"\n")[:-1] if journal.exists() else []:
            entry = json.loads(line)
            named = [(entry["collection"].split("__rb_")[0], record_id) for record_id in entry["ids"]]
            away = away + named if entry["state"] == "replacing" else [one for one in away if one not in named]
    return away


def equality_violations(expected: Mapping[str, Contents], actual: Mapping[str, Contents], index_settings: bool = True) -> list[str]:
    return contents_differences(expected, actual, index_settings)[:SHOWN]


# Directories of servers


def tree_of(directory: Path) -> dict[str, str]:
    """Every file and folder below it: permissions, and the checksum of what a file holds."""
    found = {}
    for path in sorted(directory.rglob("*")):
        content = "folder" if path.is_dir() else hashlib.sha256(path.read_bytes()).hexdigest()
        found[str(path.relative_to(directory))] = "%04o %s" % (path.lstat().st_mode & 0o7777, content)
    return found


# The audit log


def audit_entries(store: Path) -> list[dict[str, Any]]:
    """The whole lines."""
    path = store / "logs" / "rollback_audit.jsonl"
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]] if path.exists() else []


def chain_violations(store: Path) -> list[str]:
    path = store / "logs" / "rollback_audit.jsonl"
    expected = "0" * 64
    found = []
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1] if path.exists() else [], start=1):
        try:
            entry = json.loads(line)
        except ValueError:
            return ["audit line %d cannot be read" % number]
        if entry["prev_sha256"] != expected:
            found.append("audit line %d breaks the chain" % number)
        expected = hashlib.sha256(line).hexdigest()
    return found


def unended(store: Path) -> list[str]:
    """Runs that began and of which no line says how they ended."""
    last = {entry["run_id"]: entry for entry in audit_entries(store)}
    return ["%s was begun and never ended in the audit" % entry["action"] for entry in last.values() if entry["status"] not in ("completed", "failed")]
