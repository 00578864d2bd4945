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

    def __init__(self, *observers, space="l2", schema="default", target="sergio_humor", sources=("one",)):
        self.observers = observers
        self.space = space
        fields = None if schema is None else fields_for(parse_schema(SCHEMA if schema == "default" else schema), target)
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


HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=http://192.0.2.1/x onerror=alert(1)>',
    "line\nbreak\tand\x00nul\x1b[31m",
    "right\u202eto left",
    "pipe | `tick` [link](http://192.0.2.1)",
    "</title></style><b>",
    "]]>&amp;",
    "\ud800",
    "x" * 5000,
)


@pytest.fixture
def hostile():
    return HOSTILE


@pytest.fixture
def make_report():
    """A whole report as plain data: good, or with damage under hostile names."""
    return _make_report


def _make_report(damaged=False, sample=None):
    from ansible_collections.infrafabric.chromadb.plugins.module_utils._records.collection_spec import CollectionSpec
    from ansible_collections.infrafabric.chromadb.plugins.module_utils._records.reasons import Reason
    from ansible_collections.infrafabric.chromadb.plugins.module_utils._schema.transformation import Invalid
    from ansible_collections.infrafabric.chromadb.plugins.module_utils._server.capabilities import CHROMA_1_5
    from ansible_collections.infrafabric.chromadb.plugins.module_utils._validation import checks_counts as counting
    from ansible_collections.infrafabric.chromadb.plugins.module_utils._validation.census import Census
    from ansible_collections.infrafabric.chromadb.plugins.module_utils._validation.check import CHECKS
    from ansible_collections.infrafabric.chromadb.plugins.module_utils._validation.checks_embeddings import EmbeddingsCheck
    from ansible_collections.infrafabric.chromadb.plugins.module_utils._validation.checks_metadata import MetadataChecks
    from ansible_collections.infrafabric.chromadb.plugins.module_utils._validation.checks_records import check_records
    from ansible_collections.infrafabric.chromadb.plugins.module_utils._validation.checks_search import check_latency, check_semantic_equivalence
    from ansible_collections.infrafabric.chromadb.plugins.module_utils._validation.checks_specs import check_specs
    from ansible_collections.infrafabric.chromadb.plugins.module_utils._validation.decision import Totals, decide
    from ansible_collections.infrafabric.chromadb.plugins.module_utils._validation.neighbours import ExactSearch, Query
    from ansible_collections.infrafabric.chromadb.plugins.module_utils._validation.report import report_of
    from ansible_collections.infrafabric.chromadb.plugins.module_utils._validation.report_data import ReportData, Step
    from ansible_collections.infrafabric.chromadb.plugins.module_utils._validation.search_quality import judge_query
    from ansible_collections.infrafabric.chromadb.plugins.module_utils._validation.thresholds import Thresholds

    limits, census = Thresholds(), Census()
    target = "<b>sergio_humor" if damaged else "sergio_humor"
    expected, actual = Side(), Side()
    if damaged:
        for one in (expected, actual):
            one.batch.ids[: len(HOSTILE)] = HOSTILE
        for row, text in enumerate(HOSTILE):
            actual.batch.documents[row] = text
            actual.metadata(row, author=None, line=text, citation=text)
        actual.batch.embeddings[:4] = np.nan
        actual.without(18, 19)
    search = ExactSearch([Query(target, Side().batch.embeddings[row], f"record {expected.batch.ids[row]}") for row in range(3)])
    embeddings, metadata = EmbeddingsCheck(limits), MetadataChecks(True, limits)
    both = Comparison(census, embeddings, metadata, search, target=target, sources=("one",))
    both.show(expected, actual)
    if damaged:
        both.surplus(Side(1, start=70))
    held = census.tallies[target]
    sources = (counting.SourceFigures("one", 25 if damaged else 20, 5 if damaged else 0),)
    targets = (counting.TargetFigures(target, held.expected - held.lost + held.extra, held.expected),)
    results = [judge_query(query, "l2", truth, None, None) for query, truth in zip(search.queries, search.found)]
    specs = {target: CollectionSpec(target, {"k": HOSTILE[0]})}, {target: CollectionSpec(target, None if damaged else {"k": HOSTILE[0]})}
    checks = [
        counting.check_counts(census, sources, targets),
        embeddings.check(),
        *metadata.checks(),
        check_semantic_equivalence(results, True, limits),
        counting.check_duplicates(targets),
        check_records(census, sample),
        check_specs(*specs, CHROMA_1_5),
        check_latency([0.004, 0.006, 0.02], True, limits),
    ]
    checks.sort(key=lambda check: CHECKS.index(check.name))
    totals = Totals(held.expected, sources[0].invalid, held.lost)
    return report_of(
        ReportData(
            created="2026-01-02T03:04:05Z",
            source="http://192.0.2.10:8000 default_tenant/default_database",
            target=f"http://192.0.2.20:8000 default_tenant/{HOSTILE[0] if damaged else 'default_database'}",
            versions=("0.4.24", "1.0.0"),
            decision=decide(checks, totals, limits),
            checks=tuple(checks),
            totals=totals,
            thresholds=limits,
            divergence_percent=0.0,
            census=census,
            sources=sources,
            targets=targets,
            fed_by={target: {"one": 20}},
            invalid_sample=tuple(Invalid("one", text, (Reason("author", "pattern", text),)) for text in HOSTILE) if damaged else (),
            sample=sample,
            timeline=(Step("prepare", 0.0, 0.5), Step("compare all records", 0.5, 4.0), Step("search", 4.5, 0.2)),
            warnings=(f"{HOSTILE[1]}: moved",) if damaged else (),
        )
    )
