# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""What Ansible's diff mode shows of a difference between record sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._records.compare import Difference

SHOWN_CHARACTERS = 100


def record_diff(name: str, difference: Difference, fate: str | None, spec: Mapping[str, tuple[Any, Any]]) -> dict[str, str]:
    """One collection: `+n ~n -n` with a few ids of each kind, and the metadata of the first ones; `fate` is created, deleted or None."""
    before, after = [], []
    for part, (expected, actual) in spec.items():
        before.append(f"{part}: {actual!r}")
        after.append(f"{part}: {expected!r}")
    held = difference.unchanged + difference.changed + difference.deleted
    before.append("no collection" if fate == "created" else f"{held} records")
    after.append("no collection" if fate == "deleted" else f"{difference.expected} records (+{difference.added} ~{difference.changed} -{difference.deleted})")
    for mark, ids in (("+", difference.added_ids), ("~", difference.changed_ids)):
        for record_id in ids:
            old, new = difference.metadata.get(record_id, (None, None))
            after += [f"{mark} {record_id!r}", *_fields(new)]
            if old is not None:
                before += [f"{mark} {record_id!r}", *_fields(old)]
    before.extend(f"- {record_id!r}" for record_id in difference.deleted_ids)
    return {"before_header": name, "after_header": name, "before": "\n".join(before) + "\n", "after": "\n".join(after) + "\n"}


def _fields(metadata: Mapping[str, Any] | None) -> list[str]:
    """Metadata, a key a line, long values cut."""
    return [f"    {key}: {_cut(repr(value))}" for key, value in sorted((metadata or {}).items())]


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"
