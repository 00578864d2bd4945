# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Memory that runs out in the middle: no result is made up, nothing is harmed, and the second run goes on. And how little is enough."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.run_module import Apart
from tests.support.scripted_server import ScriptedServer

from .conftest import Tally
from .forks import Forks
from .scenarios import Scenarios

# MiB of address space that are left when the module begins: too few for a thread, too few for what it reads, enough.
LEFT = (2, 4, 6, 12, 14, 21, 23, 32, 64, 256)
# Where what is left is enough for a thread and not for its first line, Python waits for ever for it to begin (python/cpython#140746).
WAITS_FOR_A_THREAD = re.compile(r"threading\.py\", line \d+ in wait\n.*threading\.py\", line \d+ in start\n")


@pytest.mark.parametrize("name", ["snapshot", "incremental", "migrate", "catch-up", "rollback", "swap"])
def test_memory_runs_out(name: str, scenarios: Scenarios, forks: Forks, tally: Tally) -> None:
    ended = set()
    for left in (LEFT[0], *tally.chosen(LEFT[1:-1]), LEFT[-1]):
        attempt = scenarios.all[name].attempt()
        run = forks.run(attempt.module, attempt.options, more_memory=left << 20)
        ended.add(run.failed)
        found = attempt.dead()
        kind = "memory"
        if run.signal and WAITS_FOR_A_THREAD.search(run.output):
            kind = "memory, where Python waited for ever"
        elif run.signal:
            found.append("it was ended by signal %d: %s" % (run.signal, run.output))
        again = forks.run(attempt.module, attempt.options)
        if again.failed:
            found.append("the second run failed: %s" % again.message)
        tally.point(kind, "%d MiB" % left, found + attempt.converged())
    assert ended == {True, False}, "some must not be enough, and some enough"


MEBIBYTE = 1 << 20
COLLECTIONS = "/api/v2/tenants/default_tenant/databases/default_database/collections"


def holding(script: ScriptedServer, records: int) -> None:
    """The answers of a server that holds so many records in one collection: to import as many into a real one takes a quarter of an hour."""

    def get(body: Any) -> dict[str, Any]:
        begin = body.get("offset", 0)
        ids = body.get("ids") or ["r%07d" % number for number in range(begin, min(begin + body.get("limit", records), records))]
        values: dict[str, Any] = {"embeddings": [0.5, -0.25], "documents": "a text", "uris": None}
        columns = {name: [{"n": int(record_id[1:])} for record_id in ids] if name == "metadatas" else [values[name]] * len(ids) for name in body["include"]}
        return {"ids": ids, **columns}

    configuration = {"hnsw": {"space": "l2"}}
    script.answers = {
        ("GET", "/api/v2/heartbeat"): {"nanosecond heartbeat": 1},
        ("GET", "/api/v2/version"): "1.5.0",
        ("GET", "/api/v2/pre-flight-checks"): {"max_batch_size": 1000},
        ("GET", "/api/v2/tenants/default_tenant"): {},
        ("GET", "/api/v2/tenants/default_tenant/databases/default_database"): {},
        ("GET", COLLECTIONS): [{"id": "c1", "name": "things", "metadata": None, "configuration_json": configuration, "dimension": 2}],
        ("GET", f"{COLLECTIONS}/c1/count"): records,
        ("POST", f"{COLLECTIONS}/c1/get"): get,
    }


def test_a_million_records_need_no_more_memory_than_a_quarter(tmp_path: Path, tally: Tally) -> None:
    """A snapshot of a server that exists only as answers."""
    peaks = []
    for records in (250_000, 1_000_000):
        with ScriptedServer() as script:
            holding(script, records)
            store = tmp_path / str(records)
            store.mkdir(mode=0o700)
            run = Apart("snapshot", {"url": script.url, "directory": str(store)})
            assert run.result()["records"] == records
        peaks.append(run.peak_bytes)
    small, large = peaks
    tally.point("a million records", "%d and %d MiB" % (small // MEBIBYTE, large // MEBIBYTE), [] if large < small + 16 * MEBIBYTE else ["it grew"])
    print("Most memory: %d MiB with 250,000 records, %d MiB with 1,000,000" % (small // MEBIBYTE, large // MEBIBYTE))
