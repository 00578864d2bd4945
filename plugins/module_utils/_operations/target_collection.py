# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""One target collection of a migration, while it is brought up to date."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Callable

from .._errors import DriftError, PartialError, UsageError
from .._journal import Journal
from .._records.collection_changes import create, mend, require_mendable
from .._records.collection_name import collection_name_fault
from .._records.collection_spec import CollectionSpec
from .._records.compare import SAMPLE_IDS, ComparedBatch, Counterpart, Difference
from .._records.id_sets import IdSets
from .._records.live import LiveCollection
from .._records.reconcile import Reconciler
from .._records.spec_translation import spec_differences
from .._schema.plan import MigrationPlan
from .._schema.transformation import PREFIX, collision_prefix
from .._server.http import StatusError
from .._server.server import Server, StoredCollection
from .differences import record_diff


@dataclass
class TargetCollection:
    """Inspected first, before anything is written anywhere; then opened; then given batches.

    spec     what it should be
    stored   what the server has (None: it is created)
    merged   several source collections go here
    sources  those that do
    """

    server: Server
    spec: CollectionSpec
    stored: StoredCollection | None
    merged: bool
    sources: set[str]
    difference: Difference = field(default_factory=Difference)

    def __post_init__(self) -> None:
        self.created = self.stored is None
        self.spec_differences: dict[str, tuple[Any, Any]] = {}
        self._counterpart: Counterpart | None = None
        self._reconciler: Reconciler | None = None
        self._live: LiveCollection | None = None

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def counterpart(self) -> Counterpart:
        if self._counterpart is None:
            raise RuntimeError("open() comes first")
        return self._counterpart

    @property
    def changed(self) -> bool:
        return self.created or bool(self.spec_differences) or not self.difference.empty

    def inspect(self) -> None:
        """UsageError for a name that Chroma refuses, DriftError for a collection that can never hold these records."""
        fault = collection_name_fault(self.name) if self.server.capabilities.configuration else None
        if fault:
            raise UsageError(f"The target collection's name {self.name!r} {fault}. Give it another one by a route.")
        if self.stored is None:
            return
        differences = spec_differences(self.spec, LiveCollection(self.server, self.stored).spec, self.server.capabilities)
        if self.merged:
            # What merged collections agree on depends on which of them take part: it is set once, at creation.
            differences.pop("metadata", None)
        require_mendable(self.server, self.spec, differences)
        self.spec_differences = differences

    def open(
        self, batch_size: int, on_verified: Callable[[int], None], check_mode: bool, journal: Journal, ids: IdSets | None = None
    ) -> None:
        """Create or mend the collection (not in check mode), and list what it holds, unless `ids` has it already."""
        if not check_mode:
            if self.stored is None:
                self.stored = self._create()
            if self.spec_differences:
                self.stored = mend(self.server, self.stored, self.spec, self.spec_differences)
        self._live = None if self.stored is None else LiveCollection(self.server, self.stored)
        self._counterpart = Counterpart(self._live, self.spec.space, ids)
        if self._live is not None and not check_mode:
            self._reconciler = Reconciler(self._live, self.spec.space, batch_size, journal, on_verified)

    def _create(self) -> StoredCollection:
        """Another shard of the same migration may have been faster; then that collection is inspected like any other."""
        try:
            return create(self.server, self.spec)
        except StatusError:
            self.stored = self.server.find_collection(self.name)
            if self.stored is None:
                raise
            self.created = False
            self.inspect()
            return self.stored

    def close(self) -> None:
        if self._reconciler is not None:
            self._reconciler.__exit__()
        if self._counterpart is not None:
            self._counterpart.close()

    def take(self, compared: ComparedBatch) -> None:
        """Write what a compared batch asks for (in check mode: count it)."""
        if self._reconciler is None:
            self.difference.count(compared)
        else:
            self._reconciler.apply(compared)

    def flush(self) -> None:
        """Write what waits for a full request: nothing is coming for now."""
        if self._reconciler is not None:
            self._reconciler.flush()

    def finish(self) -> None:
        if self._reconciler is not None:
            self.difference = self._reconciler.finish()

    def delete(self, ids: list[str]) -> None:
        if self._reconciler is None:
            self.difference.count_deleted(ids)
        else:
            self._reconciler.delete([ids])

    def owned_surplus(self, plan: MigrationPlan) -> Iterator[list[str]] | None:
        """The ids that only the target has and that this migration put there; None where that cannot be told."""
        if self._live is None:
            return iter(())
        return self._owned(plan, self._live, self.counterpart.surplus())

    def _owned(self, plan: MigrationPlan, live: LiveCollection, pages: Iterable[list[str]]) -> Iterator[list[str]] | None:
        by_field = plan.transformation.states_source(self.name)
        by_prefix = plan.transformation.on_collision == PREFIX and self.merged
        if self.merged and not by_field and not by_prefix:
            return None
        return self._of_sources(plan, live, pages, by_field, by_prefix)

    @staticmethod
    def _of_sources(plan: MigrationPlan, live: LiveCollection, pages: Iterable[list[str]], by_field: bool, by_prefix: bool) -> Iterator[list[str]]:
        selected = {source.name for source in plan.sources}
        prefixes = tuple(map(collision_prefix, selected))
        for page in pages:
            owned = [record_id for record_id in page if plan.shard is None or plan.shard.takes(record_id)]
            if by_field and owned:
                texts = live.read_without_vectors(owned)
                owned = [record_id for record_id, metadata in zip(texts.ids, texts.metadatas) if (metadata or {}).get("source_collection") in selected]
            elif by_prefix:
                owned = [record_id for record_id in owned if record_id.startswith(prefixes)]
            if owned:
                yield owned

    def prove(self, pruned: MigrationPlan | None, everything: bool) -> int:
        """Every written record was read back; here the ids are listed once more. Returns the number of records written.

        `pruned` is the plan whose surplus was deleted (None: nothing was): what of it is there again came after the first listing, such as by
        a request of a run that was killed. Without a difference the listing is left out, but after a comparison of `everything` that pruned.
        """
        if self._live is None or self._reconciler is None or (self.difference.empty and (pruned is None or not everything)):
            return 0
        missing = self.counterpart.missing_from(self._live.id_pages())
        if missing:
            raise PartialError(
                f"Collection {self.name!r} of the target lacks {missing[0]!r} at the end: somebody else deletes there. Run the same task again.", ids=missing
            )
        came = None if pruned is None else next(self._owned(pruned, self._live, self.counterpart.appeared()) or iter(()), None)
        if came:
            raise DriftError(
                f"Collection {self.name!r} of the target has {came[0]!r} at the end, which the source has not: it came after what was there was listed, from a "
                "run that was interrupted or from somebody else who writes there. Run the same task again.",
                collection=self.name,
                ids=came[:SAMPLE_IDS],
            )
        return self._reconciler.written

    def result(self) -> dict[str, Any]:
        difference = self.difference
        return {
            "name": self.name,
            "sources": sorted(self.sources),
            "created": self.created,
            "added": difference.added,
            "changed": difference.changed,
            "unchanged": difference.unchanged,
            "deleted": difference.deleted,
        }

    def diff(self) -> dict[str, str]:
        return record_diff(self.name, self.difference, "created" if self.created else None, self.spec_differences)
