# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""The searches of a validation: which vectors are searched for, and what both servers answer."""

from __future__ import annotations

import hashlib
import heapq
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .._errors import OperationError, UsageError
from .._libraries import np
from .._records.live import LiveCollection
from .._records.record_batch import RecordBatch
from .._schema.plan import MigrationPlan
from .embedder import Embedder
from .neighbours import NEAREST, Query, distances, tolerance
from .search_quality import Answer

# Records that are searched for, unless the user brings queries: so many in all, at least MIN and at most MAX of each collection.
QUERIES, MIN_PER_COLLECTION, MAX_PER_COLLECTION = 40, 5, 20
# Of a collection whose records are routed by their metadata, more answers are asked for: some belong to other targets.
ROUTED_ANSWERS = 40
# Searches are timed until there are so many samples, or so many seconds have passed.
TIMED_SEARCHES, TIMED_SECONDS = 100, 2.0


@dataclass
class Answers:
    """What the target answered to each query, and how long single searches took (seconds), in which collections.

    first  the same of the first search of each collection, which may have to load the index from disk
    """

    target: list[Answer | None] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    timed_in: list[str] = field(default_factory=list)
    first: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class WantedQuery:
    """A query of the user: the target collection (None: every one that fits), its vector, where that comes from, and the option that gave it."""

    collection: str | None
    vector: Any
    origin: str
    option: str


def parse_queries(queries: Sequence[Mapping[str, Any]] | None, embedder: Embedder | None = None) -> list[WantedQuery]:
    """The user's queries, texts turned into vectors by the embedder; UsageError where one cannot be searched for."""
    given = list(queries or [])
    texts = [str(query["text"]) for query in given if query.get("text") is not None]
    if texts and embedder is None:
        place = next(place for place, query in enumerate(given) if query.get("text") is not None)
        raise UsageError(
            f"queries[{place}]: a text has to be turned into a vector by the model that made the collection's vectors, and no model is known here. "
            "Name a command or a service that does it in embedder, or give the vector as `embedding`."
        )
    embedded = iter(embedder.embed(texts) if texts and embedder is not None else ())
    parsed: list[WantedQuery] = []
    for place, query in enumerate(given):
        if query.get("text") is not None:
            parsed.append(WantedQuery(query.get("collection"), next(embedded), f"text {query['text']}", f"queries[{place}].text"))
            continue
        try:
            vector = np.asarray(query.get("embedding"), dtype="<f4")
        except (TypeError, ValueError):
            vector = np.zeros(0, dtype="<f4")
        if vector.ndim != 1 or not len(vector) or not np.isfinite(vector).all():
            raise UsageError(f"queries[{place}].embedding: must be a list of finite numbers.")
        parsed.append(WantedQuery(query.get("collection"), vector, f"query {place + 1}", f"queries[{place}].embedding"))
    return parsed


def place_queries(parsed: Sequence[WantedQuery], dimensions: Mapping[str, int | None]) -> list[Query]:
    """Queries of the user for the target collections, whose dimensions are given; UsageError where none fits."""
    placed: list[Query] = []
    lengths: dict[str, int] = {}
    for place, wanted in enumerate(parsed):
        name, vector = wanted.collection, wanted.vector
        if name is None:
            fitting = [Query(target, vector, wanted.origin) for target, dimension in dimensions.items() if dimension == len(vector)]
            if not fitting:
                raise UsageError(f"{wanted.option}: has {len(vector)} numbers, and no target collection has vectors of that dimension.")
            placed.extend(fitting)
            continue
        if name not in dimensions:
            raise UsageError(f"queries[{place}].collection: {name!r} is no target collection; there are {', '.join(map(repr, dimensions)) or 'none'}.")
        if dimensions[name] is not None and dimensions[name] != len(vector):
            raise UsageError(f"{wanted.option}: has {len(vector)} numbers, but the vectors of {name!r} have {dimensions[name]}.")
        if lengths.setdefault(name, len(vector)) != len(vector):
            raise UsageError(f"{wanted.option}: has {len(vector)} numbers, but another query of {name!r} has {lengths[name]}.")
        placed.append(Query(name, vector, wanted.origin))
    return placed


def sample_queries(plan: MigrationPlan, seed: int) -> list[Query]:
    """Records of the source to be searched for, the same ones in every run with the same seed."""
    share = QUERIES // max(1, len(plan.sources))
    each = min(MAX_PER_COLLECTION, max(MIN_PER_COLLECTION, share))
    queries: list[Query] = []
    for source in plan.sources:
        chosen = sample_ids((record_id for page in source.id_pages() for record_id in page), each, seed)
        for part in plan.transform(source, source.fetch(chosen)):
            queries.extend(_queries_of(part.target, part.records))
    return queries


def more_queries(collection: LiveCollection, seed: int) -> list[Query]:
    """Records of a target collection that no other query reaches."""
    chosen = sample_ids((record_id for page in collection.id_pages() for record_id in page), MIN_PER_COLLECTION, seed)
    return _queries_of(collection.name, collection.fetch(chosen))


def first_queries(collection: LiveCollection) -> list[Query]:
    """A few records of a collection, without listing all of its ids: for a server that is in use."""
    if not collection.server.capabilities.tenants:
        return more_queries(collection, 0)
    answer = collection.server.get(collection.stored.id, (), limit=MIN_PER_COLLECTION, offset=0)
    return _queries_of(collection.name, collection.fetch(answer["ids"]))


def _queries_of(target: str, records: RecordBatch) -> list[Query]:
    return [
        Query(target, records.embeddings[row], f"record {record_id}")
        for row, record_id in enumerate(records.ids)
        if records.dimension and (records.embedded is None or records.embedded[row]) and np.isfinite(records.embeddings[row]).all()
    ]


def sample_ids(ids: Iterable[str], count: int, seed: int) -> list[str]:
    """`count` of the ids, chosen by chance but alike for the same ids and seed, in whatever order they come."""
    key = str(seed).encode()
    return [record_id for _rank, record_id in heapq.nsmallest(count, ((_rank(key, record_id), record_id) for record_id in ids))]


def _rank(key: bytes, record_id: str) -> bytes:
    return hashlib.blake2b(record_id.encode("utf-8", "surrogatepass"), digest_size=8, key=key).digest()


def ask_source(plan: MigrationPlan, queries: Sequence[Query], spaces: Mapping[str, str]) -> tuple[list[Answer | None], list[str]]:
    """What the source's indexes answer, under the ids that the records have in the target, and for each query the error of a search
    that failed ("" for none).

    Where several collections feed a target, their answers are merged by distance. None where that is not possible: another
    distance, or a source that does not answer.
    """
    merged: list[Answer | None] = [[] for _query in queries]
    errors = ["" for _query in queries]
    by_target: dict[str, list[int]] = {}
    for place, query in enumerate(queries):
        by_target.setdefault(query.collection, []).append(place)
    for target, places in by_target.items():
        vectors = np.stack([queries[place].vector for place in places])
        for source in plan.sources:
            if target not in plan.reachable(source):
                continue
            answers, error = None, ""
            if source.spec.space == spaces[target]:
                try:
                    answers = _ask_one(plan, source, target, vectors)
                except OperationError as failure:
                    error = failure.message
            for row, place in enumerate(places):
                held = merged[place]
                errors[place] = errors[place] or error
                merged[place] = None if held is None or answers is None else held + answers[row]
    for place, found in enumerate(merged):
        if found is not None:
            merged[place] = sorted(found, key=lambda answer: answer[1])[:NEAREST]
    return merged, errors


def _ask_one(plan: MigrationPlan, source: LiveCollection, target: str, vectors: Any) -> list[Answer]:
    """The answers of one source collection; those that go to another target, or nowhere, are left out."""
    count = source.count()
    if not count:
        return [[] for _vector in vectors]
    if source.spec.dimension and source.spec.dimension != vectors.shape[1]:
        return [[] for _vector in vectors]
    wanted = NEAREST if len(plan.reachable(source)) == 1 else ROUTED_ANSWERS
    # A few more: records that the schema refuses are not expected in the target.
    wanted = min(count, wanted if plan.transformation.is_identity else wanted + NEAREST)
    answer = source.server.query(source.stored.id, vectors, wanted, ("distances", "metadatas"))
    stated = [[(record_id, _distance(far)) for record_id, far in zip(*columns)] for columns in zip(answer["ids"], answer["distances"])]
    # Servers before 0.4 do not find every record by its id.
    answers = with_true_distances(source, source.spec.space, vectors, stated) if source.server.capabilities.tenants else stated
    return [_placed(plan, source, target, dict(zip(answer["ids"][row], answer["metadatas"][row])), answers[row]) for row in range(len(vectors))]


def with_true_distances(collection: LiveCollection, space: str, vectors: Any, answers: Sequence[Answer]) -> list[Answer]:
    """The same answers with the distances that the named records have by their own vectors, nearest first; infinite for a record that
    is not there. What an index says of a distance belongs to the record that it means, which need not be the one that it names.
    """
    ids = sorted({record_id for answer in answers for record_id, _stated in answer})
    records = collection.fetch(ids)
    if records.dimension != vectors.shape[1]:
        return [[(record_id, math.inf) for record_id, _stated in answer] for answer in answers]
    far = distances(space, np.asarray(vectors, dtype=np.float64), records.embeddings)
    places = records.positions()
    known = np.ones(len(records), dtype=bool) if records.embedded is None else records.embedded
    found = []
    for row, answer in enumerate(answers):
        true = {}
        for record_id, _stated in answer:
            place = places.get(record_id)
            true[record_id] = math.inf if place is None or not known[place] else float(far[row, place])
        found.append(sorted(true.items(), key=lambda pair: pair[1]))
    return found


def _placed(plan: MigrationPlan, source: LiveCollection, target: str, metadatas: Mapping[str, Any], answer: Answer) -> Answer:
    found: Answer = []
    for record_id, distance in answer:
        metadata = metadatas[record_id]
        place = plan.transformation.place(source.name, record_id, metadata)
        if place.target == target and not plan.transformation.metadata_of(source.name, target, record_id, None, metadata)[1]:
            found.append((place.id, distance))
    return found


def ask_target(collections: Mapping[str, LiveCollection], queries: Sequence[Query], spaces: Mapping[str, str]) -> Answers:
    """What the target's indexes answer, one search after the other, timed. An error of a search is noted, not raised."""
    answers = Answers()
    counts = {name: collection.count() for name, collection in collections.items()}
    for query in queries:
        collection = collections.get(query.collection)
        if collection is None:
            answers.target.append([])
            answers.errors.append("")
            continue
        wanted = min(NEAREST, counts[query.collection])
        started = time.monotonic()
        try:
            found = search(collection, query, wanted) if wanted else []
            answers.first.setdefault(query.collection, time.monotonic() - started)
            answers.target.append(found)
            answers.errors.append("" if found or not wanted else f"{query.collection} answers a search with nothing although it holds records")
        except OperationError as error:
            answers.target.append(None)
            answers.errors.append(error.message)
    _look_up(collections, queries, spaces, answers)
    # The first search of a collection loads its index, and is told apart; what is judged is the searching after that.
    timed = [place for place, query in enumerate(queries) if not answers.errors[place] and counts.get(query.collection)]
    begun = time.monotonic()
    while timed and len(answers.seconds) < TIMED_SEARCHES and time.monotonic() - begun < TIMED_SECONDS:
        for place in timed:
            query = queries[place]
            started = time.monotonic()
            try:
                search(collections[query.collection], query, min(NEAREST, counts[query.collection]))
            except OperationError as error:
                answers.errors[place] = error.message
                return answers
            answers.seconds.append(time.monotonic() - started)
            answers.timed_in.append(query.collection)
    return answers


def _look_up(collections: Mapping[str, LiveCollection], queries: Sequence[Query], spaces: Mapping[str, str], answers: Answers) -> None:
    """Put the true distances into the answers."""
    by_target: dict[str, list[int]] = {}
    for place, query in enumerate(queries):
        if answers.target[place]:
            by_target.setdefault(query.collection, []).append(place)
    for target, places in by_target.items():
        vectors = np.stack([queries[place].vector for place in places])
        try:
            found = with_true_distances(collections[target], spaces[target], vectors, [answers.target[place] or [] for place in places])
        except OperationError as error:
            for place in places:
                answers.errors[place] = error.message
            continue
        for place, answer in zip(places, found):
            answers.target[place] = answer


def held_shares(
    collections: Mapping[str, LiveCollection], queries: Sequence[Query], spaces: Mapping[str, str], answers: Sequence[Answer | None]
) -> list[float | None]:
    """Of what the source answered to each query, the share (0 to 1) that the target holds at the same distance from it.

    So what a search lost because the data is damaged is told apart from what an index did not find this time.
    """
    shares: list[float | None] = []
    for query, answer in zip(queries, answers):
        collection = collections.get(query.collection)
        if answer is None:
            shares.append(None)
        elif not answer:
            shares.append(1.0)
        elif collection is None:
            shares.append(0.0)
        else:
            records = collection.fetch([record_id for record_id, _far in answer])
            if records.dimension != len(query.vector):
                shares.append(0.0)
                continue
            far = dict(zip(records.ids, distances(spaces[query.collection], query.vector[None, :].astype(np.float64), records.embeddings)[0]))
            near = tolerance(spaces[query.collection], query.vector, answer[-1][1])
            kept = sum(1 for record_id, distance in answer if abs(far.get(record_id, np.inf) - distance) <= near)
            shares.append(kept / len(answer))
    return shares


def search(collection: LiveCollection, query: Query, wanted: int) -> Answer:
    """What the collection's index answers to a query: the nearest records and their distances."""
    answer = collection.server.query(collection.stored.id, query.vector[None, :], wanted, ("distances",))
    return [(record_id, _distance(distance)) for record_id, distance in zip(answer["ids"][0], answer["distances"][0])]


def _distance(value: Any) -> float:
    return float("inf") if value is None or math.isnan(value) else float(value)
