# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Make a collection on a server what its spec says, or say why that cannot be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from .._errors import DriftError, IntegrityError
from .._server.server import Server, StoredCollection
from .collection_spec import CollectionSpec
from .live import LiveCollection
from .spec_translation import CHANGEABLE, creation_arguments, held_spec, read_spec, spec_differences

DELETED_AT_ONCE = 1000


def fixed_differences(differences: dict[str, tuple[Any, Any]]) -> list[str]:
    """Those differences, in words, that no change to an existing collection can mend."""
    return [
        f"{name} is {actual!r} instead of {expected!r}"
        for name, (expected, actual) in differences.items()
        if name in ("space", "dimension", "schema") or (name.startswith("index.") and name.split(".", 1)[1] not in CHANGEABLE)
    ]


def require_mendable(server: Server, expected: CollectionSpec, differences: dict[str, tuple[Any, Any]]) -> None:
    """DriftError if the existing collection can never become the expected one."""
    fixed = fixed_differences(differences)
    if fixed:
        raise DriftError(
            f"Collection {expected.name!r} on {server.endpoint.url} cannot take these records: {'; '.join(fixed)}. Chroma cannot change that in a collection "
            "that exists: rename or delete it, or send the records to another one.",
            collection=expected.name,
        )


def create(server: Server, spec: CollectionSpec) -> StoredCollection:
    """Create the collection and prove that the server made it so."""
    created = server.create_collection(**creation_arguments(spec, server.capabilities))
    differences = spec_differences(spec, read_spec(server, created), server.capabilities)
    if differences:
        raise IntegrityError(f"{server.endpoint.url} created the collection {spec.name!r} with {_words(differences)}.", collection=spec.name)
    return created


def mend(server: Server, stored: StoredCollection, spec: CollectionSpec, differences: dict[str, tuple[Any, Any]]) -> StoredCollection:
    """Change metadata, changeable index settings and embedding function to what the spec says, and prove it."""
    require_mendable(server, spec, differences)
    held = held_spec(spec, server.capabilities)
    if "metadata" in differences:
        # An empty dict is refused; a key that goes is sent as null.
        server.modify_collection(stored.id, metadata=held.metadata or dict.fromkeys(stored.metadata or {}))
    configuration: dict[str, Any] = {}
    settings = {name.split(".", 1)[1]: expected for name, (expected, _actual) in differences.items() if name.startswith("index.")}
    if settings:
        configuration["hnsw"] = settings
    if "embedding_function" in differences and held.embedding_function is not None:
        configuration["embedding_function"] = held.embedding_function
    if configuration:
        server.modify_collection(stored.id, configuration=configuration)
    mended = server.find_collection(spec.name)
    if mended is None or mended.id != stored.id:
        raise DriftError(f"Collection {spec.name!r} on {server.endpoint.url} was replaced by another one meanwhile.", collection=spec.name)
    left = spec_differences(spec, read_spec(server, mended), server.capabilities)
    if left:
        raise IntegrityError(f"Collection {spec.name!r} on {server.endpoint.url} still has {_words(left)} after it was changed.", collection=spec.name)
    return mended


def remove(server: Server, stored: StoredCollection) -> int:
    """Delete a collection, its records first: on 1.5 list values of records that go with their collection come back as ghosts."""
    deleted = 0
    for ids in deletable_parts(LiveCollection(server, stored).id_pages()):
        server.delete(stored.id, ids)
        deleted += len(ids)
    server.delete_collection(stored)
    return deleted


def deletable_parts(pages: Iterable[Sequence[str]]) -> Iterator[list[str]]:
    """The same ids, in lists that are short enough for one request to delete."""
    for ids in pages:
        for start in range(0, len(ids), DELETED_AT_ONCE):
            yield list(ids[start : start + DELETED_AT_ONCE])


def _words(differences: dict[str, tuple[Any, Any]]) -> str:
    return "; ".join(f"{name} {actual!r} instead of {expected!r}" for name, (expected, actual) in differences.items())
