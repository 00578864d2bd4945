# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every trap from every release to every release that a migration may lead to.

The outcome is one of three: carried exactly, carried with a change that the trap's description allows, or refused with
the ids before a record is written. Anything else fails. `make test-versions` writes the outcomes into docs/versions.md.
"""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest
import requests

from tests.support.case import ANY_SPEED
from tests.support.chroma_server import ChromaServer
from tests.support.counting_proxy import CountingProxy
from tests.support.equality import indexed_values, same_vector, search_differences, typed
from tests.support.raw import Contents, RawChroma, Record
from tests.support.run_module import run_module

from . import traps
from .conftest import Pair, Table
from .traps import TRAPS, Trap

# A refusal for the data's sake; everything else would be a refusal for a wrong reason.
REFUSALS = ("invalid_data", "integrity")


class Side:
    """Servers that are started once each and used by many pairs."""

    def __init__(self) -> None:
        self.servers: dict[str, ChromaServer] = {}
        self.built: set[tuple[str, str]] = set()

    def place(self, version: str) -> RawChroma:
        if version not in self.servers:
            self.servers[version] = ChromaServer(version).start()
        return RawChroma(self.servers[version].url)

    def close(self) -> None:
        for server in self.servers.values():
            server.close()


@pytest.fixture(scope="module")
def sources() -> Iterator[Side]:
    side = Side()
    yield side
    side.close()


@pytest.fixture(scope="module")
def targets() -> Iterator[Side]:
    side = Side()
    yield side
    side.close()


@pytest.mark.parametrize("trap", TRAPS, ids=lambda trap: trap.name)
def test_trap(
    pair: Pair, trap: Trap, sources: Side, targets: Side, table: Table, tmp_path: Path
) -> None:
    table.forget(pair, trap.name)
    if not trap.held_by(pair.source):
        table.note(pair, trap.name, "-")
        return
    source = sources.place(pair.source)
    name = "trap-%02d" % TRAPS.index(trap)
    if (pair.source, name) not in sources.built:
        trap.build(source, name, pair.source)
        sources.built.add((pair.source, name))
    target = targets.place(pair.target).fresh_database("versions")
    with CountingProxy(target.url) as proxy:
        options = {
            "source": source.endpoint, "target": dict(target.endpoint, url=proxy.url), "collections": [name], "state_directory": str(tmp_path),
        }  # fmt: skip
        if trap.carried_by(pair.target):
            result = run_module("migrate", options)
            changes = what_changed(source, target, name)
            assert changes <= trap.changes, "changes that are not allowed: %s" % (changes - trap.changes)
            assert run_module("migrate", options)["changed"] is False
            assert result["records"]["invalid"] == 0
            table.note(pair, trap.name, "exact" if not changes else "; ".join(sorted(changes)))
            del options["state_directory"]
            decided = run_module("validate", {**options, "thresholds": ANY_SPEED})
            assert (decided["decision"], decided["reasons"]) == ("go", [])
        else:
            result = run_module("migrate", options, fails=True)
            assert result["failure_class"] in REFUSALS, result["msg"]
            assert sum(proxy.records_written.values()) == 0, "something was written before the refusal"
            told = json.dumps(result)
            for record_id in trap.ids:
                assert json.dumps(record_id)[1:-1] in told if record_id else "''" in told or '""' in told or "empty" in told
            table.note(pair, trap.name, "refused")


def what_changed(source: RawChroma, target: RawChroma, name: str) -> set[str]:
    """The known changes between the two; an unknown one is an error that describes itself."""
    expected, actual = (place.contents([name])[name] for place in (source, target))
    changes = specification_changes(expected, actual, source, target)
    assert set(expected.records) == set(actual.records), "ids differ"
    for record_id, record in expected.records.items():
        changes |= record_changes(record, actual.records[record_id], true_space(source, expected), target.modern)
    assert search_differences(source, target, [name]) == []
    return changes


def record_changes(record: Record, there: Record, space: str, modern: bool) -> set[str]:
    assert (record.document, record.uri) == (there.document, there.uri), record.id
    changes = set()
    if typed(record.metadata) != typed(there.metadata):
        if record.metadata == {} and there.metadata is None:
            changes.add(traps.EMPTY_METADATA)
        elif (record.metadata or None) is not None:
            changes |= metadata_changes(record.metadata or {}, there.metadata or {}, modern)
        else:
            assert not there.metadata, record.id
    if not same_vector(record.embedding, there.embedding, "l2"):
        assert same_vector(record.embedding, there.embedding, space), record.id
        changes.add(traps.ROUNDED)
    return changes


def reread(value: float) -> float:
    """A float as 1.x reads it from JSON: the digits as one integer, then one division or multiplication by a power of ten."""
    mantissa, _mark, exponent = repr(abs(value)).partition("e")
    whole, _dot, fraction = mantissa.partition(".")
    digits, power = float(int(whole + fraction)), int(exponent or 0) - len(fraction)
    while power < -308:
        digits, power = digits / 1e308, power + 308
    return math.copysign(digits * float("1e%d" % power) if power >= 0 else digits / float("1e%d" % -power), value)


def metadata_changes(expected: dict[str, Any], actual: dict[str, Any], modern: bool) -> set[str]:
    assert set(expected) == set(actual)
    changes = set()
    for key, value in expected.items():
        if typed(value) == typed(actual[key]):
            continue
        if isinstance(value, float) and value == 0.0 and typed(actual[key]) == typed(0.0):
            changes.add(traps.NEGATIVE_ZERO)
        elif isinstance(value, float) and modern and typed(actual[key]) == typed(reread(reread(value))):
            changes.add(traps.REREAD_FLOAT)
        elif isinstance(value, list) and typed([float(item) for item in value]) == typed(actual[key]):
            changes.add(traps.MIXED_LIST)
        else:
            raise AssertionError("%r: %r became %r" % (key, value, actual[key]))
    return changes


def specification_changes(expected: Contents, actual: Contents, source: RawChroma, target: RawChroma) -> set[str]:
    changes = set()
    old, new = dict(expected.metadata or {}), dict(actual.metadata or {})
    if "hnsw:space" in new and "hnsw:space" not in old:
        assert new.pop("hnsw:space") == true_space(source, expected)
        changes.add(traps.SPACE_IN_METADATA)
    assert typed(old) == typed(new)
    if actual.schema is not None:
        assert expected.schema is None or indexed_values(expected.schema) == indexed_values(actual.schema)
    elif is_trap(expected, traps.unindexed):
        changes.add(traps.SCHEMA_NOT_HELD)
    if source.modern and target.modern:
        assert typed(expected.configuration) == typed(actual.configuration)
    elif source.modern:
        configuration = expected.configuration or {}
        standard = {"ef_construction": 100, "ef_search": 100, "max_neighbors": 16, "resize_factor": 1.2, "sync_threshold": 1000}
        settings = {key: value for key, value in configuration["hnsw"].items() if key != "space"}
        by_metadata = any(key.startswith("hnsw:") and key != "hnsw:space" for key in old)
        if configuration.get("embedding_function") or (settings != standard and not by_metadata):
            changes.add(traps.SETTINGS_NOT_HELD)
    elif target.modern:
        there = (actual.configuration or {})["hnsw"]
        assert there["space"] == true_space(source, expected)
        names = {"hnsw:M": "max_neighbors", "hnsw:construction_ef": "ef_construction", "hnsw:search_ef": "ef_search"}
        for key, setting in names.items():
            if key in old:
                assert there[setting] == old[key]
    return changes


def true_space(source: RawChroma, contents: Contents) -> str:
    """What the index really ranks by: the trap that hides it builds a cosine index."""
    return "cosine" if is_trap(contents, traps.renamed) else contents.space


def is_trap(contents: Contents, build: Callable[[RawChroma, str, str], Any]) -> bool:
    return contents.name == "trap-%02d" % next(n for n, trap in enumerate(TRAPS) if trap.build is build)


def test_what_old_servers_cannot_do_is_known(pair: Pair, sources: Side) -> None:
    """The table says '-' where a release refuses the trap itself; a release that turns out to hold it must not hide there."""
    source = sources.place(pair.source)
    if source.modern:
        name = "impossible-%s" % uuid.uuid4().hex[:8]
        with pytest.raises(requests.HTTPError):
            traps.without_vector(source, name, pair.source)
