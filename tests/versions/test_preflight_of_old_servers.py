# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What `server_info` finds on an old server before anything is migrated: each trap, with its ids, and nothing that is none."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tests.support.chroma_server import ChromaServer
from tests.support.raw import RawChroma
from tests.support.run_module import run_module

from . import traps

ANCIENT = {
    "null": (traps.holding({"v": None, "w": 1}), {"v null_value": ["r0"]}),
    "nested": (traps.holding({"v": {"a": 1}}), {"v nested_value": ["r0"]}),
    "mixed-list": (traps.holding({"v": [1, "a"]}), {"v mixed_list": ["r0"]}),
    "empty-list": (traps.holding({"v": []}), {"v empty_list": ["r0"]}),
    "huge": (traps.holding({"v": 2**63}), {"v huge_integer": ["r0"]}),
    "keys": (traps.holding({"": 1}, {"#a": 1}), {"'' refused_key": ["r0"], "#a refused_key": ["r1"]}),
    "reserved": (traps.holding({"chroma:document": 1}), {"chroma:document reserved_key": ["r0"]}),
    "zero": (traps.holding({"v": -0.0}), {"canonical_metadata": ["r0"]}),
    "empty-id": (traps.empty_id, {"id empty_id": [""]}),
    "not-finite": (traps.strange_vector(1e39), {"not_finite_embedding": ["bad"]}),
    "infinite": (traps.infinite_values, {"unreadable": ["down", "up"]}),
    "twice": (traps.duplicates, {"duplicate_id": ["twice"]}),
    "good": (traps.holding({"v": 1}), {}),
}
MIDDLE = {
    "no-vector": (traps.without_vector, {"missing_embedding": ["r1", "r4"]}),
    "keys": (traps.holding({"": 1}, {"#a": 1}), {"'' refused_key": ["r0"], "#a refused_key": ["r1"]}),
    "empty-id": (traps.empty_id, {"id empty_id": [""]}),
    "distance": (traps.renamed, {"hidden_distance": []}),
    "good": (traps.holding({"v": 1}), {}),
}


# This release takes numbers that are not finite, and cannot give them back any more.
POISONED = {
    "infinite": (traps.infinite_values, {"unreadable": ["down", "up"]}),
    "no-number": (traps.strange_vector(math.nan), {"unreadable": ["bad"]}),
}
RELEASES = {"0.3.29": ANCIENT, "0.4.24": {**MIDDLE, **POISONED}, "0.5.23": MIDDLE, "0.6.3": MIDDLE}


@pytest.mark.parametrize(("version", "built"), RELEASES.items(), ids=list(RELEASES))
def test_each_trap_is_found_and_its_ids_named(version: str, built: dict[str, tuple[object, dict[str, list[str]]]]) -> None:
    with ChromaServer(version) as server:
        place = RawChroma(server.url)
        for name, (build, _expected) in built.items():
            build(place, name, version)  # type: ignore[operator]
        found: dict[str, dict[str, list[str]]] = {name: {} for name in built}
        for trap in run_module("server_info", {"url": server.url, "gather": ["traps"]})["traps"]:
            found[trap["collection"]][trap["trap"]] = sorted(trap["ids"])
            assert trap["advice"]
        always: dict[str, list[str]] = {"unsafe_reads": []} if version.startswith("0.3.") else {}
        assert found == {name: {**expected, **always} for name, (_build, expected) in built.items()}


@pytest.mark.parametrize("version", ["0.3.29", "0.4.24"])
def test_records_that_the_source_does_not_give_are_all_named_before_the_first_write(version: str, tmp_path: Path) -> None:
    with ChromaServer(version) as old, ChromaServer() as new:
        traps.infinite_values(RawChroma(old.url), "infinite", version)
        options = {"source": {"url": old.url}, "target": {"url": new.url}, "state_directory": str(tmp_path), "on_invalid": "skip", "min_valid_ratio": 0}
        result = run_module("migrate", options, fails=True)
        assert (result["failure_class"], sorted(result["ids"])) == ("integrity", ["down", "up"])
        assert "2 records cannot be read, such as infinite: " in result["msg"]
        assert RawChroma(new.url).names() == []
