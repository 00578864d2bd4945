# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Records made by hand, and both sides of a comparison."""

from __future__ import annotations

import numpy as np
import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils._records.compare import compare_batch
from ansible_collections.infrafabric.chromadb.plugins.module_utils._records.record_batch import RecordBatch
from ansible_collections.infrafabric.chromadb.plugins.module_utils._schema.fields import fields_for, parse_schema
from ansible_collections.infrafabric.chromadb.plugins.module_utils._validation.subject import Subject

SCHEMA = {
    "fields": {
        "author": {"type": "string", "required": True},
        "score": {"type": "number", "required": True},
        "line": {"type": "integer", "required": True},
        "disputed": {"type": "boolean", "required": True},
        "collection_type": {"type": "string", "required": True, "enum": ["humor", "corpus"], "derive": "collection_type"},
        "citation": {"type": "string", "pattern": "^(if://[a-z]+)?$"},
        "source_collection": {"type": "string", "required": True, "derive": "source_collection"},
    }
}
GOOD = {"author": "A", "score": 0.5, "line": 1, "disputed": False, "collection_type": "humor", "citation": "if://x", "source_collection": "one"}


class Side:
    """Records of one side that a test can spoil before they are compared."""

    def __init__(self, count=20, dimension=4, seed=1, start=0, source="one", **metadata):
        values = np.random.default_rng(seed + start).normal(size=(count, dimension)).astype("<f4")
        self.batch = RecordBatch(
            ids=[f"r{start + row}" for row in range(count)],
            embeddings=values,
            documents=[f"document {start + row}" for row in range(count)],
            uris=[None] * count,
            metadatas=[{**GOOD, "source_collection": source, **metadata} for _row in range(count)],
        )

    def without(self, *rows):
        self.batch = self.batch.select([row for row in range(len(self.batch)) if row not in rows])
        return self

    def metadata(self, row, drop=(), **values):
        self.batch.metadatas[row] = {key: value for key, value in {**self.batch.metadatas[row], **values}.items() if key not in drop}
        return self


class Comparison:
    """Hands both sides to observers, as the walk does."""

    def __init__(self, *observers, space="l2", schema=SCHEMA, target="sergio_humor", sources=("one",)):
        self.observers = observers
        self.space = space
        fields = None if schema is None else fields_for(parse_schema(schema), target)
        self.subject = Subject(target, sources, space, fields)

    def show(self, expected, actual, source="one"):
        compared = compare_batch(expected.batch, actual.batch, self.space)
        for observer in self.observers:
            observer.observe(self.subject, source, compared)
        return self

    def surplus(self, side, owned=True):
        for observer in self.observers:
            observer.observe_extra(self.subject, side.batch, [owned] * len(side.batch))
        return self


@pytest.fixture
def side():
    return Side


@pytest.fixture
def comparison():
    return Comparison
