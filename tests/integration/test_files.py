# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The directory of a stopped server: copied, refused while the server runs, put back, proved by the server itself."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support import trap_data
from tests.support.chroma_server import ChromaServer, free_port
from tests.support.equality import contents_differences
from tests.support.raw import RawChroma, Record
from tests.support.run_module import run_module
from tests.support.trap_data import CollectionData


class Place:
    """A server of the test's own, its directory, and a store."""

    def __init__(self, server: ChromaServer, directory: Path) -> None:
        self.server = server
        self.data = server.directory / "data"
        self.store = directory / "store"
        self.store.mkdir()

    def _options(self, **options: Any) -> dict[str, Any]:
        # The server's address while it runs; the test gives another one where the address is not what is tested.
        return {"url": self.server.url, "retries": 0, "directory": str(self.store), "data_directory": str(self.data), **options}

    def snapshot(self, check: bool = False, fails: bool = False, **options: Any) -> dict[str, Any]:
        return run_module("snapshot", self._options(method="files", **options), check=check, fails=fails)

    def rollback(self, check: bool = False, diff: bool = False, fails: bool = False, **options: Any) -> dict[str, Any]:
        return run_module("rollback", self._options(**options), check=check, diff=diff, fails=fails)

    def contents(self) -> Any:
        return RawChroma(self.server.url).contents()


@pytest.fixture
def place(spare_server: ChromaServer, tmp_path: Path) -> Place:
    rows = trap_data.vectors(1200, seed=3)
    records = [Record(f"r{n}", row, f"text {n}", {"n": n}) for n, row in enumerate(rows)]
    trap_data.write(RawChroma(spare_server.url), CollectionData("things", records))
    return Place(spare_server, tmp_path)


def test_there_and_back(place: Place) -> None:
    before = place.contents()
    running = place.snapshot(fails=True)
    assert (running["failure_class"], "answers" in running["msg"]) == ("lock", True)
    assert place.snapshot(check=True)["changed"] is True
    elsewhere = place.snapshot(fails=True, url=f"http://127.0.0.1:{free_port()}")
    assert elsewhere["failure_class"] == "lock"
    called = Path(f"/proc/{place.server.pid}/comm").read_text().strip()
    assert f"process {place.server.pid} ({called})" in elsewhere["msg"]
    assert not list(place.store.glob("manifests/*"))

    place.server.stop()
    taken = place.snapshot(name="files")
    assert (taken["snapshot"]["method"], taken["snapshot"]["status"], taken["records"]) == ("files", "verified", 1200)
    assert taken["snapshot"]["tree"]["databases"][0]["collections"] == {"things": 1200}
    assert place.snapshot(name="files")["changed"] is False
    assert place.rollback(snapshot_id="latest")["changed"] is False

    place.server.start()
    live = RawChroma(place.server.url)
    collection = live.collection("things")["id"]
    live.delete(collection, [f"r{n}" for n in range(100)])
    live.create("newer")
    damaged = place.contents()
    planned = place.rollback(snapshot_id="latest", check=True, diff=True)
    assert (planned["changed"], planned["verified"]) == (True, False)
    assert "chroma.sqlite3" in planned["diff"][0]["after"]
    refused = place.rollback(snapshot_id="latest", fails=True)
    assert refused["failure_class"] == "lock"
    assert contents_differences(damaged, place.contents()) == []

    place.server.stop()
    result = place.rollback(snapshot_id="latest", reason="a test")
    assert (result["strategy"], result["rollback_type"], result["verified"], result["changed"]) == ("files", "full", True, True)
    assert sorted(path.name for path in place.data.parent.iterdir()) == ["chroma.yaml", "data"]
    place.server.start()
    assert contents_differences(before, place.contents()) == []

    place.server.stop()
    place.rollback(snapshot_id=result["safety_snapshot_id"])
    place.server.start()
    assert contents_differences(damaged, place.contents()) == []


def test_a_directory_that_is_lost_comes_back(place: Place) -> None:
    before = place.contents()
    place.server.stop()
    place.snapshot()
    shutil.rmtree(place.data)
    result = place.rollback(snapshot_id="latest", strategy="files")
    assert (result["changed"], result["safety_snapshot_id"]) == (True, None)
    place.server.start()
    assert contents_differences(before, place.contents()) == []


def test_the_two_kinds_are_not_mixed_up(place: Place) -> None:
    url = place.server.url
    records = run_module("snapshot", {"url": url, "directory": str(place.store), "name": "records"})["snapshot"]["snapshot_id"]
    place.server.stop()
    files = place.snapshot(name="files")["snapshot"]["snapshot_id"]
    for options in ({"snapshot_id": records, "strategy": "files"}, {"snapshot_id": files, "strategy": "swap", "data_directory": None}):
        assert place.rollback(fails=True, **options)["failure_class"] == "usage"
    for options in ({"collections": ["things"]}, {"base": "latest"}, {"name": "records"}, {"data_directory": str(place.store)}):
        assert place.snapshot(fails=True, **options)["failure_class"] == "usage"
    assert place.rollback(snapshot_id=files, collections=["things"], fails=True)["failure_class"] == "usage"
    place.server.start()
    # Without a directory, latest is the newest one that the server itself can be brought back to.
    assert place.rollback(snapshot_id="latest", data_directory=None)["snapshot_id"] == records
    taken = run_module("snapshot", {"url": url, "directory": str(place.store), "base": "latest"})
    assert taken["snapshot"]["base"]["snapshot_id"] == records
