# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Narrow a migration down to the records that can differ, where it is known which were written since the two sides were level.

The ids of both sides are listed as ever. A record that was not written since, and whose id is in its place in the target, is
settled: it needs no reading. All others are read and compared: the written ones, those that are not in their place (the
invalid ones among them), and those whose place cannot be told from the id alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._records.id_sets import IdSets
from .._records.live import LiveCollection, smaller_pages
from .._records.selected_records import SelectedRecords
from .._schema.plan import MigrationPlan
from .._server.server import Server

# The sets that a target's Counterpart goes on with.
ACTUAL, EXPECTED = "actual", "expected"
CLAIMED, CONTESTED = "claimed", "contested"

LISTED_AT_ONCE = 10_000
# Their ids are kept in memory. Where there are more, comparing everything is hardly more work, and needs no more memory.
MOST_LEFT = 100_000


@dataclass
class Narrowed:
    """What is left to do.

    plan     the same plan, over the records that must be looked at
    settled  the others: target → source → records
    places   the ids of each existing target, and which of them are settled
    """

    plan: MigrationPlan
    settled: dict[str, dict[str, int]]
    places: dict[str, IdSets]

    @property
    def settled_records(self) -> int:
        return sum(sum(sources.values()) for sources in self.settled.values())

    def close(self) -> None:
        for ids in self.places.values():
            ids.close()


def narrow(plan: MigrationPlan, target: Server, changes: Mapping[str, Any]) -> Narrowed | str:
    """The narrowed migration, or why everything must be compared, as the end of a sentence.

    changes  what source_changes_info returned, about all that was written since source and target were level
    """
    fault = _fault(plan, changes)
    if fault:
        return fault
    changed = {entry["name"]: set(entry["changed"] or ()) for entry in changes["collections"]}
    reachable = {name for source in plan.sources for name, _prefix in plan.transformation.places_of(source.name)}
    places: dict[str, IdSets] = {}
    narrowed = Narrowed(plan, {}, places)
    listed = IdSets()
    try:
        for stored in target.list_collections():
            if stored.name in reachable:
                places[stored.name] = IdSets()
                places[stored.name].load(ACTUAL, LiveCollection(target, stored).id_pages())
        merged = bool(plan.transformation.merged_targets)
        # Listed once, and kept until all have claimed their places: a record that comes between two listings would be claimed by nobody.
        for source in plan.sources if merged else ():
            listed.load(source.name, source.id_pages())
            _claim(plan, source, listed.pages(source.name, LISTED_AT_ONCE), places)
        selected = []
        for source in plan.sources:
            pages = listed.pages(source.name, LISTED_AT_ONCE) if merged else smaller_pages(source.id_pages(), LISTED_AT_ONCE)
            left = _unsettled(narrowed, source, pages, changed[source.name])
            if len(left) > MOST_LEFT:
                narrowed.close()
                return f"more than {MOST_LEFT} records of {source.name!r} must be looked at"
            selected.append(SelectedRecords(source, left))
    except BaseException:
        narrowed.close()
        raise
    finally:
        listed.close()
    narrowed.plan = MigrationPlan(selected, plan.transformation, plan.capabilities)
    return narrowed


def _fault(plan: MigrationPlan, changes: Mapping[str, Any]) -> str | None:
    if not changes.get("complete"):
        return str(changes.get("reason") or "the changes are not complete")
    if plan.shard is not None:
        return "this run works on a shard"
    known = {entry["name"]: entry["id"] for entry in changes.get("collections") or ()}
    for source in plan.sources:
        if not source.server.capabilities.tenants:
            return "this server has no SQLite file that numbers its writes"
        if known.get(source.name) != source.stored.id:
            return f"the file knows the collection {source.name!r} as {known.get(source.name)}, and the server as {source.stored.id}"
    return None


def _claim(plan: MigrationPlan, source: LiveCollection, pages: Iterable[Sequence[str]], places: Mapping[str, IdSets]) -> None:
    """Note the places that records of more than one collection could take: there, being present says nothing."""
    forms = [(places[target], prefix) for target, prefix in plan.transformation.places_of(source.name) if target in places]
    for page in pages:
        for place, prefix in forms:
            ids = [prefix + record_id for record_id in page]
            place.add(CONTESTED, place.present(CLAIMED, ids))
            place.add(CLAIMED, ids)


def _unsettled(narrowed: Narrowed, source: LiveCollection, pages: Iterable[Sequence[str]], changed: set[str]) -> list[str]:
    """The ids that must be looked at, in the order of the listing, up to one too many; the others are settled."""
    left = []
    transformation = narrowed.plan.transformation
    forms = [(target, prefix) for target, prefix in transformation.places_of(source.name) if target in narrowed.places]
    for page in pages:
        found = [_present(narrowed.places[target], prefix, page, bool(transformation.merged_targets)) for target, prefix in forms]
        settled: dict[str, list[str]] = {}
        for record_id in page:
            held = [number for number, (present, _contested) in enumerate(found) if record_id in present]
            if record_id in changed or len(held) != 1 or record_id in found[held[0]][1]:
                left.append(record_id)
            else:
                target, prefix = forms[held[0]]
                settled.setdefault(target, []).append(prefix + record_id)
        if len(left) > MOST_LEFT:
            return left
        for target, ids in settled.items():
            counts = narrowed.settled.setdefault(target, {})
            counts[source.name] = counts.get(source.name, 0) + narrowed.places[target].add(EXPECTED, ids)
    return left


def _present(ids: IdSets, prefix: str, page: Sequence[str], merged: bool) -> tuple[set[str], set[str]]:
    """The ids of a page whose place under this prefix is taken, and those whose place several records could take."""
    moved = [prefix + record_id for record_id in page] if prefix else page
    cut = len(prefix)
    present = {record_id[cut:] for record_id in ids.present(ACTUAL, moved)}
    contested = {record_id[cut:] for record_id in ids.present(CONTESTED, moved)} if merged else set()
    return present, contested
