# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The freeze of a cutover does not grow with the database where changes are found from the source's own file.

On this machine, with two real servers for each size. The target begins as a copy of the source's directory, so that the
cutover alone is measured, with clients that write all the time. Freezing is done by triggers; needs no hosts of the lab.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
import time
from pathlib import Path

import numpy as np
import requests

from tests.support.chroma_server import ChromaServer
from tests.support.raw import RawChroma, RawError, Record

from .gateway import play

SMALL, LARGE = 9_832, 50_000
MOST = float(os.environ.get("LAB_FREEZE_GROWTH", "1.5"))
DIMENSION = 8


class Writer:
    """A client that writes to the source, and remembers what was taken and when it was refused."""

    def __init__(self, source: RawChroma, collection: str) -> None:
        self.source, self.collection = source, collection
        self.taken: dict[str, float] = {}
        self.refused: list[float] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()

    def _write(self) -> None:
        number = 0
        while not self._stop.wait(0.05):
            number += 1
            try:
                self.source.upsert(self.collection, [Record(f"written-{number}", np.full(DIMENSION, number, dtype="<f4"), None, {"n": number})])
            except (RawError, requests.RequestException):
                self.refused.append(time.monotonic())
            else:
                self.taken[f"written-{number}"] = time.monotonic()


def frozen_seconds(directory: Path, records: int) -> float:
    """How long writes were refused in a cutover of so many records; nothing that was taken before is missing in the target."""
    directory.mkdir()
    generator = np.random.default_rng(1)
    with ChromaServer(directory=directory / "source") as first:
        source = RawChroma(first.url)
        collection = source.create("things")
        for start in range(0, records, 5000):
            ids = range(start, min(start + 5000, records))
            vectors = generator.standard_normal((len(ids), DIMENSION)).astype("<f4")
            source.add(collection, [Record(f"r{number}", vector, None, {"n": number}) for number, vector in zip(ids, vectors)], batch=5000)
        first.stop()
        shutil.copytree(directory / "source", directory / "target")
        first.start()
        with ChromaServer(directory=directory / "target") as second:
            source, target = RawChroma(first.url), RawChroma(second.url)
            inventory = write_inventory(directory, first, second)
            with Writer(RawChroma(first.url), collection) as writer:
                shown = play("infrafabric.chromadb.cutover", "-i", str(inventory))
            assert "not written since" in shown, shown
            began = min(writer.refused)
            before = {record_id for record_id, moment in writer.taken.items() if moment < began}
            assert before
            assert target.count(str(target.collection("things")["id"])) == records + len(before)
            assert before <= set(target.get(str(target.collection("things")["id"]), ids=sorted(before))["ids"])
            assert any(moment > max(writer.refused) for moment in writer.taken.values()), "the source takes writes again"
            return max(writer.refused) - began


def write_inventory(directory: Path, source: ChromaServer, target: ChromaServer) -> Path:
    """With what `execute` would have left: the decision to go."""
    client = directory / "client.env"
    client.write_text("CHROMADB_URL=http://old.example.com:1\n")
    state = directory / "state" / "the_target"
    state.mkdir(parents=True)
    run = {"id": "20260102t030405", "status": "open", "source": source.url, "target": target.url, "decision": "go"}
    (state / "runbook_the_target.json").write_text(json.dumps(run))
    (directory / "snapshot" / "the_target").mkdir(parents=True, mode=0o700)
    inventory = directory / "inventory.json"
    inventory.write_text(json.dumps({"all": {
        "vars": {
            "ansible_connection": "local", "ansible_python_interpreter": sys.executable,
            "chromadb_source_url": source.url, "chromadb_target_url": target.url, "chromadb_schema": "none", "chromadb_routes": [],
            **{f"chromadb_{kind}_dir": f"{directory}/{kind}/{{{{ inventory_hostname }}}}" for kind in ("snapshot", "state", "report")},
            "chromadb_source_data_directory": str(source.directory / "data"), "chromadb_freeze_method": "sqlite_triggers",
            "cutover_freeze_command": str(directory / "chromadb-freeze"), "cutover_freeze_state_directory": str(directory / "freeze"),
            "cutover_require_approvals": False, "chromadb_client_files": [{"path": str(client), "key": "CHROMADB_URL"}],
            "cutover_watch_seconds": 0,
        },
        "children": {f"chromadb_{role}": {"hosts": {f"the_{role}": {}}} for role in ("source", "target", "client")},
    }}))
    return inventory


def test_the_freeze_does_not_grow_with_the_database(tmp_path: Path) -> None:
    small = frozen_seconds(tmp_path / "small", SMALL)
    large = frozen_seconds(tmp_path / "large", LARGE)
    print(f"frozen for {small:.2f} s with {SMALL} records, for {large:.2f} s with {LARGE}")
    assert large <= MOST * small
