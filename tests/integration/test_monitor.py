# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real server is watched while things happen to it: a go when it does well, a no_go for each way in which it does not."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest

from tests.support.chroma_server import ChromaServer
from tests.support.counting_proxy import CountingProxy, Fault
from tests.support.raw import RawChroma, Record
from tests.support.run_module import run_module

# A watch that something happens in: it ends long before, as soon as that is seen.
LONG = {"duration": 60, "interval": 0.1, "searches": 4, "min_queries_per_second": 0}


def fill(place: RawChroma, records: int = 30) -> None:
    for number, name in enumerate(("first", "second")):
        rows = np.random.default_rng(number).normal(size=(records, 8)).astype("<f4")
        place.add(place.create(name), [Record(f"{name}-{row}", vector, "text", None) for row, vector in enumerate(rows)])


@pytest.fixture
def place(target: RawChroma) -> RawChroma:
    fill(target)
    return target


def watch(place: RawChroma, fails: bool = False, **options: Any) -> dict[str, Any]:
    return run_module("monitor_info", {**place.endpoint, "duration": 0.3, "interval": 0.1, **options}, fails=fails)


def watch_meanwhile(place: RawChroma, textfile: Path, happens: Callable[[], Any], **options: Any) -> dict[str, Any]:
    """`happens` once the first round is over, which the text file shows."""

    def later() -> None:
        while not textfile.exists():
            time.sleep(0.01)
        happens()

    other = threading.Thread(target=later)
    other.start()
    try:
        return watch(place, textfile=str(textfile), **{**LONG, **options})
    finally:
        other.join()


def statuses(result: dict[str, Any]) -> dict[str, str]:
    return {check["name"]: check["status"] for check in result["checks"]}


def check_named(result: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(check for check in result["checks"] if check["name"] == name)
    return found


def figures(path: Path) -> dict[str, float]:
    """The figures of a text file, by name and those labels that are not the server's."""
    found = {}
    for line in path.read_text().splitlines():
        if not line.startswith("#"):
            name, labels, value = re.fullmatch(r"(\w+)\{(.*)\} (\S+)", line).groups()  # type: ignore[union-attr]
            own = [text for key, text in re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels) if key not in ("url", "tenant", "database")]
            found[" ".join([name, *own])] = float(value)
    return found


def test_a_server_that_does_well_is_go(place: RawChroma, tmp_path: Path) -> None:
    log, textfile = tmp_path / "chroma.log", tmp_path / "chroma.prom"
    log.write_text("ERROR: long ago\nERROR: without an end")
    result = watch(place, log_files=[str(log)], textfile=str(textfile))
    assert (result["decision"], result["reasons"], result["changed"]) == ("go", [], False)
    assert statuses(result) == {"answers": "passed", "latency": "passed", "counts": "passed", "logs": "passed"}
    # A busy machine leaves rounds out, never the first or the last.
    assert 2 <= len(result["rounds"]) <= result["planned_rounds"] == 4
    assert result["rounds"][-1]["started"] >= 0.3
    assert all(one["searches"] == 20 and one["records"] == 60 and one["slowest_ms"] > 0 for one in result["rounds"])
    found = figures(textfile)
    assert found["chromadb_monitor_records first"] == found["chromadb_monitor_records second"] == 30
    assert (found["chromadb_monitor_up"], found["chromadb_monitor_healthy"], found["chromadb_monitor_finished"]) == (1, 1, 1)
    assert found["chromadb_monitor_rounds_total"] == len(result["rounds"])
    assert 0 < found["chromadb_monitor_search_seconds 0.5"] <= found["chromadb_monitor_search_seconds 0.99"]
    assert textfile.stat().st_mode & 0o777 == 0o644
    assert sorted(os.listdir(tmp_path)) == ["chroma.log", "chroma.prom"]


@pytest.mark.parametrize(("limits", "words"), [({"max_latency_ms": 0.0001}, "longer than"), ({"min_queries_per_second": 1e9}, "searches a second")])
def test_a_slow_server(place: RawChroma, limits: dict[str, Any], words: str) -> None:
    result = watch(place, duration=0, **limits)
    assert (result["decision"], check_named(result, "latency")["status"]) == ("no_go", "failed")
    assert words in result["reasons"][0]


def test_lost_records_end_the_watch_at_once(place: RawChroma, tmp_path: Path) -> None:
    textfile = tmp_path / "chroma.prom"
    first = place.collection("first")["id"]
    result = watch_meanwhile(place, textfile, lambda: place.delete(first, ["first-1", "first-2"]))
    assert (result["decision"], statuses(result)["counts"]) == ("no_go", "failed")
    assert "first fell from 30 records to 28" in result["reasons"][0]
    assert len(result["rounds"]) < result["planned_rounds"]
    assert figures(textfile)["chromadb_monitor_healthy"] == 0


def test_a_collection_that_goes(place: RawChroma, tmp_path: Path) -> None:
    result = watch_meanwhile(place, tmp_path / "chroma.prom", lambda: place.delete_collection("second"))
    # Where it goes between the list and its count, that round is named first.
    assert any("second is not there any more" in reason for reason in result["reasons"])


def test_a_search_that_finds_nothing_among_records_is_an_error(place: RawChroma, target_proxy: CountingProxy) -> None:
    """An index that was lost answers quickly, and without a word."""
    found = {"ids": [[]], "distances": [[]], "documents": None, "embeddings": None, "metadatas": None, "uris": None, "include": ["distances"]}
    empty = Fault("rewritten", when=lambda seen: seen.verb == "query", times=None, rewrite=lambda _body: json.dumps(found).encode())
    target_proxy.faults.append(empty)
    result = watch(place.at(target_proxy.url), duration=0)
    assert empty.acted > 0
    assert (result["decision"], statuses(result)["answers"]) == ("no_go", "failed")
    assert "answers a search with nothing although it holds records" in result["rounds"][0]["error"]


def test_what_clients_delete_and_add_may_be_allowed(place: RawChroma) -> None:
    expected = {"first": 33}
    assert watch(place, duration=0, expected_counts=expected)["decision"] == "no_go"
    assert watch(place, duration=0, expected_counts=expected, max_lost_records=3)["decision"] == "go"
    assert watch(place, duration=0, expected_counts={"first": 20})["decision"] == "go"
    assert "grew from 20" in watch(place, duration=0, expected_counts={"first": 20}, max_new_records=9)["reasons"][0]


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def rotate(path: Path) -> None:
    """An error, then another file under the name."""
    append(path, "2026-01-02 CRITICAL out of memory\n")
    path.rename(path.with_suffix(".1"))
    path.write_text("a new file\n")


def cut_off(path: Path) -> None:
    path.write_text("FATAL short\n")


@pytest.mark.parametrize(
    ("happens", "found"),
    [
        (lambda path: append(path, "2026-01-02 ERROR no space left\n"), "no space left"),
        (rotate, "out of memory"),
        (cut_off, "FATAL short"),
        (lambda path: append(path, "thread 'main' panicked at src/lib.rs\n"), "panicked"),
    ],
)
def test_a_new_error_in_a_log(place: RawChroma, tmp_path: Path, happens: Callable[[Path], None], found: str) -> None:
    log = tmp_path / "chroma.log"
    log.write_text("ERROR: long ago, and long enough\n" * 10)
    result = watch_meanwhile(place, tmp_path / "chroma.prom", lambda: happens(log), log_files=[str(log)])
    assert (result["decision"], statuses(result)["logs"], check_named(result, "logs")["figure"]) == ("no_go", "failed", 1)
    assert found in result["reasons"][0]


def test_what_is_ignored_is_no_error(place: RawChroma, tmp_path: Path) -> None:
    log, textfile = tmp_path / "chroma.log", tmp_path / "chroma.prom"
    log.write_text("")
    line = "ERROR: harmless\n"
    result = watch_meanwhile(place, textfile, lambda: append(log, line), log_files=[str(log)], log_ignore="harmless", duration=0.5)
    assert (result["decision"], len(log.read_text())) == ("go", len(line))


def test_a_line_without_an_end_counts_at_the_end(place: RawChroma, tmp_path: Path) -> None:
    log, textfile = tmp_path / "chroma.log", tmp_path / "chroma.prom"
    log.write_text("")
    result = watch_meanwhile(place, textfile, lambda: append(log, "2026-01-02 FATAL and then nothing"), log_files=[str(log)], duration=0.5)
    assert (result["decision"], statuses(result)["logs"]) == ("no_go", "failed")


def test_a_log_that_went_away_is_no_go(place: RawChroma, tmp_path: Path) -> None:
    log = tmp_path / "chroma.log"
    log.write_text("")
    result = watch_meanwhile(place, tmp_path / "chroma.prom", log.unlink, log_files=[str(log)], duration=0.5)
    assert (result["decision"], statuses(result)["logs"]) == ("no_go", "not_run")


def test_a_server_that_dies(spare_server: ChromaServer, tmp_path: Path) -> None:
    place = RawChroma(spare_server.url)
    fill(place)
    result = watch_meanwhile(place, tmp_path / "chroma.prom", spare_server.stop, retries=0)
    assert (result["decision"], statuses(result)["answers"]) == ("no_go", "failed")
    assert len(result["rounds"]) < result["planned_rounds"]
    assert figures(tmp_path / "chroma.prom")["chromadb_monitor_up"] == 0
    assert watch(place, fails=True, retries=0)["failure_class"] == "unreachable"


def test_an_empty_database_proves_nothing(target: RawChroma) -> None:
    result = watch(target, duration=0)
    assert (result["decision"], statuses(result)["latency"]) == ("no_go", "not_run")


def test_check_mode_measures_once_and_writes_nothing(place: RawChroma, tmp_path: Path) -> None:
    options = {**place.endpoint, "duration": 600, "textfile": str(tmp_path / "chroma.prom")}
    result = run_module("monitor_info", options, check=True)
    assert (result["decision"], len(result["rounds"]), result["textfile"]) == ("go", 1, None)
    assert os.listdir(tmp_path) == []


def test_names_in_a_text_file_are_escaped(place: RawChroma, tmp_path: Path) -> None:
    log, textfile = tmp_path / 'a"b\\c\nd.log', tmp_path / "chroma.prom"
    log.write_text("")
    assert watch(place, duration=0, log_files=[str(log)], textfile=str(textfile))["decision"] == "go"
    assert 'a\\"b\\\\c\\nd.log"' in textfile.read_text()
    assert all(line.startswith(("#", "chromadb_monitor_")) for line in textfile.read_text().splitlines())


@pytest.mark.parametrize(
    ("options", "failure_class", "word"),
    [
        ({"duration": -1}, "usage", "duration"),
        ({"interval": 0}, "usage", "interval"),
        ({"searches": 0}, "usage", "searches"),
        ({"collections": ["third"]}, "usage", "third"),
        ({"collections": []}, "usage", "collections is an empty list: nothing would be watched. Leave it out for all of them."),
        ({"max_latency_ms": -1}, "usage", "max_latency_ms: must be 0 or more, not -1"),
        ({"max_latency_ms": "nan"}, "usage", "max_latency_ms"),
        ({"min_queries_per_second": -1}, "usage", "min_queries_per_second"),
        ({"max_lost_records": -1}, "usage", "max_lost_records"),
        ({"max_new_records": -1}, "usage", "max_new_records: must be 0 or more, not -1"),
        ({"log_pattern": "("}, "usage", "log_pattern"),
        ({"log_files": ["/nowhere/chroma.log"]}, "disk", "/nowhere/chroma.log"),
        ({"log_files": ["/"]}, "usage", "no regular file"),
        ({"textfile": "/tmp/figures.txt"}, "usage", ".prom"),
        ({"textfile": "/nowhere/chroma.prom"}, "disk", "/nowhere"),
        ({"expected_counts": {"first": "many"}}, "usage", "first"),
    ],
)
def test_options_that_cannot_be(place: RawChroma, options: dict[str, Any], failure_class: str | None, word: str) -> None:
    result = watch(place, fails=True, **options)
    assert result["failure_class"] == failure_class
    assert word in json.dumps(result["msg"])
