# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""What another server would refuse, change or lose of what a collection holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from .._libraries import np
from .._progress import Progress
from .._records.collection_name import collection_name_fault
from .._records.held_values import canonical_metadata, problems
from .._records.live import DuplicateIdsError, LiveCollection
from .._records.record_batch import RecordBatch
from .._records.spec_translation import SPACE_KEY
from .._server.capabilities import CHROMA_1_5

ERROR, WARNING = "error", "warning"
IDS_KEPT = 20
UNREADABLE = (
    "The server itself does not give these records (%s), as happens with numbers that are not finite. Write them anew there, or delete them; "
    "until then no migration of this collection begins."
)
UNSAFE_READS = (
    "Chroma 0.3 dies when one client reads while another one writes, and with it goes all that was not saved. Let it save (POST /api/v1/persist), and stop "
    "its writers, before anything reads it."
)
DUPLICATES = (
    "Only one record of an id can be kept. Delete or rename the others in the source; until then no migration of this collection begins, and its other "
    "traps are not looked for."
)
CORRECT = "Correct these records, or leave them out with on_invalid: skip."


@dataclass
class Trap:
    """One kind of trouble in one collection; `ids` are the first records that have it, `count` how many there are."""

    trap: str
    collection: str
    severity: str
    advice: str
    count: int = 0
    ids: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return {"trap": self.trap, "collection": self.collection, "ids": list(self.ids), "count": self.count, "severity": self.severity, "advice": self.advice}


def find_traps(collections: Sequence[LiveCollection], progress: Progress) -> list[Trap]:
    """Read everything once; the traps by collection and kind."""
    found: dict[tuple[str, str], Trap] = {}
    for collection in collections:
        for trap, severity, advice in _collection_traps(collection):
            found[collection.name, trap] = Trap(trap, collection.name, severity, advice)
        lost: dict[str, str] = {}
        collection.unreadable = lost
        try:
            for batch in collection.batches():
                for row, trap, severity, advice in _batch_traps(batch):
                    entry = found.setdefault((collection.name, trap), Trap(trap, collection.name, severity, advice))
                    entry.count += 1
                    if len(entry.ids) < IDS_KEPT:
                        entry.ids.append(batch.ids[row])
                progress.advance(len(batch))
        except DuplicateIdsError as error:
            ids = error.details["ids"]
            found[collection.name, "duplicate_id"] = Trap("duplicate_id", collection.name, ERROR, DUPLICATES, len(ids), ids[:IDS_KEPT])
        if lost:
            advice = UNREADABLE % next(iter(lost.values()))
            found[collection.name, "unreadable"] = Trap("unreadable", collection.name, ERROR, advice, len(lost), list(lost)[:IDS_KEPT])
    return [found[key] for key in sorted(found)]


def _collection_traps(collection: LiveCollection) -> Iterator[tuple[str, str, str]]:
    """What is wrong with a collection as a whole."""
    fault = collection_name_fault(collection.name)
    if fault:
        yield "refused_name", ERROR, f"The name {fault} for Chroma 1.x. Send its records to another name by a route."
    stored = collection.stored
    configured = ((stored.configuration or {}).get("hnsw") or {}).get("space") if collection.server.capabilities.configuration else None
    declared = configured or (stored.metadata or {}).get(SPACE_KEY) or "l2"
    if declared != collection.spec.space:
        yield "hidden_distance", WARNING, (
            f"The server says {declared}, but ranks by {collection.spec.space}, as happens when the metadata is replaced. "
            f"A migration keeps {collection.spec.space}."
        )
    if not collection.server.capabilities.tenants:
        yield "unsafe_reads", WARNING, UNSAFE_READS
    if purges_unsaved_vectors(collection.server.version):
        yield "purged_vectors", WARNING, (
            f"Chroma {collection.server.version} may have purged vectors from its log before they were saved. See whether missing_embedding is reported, "
            "and embed such records again; 0.5.13 mended it."
        )


def purges_unsaved_vectors(version: str) -> bool:
    """Whether this release cleans its write-ahead log too early: 0.5.5 to 0.5.12."""
    numbers = version.split(".")
    return len(numbers) == 3 and numbers[:2] == ["0", "5"] and numbers[2].isdigit() and 5 <= int(numbers[2]) <= 12


def _batch_traps(batch: RecordBatch) -> Iterator[tuple[int, str, str, str]]:
    present = np.ones(len(batch), dtype=bool) if batch.embedded is None else batch.embedded
    for place in np.flatnonzero(~present):
        yield int(place), "missing_embedding", ERROR, f"Chroma 1.x holds no record without a vector. Embed these again. {CORRECT}"
    for place in np.flatnonzero(present & ~np.isfinite(batch.embeddings).all(axis=1)):
        yield int(place), "not_finite_embedding", ERROR, f"Chroma 1.x takes finite numbers only. {CORRECT}"
    for row, record_id in enumerate(batch.ids):
        for fault in problems(record_id, batch.documents[row], batch.metadatas[row], CHROMA_1_5, batch.uris[row]):
            yield row, fault.kind, ERROR, f"{fault}. {CORRECT}"
        if canonical_metadata(batch.metadatas[row], CHROMA_1_5) is not batch.metadatas[row]:
            yield row, "canonical_metadata", WARNING, "Chroma 1.x keeps these values in another form (-0.0 as 0.0, {} as null); they are compared in that form."
