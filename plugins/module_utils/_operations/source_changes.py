# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Which records were written since an earlier look, from the server's own file. Changes nothing, and never guesses:
what cannot be told for certain is answered with `complete: false` and the reason."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from .._server_file import CollectionNumbers, ServerFile, UnusableFileError
from .outcome import Context, Outcome

# More than this is no small difference any more, and would be carried through the control node.
MOST_IDS = 20_000


def source_changes_info(*, data_directory: str, tenant: str, database: str, since: Mapping[str, Any] | None, context: Context) -> Outcome:
    """The ids written since the mark `since`, by collection, and the mark for the next time."""
    began = time.monotonic()
    mark: dict[str, Any] = {}
    found: dict[str, Any] = {"complete": False, "reason": None, "moved": None, "collections": []}
    try:
        with ServerFile(data_directory) as file:
            file.require_known_schema()
            owner = file.owner()
            collections = file.collections(tenant, database)
            for collection in collections:
                file.require_in_log(collection)
            # Taken before the records are looked through: what is written meanwhile has a higher number, and is found the next time.
            mark = {
                "path": file.path, "owner": owner, "tenant": tenant, "database": database,
                "collections": {collection.id: {"name": collection.name, "last": collection.last} for collection in collections},
            }
            if not since:
                found["reason"] = "this is the first look"
            else:
                _require_comparable(since, mark)
                before = since["collections"]
                found["moved"] = before != mark["collections"]
                found["collections"] = _changes(file, collections, before)
                found["complete"] = True
    except UnusableFileError as error:
        found.update(complete=False, reason=error.message, moved=None, collections=[])
    return Outcome(False, time.monotonic() - began, {"mark": mark, "changes": found})


def _require_comparable(since: Mapping[str, Any], mark: Mapping[str, Any]) -> None:
    for name, what in (("path", "another file"), ("tenant", "another tenant"), ("database", "another database")):
        if since.get(name) != mark[name]:
            raise UnusableFileError(f"the earlier look was at {what}, {since.get(name)}")
    if since.get("owner") != mark["owner"]:
        raise UnusableFileError("the server was restarted since the earlier look")
    if not isinstance(since.get("collections"), Mapping):
        raise UnusableFileError("the earlier mark names no collections")
    for identifier, before in since["collections"].items():
        now = mark["collections"].get(identifier)
        if now is None:
            raise UnusableFileError(f"collection {before.get('name')!r} was deleted since the earlier look")
        if now["last"] < before["last"]:
            raise UnusableFileError(f"the numbers of collection {now['name']!r} went back since the earlier look")


def _changes(file: ServerFile, collections: list[CollectionNumbers], before: Mapping[str, Any]) -> list[dict[str, Any]]:
    changes = []
    total = 0
    for collection in collections:
        last = before.get(collection.id, {"last": 0})["last"]
        ids: list[str] = []
        if collection.last != last:
            for page in file.written_after(collection, last):
                ids.extend(page)
                if total + len(ids) > MOST_IDS:
                    raise UnusableFileError(f"more than {MOST_IDS} records were written since the earlier look")
        total += len(ids)
        changes.append({"name": collection.name, "id": collection.id, "changed": ids})
    return changes
