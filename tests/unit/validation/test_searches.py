# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is made of the answers of both servers' indexes where a collection is empty, of another kind, gone, or does not answer."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils._endpoint import Endpoint
from ansible_collections.infrafabric.chromadb.plugins.module_utils._records.collection_spec import CollectionSpec
from ansible_collections.infrafabric.chromadb.plugins.module_utils._records.live import LiveCollection
from ansible_collections.infrafabric.chromadb.plugins.module_utils._schema.plan import MigrationPlan
from ansible_collections.infrafabric.chromadb.plugins.module_utils._schema.routes import parse_routes
from ansible_collections.infrafabric.chromadb.plugins.module_utils._schema.transformation import Transformation
from ansible_collections.infrafabric.chromadb.plugins.module_utils._server.api_v1 import ServerV1
from ansible_collections.infrafabric.chromadb.plugins.module_utils._server.api_v2 import ServerV2
from ansible_collections.infrafabric.chromadb.plugins.module_utils._server.capabilities import CHROMA_0_3, CHROMA_1_5
from ansible_collections.infrafabric.chromadb.plugins.module_utils._server.http import HttpClient
from ansible_collections.infrafabric.chromadb.plugins.module_utils._server.server import StoredCollection
from ansible_collections.infrafabric.chromadb.plugins.module_utils._validation import searches
from ansible_collections.infrafabric.chromadb.plugins.module_utils._validation.neighbours import Query
from ansible_collections.infrafabric.chromadb.plugins.module_utils._validation.searches import (
    ask_source,
    ask_target,
    first_queries,
    held_shares,
    with_true_distances,
)
from tests.support.scripted_server import Reply, ScriptedServer

SPACES = {"all": "l2"}
ASKED = Query("all", np.array([0.0, 0.0], dtype="<f4"), "query 1")


@pytest.fixture
def script():
    with ScriptedServer() as running:
        yield running


@pytest.fixture
def make_collection(script):
    """A collection of `{id: vector}` on a server that searches it as Chroma does with l2."""

    def collection(name, rows, space="l2", capabilities=CHROMA_1_5):
        rows = {record_id: np.asarray(vector, dtype="<f4") for record_id, vector in rows.items()}

        def get(body):
            ids = [one for one in body.get("ids") or rows if one in rows][: body.get("limit")]
            columns = {column: [None] * len(ids) for column in body["include"]}
            return {"ids": ids, **columns, **({"embeddings": [rows[one].tolist() for one in ids]} if "embeddings" in columns else {})}

        def query(body):
            answer = {"ids": [], "distances": [], "metadatas": []}
            for vector in body["query_embeddings"]:
                far = {one: float(((row - vector) ** 2).sum()) for one, row in rows.items()}
                near = sorted(far, key=far.__getitem__)[: body["n_results"]]
                for column, values in (("ids", near), ("distances", [far[one] for one in near]), ("metadatas", [None] * len(near))):
                    answer[column].append(values)
            return answer

        old = capabilities is CHROMA_0_3
        path = ("/api/v1" if old else "/api/v2/tenants/default_tenant/databases/default_database") + f"/collections/{name}"
        script.answers.update({("POST", f"{path}/get"): get, ("POST", f"{path}/query"): query, ("GET", f"{path}/count"): lambda _body: len(rows)})
        http = HttpClient(Endpoint(script.url, "default_tenant", "default_database", retries=0))
        dimension = max((len(row) for row in rows.values()), default=None)
        held = LiveCollection((ServerV1 if old else ServerV2)(http, "0", capabilities), StoredCollection(name, name, dimension=dimension))
        held._spec = CollectionSpec(name, None, space, {}, None, dimension)
        return held

    return collection


def merging(*sources):
    """All of them into one target."""
    routes = parse_routes([{"from": "*", "to": "all"}])
    return MigrationPlan(sources, Transformation(None, routes, None, "fail", [source.name for source in sources]), CHROMA_1_5)


def failing(script, name, verb):
    path = f"/api/v2/tenants/default_tenant/databases/default_database/collections/{name}/{verb}"
    script.answers["POST", path] = Reply(500, {"error": "InternalError: the index is broken"})


def test_the_answers_of_several_sources_are_merged_by_distance(make_collection):
    plan = merging(make_collection("one", {"a": [1, 0], "b": [3, 0]}), make_collection("two", {"c": [2, 0]}))
    assert ask_source(plan, [ASKED], SPACES) == ([[("a", 1.0), ("c", 4.0), ("b", 9.0)]], [""])


@pytest.mark.parametrize("rows", [{}, {"x": [1, 0, 0]}], ids=["empty", "other dimension"])
def test_a_source_that_can_hold_no_neighbour_adds_none(make_collection, script, rows):
    plan = merging(make_collection("one", {"a": [1, 0]}), make_collection("two", rows))
    assert ask_source(plan, [ASKED], SPACES) == ([[("a", 1.0)]], [""])
    assert len(script.bodies("query")) == 1


def test_a_source_of_another_distance_cannot_be_held_against_the_target(make_collection):
    """It ranks otherwise: that is no failure, and nothing can be said."""
    plan = merging(make_collection("one", {"a": [1, 0]}), make_collection("two", {"c": [2, 0]}, space="cosine"))
    assert ask_source(plan, [ASKED], SPACES) == ([None], [""])


def test_a_source_that_fails_a_search_is_told_to(make_collection, script):
    plan = merging(make_collection("one", {"a": [1, 0]}), make_collection("two", {"c": [2, 0]}))
    failing(script, "two", "query")
    answers, errors = ask_source(plan, [ASKED], SPACES)
    assert answers == [None]
    assert "the index is broken" in errors[0]


def test_records_of_another_dimension_than_the_query_are_infinitely_far(make_collection):
    """An index can name what is not there, or has changed its kind."""
    held = make_collection("all", {"a": [1, 0, 0]})
    asked = np.zeros((1, 2), dtype="<f4")
    assert with_true_distances(held, "l2", asked, [[("a", 1.0), ("gone", 2.0)]]) == [[("a", math.inf), ("gone", math.inf)]]
    held = make_collection("all", {"a": [3, 4]})
    assert with_true_distances(held, "l2", asked, [[("gone", 0.5), ("a", 1.0)]]) == [[("a", 25.0), ("gone", math.inf)]]


def test_a_target_whose_records_cannot_be_read_fails_the_searches_that_named_them(make_collection, script, monkeypatch):
    monkeypatch.setattr(searches, "TIMED_SEARCHES", 3)
    held = make_collection("all", {"a": [1, 0]})
    other = make_collection("other", {"b": [2, 0]})
    failing(script, "all", "get")
    queries = [ASKED, Query("other", ASKED.vector, "query 2"), ASKED]
    answers = ask_target({"all": held, "other": other}, queries, {"all": "l2", "other": "l2"})
    assert ["the index is broken" in error for error in answers.errors] == [True, False, True]
    assert answers.target[1] == [("b", 4.0)]
    # What failed is not timed: the speed is that of searches that can be relied on.
    assert set(answers.timed_in) == {"other"}


def test_a_target_that_is_gone_or_empty_answers_nothing(make_collection):
    answers = ask_target({"empty": make_collection("empty", {})}, [ASKED, Query("empty", ASKED.vector, "query 2")], {"empty": "l2", **SPACES})
    assert (answers.target, answers.errors, answers.seconds) == ([[], []], ["", ""], [])


def test_of_what_the_source_answered_the_target_holds_a_share(make_collection):
    answer = [("a", 1.0), ("b", 4.0), ("c", 9.0), ("d", 16.0)]
    held = make_collection("all", {"a": [1, 0], "b": [0, 2], "c": [0, 5]})

    def share(collections, answer):
        return held_shares(collections, [ASKED], SPACES, [answer])

    # One has moved and one is lost.
    assert share({"all": held}, answer) == [0.5]
    assert share({"all": held}, None) == [None], "nothing is known of a source that did not answer"
    assert share({"all": held}, []) == [1.0], "of nothing, nothing is lost"
    assert share({}, answer) == [0.0], "the collection is gone"
    assert share({"all": make_collection("all", {"a": [1, 0, 0]})}, answer) == [0.0], "its vectors have another length"


def test_the_first_searches_of_a_watch_list_no_ids_where_the_server_can_tell_some(make_collection, script):
    rows = {f"r{number}": [number, 1] for number in range(12)}
    queries = first_queries(make_collection("all", rows))
    assert [query.origin for query in queries] == [f"record r{number}" for number in range(5)]
    assert all(body["limit"] == 5 for body in script.bodies("get") if "ids" not in body)


def test_a_server_before_tenants_lists_its_ids_for_the_first_searches(make_collection):
    """Its listing by page is not to be relied on, so all ids are read and some chosen, alike each time."""
    rows = {f"r{number}": [number, 1] for number in range(12)}
    queries = first_queries(make_collection("all", rows, capabilities=CHROMA_0_3))
    assert len(queries) == len({query.origin for query in queries}) == 5
    assert [query.origin for query in first_queries(make_collection("all", dict(reversed(rows.items())), capabilities=CHROMA_0_3))] == [
        query.origin for query in queries
    ]
