# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Source collections seen through a transformation: what the target should hold, record by record.

Migration writes it and validation compares with it; both read it here, so they cannot disagree.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Callable

from .._errors import UsageError
from .._libraries import np
from .._progress import Progress
from .._records.collection_spec import CollectionSpec
from .._records.held_values import canonical_metadata, problems
from .._records.id_sets import IdSets
from .._records.live import LiveCollection
from .._records.reasons import Reason
from .._records.record_batch import Metadata, RecordBatch
from .._server.capabilities import Capabilities
from .invalid import InvalidTally
from .routes import reachable_targets
from .transformation import Invalid, Transformation

SAMPLE = 100
SHARD_BYTES = 8
# Chroma scales cosine vectors by their length in float32: what overflows or vanishes there comes back as NaN or 0.
SHORTEST_COSINE, LONGEST_COSINE = 1e-18, 1e18


@dataclass(frozen=True)
class Shard:
    """One of `count` equal parts of a migration, chosen by the id that a record has in the target."""

    index: int
    count: int

    def takes(self, record_id: str) -> bool:
        digest = hashlib.sha256(record_id.encode("utf-8", "surrogatepass")).digest()
        return int.from_bytes(digest[:SHARD_BYTES], "big") % self.count == self.index


@dataclass
class TransformedBatch:
    """Records of one source collection as one target collection should hold them, and those it should not.

    `source_ids` runs beside `records.ids`. `invalid_ids` are the target ids of the invalid records.
    """

    source: str
    target: str
    records: RecordBatch
    source_ids: list[str]
    invalid: list[Invalid] = field(default_factory=list)
    invalid_ids: list[str] = field(default_factory=list)


@dataclass
class Survey:
    """What reading ids and metadata tells before the first write, of all shards: each one decides by the same figures.

    targets         target → source → valid records
    unreadable      source → id → why the record cannot be read
    read_elsewhere  how many of `read` other shards work on, and `invalid_elsewhere` how many of the invalid ones
    """

    read: int = 0
    invalid: InvalidTally = field(default_factory=InvalidTally)
    targets: dict[str, dict[str, int]] = field(default_factory=dict)
    unreadable: dict[str, dict[str, str]] = field(default_factory=dict)
    collisions: int = 0
    collision_sample: list[str] = field(default_factory=list)
    read_elsewhere: int = 0
    invalid_elsewhere: int = 0

    @property
    def read_here(self) -> int:
        return self.read - self.read_elsewhere


class MigrationPlan:
    """Which source collections take part, where their records go, and how they look there."""

    def __init__(self, sources: Sequence[LiveCollection], transformation: Transformation, capabilities: Capabilities, shard: Shard | None = None) -> None:
        self.sources = list(sources)
        self.transformation = transformation
        self.capabilities = capabilities
        self.shard = shard

    def reachable(self, source: LiveCollection) -> tuple[str, ...]:
        """Every target that a record of this collection could go to."""
        return reachable_targets(self.transformation.routes, source.name)

    def last_of(self, source: LiveCollection) -> set[str]:
        """The targets that this source collection can lead to, and none that is read after it."""
        later = self.sources[self.sources.index(source) + 1 :]
        return set(self.reachable(source)).difference(*(self.reachable(collection) for collection in later))

    def is_merged(self, target: str) -> bool:
        return target in self.transformation.merged_targets

    def needs_survey(self) -> bool:
        """Whether something about ids or metadata could keep records from their place."""
        return bool(self.transformation.routes) or not self.transformation.is_identity or any(
            _holds_more(source.server.capabilities, self.capabilities) for source in self.sources
        )

    def survey(self, progress: Progress, invalid: InvalidTally, before_batch: Callable[[], None]) -> Survey:
        """Read ids, documents and metadata of everything, and judge them.

        Vectors are not read here, which would double the work: they are judged batch by batch, while records are written.
        `invalid` takes the records that are not valid; what `before_batch` raises ends it.
        """
        survey = Survey(invalid=invalid)
        places = IdSets()
        try:
            for source in self.sources:
                source.unreadable = survey.unreadable[source.name] = {}
                for batch in source.batches_without_vectors():
                    before_batch()
                    with progress.phase("validate"):
                        for part in self._parts(source, batch, {}, None):
                            self._note(survey, part, places)
                    survey.read += len(batch)
        finally:
            places.close()
            for source in self.sources:
                source.unreadable = None
        return survey

    def _note(self, survey: Survey, part: TransformedBatch, places: IdSets) -> None:
        ids = part.records.ids + part.invalid_ids
        taken = places.present(part.target, ids)
        survey.collisions += len(taken)
        for record_id in taken[: max(0, SAMPLE - len(survey.collision_sample))]:
            survey.collision_sample.append(f"{part.target}: {record_id!r} (again from {part.source})")
        places.add(part.target, ids)
        counts = survey.targets.setdefault(part.target, {})
        counts[part.source] = counts.get(part.source, 0) + len(part.records)
        survey.invalid.add(part.invalid)
        if self.shard is not None:
            survey.read_elsewhere += sum(not self.shard.takes(record_id) for record_id in ids)
            survey.invalid_elsewhere += sum(not self.shard.takes(record_id) for record_id in part.invalid_ids)

    def batches(self, progress: Progress) -> Iterator[list[TransformedBatch]]:
        """Everything that the target should hold, source collection by source collection: for each batch that was read, its parts by target."""
        for source in self.sources:
            yield from self.batches_of(source, progress)

    def batches_of(self, source: LiveCollection, progress: Progress) -> Iterator[list[TransformedBatch]]:
        """The same of one source collection."""
        for batch in _timed(progress, source):
            with progress.phase("validate", len(batch)):
                faults = self._vector_faults(source, batch)
            with progress.phase("transform", len(batch)):
                parts = self.transform(source, batch, faults)
            yield parts

    def transform(self, source: LiveCollection, batch: RecordBatch, vector_faults: Mapping[int, Reason] | None = None) -> list[TransformedBatch]:
        """One batch, split by target collection; records that the schema or the target refuses are named, not carried.

        `vector_faults` says what is wrong with vectors, by row, where that is known already.
        """
        return self._parts(source, batch, self._vector_faults(source, batch) if vector_faults is None else vector_faults, self.shard)

    def _parts(self, source: LiveCollection, batch: RecordBatch, vector_faults: Mapping[int, Reason], shard: Shard | None) -> list[TransformedBatch]:
        rows: dict[str, list[int]] = {}
        places: list[str] = []
        metadatas: list[Metadata | None] = []
        invalid: dict[str, list[tuple[Invalid, str]]] = {}
        for row, record_id in enumerate(batch.ids):
            target, new_id = self.transformation.place(source.name, record_id, batch.metadatas[row])
            metadata, reasons = self.transformation.metadata_of(source.name, target, record_id, batch.documents[row], batch.metadatas[row])
            reasons += problems(new_id, batch.documents[row], metadata, self.capabilities, batch.uris[row])
            if row in vector_faults:
                reasons += (vector_faults[row],)
            places.append(new_id)
            metadatas.append(canonical_metadata(metadata, self.capabilities))
            if shard is not None and not shard.takes(new_id):
                continue
            if reasons:
                invalid.setdefault(target, []).append((Invalid(source.name, record_id, reasons), new_id))
            rows.setdefault(target, [])
            if not reasons:
                rows[target].append(row)
        moved = RecordBatch(places, batch.embeddings, batch.documents, batch.uris, metadatas, batch.embedded)
        return [self._part(source, target, moved, batch, chosen, invalid.get(target, [])) for target, chosen in rows.items()]

    def _part(
        self, source: LiveCollection, target: str, moved: RecordBatch, batch: RecordBatch, rows: list[int], invalid: list[tuple[Invalid, str]]
    ) -> TransformedBatch:
        whole = len(rows) == len(moved)
        return TransformedBatch(
            source=source.name,
            target=target,
            records=moved if whole else moved.select(rows),
            source_ids=batch.ids if whole else [batch.ids[row] for row in rows],
            invalid=[fault for fault, _place in invalid],
            invalid_ids=[place for _fault, place in invalid],
        )

    def _vector_faults(self, source: LiveCollection, batch: RecordBatch) -> dict[int, Reason]:
        faults: dict[int, Reason] = {}
        present = np.ones(len(batch), dtype=bool) if batch.embedded is None else batch.embedded
        if not self.capabilities.missing_vectors:
            for row in np.flatnonzero(~present).tolist():
                faults[row] = Reason("embedding", "missing", "missing, and the target takes no record without one")
        finite = np.isfinite(batch.embeddings).all(axis=1)
        for row in np.flatnonzero(present & ~finite).tolist():
            faults[row] = Reason("embedding", "not_finite", "holds a number that is not finite")
        if source.spec.space == "cosine":
            lengths = np.sqrt(np.einsum("ij,ij->i", batch.embeddings, batch.embeddings, dtype=np.float64))
            extreme = (lengths > LONGEST_COSINE) | ((lengths < SHORTEST_COSINE) & (lengths > 0))
            for row in np.flatnonzero(present & finite & extreme).tolist():
                faults[row] = Reason("embedding", "extreme_length", f"its length {lengths[row]:.3g} is beyond what a cosine index can hold")
        return faults

    def target_specs(self, fed_by: dict[str, dict[str, int]]) -> dict[str, CollectionSpec]:
        """The spec of each target collection, from the source collections that feed it (`fed_by`: target → source → records).

        UsageError where merged collections contradict each other.
        """
        sources = {source.name: source for source in self.sources}
        specs: dict[str, CollectionSpec] = {}
        for target in sorted(fed_by):
            feeding = [sources[name].spec for name, records in fed_by[target].items() if records or len(fed_by[target]) == 1]
            feeding = feeding or [sources[name].spec for name in fed_by[target]]
            specs[target] = _agreed_spec(target, feeding)
        return specs

    def unsurveyed_targets(self) -> dict[str, dict[str, int]]:
        """Where everything goes when no survey is needed: each collection under its own name."""
        return {source.name: {source.name: source.count()} for source in self.sources}

    def records_of_shard(self) -> int:
        """How many of the source's ids belong to this shard; without a survey every record keeps its id."""
        ids = (record_id for source in self.sources for page in source.id_pages() for record_id in page)
        return sum(self.shard is None or self.shard.takes(record_id) for record_id in ids)

    def empty_targets(self, fed_by: dict[str, dict[str, int]]) -> None:
        """Add the targets of source collections that hold nothing: they exist in the target too."""
        for source in self.sources:
            if not any(source.name in feeding for feeding in fed_by.values()):
                target, _id = self.transformation.place(source.name, "", None)
                fed_by.setdefault(target, {}).setdefault(source.name, 0)


def _timed(progress: Progress, source: LiveCollection) -> Iterator[RecordBatch]:
    batches = source.batches()
    while True:
        with progress.phase("export") as phase:
            batch = next(batches, None)
            if batch is None:
                return
            phase.records += len(batch)
        yield batch


def _holds_more(source: Capabilities, target: Capabilities) -> bool:
    """Whether the source can hold something that the target cannot."""
    return any(
        getattr(source, name) and not getattr(target, name)
        for name in (
            "list_values", "nested_values", "null_values", "huge_integers", "marked_keys", "chroma_keys",
            "null_records", "empty_ids", "missing_vectors", "uris",
        )
    )


def _agreed_spec(name: str, specs: list[CollectionSpec]) -> CollectionSpec:
    """One spec for several collections that merge into one.

    Distance, dimension and embedding function must be the same; of metadata and index settings, what all agree on is kept.
    """
    first = specs[0]
    faults = [
        f"{part} differs ({', '.join(f'{spec.name}: {value!r}' for spec, value in zip(specs, values))})"
        for part, values in (
            ("distance", [spec.space for spec in specs]),
            ("embedding function", [spec.embedding_function for spec in specs]),
        )
        if any(value != values[0] for value in values)
    ]
    dimensions = {spec.dimension for spec in specs if spec.dimension}
    if len(dimensions) > 1:
        faults.append(f"dimension differs ({', '.join(f'{spec.name}: {spec.dimension}' for spec in specs)})")
    if faults:
        raise UsageError(f"The collections that go to {name!r} cannot be merged: {'; '.join(faults)}. Route them to different targets.")
    if len(specs) == 1:
        return first.renamed(name)
    metadata = {key: value for key, value in (first.metadata or {}).items() if all(_same(value, (spec.metadata or {}).get(key)) for spec in specs)}
    index = {key: value for key, value in first.index.items() if all(spec.index.get(key) == value for spec in specs)}
    schema = first.schema if all(spec.schema == first.schema for spec in specs) else None
    return CollectionSpec(name, metadata or None, first.space, index, first.embedding_function, next(iter(dimensions), None), schema)


def _same(value: Any, other: Any) -> bool:
    return type(value) is type(other) and bool(value == other)
