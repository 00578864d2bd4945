# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Searches given as texts: a command or a service makes vectors of them, and whatever else it does is refused."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.case import Case
from tests.support.raw import Record

DIMENSION = 8
# The model of these tests: a text is as many ones as it has characters, then zeros. It notes how it was asked.
PROGRAM = """
import json, sys
question = json.load(sys.stdin)
with open(sys.argv[1], "a") as notes:
    notes.write(json.dumps(question) + "\\n")
print(json.dumps({"embeddings": [[1.0] * len(text) + [0.0] * (8 - len(text)) for text in question["input"]]}))
"""


def vector_of(text: str) -> list[float]:
    return [1.0] * len(text) + [0.0] * (DIMENSION - len(text))


class Service(HTTPServer):
    """The same model over HTTP, by index and backwards."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.asked: list[tuple[str, str, Any]] = []
        self.status, self.body = 200, ""


class Answering(BaseHTTPRequestHandler):
    server: Service

    def do_POST(self) -> None:
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, self.headers.get("X-Key", ""), question))
        data = [{"index": place, "embedding": vector_of(text)} for place, text in enumerate(question["input"])]
        body = (self.server.body or json.dumps({"data": data[::-1]})).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_words: Any) -> None:
        pass


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def copied(case: Case) -> Case:
    rows = np.random.default_rng(1).normal(size=(30, DIMENSION)).astype("<f4")
    records = [Record(f"r{row}", vector, f"text {row}", None) for row, vector in enumerate(rows)]
    records.append(Record("three", np.asarray(vector_of("abc"), "<f4"), "three characters", None))
    for place in (case.source, case.target):
        place.add(place.create("things", None, {"hnsw": {"space": "l2"}}), records)
    return case


def python(program: str, *arguments: str) -> dict[str, Any]:
    return {"command": [sys.executable, "-c", program, *arguments]}


def queries_of(result: dict[str, Any]) -> list[dict[str, Any]]:
    (check,) = [check for check in result["checks"] if check["name"] == "semantic_equivalence"]
    assert check["status"] == "passed"
    found: list[dict[str, Any]] = check["details"]["queries"]
    return found


def test_texts_by_a_command(copied: Case, tmp_path: Path) -> None:
    notes = tmp_path / "$(touch shell)"
    queries = [{"text": "abc"}, {"embedding": [0.5] * DIMENSION}, {"text": "abcdé", "collection": "things"}]
    result = copied.validate(queries=queries, embedder={**python(PROGRAM, str(notes)), "batch_size": 1, "model": "ones"})
    assert result["decision"] == "go"
    assert [query["query"] for query in queries_of(result)] == ["text abc", "query 2", "text abcdé"]
    assert [json.loads(line) for line in notes.read_text().splitlines()] == [{"model": "ones", "input": ["abc"]}, {"model": "ones", "input": ["abcdé"]}]


def test_texts_by_a_service(copied: Case, service: Service, tmp_path: Path) -> None:
    embedder = {"url": f"http://127.0.0.1:{service.server_port}/v1/embeddings", "headers": {"X-Key": "not-a-real-key"}}
    result = copied.validate(queries=[{"text": "abc"}, {"text": "abcd"}], embedder=embedder, report_directory=str(tmp_path))
    assert result["decision"] == "go"
    assert [query["query"] for query in queries_of(result)] == ["text abc", "text abcd"]
    assert service.asked == [("/v1/embeddings", "not-a-real-key", {"input": ["abc", "abcd"]})]
    assert "not-a-real-key" not in json.dumps(result)


def test_a_text_finds_what_its_vector_finds(copied: Case, tmp_path: Path) -> None:
    """Damage where the text's vector lies, and nowhere else."""
    things = copied.target.collection("things")["id"]
    copied.target.upsert(things, [Record("three", np.full(DIMENSION, -9, "<f4"), "three characters", None)])
    result = copied.validate(queries=[{"text": "abc"}], embedder=python(PROGRAM, str(tmp_path / "notes")))
    (check,) = [check for check in result["checks"] if check["name"] == "semantic_equivalence"]
    assert check["details"]["queries"][0]["true_divergence_percent"] > 0


@pytest.mark.parametrize(
    ("embedder", "failure_class", "words"),
    [
        (None, "usage", "Name a command or a service"),
        (python("print('{\"embeddings\": [[1, 2, 3]]}')"), "usage", "queries[0].text: has 3 numbers"),
        (python("print('{\"embeddings\": []}')"), "invalid_data", "0 vectors for 1 texts"),
        (python("print('{\"embeddings\": [[1, NaN]]}')"), "invalid_data", "finite"),
        (python("print('{\"embeddings\": [7]}')"), "invalid_data", "finite"),
        (python("print('{\"vectors\": [[1]]}')"), "invalid_data", "neither"),
        (python("print('loading the model'); print('{}')"), "invalid_data", "loading the model"),
        (python("raise SystemExit('no such model')"), "invalid_data", "no such model"),
        ({**python("import time; time.sleep(60)"), "timeout": 0.3}, "timeout", "embedder.timeout"),
        ({"command": ["/nowhere/embed"]}, "usage", "/nowhere/embed"),
        ({"command": ["true; echo"]}, "usage", "true; echo"),
        ({"url": "http://127.0.0.1:9"}, "unreachable", "127.0.0.1:9"),
        ({"url": "ftp://127.0.0.1"}, "usage", "embedder.url"),
        ({"url": "http://127.0.0.1:9", "command": ["true"]}, "usage", "mutually exclusive"),
        ({"batch_size": 2}, "usage", "one of"),
        ({"command": ["true"], "batch_size": 0}, "usage", "batch_size"),
    ],
)
def test_what_gives_no_vectors_is_refused(copied: Case, embedder: Any, failure_class: str, words: str, tmp_path: Path) -> None:
    options = {} if embedder is None else {"embedder": embedder}
    result = copied.validate(fails=True, queries=[{"text": "abc"}], report_directory=str(tmp_path), **options)
    assert (result["failure_class"], words in result["msg"]) == (failure_class, True), result["msg"]
    assert not list(tmp_path.glob("validation_*"))


@pytest.mark.parametrize(
    ("status", "body", "failure_class"),
    [(500, "no memory", "partial"), (302, "", "version"), (401, "", "auth"), (200, "<html>", "integrity")],
)
def test_a_service_that_does_not_answer_as_it_should(copied: Case, service: Service, status: int, body: str, failure_class: str) -> None:
    service.status, service.body = status, body
    result = copied.validate(fails=True, queries=[{"text": "abc"}], embedder={"url": f"http://127.0.0.1:{service.server_port}"})
    assert result["failure_class"] == failure_class


def test_a_command_that_is_stopped_leaves_no_child(copied: Case, tmp_path: Path) -> None:
    started = tmp_path / "pid"
    embedder = {"command": ["sh", "-c", f"sleep 77 & echo $! > {started}; wait"], "timeout": 1}
    copied.validate(fails=True, queries=[{"text": "abc"}], embedder=embedder)
    state = Path(f"/proc/{started.read_text().strip()}/stat")
    assert not state.exists() or state.read_text().split()[2] == "Z"
