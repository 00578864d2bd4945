# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A source that is written to between two passes, in every way a client can write."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from .case import Case
from .chroma_server import ChromaServer
from .raw import RawChroma, Record
from .run_module import run_module

DIMENSION = 8
WRITTEN_IN_A_ROUND = 10


def record(generator: random.Random, record_id: str, kind: str = "plain") -> Record:
    vector = np.array([generator.uniform(-1, 1) for _number in range(DIMENSION)], dtype="<f4")
    return Record(record_id, vector, f"text {generator.random()}", {"kind": kind, "n": generator.randrange(1000)})


def fill(source: RawChroma, generator: random.Random, sizes: dict[str, int]) -> None:
    for name, size in sizes.items():
        collection = source.create(name)
        source.add(collection, [record(generator, f"{name}-{number}") for number in range(size)])


def write_somehow(source: RawChroma, name: str, generator: random.Random, round_: int, comes_back: bool = True) -> None:
    """One of each kind of write to different records: also those that change nothing, and a record that goes and comes back."""
    collection = str(source.collection(name)["id"])
    ids = sorted(source.records(collection))
    generator.shuffle(ids)
    document, metadata, vector, whole, deleted, away, kept = (ids.pop() for _id in range(7))
    source.update(collection, ids=[document], documents=[f"changed in round {round_}"])
    source.update(collection, ids=[metadata], metadatas=[{"kind": "other", "round": round_}])
    source.update(collection, ids=[vector], embeddings=[[float(n + round_) for n in range(DIMENSION)]])
    source.upsert(collection, [record(generator, whole), record(generator, f"{name}-new-{round_}-a")])
    source.add(collection, [record(generator, f"{name}-new-{round_}-b")])
    source.delete(collection, [deleted])
    if comes_back:
        source.delete(collection, [away])
        source.add(collection, [record(generator, away)])
    source.add(collection, [record(generator, f"{name}-brief-{round_}")])
    source.delete(collection, [f"{name}-brief-{round_}"])
    source.upsert(collection, [source.records(collection)[kept]])


def look(server: ChromaServer, source: RawChroma, since: Any = None, **options: Any) -> dict[str, Any]:
    """What source_changes_info says of this server's own file."""
    place = {"tenant": source.tenant, "database": source.database}
    return run_module("source_changes_info", {"data_directory": str(server.directory / "data"), "since": since, **place, **options})


def prove_equal_to_a_full_comparison(
    case: Case, server: ChromaServer, rounds: int, seed: int, names: list[str], comes_back: bool = True, **options: Any
) -> None:
    """Passes that look at changes alone leave what a comparison of every record leaves: nothing to do."""
    generator = random.Random(seed)
    first = look(server, case.source)
    assert (first["changes"]["complete"], first["changes"]["reason"]) == (False, "this is the first look")
    case.migrate(prune=True, **options)
    mark = first["mark"]
    for number in range(rounds):
        for name in names:
            write_somehow(case.source, name, generator, number, comes_back)
        found = look(server, case.source, mark)
        assert found["changes"]["complete"] is True, found["changes"]["reason"]
        assert found["changes"]["moved"] is True
        passed = case.migrate(prune=True, changes=found["changes"], **options)
        assert passed["compared"]["only_changes"] is True, passed["compared"]
        proof = case.migrate(prune=True, check=True, **options)
        assert passed["compared"]["settled"] >= proof["records"]["valid"] - WRITTEN_IN_A_ROUND * len(names)
        assert proof["compared"]["only_changes"] is False
        assert {kind: proof["records"][kind] for kind in ("added", "changed", "deleted")} == {"added": 0, "changed": 0, "deleted": 0}
        mark = found["mark"]
    still = look(server, case.source, mark)
    assert still["changes"]["moved"] is False
    assert [entry["changed"] for entry in still["changes"]["collections"]] == [[]] * len(still["changes"]["collections"])
