# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading a collection whose rows move, vanish, come twice or cannot be read: each record arrives once, or is named."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Callable, Optional

import numpy as np
import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils._endpoint import Endpoint
from ansible_collections.infrafabric.chromadb.plugins.module_utils._errors import DriftError, IntegrityError
from ansible_collections.infrafabric.chromadb.plugins.module_utils._operations.traps import IDS_KEPT, find_traps
from ansible_collections.infrafabric.chromadb.plugins.module_utils._progress import Progress
from ansible_collections.infrafabric.chromadb.plugins.module_utils._records import live
from ansible_collections.infrafabric.chromadb.plugins.module_utils._records.collection_spec import CollectionSpec
from ansible_collections.infrafabric.chromadb.plugins.module_utils._records.live import DuplicateIdsError, LiveCollection, Throttle
from ansible_collections.infrafabric.chromadb.plugins.module_utils._records.selected_records import SelectedRecords
from ansible_collections.infrafabric.chromadb.plugins.module_utils._server.api_v1 import ServerV1
from ansible_collections.infrafabric.chromadb.plugins.module_utils._server.api_v2 import ServerV2
from ansible_collections.infrafabric.chromadb.plugins.module_utils._server.capabilities import CHROMA_0_3, CHROMA_0_4, CHROMA_1_5, Capabilities
from ansible_collections.infrafabric.chromadb.plugins.module_utils._server.http import HttpClient, StatusError
from ansible_collections.infrafabric.chromadb.plugins.module_utils._server.server import StoredCollection
from tests.support.scripted_server import Reply, ScriptedServer

V1 = "/api/v1/collections/c"
V2 = "/api/v2/tenants/default_tenant/databases/default_database/collections/c"
Rows = dict[str, Optional[list[Optional[float]]]]


class Rowed:
    """The rows of the collection c, in their order; `before` may change them, or answer itself, for each request in turn."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.bad: set[str] = set()
        self.before: Callable[[int, dict[str, Any]], Any] = lambda number, body: None
        self.listed = 0
        self.number = 0

    def __call__(self, body: dict[str, Any]) -> Any:
        self.number += 1
        answer = self.before(self.number, body)
        if answer is not None:
            return answer
        with_data = bool(body.get("include"))
        self.listed += not with_data
        ids = [one for one in body["ids"] if one in self.rows] if body.get("ids") else list(self.rows)
        ids = ids[body.get("offset") or 0 :][: body.get("limit")]
        if with_data and self.bad.intersection(ids):
            return Reply(500, {"error": "InternalError: it is broken"})
        columns = {name: [None] * len(ids) for name in ("documents", "metadatas", "uris") if name in body["include"]}
        if "embeddings" in body["include"]:
            columns["embeddings"] = [self.rows[one] for one in ids]  # type: ignore[misc]
        return {"ids": ids, **columns}


@pytest.fixture
def script() -> Iterator[ScriptedServer]:
    with ScriptedServer() as running:
        yield running


def collection(
    script: ScriptedServer, rows: Rowed, capabilities: Capabilities = CHROMA_1_5, throttle: Throttle | None = None, version: str = "0"
) -> LiveCollection:
    old = capabilities in (CHROMA_0_3, CHROMA_0_4)
    script.answers["POST", (V1 if old else V2) + "/get"] = rows
    script.answers["GET", (V1 if old else V2) + "/count"] = lambda _body: len(rows.rows)
    server = (ServerV1 if old else ServerV2)(HttpClient(Endpoint(script.url, "default_tenant", "default_database", retries=0)), version, capabilities)
    return LiveCollection(server, StoredCollection("c", "things", dimension=2), throttle)


def held_with_a_spec(held: LiveCollection) -> LiveCollection:
    held._spec = CollectionSpec("things", "l2")
    return held


def some(count: int) -> Rows:
    return {"r%d" % number: [float(number), 1.0] for number in range(count)}


def read(of: LiveCollection) -> list[str]:
    return [one for batch in of.batches() for one in batch.ids]


# Chroma 0.3, which is read whole


def whole(ids: list[str], vectors: int) -> Rowed:
    """Answers with these rows, whatever is asked."""
    rows = Rowed({})
    rows.before = lambda number, body: {"ids": ids, "embeddings": [[1, 2]] * vectors, "documents": [None] * len(ids), "metadatas": [None] * len(ids)}
    return rows


def test_all_of_0_3_comes_by_one_request_and_in_parts(script: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "READ_AT_ONCE", 2)
    rows = Rowed(some(5))
    held = collection(script, rows, CHROMA_0_3)
    assert [len(batch) for batch in held.batches()] == [2, 2, 1]
    assert rows.number == 1
    without = list(held.batches_without_vectors())
    assert [batch.embeddings.shape for batch in without] == [(2, 0), (2, 0), (1, 0)]
    assert list(held.id_pages()) == [list(rows.rows)]
    assert rows.listed == 1


def test_an_id_that_0_3_holds_twice_is_named(script: ScriptedServer) -> None:
    held = collection(script, whole(["a", "b", "a", "a"], vectors=4), CHROMA_0_3)
    with pytest.raises(DuplicateIdsError, match="holds the id 'a' more than once") as caught:
        read(held)
    assert caught.value.details["ids"] == ["a"]
    kinds = {trap.trap: trap for trap in find_traps([held_with_a_spec(held)], Progress())}
    assert (kinds["duplicate_id"].ids, kinds["duplicate_id"].count) == (["a"], 1)
    assert "unsafe_reads" in kinds


def test_0_3_that_lacks_vectors_is_refused(script: ScriptedServer) -> None:
    with pytest.raises(IntegrityError, match="does not give one vector for each of its 2 records"):
        read(collection(script, whole(["a", "b"], vectors=1), CHROMA_0_3))


def test_the_record_that_0_3_cannot_read_is_found_by_halves(script: ScriptedServer) -> None:
    rows = Rowed(some(9))
    rows.bad = {"r4"}
    held = collection(script, rows, CHROMA_0_3)
    with pytest.raises(IntegrityError, match=r"Record 'r4' of collection 'things'.*cannot be read"):
        read(held)
    held.unreadable = {}
    assert read(held) == ["r0", "r1", "r2", "r3", "r5", "r6", "r7", "r8"]
    assert list(held.unreadable) == ["r4"]


# Rows that move


def test_a_listing_begins_again_where_rows_moved_between_two_pages(script: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "LISTED_AT_ONCE", 4)
    rows = Rowed(some(9))

    def deleted_after_the_first_page(number: int, body: dict[str, Any]) -> None:
        if number == 2:
            del rows.rows["r1"]

    rows.before = deleted_after_the_first_page
    held = collection(script, rows)
    assert [one for page in held.id_pages() for one in page] == ["r0", "r2", "r3", "r4", "r5", "r6", "r7", "r8"]


def test_pages_that_something_keeps_smaller_are_read_to_their_end(script: ScriptedServer) -> None:
    rows = Rowed(some(10))
    rows.before = lambda number, body: body.update(limit=4) if body.get("limit") else None
    held = collection(script, rows)
    assert [one for page in held.id_pages() for one in page] == list(rows.rows)
    assert read(held) == list(rows.rows)


def test_fewer_ids_than_the_server_counts_are_not_all(script: ScriptedServer) -> None:
    rows = Rowed(some(10))
    rows.before = lambda number, body: {"ids": list(rows.rows)[::2]}
    with pytest.raises(IntegrityError, match="lists 5 ids of collection 'things', and counts 10 records: some would be left out"):
        list(collection(script, rows).id_pages())
    assert rows.number == 10  # twice in each attempt: whether there is another page


def test_records_that_are_deleted_between_the_count_and_the_listing_are_not_missed(script: ScriptedServer) -> None:
    rows = Rowed(some(10))
    rows.before = lambda number, body: rows.rows.pop("r7", None) and None
    assert [one for page in collection(script, rows).id_pages() for one in page] == ["r0", "r1", "r2", "r3", "r4", "r5", "r6", "r8", "r9"]
    assert rows.number == 2


def test_a_listing_that_comes_short_each_time_in_another_place_is_drift(script: ScriptedServer) -> None:
    """Clients that write and delete without a pause: a moment with fewer records is no reason to call the server a liar."""
    rows = Rowed(some(10))
    rows.before = lambda number, body: {"ids": [one for one in rows.rows if one != f"r{(number - 1) // 2}"]}
    with pytest.raises(DriftError, match="moved during 5 listings, and it lists 9 ids of collection 'things', and counts 10 records; freeze its writers"):
        list(collection(script, rows).id_pages())
    rows.number = 0
    rows.before = lambda number, body: {"ids": [one for one in rows.rows if one != "r3" or number > 8]}
    assert [one for page in collection(script, rows).id_pages() for one in page] == list(rows.rows)


def test_rows_that_never_stand_still_are_drift(script: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "LISTED_AT_ONCE", 2)
    rows = Rowed(some(40))

    def always(number: int, body: dict[str, Any]) -> None:
        rows.rows.pop(next(iter(rows.rows)))

    rows.before = always
    with pytest.raises(DriftError, match="moved during 5 listings; freeze its writers"):
        list(collection(script, rows).id_pages())


def test_what_appears_and_vanishes_meanwhile_is_read_and_noted(script: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "READ_AT_ONCE", 3)
    rows = Rowed(some(6))

    def written_after_the_listing(number: int, body: dict[str, Any]) -> None:
        if number == 2:
            del rows.rows["r5"]
            rows.rows["new"] = [9.0, 9.0]

    rows.before = written_after_the_listing
    held = collection(script, rows)
    assert sorted(read(held)) == ["new", "r0", "r1", "r2", "r3", "r4"]
    assert (held.movement.appeared, held.movement.vanished, held.movement.unsettled) == (1, 1, 0)
    assert set(held.movement.ids) == {"new", "r5"}


def test_a_record_that_was_away_for_a_moment_is_read_at_the_second_look(script: ScriptedServer) -> None:
    rows = Rowed(some(3))
    away = rows.rows["r1"]

    def put_away(number: int, body: dict[str, Any]) -> None:
        if number == 2:
            del rows.rows["r1"]
        elif body.get("limit") == live.LISTED_AT_ONCE and number > 2:
            rows.rows["r1"] = away

    rows.before = put_away
    held = collection(script, rows)
    assert sorted(read(held)) == ["r0", "r1", "r2"]
    assert held.movement.vanished == 0


def test_an_id_that_is_listed_and_never_given_is_named(script: ScriptedServer) -> None:
    rows = Rowed(some(2))
    rows.before = lambda number, body: {"ids": ["r0", "ghost"]} if not body.get("include") else None
    with pytest.raises(IntegrityError, match="lists the id 'ghost' in collection 'things', but does not give its record"):
        read(collection(script, rows))
    with pytest.raises(IntegrityError, match="lists the id 'ghost'"):
        list(SelectedRecords(collection(script, rows), ["r0", "ghost"]).batches())


def test_selected_records_are_read_and_those_that_are_gone_noted(script: ScriptedServer) -> None:
    rows = Rowed(some(4))
    chosen = SelectedRecords(collection(script, rows), ["r3", "gone", "r0"])
    assert (chosen.count(), list(chosen.id_pages())) == (3, [["r3", "gone", "r0"]])
    assert [one for batch in chosen.batches() for one in batch.ids] == ["r3", "r0"]
    assert (chosen.movement.vanished, chosen.movement.ids) == (1, ["gone"])
    assert [batch.ids for batch in chosen.batches_without_vectors()] == [["r3", "r0"]]


# Records that cannot be read


def test_a_page_that_the_server_cannot_give_is_read_by_id_and_the_culprit_named(script: ScriptedServer) -> None:
    rows = Rowed(some(8))
    rows.bad = {"r2", "r6"}
    with pytest.raises(IntegrityError, match=r"Records 'r2', 'r6' of collection 'things'.*it is broken") as caught:
        read(collection(script, rows))
    assert caught.value.details["ids"] == ["r2", "r6"]
    held = collection(script, rows)
    held.unreadable = {}
    assert sorted(read(held)) == ["r0", "r1", "r3", "r4", "r5", "r7"]
    assert sorted(held.unreadable) == ["r2", "r6"]
    assert list(held.fetch([]).ids) == []


def test_no_more_are_named_than_anybody_reads(script: ScriptedServer) -> None:
    rows = Rowed(some(64))
    rows.bad = set(rows.rows)
    with pytest.raises(IntegrityError) as caught:
        read(collection(script, rows))
    assert caught.value.details["ids"] == ["r%d" % number for number in range(10)]
    # It is not asked for each of them.
    assert rows.number < 40


def test_vectors_that_are_left_out_are_found_record_by_record(script: ScriptedServer) -> None:
    """As servers before 1.0 do it: fewer vectors than ids."""
    rows = Rowed(some(3))

    def without_that_of_r1(number: int, body: dict[str, Any]) -> Any:
        if "embeddings" not in (body.get("include") or ()):
            return None
        ids = list(body.get("ids") or rows.rows)
        return {"ids": ids, "embeddings": [rows.rows[one] for one in ids if one != "r1"], "documents": [None] * len(ids), "metadatas": [None] * len(ids)}

    rows.before = without_that_of_r1
    held = collection(script, rows, CHROMA_0_4, version="0.5.8")
    (batch,) = held.batches()
    assert batch.ids == ["r0", "r1", "r2"]
    assert batch.embedded is not None
    assert batch.embedded.tolist() == [True, False, True]
    kinds = {trap.trap: trap for trap in find_traps([held_with_a_spec(held)], Progress())}
    assert kinds["missing_embedding"].ids == ["r1"]
    assert "Chroma 0.5.8 may have purged vectors" in kinds["purged_vectors"].advice


def test_traps_of_names_values_and_records(script: ScriptedServer) -> None:
    rows = Rowed({**some(2), "r2": [float("1e300"), 1.0], "r3": [0.0, 1.0]})
    rows.bad = {"r3"}
    held = held_with_a_spec(collection(script, rows))
    held.stored = StoredCollection("c", "a b", {"hnsw:space": "cosine"}, dimension=2)
    traps = find_traps([held], Progress())
    kinds = {trap.trap: trap for trap in traps}
    assert kinds["refused_name"].collection == "a b"
    assert "The server says cosine, but ranks by l2" in kinds["hidden_distance"].advice
    assert kinds["not_finite_embedding"].ids == ["r2"]
    assert (kinds["unreadable"].ids, kinds["unreadable"].severity) == (["r3"], "error")
    assert kinds["unreadable"].as_dict()["count"] == 1


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        pytest.param({"embeddings": [[1, 2]], "documents": ["a", "b"]}, "answers 2 documents for 1 ids", id="too many documents"),
        pytest.param({"embeddings": [["x", "y"]], "documents": [None]}, "vectors of collection 'things' that are not numbers", id="no numbers"),
    ],
)
def test_answers_that_do_not_fit_are_refused(script: ScriptedServer, answer: dict[str, Any], message: str) -> None:
    rows = Rowed(some(1))
    rows.before = lambda number, body: {"ids": ["r0"], **answer} if body.get("include") else None
    with pytest.raises(IntegrityError, match=message):
        read(collection(script, rows))


def test_a_vector_of_another_width_or_with_a_hole_is_equal_to_none(script: ScriptedServer) -> None:
    rows = Rowed({"r0": [1.0, 2.0], "r1": [1.0, None], "r2": [1.0, 2.0, 3.0], "r3": None})
    (batch,) = collection(script, rows).batches()
    assert batch.embeddings.shape == (4, 3)
    assert np.isnan(batch.embeddings).any(axis=1).tolist() == [True, True, False, False]
    assert batch.embedded is not None
    assert batch.embedded.tolist() == [True, True, True, False]


def test_a_throttle_keeps_to_its_rate_and_asks_for_no_more_than_a_second_allows(script: ScriptedServer) -> None:
    rows = Rowed(some(30))
    held = collection(script, rows, throttle=Throttle(100))
    assert held.page_size == 100
    began = time.monotonic()
    for _round in range(3):
        read(held)
    # The first thirty are free; the other sixty are not.
    assert time.monotonic() - began > 0.5


def test_0_3_that_fails_as_a_whole_and_gives_each_record_fails_with_its_own_words(script: ScriptedServer) -> None:
    """By their ids it does not find every record: what was found that way may not be all, and is not passed on."""
    rows = Rowed(some(3))
    rows.before = lambda number, body: Reply(500, {"error": "InternalError: out of memory"}) if body.get("include") and not body.get("ids") else None
    held = collection(script, rows, CHROMA_0_3)
    held.unreadable = {}
    with pytest.raises(StatusError, match="out of memory"):
        read(held)


def test_records_that_never_cease_to_appear_are_counted_as_unsettled(script: ScriptedServer) -> None:
    rows = Rowed(some(2))

    def another_one_each_time(number: int, body: dict[str, Any]) -> None:
        if not body.get("include"):
            rows.rows["new-%d" % number] = [1.0, 1.0]

    rows.before = another_one_each_time
    held = collection(script, rows)
    found = read(held)
    assert len(found) == len(set(found)) >= 5
    assert held.movement.unsettled > 0
    assert held.movement.appeared >= live.REREAD_ROUNDS


def test_what_the_current_release_would_refuse_or_change_is_counted_and_the_first_records_are_named(script: ScriptedServer) -> None:
    count = IDS_KEPT + 5
    ids = ["r%d" % number for number in range(count)]
    columns = {"documents": [None] * count, "uris": [None] * count, "embeddings": [[1.0, 2.0]] * count}
    rows = Rowed(some(count))
    rows.before = lambda number, body: {"ids": ids, **columns, "metadatas": [{"a": None}] + [{"a": -0.0}] * (count - 1)} if body.get("include") else None
    held = held_with_a_spec(collection(script, rows))
    kinds = {trap.trap: trap for trap in find_traps([held], Progress())}
    assert (kinds["a null_value"].ids, kinds["a null_value"].count, kinds["a null_value"].severity) == (["r0"], 1, "error")
    changed = kinds["canonical_metadata"]
    assert (changed.ids, changed.count, changed.severity) == (ids[1 : IDS_KEPT + 1], count - 1, "warning")
