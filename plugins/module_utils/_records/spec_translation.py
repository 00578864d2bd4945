# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""From what a server says of a collection to a spec, and from a spec to what a server must be told."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .._libraries import np
from .._server.capabilities import Capabilities
from .._server.http import StatusError
from .._server.server import Server, StoredCollection
from .collection_spec import SPACES, CollectionSpec
from .indexing_schema import custom_part, with_vector_index
from .parsed_floats import IN_COLLECTIONS, parsed

if TYPE_CHECKING:
    from numpy.typing import NDArray

SPACE_KEY = "hnsw:space"
PROBED_RECORDS = 10
# Lengths between which the distances are neither lost in float32 nor alike.
SHORTEST_TOLD_APART, LONGEST_TOLD_APART = 0.05, 1e6
# Before 1.0, index settings are part of the collection's metadata, under these names.
METADATA_KEYS = {
    "hnsw:construction_ef": "ef_construction",
    "hnsw:search_ef": "ef_search",
    "hnsw:M": "max_neighbors",
    "hnsw:resize_factor": "resize_factor",
    "hnsw:batch_size": "batch_size",
    "hnsw:sync_threshold": "sync_threshold",
    "hnsw:num_threads": "num_threads",
}
# Settings that a server from 1.0 on can change in a collection that exists.
CHANGEABLE = ("ef_search", "max_neighbors", "resize_factor", "sync_threshold", "batch_size", "num_threads")


def read_spec(server: Server, stored: StoredCollection) -> CollectionSpec:
    """The spec of a collection, its distance proved by a query where it holds a record.

    What servers say of the distance is not always true: 0.5 and 0.6 write l2 into the configuration of every collection,
    1.5 does so for directories that it took over, and replacing the metadata drops the key while the index stays.
    """
    metadata = stored.metadata or {}
    settings = (stored.configuration or {}).get("hnsw") or {} if server.capabilities.configuration else {}
    index = {key: value for key, value in settings.items() if key != "space" and value is not None}
    if not server.capabilities.configuration:
        index = {name: metadata[key] for key, name in METADATA_KEYS.items() if key in metadata}
    declared = settings.get("space") or metadata.get(SPACE_KEY) or "l2"
    if stored.dimension != 0:
        declared = measured_space(server, stored.id) or declared
    function = (stored.configuration or {}).get("embedding_function") if server.capabilities.configuration else None
    return CollectionSpec(
        name=stored.name,
        metadata=stored.metadata,
        space=declared if declared in SPACES else "l2",
        index=index,
        embedding_function=function,
        dimension=stored.dimension,
        schema=custom_part(stored.schema) if server.capabilities.schemas else None,
    )


def measured_space(server: Server, collection_id: str) -> str | None:
    """The distance by which a collection ranks, found by asking it for a neighbour; None if that cannot be told."""
    try:
        sample = server.get(collection_id, ("embeddings",), limit=PROBED_RECORDS, offset=0)
        vector = _usable(sample["embeddings"])
        if vector is None:
            return None
        # Twice the vector: the same direction, another length, so that the three distances differ even for unit vectors.
        asked = 2 * vector
        answer = server.query(collection_id, asked[np.newaxis], 1, ("distances", "embeddings"))
        found = np.asarray(answer["embeddings"][0][0], dtype=np.float64)
        distance = float(answer["distances"][0][0])
    except (StatusError, TypeError, ValueError, IndexError, KeyError):
        return None
    lengths = float(np.linalg.norm(asked) * np.linalg.norm(found))
    if not lengths or not np.isfinite(lengths) or not np.isfinite(distance):
        return None
    product = float(asked @ found)
    candidates = {"l2": float(((asked - found) ** 2).sum()), "ip": 1.0 - product, "cosine": 1.0 - product / lengths}
    fitting = [space for space, value in candidates.items() if abs(distance - value) < 1e-3 * max(1.0, abs(value))]
    return fitting[0] if len(fitting) == 1 else None


def _usable(rows: Iterable[Any]) -> NDArray[np.float64] | None:
    """The first vector whose distances to its double tell the spaces apart."""
    for row in rows:
        if row is not None:  # a null inside becomes NaN, whose length is in no range
            vector: NDArray[np.float64] = np.asarray(row, dtype=np.float64)
            if SHORTEST_TOLD_APART < float(np.linalg.norm(vector)) < LONGEST_TOLD_APART:
                return vector
    return None


def held_spec(spec: CollectionSpec, capabilities: Capabilities) -> CollectionSpec:
    """What becomes of a spec on a server with these capabilities."""
    metadata = dict(spec.metadata or {})
    if not capabilities.exact_floats:
        metadata = {key: parsed(value, IN_COLLECTIONS) if isinstance(value, float) else value for key, value in metadata.items()}
    if capabilities.configuration:
        return replace(spec, metadata=metadata if spec.metadata is not None else None, schema=spec.schema if capabilities.schemas else None)
    if spec.space != "l2" or SPACE_KEY in metadata:
        metadata[SPACE_KEY] = spec.space
    for key, name in METADATA_KEYS.items():
        if key in metadata and name in spec.index:
            metadata[key] = spec.index[name]
    return replace(spec, metadata=metadata or None, index={}, embedding_function=None, schema=None)


def creation_arguments(spec: CollectionSpec, capabilities: Capabilities) -> dict[str, Any]:
    """The keywords of `Server.create_collection` that make this collection."""
    held = held_spec(spec, capabilities)
    configuration = None
    if capabilities.configuration:
        configuration = {"hnsw": {"space": held.space, **{name: held.index[name] for name in sorted(held.index) if name != "batch_size"}}}
        if held.embedding_function is not None:
            configuration["embedding_function"] = held.embedding_function
    arguments: dict[str, Any] = {"name": held.name, "metadata": held.metadata or None, "configuration": configuration}
    if held.schema is not None and configuration is not None:
        # A server takes one of the two, and the schema says all that the configuration does.
        arguments.update(configuration=None, schema=with_vector_index(held.schema, configuration))
    return arguments


def spec_differences(expected: CollectionSpec, actual: CollectionSpec, capabilities: Capabilities) -> dict[str, tuple[Any, Any]]:
    """What differs between the collection that should be and the one that is: name of the part → (expected, actual).

    Index settings that the expected spec does not name, or that the server does not tell, are not compared.
    """
    held = held_spec(expected, capabilities)
    found: dict[str, tuple[Any, Any]] = {}
    if held.space != actual.space:
        found["space"] = (held.space, actual.space)
    if (held.metadata or None) != (actual.metadata or None) or _types(held.metadata) != _types(actual.metadata):
        found["metadata"] = (held.metadata, actual.metadata)
    for name, value in held.index.items():
        if name in actual.index and actual.index[name] != value:
            found[f"index.{name}"] = (value, actual.index[name])
    if held.embedding_function != actual.embedding_function:
        found["embedding_function"] = (held.embedding_function, actual.embedding_function)
    if held.schema != actual.schema:
        found["schema"] = (held.schema, actual.schema)
    if held.dimension and actual.dimension and held.dimension != actual.dimension:
        found["dimension"] = (held.dimension, actual.dimension)
    return found


def _types(metadata: dict[str, Any] | None) -> dict[str, type]:
    return {key: type(value) for key, value in (metadata or {}).items()}
