# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""What a collection is, apart from its records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

SPACES = ("l2", "ip", "cosine")


@dataclass(frozen=True)
class CollectionSpec:
    """A collection without its records.

    name                as the server knows it
    metadata            the collection's own metadata, or None
    space               l2, ip or cosine: how distances are counted
    index               index settings beside the space, in the names of Chroma 1.x
                        (ef_construction, ef_search, max_neighbors, resize_factor, sync_threshold ...)
    embedding_function  Chroma's description of the client's embedding function, or None
    dimension           numbers in a vector; None while the collection has never held one
    schema              Chroma's own `schema` (1.5: which values are indexed for `where`), without the vector index, which the
                        other fields describe; None where it is the one that every collection gets
    """

    name: str
    metadata: dict[str, Any] | None = None
    space: str = "l2"
    index: dict[str, Any] = field(default_factory=dict)
    embedding_function: dict[str, Any] | None = None
    dimension: int | None = None
    schema: dict[str, Any] | None = None

    def renamed(self, name: str) -> CollectionSpec:
        return replace(self, name=name)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for manifests and reports."""
        return {
            "name": self.name,
            "metadata": self.metadata,
            "space": self.space,
            "index": dict(self.index),
            "embedding_function": self.embedding_function,
            "dimension": self.dimension,
            **({} if self.schema is None else {"schema": self.schema}),
        }


def spec_from_dict(values: Mapping[str, Any]) -> CollectionSpec:
    """The reverse of `CollectionSpec.as_dict`. Other keys are ignored: what a manifest may hold is checked against its schema."""
    return CollectionSpec(
        name=values["name"],
        metadata=values.get("metadata"),
        space=values.get("space", "l2"),
        index=dict(values.get("index") or {}),
        embedding_function=values.get("embedding_function"),
        dimension=values.get("dimension"),
        schema=values.get("schema"),
    )
