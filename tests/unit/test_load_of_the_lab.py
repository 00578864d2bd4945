# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lab's load takes a wrong answer for a failed read, and one record that the index of a right server does not lead to for none."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from tests.lab.load import Known, Load, Tally
from tests.support.raw import Record
from tests.support.scripted_server import ScriptedServer

KNOWN = Known([Record("known-%d" % n, np.eye(5, dtype="<f4")[n], "document %d" % n) for n in range(5)], 100)
COLLECTION = "/api/v2/tenants/default_tenant/databases/default_database/collections/c"


def finds(hidden: int) -> Any:
    """Each vector finds its record and two others, the first ones three others."""

    def answer(body: Any) -> Any:
        names = ["known-%d" % np.argmax(vector) for vector in body["query_embeddings"]]
        return {"ids": [["load-0-1" if int(name[-1]) < hidden else name, "load-0-2", "load-0-3"] for name in names]}

    return answer


def gets(body: Any) -> Any:
    return {"ids": body["ids"], "documents": ["document " + name[-1] for name in body["ids"]]}


def tally_of(**changed: Any) -> Tally:
    answers: dict[str, Any] = {"query": finds(hidden=0), "get": gets, "count": 100, **changed}
    with ScriptedServer() as server:
        server.answers.update({("GET" if verb == "count" else "POST", "%s/%s" % (COLLECTION, verb)): answer for verb, answer in answers.items()})
        with Load(server.url, "c", KNOWN, readers=1, writers=0, pause=0.001) as load:
            deadline = time.monotonic() + 30
            while load.tally.reads + len(load.tally.failed_reads) < 15:
                assert time.monotonic() < deadline
                time.sleep(0.005)
    return load.tally


@pytest.mark.parametrize("hidden", [0, 1, 2])
def test_a_record_that_the_index_does_not_lead_to_is_no_failed_read(hidden: int) -> None:
    tally = tally_of(query=finds(hidden))
    assert tally.failed_reads == []
    assert sorted(tally.good_reads) == ["count", "get", "query"]


@pytest.mark.parametrize(
    ("verb", "answer"),
    [
        pytest.param("query", finds(hidden=3), id="most are not found"),
        pytest.param("query", finds(hidden=5), id="none is found"),
        pytest.param("query", {"ids": [[], [], [], [], []]}, id="empty"),
        pytest.param("query", {"ids": []}, id="no answer to any vector"),
        pytest.param("query", {"ids": [["known-0"]]}, id="an answer to one vector alone"),
        pytest.param("query", {}, id="no ids"),
        pytest.param("get", {"ids": [], "documents": []}, id="a known record is not there"),
        pytest.param("get", lambda body: {"ids": body["ids"], "documents": ["stale"]}, id="stale"),
        pytest.param("count", 99, id="fewer records"),
    ],
)
def test_a_wrong_answer_is_a_failed_read(verb: str, answer: Any) -> None:
    tally = tally_of(**{verb: answer})
    assert tally.failed_reads
    assert {what.partition(":")[0] for _moment, what in tally.failed_reads} == {verb}
    assert verb not in tally.good_reads
