# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where records go: the first route that fits, typed conditions, and routes that cannot work."""

from __future__ import annotations

import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils._errors import UsageError
from ansible_collections.infrafabric.chromadb.plugins.module_utils._records.collection_name import collection_name_fault
from ansible_collections.infrafabric.chromadb.plugins.module_utils._schema.routes import needs_metadata, parse_routes, reachable_targets
from ansible_collections.infrafabric.chromadb.plugins.module_utils._schema.transformation import FAIL, Transformation


def target_of(routes, source, metadata=None):
    return Transformation(None, parse_routes(routes), None, FAIL, [source]).place(source, "id", metadata).target


def test_the_first_route_that_fits_wins():
    routes = [{"from": "docs_*", "where": {"kind": "joke"}, "to": "humor"}, {"from": "docs_*", "to": "docs"}, {"from": "docs_old", "to": "archive"}]
    assert target_of(routes, "docs_old", {"kind": "joke"}) == "humor"
    assert target_of(routes, "docs_old", {"kind": "essay"}) == "docs"
    assert target_of(routes, "docs_old") == "docs"
    assert target_of(routes, "Docs_old") == "Docs_old"
    assert target_of([], "docs_old") == "docs_old"


@pytest.mark.parametrize(("wanted", "value"), [(1, True), (1, 1.0), (True, 1), (0, False), ("1", 1), (1.0, 1)])
def test_conditions_are_typed(wanted, value):
    routes = [{"where": {"k": wanted}, "to": "target"}]
    assert target_of(routes, "any", {"k": wanted}) == "target"
    assert target_of(routes, "any", {"k": value}) == "any"


def test_every_condition_of_a_route_has_to_hold():
    routes = [{"where": {"a": 1, "b": "x"}, "to": "both"}]
    assert target_of(routes, "any", {"a": 1, "b": "x", "c": 0}) == "both"
    assert target_of(routes, "any", {"a": 1}) == "any"
    assert target_of(routes, "any", None) == "any"


def test_reachable_targets_end_at_the_first_route_without_a_condition():
    routes = parse_routes([{"where": {"k": 1}, "to": "first"}, {"from": "a*", "to": "second"}, {"from": "*", "to": "third"}])
    assert reachable_targets(routes, "alpha") == ("first", "second")
    assert reachable_targets(routes, "beta") == ("first", "third")
    assert reachable_targets(routes[:1], "beta") == ("first", "beta")
    assert reachable_targets((), "beta") == ("beta",)


def test_metadata_is_needed_only_by_conditions():
    assert not needs_metadata(parse_routes([{"from": "*", "to": "all"}]))
    assert needs_metadata(parse_routes([{"from": "*", "to": "all"}, {"where": {"k": 1}, "to": "some"}]))


def test_nulls_count_as_left_out():
    assert parse_routes(None) == parse_routes([]) == ()
    assert parse_routes([{"from": "*", "to": "all"}]) == parse_routes([{"to": "all"}])
    assert parse_routes([{"from": "a", "where": None, "to": "all", "id_prefix": None}]) == parse_routes([{"from": "a", "to": "all"}])


@pytest.mark.parametrize(
    ("routes", "words"),
    [
        ({"from": "*", "to": "all"}, "routes: must be a list"),
        ("all", "routes: must be a list, not 'all'"),
        (["all"], "routes[0]: must be a mapping, not 'all'"),
        ([{"from": "*"}], "routes[0]: lacks 'to'"),
        ([{"from": "*", "to": ""}], "routes[0].to: may not be empty"),
        ([{"from": "", "to": "all"}], "routes[0].from: may not be empty"),
        ([{"from": "*", "to": "all", "id": "x"}], "routes[0]: unknown key 'id'; known are from, id_prefix, to, where"),
        ([{"from": "*", "to": "all"}, {"from": "*", "to": "a"}], "routes[1].to: the name 'a' has 1 characters"),
        ([{"from": "*", "to": "über"}], "may hold only letters"),
        ([{"from": "*", "to": "_all"}], "must begin and end with a letter or digit"),
        ([{"from": "*", "to": "all\n"}], "may hold only letters"),
        ([{"from": "*", "to": "a..b"}], "two dots"),
        ([{"from": "*", "to": "192.0.2.1"}], "IP address"),
        ([{"where": {"k": [1]}, "to": "all"}], "routes[0].where.k: must be text or a number or true or false, not [1]"),
        ([{"where": {"k": float("nan")}, "to": "all"}], "routes[0].where.k: nan equals nothing"),
        ([{"where": {"k": None}, "to": "all"}], "routes[0].where.k: must be text or a number or true or false, not None"),
        ([{"where": {1: "x"}, "to": "all"}], "routes[0].where: the key 1 is no text"),
    ],
)
def test_a_route_that_cannot_work_is_refused_by_number_and_reason(routes, words):
    with pytest.raises(UsageError) as refused:
        parse_routes(routes)
    assert words in refused.value.message


@pytest.mark.parametrize("name", ["abc", "a" * 512, "A-b_c.9", "1.2.3", "999.1.1.1"])
def test_names_that_chroma_takes(name):
    assert collection_name_fault(name) is None


@pytest.mark.parametrize("name", ["", "ab", "a" * 513, "a b", "a/b", ".abc", "abc-", "a..b", "192.0.2.1", "ümlaut", "abc\n"])
def test_names_that_chroma_refuses(name):
    assert collection_name_fault(name)
