# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Damage of every kind, done to a real target of 2,000 records: caught by the check that should catch it, and named by id.
And differences that are none: they raise no alarm. All of it is one file because it is one table, from which the runs are drawn.

A few of them run by default, chosen by MUTATION_SEED (0). MUTATIONS=all runs every one, MUTATIONS=30 so many.
"""

from __future__ import annotations

import os
import random
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Optional

import numpy as np
import pytest
import yaml

from tests.support.case import Case
from tests.support.equality import differences
from tests.support.raw import RawChroma, Record
from tests.support.run_module import CHECKOUT

BY_DEFAULT = 14
DIMENSION = 32
SEEDS = yaml.safe_load((CHECKOUT / "roles/migrate/files/seed_schema.yml").read_text())
FAITHFUL, MERGED = "faithful", "merged"


class World:
    """A source and a target that equals it, which a test damages and this mends again."""

    def __init__(self, case: Case, options: dict[str, Any]) -> None:
        self.case, self.options = case, options
        self.target = case.target
        self.pristine = self.target.contents()

    def __getitem__(self, collection: str) -> list[Record]:
        """The records of a target collection as they should be."""
        return list(self.pristine[collection].records.values())

    def id(self, collection: str) -> str:
        return str(self.target.collection(collection)["id"])

    def put(self, collection: str, *records: Record) -> list[str]:
        """These records exactly; their ids."""
        self.target.replace(self.id(collection), records)
        return [record.id for record in records]

    def lose(self, collection: str, *records: Record) -> list[str]:
        self.target.delete(self.id(collection), [record.id for record in records])
        return [record.id for record in records]

    def drop(self, collection: str) -> None:
        """Its records first, so that none of their lists haunts a later one."""
        held = self.id(collection)
        self.target.delete(held, list(self.target.records(held)))
        self.target.delete_collection(collection)

    def rebuild(self, collection: str, records: list[Record] | None = None, metadata: Any = ..., name: str = "", **hnsw: Any) -> None:
        """The collection anew, with some settings changed."""
        held = self.pristine[collection]
        if collection in self.target.names():
            self.drop(collection)
        before = held.configuration or {}
        settings = {key: value for key, value in (before.get("hnsw") or {}).items() if value is not None}
        configuration: dict[str, Any] = {"hnsw": {**settings, **hnsw}}
        if before.get("embedding_function"):
            configuration["embedding_function"] = before["embedding_function"]
        metadata = held.metadata if metadata is ... else metadata
        if metadata and "space" in hnsw:
            metadata = {key: value for key, value in metadata.items() if key != "hnsw:space"}
        created = self.target.create(name or collection, metadata, configuration)
        self.target.add(created, list(held.records.values()) if records is None else records)

    def mend(self) -> None:
        """Whatever was done, undone."""
        now = self.target.contents()
        for name in now:
            if name not in self.pristine:
                self.drop(name)
        for name, held in self.pristine.items():
            there = now.get(name)
            if there is None or there.metadata != held.metadata or there.configuration != held.configuration or there.dimension != held.dimension:
                self.rebuild(name)
                continue
            self.target.delete(self.id(name), [record_id for record_id in there.records if record_id not in held.records])
            wrong = [record for record_id, record in held.records.items() if not same(there.records.get(record_id), record)]
            self.put(name, *wrong)

    def validate(self) -> dict[str, Any]:
        return self.case.validate(**self.options)


def same(left: Record | None, right: Record) -> bool:
    return left is not None and left._replace(embedding=None) == right._replace(embedding=None) and left.embedding.tobytes() == right.embedding.tobytes()


Harm = Callable[[World], Optional[list[str]]]


@dataclass(frozen=True)
class Mutation:
    """Damage: what it does, the check that must catch it and name the ids that `harm` returns, and its verdict."""

    name: str
    world: str
    check: str
    harm: Harm
    status: str = "failed"
    decision: str = "no_go"


MUTATIONS: list[Mutation] = []
HARMLESS: list[tuple[str, Callable[[World], Any]]] = []


def mutation(check: str, world: str = FAITHFUL, status: str = "failed", decision: str = "no_go") -> Callable[[Harm], Harm]:
    def register(harm: Harm) -> Harm:
        MUTATIONS.append(Mutation(harm.__name__, world, check, harm, status, decision))
        return harm

    return register


def harmless(change: Callable[[World], Any]) -> Callable[[World], Any]:
    HARMLESS.append((change.__name__, change))
    return change


def change_vector(name: str, collection: str, change: Callable[[Any], Any]) -> None:
    def harm(world: World) -> list[str]:
        record = world[collection][11]
        return world.put(collection, record._replace(embedding=np.asarray(change(record.embedding.copy()), dtype="<f4")))

    MUTATIONS.append(Mutation(name, FAITHFUL, "embeddings", harm))


def change_metadata(
    name: str, check: str = "records", world: str = FAITHFUL, collection: str = "cosine", status: str = "failed", drop: tuple[str, ...] = (), **values: Any
) -> None:
    def harm(where: World) -> list[str]:
        record = where[collection][12]
        kept = {key: value for key, value in (record.metadata or {}).items() if key not in drop}
        return where.put(collection, record._replace(metadata={**kept, **values}))

    MUTATIONS.append(Mutation(name, world, check, harm, status))


def change_document(name: str, change: Callable[[str | None], str | None], collection: str = "cosine", row: int = 13) -> None:
    def harm(world: World) -> list[str]:
        record = world[collection][row]
        return world.put(collection, record._replace(document=change(record.document)))

    MUTATIONS.append(Mutation(name, FAITHFUL, "records", harm))


# Vectors

change_vector("one negated vector", "cosine", lambda vector: -vector)
change_vector("one negated vector of l2", "flat", lambda vector: -vector)
change_vector("a vector twice as long", "cosine", lambda vector: 2 * vector)
change_vector("the last bit of one number, l2", "flat", lambda vector: np.append(np.nextafter(vector[:1], np.float32(9)), vector[1:]))
change_vector("the last bit of one number, ip", "dots", lambda vector: np.append(np.nextafter(vector[:1], np.float32(9)), vector[1:]))
change_vector("a thousandth in one number", "cosine", lambda vector: np.append(vector[:1] + np.float32(1e-3), vector[1:]))
change_vector("a hundred-thousandth in one number", "cosine", lambda vector: np.append(vector[:1] + np.float32(1e-5), vector[1:]))
change_vector("a zero vector", "flat", lambda vector: 0 * vector)
change_vector("a vector that reads back as NaN", "cosine", lambda vector: vector * np.float32(1e20))
change_vector("numbers in another order", "dots", lambda vector: vector[::-1])
change_vector("minus zero", "flat", lambda vector: np.append(np.copysign(np.float32(0), -1), vector[1:]))


@mutation("embeddings")
def two_vectors_swapped(world: World) -> list[str]:
    one, other = world["cosine"][3:5]
    return world.put("cosine", one._replace(embedding=other.embedding), other._replace(embedding=one.embedding))


@mutation("embeddings")
def a_vector_of_the_neighbour(world: World) -> list[str]:
    one, other = world["flat"][3:5]
    return world.put("flat", one._replace(embedding=other.embedding))


@mutation("semantic_equivalence")
def every_vector_negated(world: World) -> None:
    for name in ("cosine", "flat", "dots"):
        world.put(name, *[record._replace(embedding=-record.embedding) for record in world[name]])


@mutation("semantic_equivalence")
def vectors_of_a_collection_shuffled(world: World) -> None:
    records = world["cosine"]
    world.put("cosine", *[record._replace(embedding=records[place - 1].embedding) for place, record in enumerate(records)])


# Documents and uris

change_document("one changed character", lambda document: "X" + str(document)[1:])
change_document("a trailing space", lambda document: f"{document} ")
change_document("another case", lambda document: str(document).swapcase())
change_document("an empty document", lambda document: "")
change_document("no document", lambda document: None)
change_document("a document where none was", lambda document: "text", "bare", 2)
change_document("an empty document where none was", lambda document: "", "bare", 2)
change_document("none where an empty one was", lambda document: None, "flat", 0)
change_document("composed characters taken apart", lambda document: unicodedata.normalize("NFD", str(document)), "flat", 1)
change_document("cut short", lambda document: str(document)[:-1])


@mutation("records")
def two_documents_swapped(world: World) -> list[str]:
    one, other = world["cosine"][20:22]
    return world.put("cosine", one._replace(document=other.document), other._replace(document=one.document))


@mutation("records")
def every_document_replaced(world: World) -> None:
    world.put("cosine", *[record._replace(document="GARBAGE") for record in world["cosine"]])


@mutation("records")
def another_uri(world: World) -> list[str]:
    return world.put("flat", world["flat"][2]._replace(uri="http://192.0.2.1/other"))


@mutation("records")
def no_uri(world: World) -> list[str]:
    return world.put("flat", world["flat"][2]._replace(uri=None))


@mutation("records")
def a_uri_where_none_was(world: World) -> list[str]:
    return world.put("cosine", world["cosine"][2]._replace(uri="http://192.0.2.1/new"))


# Metadata

change_metadata("1 to 1.0", one=1.0)
change_metadata("1.0 to 1", real=1)
change_metadata("1 to true", one=True)
change_metadata("true to 1", yes=1)
change_metadata("a number to text", one="1")
change_metadata("an added key", new="value")
change_metadata("a dropped key", drop=("one",))
change_metadata("a renamed key", drop=("one",), One=1)
change_metadata("a large integer off by one", large=2**53)
change_metadata("the last digit of a float", third=float(np.nextafter(1 / 3, 1)))
change_metadata("a changed element of a list", list=["a", "b", "x"])
change_metadata("a list in another order", list=["b", "a", "c"])
change_metadata("a list of one to its element", single="a")
change_metadata("a changed letter in a text", title="Ä")
change_metadata("text without its spaces", padded="padded")


@mutation("records")
def metadata_gone(world: World) -> list[str]:
    return world.put("cosine", world["cosine"][5]._replace(metadata=None))


@mutation("records")
def metadata_where_none_was(world: World) -> list[str]:
    return world.put("bare", world["bare"][5]._replace(metadata={"new": 1}))


@mutation("records")
def metadata_of_two_records_swapped(world: World) -> list[str]:
    one, other = world["flat"][20:22]
    return world.put("flat", one._replace(metadata=other.metadata), other._replace(metadata=one.metadata))


# Whole records

@mutation("records")
def one_missing(world: World) -> list[str]:
    return world.lose("cosine", world["cosine"][30])


@mutation("counts")
def one_missing_of_few(world: World) -> None:
    world.lose("bare", world["bare"][3])


@mutation("records")
def one_extra(world: World) -> list[str]:
    return world.put("cosine", world["cosine"][30]._replace(id="one too many"))


@mutation("counts")
def five_percent_missing(world: World) -> None:
    world.lose("cosine", *world["cosine"][::20])


@mutation("records")
def a_renamed_id(world: World) -> list[str]:
    return [*world.lose("flat", world["flat"][40]), *world.put("flat", world["flat"][40]._replace(id="renamed"))]


@mutation("records")
def an_id_of_other_characters_that_look_alike(world: World) -> list[str]:
    record = next(record for record in world["flat"] if record.id == "caf\u00e9")
    return [*world.lose("flat", record), *world.put("flat", record._replace(id="cafe\u0301"))]


@mutation("records")
def two_ids_swapped(world: World) -> list[str]:
    one, other = world["flat"][50:52]
    return world.put("flat", one._replace(id=other.id), other._replace(id=one.id))


@mutation("records")
def a_record_in_the_wrong_collection(world: World) -> list[str]:
    return [*world.lose("flat", world["flat"][60]), *world.put("cosine", world["flat"][60])]


@mutation("counts")
def a_truncated_collection(world: World) -> None:
    world.lose("cosine", *world["cosine"][500:])


@mutation("counts")
def an_emptied_collection(world: World) -> None:
    world.lose("dots", *world["dots"])


# Collections

@mutation("records")
def two_collections_swapped(world: World) -> None:
    one, other = world.id("cosine"), world.id("twin")
    world.target.modify(one, new_name="for-a-moment")
    world.target.modify(other, new_name="cosine")
    world.target.modify(one, new_name="twin")


@mutation("specs")
def a_collection_gone(world: World) -> list[str]:
    world.drop("dots")
    return ["dots"]


@mutation("counts")
def an_empty_collection_gone(world: World) -> list[str]:
    world.drop("empty")
    return ["empty"]


@mutation("counts")
def a_renamed_collection(world: World) -> list[str]:
    world.target.modify(world.id("dots"), new_name="dots-2")
    return ["dots"]


@mutation("specs")
def another_distance(world: World) -> list[str]:
    world.rebuild("flat", space="ip")
    return ["flat", "space"]


@mutation("specs")
def other_settings_of_the_index(world: World) -> list[str]:
    world.rebuild("cosine", ef_search=7)
    return ["cosine", "ef_search"]


@mutation("specs")
def fewer_neighbours_in_the_index(world: World) -> list[str]:
    world.rebuild("cosine", max_neighbors=5)
    return ["cosine", "max_neighbors"]


@mutation("specs")
def other_metadata_of_a_collection(world: World) -> list[str]:
    world.rebuild("dots", metadata={"owner": "somebody else", "number": 1})
    return ["dots", "metadata"]


@mutation("specs")
def another_type_in_the_metadata_of_a_collection(world: World) -> list[str]:
    world.rebuild("dots", metadata={"owner": "team", "number": 1.0})
    return ["dots", "metadata"]


@mutation("specs")
def no_metadata_of_a_collection(world: World) -> list[str]:
    world.rebuild("dots", metadata=None)
    return ["dots", "metadata"]


@mutation("specs")
def vectors_of_another_dimension(world: World) -> list[str]:
    world.rebuild("dots", [record._replace(embedding=record.embedding[:16]) for record in world["dots"]])
    return ["dots", "dimension"]


# What a schema asks for

change_metadata("a required field gone", "metadata_completeness", MERGED, "sergio_corpus", drop=("author",))
change_metadata("a required field of a trusted kind gone", "metadata_completeness", MERGED, "sergio_humor", drop=("confidence_level",))
change_metadata("1 for true", "field_types", MERGED, "sergio_corpus", "warning", disputed=1)
change_metadata("a float for an integer", "field_types", MERGED, "sergio_corpus", "warning", source_line=3.0)
change_metadata("a citation in another form", "citations", MERGED, "sergio_corpus", "warning", if_citation_uri="http://192.0.2.1")
change_metadata("the type of another collection", "distribution", MERGED, "sergio_humor", collection_type="corpus")
change_metadata("a value out of its range", "records", MERGED, "sergio_corpus", authenticity_score=0.76)


@mutation("counts", MERGED)
def the_name_of_another_source(world: World) -> list[str]:
    record = next(record for record in world["sergio_corpus"] if (record.metadata or {})["source_collection"] == "openwebui_docs")
    world.put("sergio_corpus", record._replace(metadata={**(record.metadata or {}), "source_collection": "openwebui_core"}))
    return ["openwebui_docs"]


@mutation("counts", MERGED)
def all_records_of_one_source_gone(world: World) -> list[str]:
    for name in ("sergio_corpus", "sergio_humor"):
        world.lose(name, *[record for record in world[name] if (record.metadata or {})["source_collection"] == "openwebui_docs"])
    return ["openwebui_docs"]


@mutation("distribution", MERGED)
def a_record_moved_to_another_target(world: World) -> list[str]:
    return [*world.lose("sergio_corpus", world["sergio_corpus"][9]), *world.put("sergio_humor", world["sergio_corpus"][9])][1:]


@mutation("records", MERGED)
def an_extra_record_of_a_source(world: World) -> list[str]:
    return world.put("sergio_humor", world["sergio_humor"][9]._replace(id="one too many"))


@mutation("records", MERGED, status="warning", decision="marginal")
def a_record_of_somebody_else(world: World) -> list[str]:
    record = world["sergio_humor"][9]
    return world.put("sergio_humor", record._replace(id="not ours", metadata={**(record.metadata or {}), "source_collection": "elsewhere"}))


# What is no damage

@harmless
def nothing_at_all(world: World) -> None:
    pass


@harmless
def the_same_records_written_again(world: World) -> None:
    world.target.upsert(world.id("flat"), world["flat"])


@harmless
def deleted_and_added_again(world: World) -> None:
    world.put("flat", *world["flat"][:50])


@harmless
def another_order_of_insertion(world: World) -> None:
    world.rebuild("flat", world["flat"][::-1])


@harmless
def a_new_index(world: World) -> None:
    world.rebuild("cosine")


@harmless
def another_order_of_keys(world: World) -> None:
    world.put("cosine", *[r._replace(metadata=dict(reversed((r.metadata or {}).items())) or None) for r in world["cosine"][:50]])


@harmless
def another_order_of_the_collections_keys(world: World) -> None:
    world.rebuild("dots", metadata=dict(reversed((world.pristine["dots"].metadata or {}).items())))


@harmless
def a_second_trip_of_cosine_vectors(world: World) -> None:
    held = world.target.records(world.id("cosine"))
    world.put("cosine", *held.values())


@harmless
def a_third_trip_of_cosine_vectors(world: World) -> None:
    for _trip in range(2):
        world.put("twin", *world.target.records(world.id("twin")).values())


@harmless
def one_unit_in_the_last_place_of_cosine(world: World) -> None:
    records = world["cosine"][:50]
    world.put("cosine", *[record._replace(embedding=np.nextafter(record.embedding, np.float32(9))) for record in records])


@harmless
def changed_and_changed_back(world: World) -> None:
    record = world["flat"][7]
    world.put("flat", record._replace(document="for a moment"))
    world.put("flat", record)


@harmless
def a_record_added_and_deleted(world: World) -> None:
    world.lose("flat", *[world["flat"][7]._replace(id=one) for one in world.put("flat", world["flat"][7]._replace(id="for a moment"))])


@harmless
def renamed_and_renamed_back(world: World) -> None:
    held = world.id("dots")
    world.target.modify(held, new_name="for-a-moment")
    world.target.modify(held, new_name="dots")


@harmless
def an_extra_collection(world: World) -> None:
    world.target.add(world.target.create("somebody-elses"), world["flat"][:5])


@harmless
def adding_what_is_there(world: World) -> None:
    world.target.add(world.id("flat"), [record._replace(document="ignored") for record in world["flat"][:5]])


@harmless
def deleting_what_is_not_there(world: World) -> None:
    world.target.delete(world.id("flat"), ["no such id"])


@harmless
def null_for_what_is_null(world: World) -> None:
    world.target.update(world.id("bare"), ids=[world["bare"][0].id], metadatas=[None])


@harmless
def single_records_a_request(world: World) -> None:
    world.target.upsert(world.id("dots"), world["dots"][:30], batch=1)


@harmless
def many_searches(world: World) -> None:
    for record in world["cosine"][:30]:
        world.target.query(world.id("cosine"), record.embedding)


@harmless
def another_database_beside_it(world: World) -> None:
    beside = world.target.fresh_database("beside")
    beside.add(beside.create("flat"), world["flat"][:5])


def chosen(names: list[str], by_default: int) -> set[str]:
    """Which cases run this time."""
    wanted = os.environ.get("MUTATIONS", str(by_default))
    if wanted == "all":
        return set(names)
    return set(random.Random(int(os.environ.get("MUTATION_SEED", "0"))).sample(names, min(int(wanted), len(names))))


@pytest.fixture(scope="module")
def worlds(source_server: Any, target_server: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, World]:
    def places(name: str) -> Case:
        directory: Path = tmp_path_factory.mktemp(name)
        return Case(RawChroma(source_server.url).fresh_database(name), RawChroma(target_server.url).fresh_database(name), directory)

    faithful, merged = places(FAITHFUL), places(MERGED)
    for place in (faithful.source, faithful.target):
        fill(place)
    fill_old(merged.source)
    merged.migrate(**SEEDS)
    return {FAITHFUL: World(faithful, {}), MERGED: World(merged, dict(SEEDS))}


def fill(place: RawChroma) -> None:
    """2,000 records in six collections."""
    function = {"type": "known", "name": "default", "config": {}}
    for name, space, count, metadata in (
        ("cosine", "cosine", 700, None), ("twin", "cosine", 300, {"description": "like cosine, with other texts"}), ("flat", "l2", 600, None),
        ("dots", "ip", 300, {"owner": "team", "number": 1}), ("bare", "l2", 100, None), ("empty", "l2", 0, {"kept": True}),
    ):
        configuration = {"hnsw": {"space": space}, **({"embedding_function": function} if name == "twin" else {})}
        created = place.create(name, metadata, configuration)
        place.add(created, records_of(name, count))


def records_of(name: str, count: int) -> list[Record]:
    # The same for both sides, and other ones for each collection.
    rng = np.random.default_rng(sum(name.encode()))
    rows = rng.normal(size=(count, DIMENSION)).astype("<f4")
    if name == "bare":
        return [Record(f"bare-{place}", row) for place, row in enumerate(rows)]
    found = []
    for place, row in enumerate(rows):
        metadata = {
            "one": 1, "real": 1.0, "yes": True, "large": 2**53 + 1, "third": 1 / 3, "list": ["a", "b", "c"], "single": ["a"], "title": "ä",
            "padded": " padded ", "place": place,
        }
        found.append(Record(f"{name}-{place}", row, f"Text {place} of {name}: caf\u00e9", metadata))
    if name == "flat":
        found[0] = found[0]._replace(document="")
        found[2] = found[2]._replace(uri="http://192.0.2.1/two")
        found[3] = found[3]._replace(id="caf\u00e9")
    return found


def fill_old(place: RawChroma) -> None:
    """2,000 records of the old kind: two collections whose records go to two targets."""
    for name, count in (("openwebui_core", 1200), ("openwebui_docs", 800)):
        rows = np.random.default_rng(count).normal(size=(count, DIMENSION)).astype("<f4")
        created = place.create(name, None, {"hnsw": {"space": "cosine"}})
        records = []
        for number, row in enumerate(rows):
            kind = "humor" if number % 3 == 0 else "corpus"
            citation = "if://citation/x" if number % 200 == 0 else ""
            metadata = {"author": "Team", "collection_type": kind, "if_citation_uri": citation}
            records.append(Record(f"{name}-{number}", row, f"{number} of {name}", metadata))
        place.add(created, records)


@pytest.fixture
def mended(worlds: dict[str, World]) -> Iterator[Callable[[str], World]]:
    used: list[World] = []

    def use(name: str) -> World:
        used.append(worlds[name])
        return worlds[name]

    yield use
    for world in used:
        world.mend()


RUN = chosen([mutation.name for mutation in MUTATIONS], BY_DEFAULT)
RUN_HARMLESS = chosen([name for name, _change in HARMLESS], BY_DEFAULT // 3)


def test_there_are_enough_of_them() -> None:
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS) >= 40
    assert len(HARMLESS) >= 20


@pytest.mark.parametrize("mutation", [mutation for mutation in MUTATIONS if mutation.name in RUN], ids=lambda mutation: mutation.name)
def test_damage_is_caught_and_named(mutation: Mutation, mended: Callable[[str], World]) -> None:
    world = mended(mutation.world)
    ids = mutation.harm(world) or []
    result = world.validate()
    check = next(check for check in result["checks"] if check["name"] == mutation.check)
    assert check["status"] == mutation.status, check
    for record_id in ids:
        # The rows of the counts list every collection; only what is said to be wrong names the damaged one.
        named_in = check["details"]["faults"] if check["name"] == "counts" else check["details"]
        assert repr(record_id).strip("'") in str(named_in), check
    assert (result["decision"], result["rollback_required"]) == (mutation.decision, mutation.decision == "no_go")
    # A check that only warns gives no reason beside those that decide.
    assert any(reason.startswith((mutation.check, "records", "data loss")) for reason in result["reasons"])


@pytest.mark.parametrize("change", [change for name, change in HARMLESS if name in RUN_HARMLESS], ids=lambda change: change.__name__)
def test_what_is_no_damage_raises_no_alarm(change: Callable[[World], Any], mended: Callable[[str], World]) -> None:
    world = mended(FAITHFUL)
    change(world)
    result = world.validate()
    assert (result["decision"], result["reasons"]) == ("go", [])


def test_a_merged_copy_is_go_and_mending_mends(worlds: dict[str, World]) -> None:
    assert (worlds[MERGED].validate()["decision"]) == "go"
    assert differences(worlds[FAITHFUL].case.source, worlds[FAITHFUL].target) == []
