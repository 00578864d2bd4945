# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Six collections become four with the schema and the routes that the roles ship, and every record stays traceable."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import trap_data
from tests.support.case import Case
from tests.support.counting_proxy import CountingProxy, Fault
from tests.support.equality import same_vector
from tests.support.raw import Record
from tests.support.run_module import CHECKOUT, Apart
from tests.support.trap_data import CollectionData

SEEDS = yaml.safe_load((CHECKOUT / "roles/migrate/files/seed_schema.yml").read_text())
TWELVE = {name for name, field in SEEDS["schema"]["fields"].items() if field.get("required")}
TYPES = ("personality", "rhetorical", "humor", "corpus")
RECORDS = 400


def expected_target(metadata: dict[str, Any]) -> str:
    """Where a record belongs, said by the test itself: none of the six names holds one of the four words."""
    named = metadata.get("collection_type")
    return "sergio_" + (named if named in TYPES else "corpus")


@pytest.fixture
def six(case: Case) -> Case:
    for collection in trap_data.bulk_collections(RECORDS, dimension=16, characters=80):
        for n, record in enumerate(collection.records):
            if n % 3 == 0:
                collection.records[n] = record._replace(metadata={**(record.metadata or {}), "collection_type": TYPES[n // 3 % 4]})
            if n % 7 == 0:
                collection.records[n] = collection.records[n]._replace(metadata=None)
        trap_data.write(case.source, collection)
    return case


def seeds(**options: Any) -> dict[str, Any]:
    return {"schema": SEEDS["schema"], "routes": SEEDS["routes"], **options}


def test_six_become_four(six: Case, target_proxy: CountingProxy) -> None:
    result = six.through(target=target_proxy).migrate(**seeds())
    assert (result["records"]["read"], result["records"]["added"], result["records"]["invalid"]) == (RECORDS, RECORDS, 0)
    assert set(six.target.names()) <= {"sergio_" + name for name in TYPES}

    arrived = six.target.contents()
    counts: Counter[str] = Counter()
    for name, collection in six.source.contents().items():
        for record in collection.records.values():
            old = record.metadata or {}
            there = arrived[expected_target(old)].records[record.id]
            new = there.metadata or {}
            assert set(new) >= TWELVE
            assert all(new[key] is not None for key in TWELVE)
            assert new["source_collection"] == name
            assert new["collection_type"] == expected_target(old).removeprefix("sergio_")
            assert {key: new[key] for key in old} == old, "what a record said of itself is kept"
            assert (there.document, there.uri) == (record.document, record.uri)
            assert same_vector(record.embedding, there.embedding, "cosine")
            counts[name] += 1
    traced = Counter(record.metadata["source_collection"] for found in arrived.values() for record in found.records.values() if record.metadata)
    assert traced == counts

    target_proxy.reset()
    assert six.migrate(**seeds())["changed"] is False
    assert target_proxy.writes == []


def test_check_mode_shows_what_sample_records_become(six: Case) -> None:
    checked = six.migrate(check=True, diff=True, **seeds())
    assert six.target.names() == []
    shown = {entry["after_header"]: entry["after"] for entry in checked["diff"]}
    assert set(shown) == {place["name"] for place in checked["collections"]}
    six.migrate(**seeds())
    for name, collection in six.target.contents().items():
        samples = shown[name].split("\n+ ")[1:4]
        assert samples
        for sample in samples:
            record_id, *fields = sample.rstrip().split("\n")
            metadata = collection.records[record_id.strip("'")].metadata or {}
            assert set(metadata) >= TWELVE
            assert fields == ["    %s: %r" % item for item in sorted(metadata.items())], "what came is what was announced"


def test_validated_with_the_same_schema_it_is_go(six: Case) -> None:
    six.migrate(**seeds())
    result = six.validate(**seeds())
    assert (result["decision"], result["reasons"]) == ("go", [])
    assert {check["name"]: check["status"] for check in result["checks"]}["metadata_completeness"] == "passed"


def test_missing_field_is_no_go(six: Case) -> None:
    six.migrate(**seeds())
    corpus = six.target.collection("sergio_corpus")["id"]
    record = next(iter(six.target.records(corpus).values()))
    six.target.update(corpus, ids=[record.id], metadatas=[{"author": None}])
    result = six.validate(**seeds())
    assert result["decision"] == "no_go"
    assert {check["name"]: check["status"] for check in result["checks"]}["metadata_completeness"] == "failed"


def test_source_changes_are_caught_up(six: Case) -> None:
    six.migrate(**seeds())
    docs = six.source.collection("openwebui_docs")["id"]
    ids = six.source.get(docs, limit=9)["ids"]
    six.source.update(docs, ids=ids[:3], documents=["new text"] * 3)
    six.source.delete(docs, ids[3:6])
    six.source.update(docs, ids=ids[6:], metadatas=[{"collection_type": "humor"}] * 3)
    result = six.migrate(**seeds(prune=True))
    assert result["records"]["changed"] + result["records"]["added"] >= 3
    assert result["records"]["deleted"] >= 3
    assert six.validate(**seeds())["decision"] == "go"
    assert six.migrate(**seeds(prune=True))["changed"] is False


def collide(case: Case) -> None:
    rows = trap_data.vectors(40, seed=70)
    for position, name in enumerate(("left", "right")):
        records = [
            Record("n%d" % n if n < 15 else "%s-%d" % (name, n), row, name, {"from": name})
            for n, row in enumerate(rows[position * 20 : position * 20 + 20])
        ]
        trap_data.write(case.source, CollectionData(name, records))


def test_colliding_ids_get_a_prefix_if_wanted(case: Case) -> None:
    collide(case)
    result = case.migrate(routes=[{"to": "both"}], on_collision="prefix")
    assert result["records"]["added"] == 40
    both = case.target.contents()["both"].records
    assert set(both) == {"%s:%s" % (name, record.id) for name in ("left", "right") for record in case.source.contents()[name].records.values()}
    assert case.migrate(routes=[{"to": "both"}], on_collision="prefix")["changed"] is False


def test_pruning_leaves_alone_what_other_migrations_brought(case: Case) -> None:
    """Two sources share one target collection: each migration prunes only its own records."""
    collide(case)
    settings: dict[str, Any] = {
        "routes": [{"to": "both"}],
        "schema": {"fields": {"source_collection": {"type": "string", "derive": "source_collection"}}},
        "on_collision": "prefix",
    }
    case.migrate(**settings)
    trap_left = case.source.collection("left")["id"]
    case.source.delete(trap_left, ["n0", "n1"])
    result = case.migrate(prune=True, **settings)
    assert result["records"]["deleted"] == 2
    assert len(case.target.contents()["both"].records) == 38


def test_invalid_records_go_into_quarantine_and_come_back_corrected(case: Case, tmp_path: Path) -> None:
    rows = trap_data.vectors(100, seed=71)
    records = [Record("r%d" % n, row, "r", {"score": n / 100, "language": "en"}) for n, row in enumerate(rows)]
    records[7] = records[7]._replace(metadata={"score": 7.5, "language": "en"})
    records[8] = records[8]._replace(metadata={"score": 0.5, "language": "xx"})
    trap_data.write(case.source, CollectionData("things", records))
    schema = {"fields": {"score": {"type": "number", "maximum": 1.0}, "language": {"type": "string", "enum": ["en", "es"]}}}
    quarantine = tmp_path / "quarantine.jsonl"
    result = case.migrate(schema=schema, on_invalid="skip", quarantine_file=str(quarantine))
    assert (result["records"]["invalid"], result["records"]["added"]) == (2, 98)
    assert {row["id"] for row in result["invalid_sample"]} == {"r7", "r8"}
    lines = [json.loads(line) for line in quarantine.read_text().splitlines()]
    assert {(line["source_collection"], line["id"]) for line in lines} == {("things", "r7"), ("things", "r8")}
    assert "r7" not in case.target.contents()["things"].records
    assert f"2 invalid records were left out; see {quarantine}." in str(result["warnings"])

    corrections: dict[str, dict[str, Any]] = {"things": {"r8": {"language": "es"}}}
    result = case.migrate(schema=schema, on_invalid="skip", quarantine_file=str(quarantine), corrections=corrections)
    assert f"1 invalid record was left out; see {quarantine}." in str(result["warnings"])
    corrections["things"]["r7"] = {"score": 0.75}
    result = case.migrate(schema=schema, on_invalid="skip", quarantine_file=str(quarantine), corrections=corrections)
    assert (result["records"]["invalid"], result["records"]["added"], result["records"]["unchanged"]) == (0, 1, 99)
    arrived = case.target.contents()["things"].records
    assert (arrived["r7"].metadata, arrived["r8"].metadata) == ({"score": 0.75, "language": "en"}, {"score": 0.5, "language": "es"})
    assert case.validate(schema=schema, corrections=corrections)["decision"] == "go"


def things_with_a_fault(case: Case) -> dict[str, Any]:
    """100 records of which r99 is invalid, and the schema that says so."""
    rows = trap_data.vectors(100, seed=73)
    trap_data.write(case.source, CollectionData("things", [Record("r%d" % n, row, "r", {"score": n}) for n, row in enumerate(rows)]))
    return {"fields": {"score": {"type": "integer", "maximum": 98}}}


def test_what_was_refused_before_the_first_write_can_be_corrected(case: Case) -> None:
    schema = things_with_a_fault(case)
    refused = case.migrate(fails=True, schema=schema)
    assert (refused["failure_class"], case.target.names()) == ("invalid_data", [])
    assert "Nothing was written. Correct them (corrections)" in refused["msg"]
    result = case.migrate(schema=schema, corrections={"things": {"r99": {"score": 9}}})
    assert (result["records"]["added"], result["resumed"]) == (100, False)
    assert case.target.contents()["things"].records["r99"].metadata == {"score": 9}


def test_another_schema_may_follow_one_that_was_refused_before_the_first_write(case: Case) -> None:
    schema = things_with_a_fault(case)
    case.migrate(fails=True, schema=schema)
    assert case.migrate()["records"]["added"] == 100
    assert [path for path in case.state.glob("checkpoint_*") if json.loads(path.read_text())["phase"] != "migration_complete"] == []


def test_corrections_may_be_added_to_a_migration_that_is_under_way(case: Case, target_proxy: CountingProxy) -> None:
    things_with_a_fault(case)
    case.through(target=target_proxy)
    target_proxy.faults = [Fault("status", lambda seen: seen.verb in ("add", "upsert"), skip=1, times=None, status=501)]
    case.migrate(fails=True, batch_size=30)
    target_proxy.faults = []
    result = case.migrate(corrections={"things": {"r0": {"score": 1000}}})
    assert (result["resumed"], result["records"]["changed"]) == (True, 1)
    assert case.target.contents()["things"].records["r0"].metadata == {"score": 1000}


@pytest.mark.parametrize("place", ["missing/q.jsonl", "."])
def test_a_quarantine_file_that_cannot_be_made_is_refused_before_the_first_write(place: str, case: Case, tmp_path: Path, target_proxy: CountingProxy) -> None:
    schema = things_with_a_fault(case)
    path = str(tmp_path / place)
    result = case.through(target=target_proxy).migrate(fails=True, schema=schema, on_invalid="skip", quarantine_file=path)
    assert result["failure_class"] == "disk"
    assert path in result["msg"]
    assert target_proxy.writes == []


def test_corrections_that_meet_no_record_are_named(case: Case) -> None:
    things_with_a_fault(case)
    corrections = {"things": {"r5": {"score": 6}, "none": {"score": 1}}}
    options = {"source": case.source_endpoint, "target": case.target_endpoint, "state_directory": str(case.state), "corrections": corrections}
    # In a process of its own: within one, Ansible gives a warning once.
    warnings = str(Apart("migrate", options).result()["warnings"])
    assert "corrections name 1 id that the source does not have, such as things: 'none'" in warnings.replace("\\", "")


def test_too_many_invalid_records_stop_it_before_the_first_write(case: Case, tmp_path: Path, target_proxy: CountingProxy) -> None:
    rows = trap_data.vectors(100, seed=72)
    trap_data.write(case.source, CollectionData("things", [Record("r%d" % n, row, "r", {"score": n}) for n, row in enumerate(rows)]))
    schema = {"fields": {"score": {"type": "integer", "maximum": 90}}}
    options: dict[str, Any] = {"schema": schema, "on_invalid": "skip", "quarantine_file": str(tmp_path / "q")}
    result = case.through(target=target_proxy).migrate(fails=True, **options)
    assert result["failure_class"] == "invalid_data", result["msg"]
    assert target_proxy.writes == []
    # Nine are more than a message shows in full: all of them can be corrected at once.
    assert result["quarantine_file"] == options["quarantine_file"]
    assert [json.loads(line)["id"] for line in (tmp_path / "q").read_text().splitlines()] == ["r%d" % n for n in range(91, 100)]
    assert "%s names them" % options["quarantine_file"] in result["msg"]
    assert case.migrate(min_valid_ratio=0.9, **options)["records"]["invalid"] == 9


@pytest.mark.parametrize(("maximum", "enough"), [(94, True), (93, False)])
def test_shards_decide_by_all_records_and_before_the_first_write(maximum: int, enough: bool, case: Case, target_proxy: CountingProxy) -> None:
    """Whether 5 or 6 of 100 are invalid: alone, one of two shards has too many of them in either case, and another one too few."""
    rows = trap_data.vectors(100, seed=74)
    trap_data.write(case.source, CollectionData("things", [Record("r%d" % n, row, "r", {"score": n}) for n, row in enumerate(rows)]))
    case.through(target=target_proxy)
    options: dict[str, Any] = {"schema": {"fields": {"score": {"type": "integer", "maximum": maximum}}}, "on_invalid": "skip"}
    results = [case.migrate(fails=not enough, shard={"index": index, "count": 2}, **options) for index in range(2)]
    if enough:
        assert sum(result["records"]["added"] for result in results) == 95
        assert all(result["records"]["invalid"] > 0 for result in results)
        assert sum(result["records"]["invalid"] for result in results) == 5
        states = [json.loads(path.read_text()) for path in case.state.glob("checkpoint_*")]
        assert sorted((state["total_chunks"], state["processed_chunks"]) for state in states) == sorted(
            (result["records"]["read"], result["records"]["read"]) for result in results
        )
    else:
        assert all("6 of 100 records are invalid" in result["msg"] and "Nothing was written" in result["msg"] for result in results)
        assert target_proxy.writes == []


def test_the_deadline_also_ends_the_look_before_the_first_write(case: Case, source_proxy: CountingProxy, target_proxy: CountingProxy) -> None:
    schema = things_with_a_fault(case)
    for number in range(3):
        trap_data.write(case.source, CollectionData("more-%d" % number, [Record("r", trap_data.vectors(1, seed=number)[0], "r", {"score": 1})]))
    case.through(source=source_proxy, target=target_proxy)
    # Longer than the deadline, and only where the vectors are left out.
    source_proxy.faults.append(Fault("latency", lambda seen: b'"documents"' in seen.body and b'"embeddings"' not in seen.body, seconds=1.2))
    result = case.migrate(fails=True, deadline=1, on_invalid="skip", schema=schema)
    assert result["failure_class"] == "timeout"
    assert "Nothing was written" in result["msg"]
    assert target_proxy.writes == []
