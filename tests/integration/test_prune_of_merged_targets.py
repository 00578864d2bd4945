# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where several collections go to one: what the source lost goes there too, if it can be told whose it was, and nothing else does."""

from __future__ import annotations

from tests.support import trap_data
from tests.support.case import Case
from tests.support.raw import Record

VECTORS = trap_data.vectors(20)
BOTH = [{"to": "both"}]


def filled(case: Case) -> None:
    for start, name in ((0, "first"), (5, "second")):
        case.source.add(case.source.create(name), [Record(f"r{row}", VECTORS[row], f"text {row}", None) for row in range(start, start + 5)])


def lose(case: Case, name: str, record_id: str) -> None:
    case.source.delete(str(case.source.collection(name)["id"]), [record_id])


def add_a_stranger(case: Case) -> None:
    case.target.add(str(case.target.collection("both")["id"]), [Record("stranger", VECTORS[15], "somebody else's", None)])


def ids(case: Case) -> set[str]:
    return set(case.target.contents()["both"].records)


def test_by_the_prefix_of_the_ids(case: Case) -> None:
    filled(case)
    case.migrate(routes=BOTH, on_collision="prefix")
    before = ids(case)
    add_a_stranger(case)
    for name, record_id in (("first", "r0"), ("second", "r5")):
        lose(case, name, record_id)
    assert case.migrate(routes=BOTH, on_collision="prefix", prune=True, collections=["first"])["records"]["deleted"] == 1
    assert ids(case) == before - {"first:r0"} | {"stranger"}, "what others put there is not this run's"
    assert case.migrate(routes=BOTH, on_collision="prefix", prune=True)["records"]["deleted"] == 1
    assert ids(case) == before - {"first:r0", "second:r5"} | {"stranger"}


def test_where_neither_prefix_nor_field_tells_nothing_is_deleted_and_that_is_said(case: Case) -> None:
    filled(case)
    case.migrate(routes=BOTH)
    before = ids(case)
    lose(case, "first", "r0")
    result = case.migrate(routes=BOTH, prune=True)
    assert result["records"]["deleted"] == 0
    assert "prune: several collections go to 'both', and its records do not say where they came from" in str(result["warnings"])
    assert ids(case) == before
    assert case.migrate(routes=BOTH).get("warnings") is None


def test_a_migration_into_itself_is_refused(case: Case) -> None:
    filled(case)
    before = case.source.contents()
    result = Case(case.source, case.source, case.state).migrate(prune=True, fails=True)
    assert (result["failure_class"], "source and target are the same database" in result["msg"]) == ("usage", True)
    assert case.source.contents().keys() == before.keys()


def test_a_validation_asks_the_first_source_with_records_in_the_merged_target_how_their_ids_begin(case: Case) -> None:
    """Another one can reach it, and has none there."""
    for name, kind in (("first", "other"), ("second", "mine"), ("third", "mine")):
        records = [Record(f"r{row}", VECTORS[row], f"{name} {row}", {"kind": kind}) for row in range(5)]
        case.source.add(case.source.create(name), records)
    routes = [{"where": {"kind": "mine"}, "to": "both"}]
    case.migrate(routes=routes, on_collision="prefix")
    assert len(case.target.contents()["both"].records) == 10
    assert case.validate(routes=routes)["decision"] == "go"
