# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bad input: the message names the thing, the failure class is right, and nothing was written anywhere."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, Callable

import pytest

from tests.support import trap_data
from tests.support.case import Case
from tests.support.chroma_server import ChromaServer, free_port
from tests.support.counting_proxy import CountingProxy
from tests.support.raw import RawChroma, Record
from tests.support.run_module import run_module
from tests.support.trap_data import CollectionData

RECORDS = [Record("r%d" % n, row, "r", {"n": n}) for n, row in enumerate(trap_data.vectors(20))]


@pytest.fixture(scope="module")
def places(source_server: ChromaServer, target_server: ChromaServer) -> tuple[RawChroma, RawChroma]:
    """A source and a target with records. All tests here share them, since none may write to them."""
    source, target = (RawChroma(server.url).fresh_database("bad") for server in (source_server, target_server))
    trap_data.write(source, CollectionData("things", RECORDS))
    trap_data.write(target, CollectionData("things", RECORDS[:10]))
    return source, target


@pytest.fixture
def filled(places: tuple[RawChroma, RawChroma], source_proxy: CountingProxy, target_proxy: CountingProxy, tmp_path: Path) -> Iterator[Case]:
    """The two, seen by proxies; at the end nothing must have been written to either."""
    yield Case(*places, tmp_path).through(source_proxy, target_proxy)
    for proxy in (source_proxy, target_proxy):
        # A server that is asked whether it takes writes is asked for a collection that cannot be.
        assert [seen for seen in proxy.writes if seen.status != 404] == []


@pytest.fixture
def strange_server() -> Iterator[str]:
    """A web server that is no Chroma, and answers everything with a friendly page."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>hello</html>")

        do_POST = do_GET

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield "http://127.0.0.1:%d" % server.server_address[1]
    server.shutdown()
    server.server_close()


def tree(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


# Servers

WRONG_SERVERS: dict[str, tuple[Callable[[dict[str, Any], str], dict[str, Any]], str, str]] = {
    "nothing answers": (lambda place, strange: {**place, "url": "http://127.0.0.1:%d" % free_port(), "retries": 1}, "unreachable", "127.0.0.1"),
    "no such host": (lambda place, strange: {**place, "url": "http://chroma.invalid:8000", "retries": 1}, "unreachable", "chroma.invalid"),
    "not a Chroma": (lambda place, strange: {**place, "url": strange}, "version", "127.0.0.1"),
    "wrong path": (lambda place, strange: {**place, "url": place["url"] + "/chroma"}, "version", "/chroma"),
    "wrong scheme": (lambda place, strange: {**place, "url": "ftp://127.0.0.1:8000"}, "usage", "must start with http://"),
    "no scheme": (lambda place, strange: {**place, "url": "127.0.0.1:8000"}, "usage", "must start with http://"),
    "empty": (lambda place, strange: {**place, "url": ""}, "usage", "url"),
    "unknown tenant": (lambda place, strange: {**place, "tenant": "nobody"}, "usage", "nobody"),
    "unknown database": (lambda place, strange: {**place, "database": "nothing"}, "usage", "nothing"),
    "user in the URL": (lambda place, strange: {**place, "url": place["url"].replace("http://", "http://me:s3cret@")}, "usage", "url"),
    "TLS to a plain port": (lambda place, strange: {**place, "url": place["url"].replace("http:", "https:"), "retries": 1}, "tls", "127.0.0.1"),
}


@pytest.mark.parametrize("which", list(WRONG_SERVERS))
def test_wrong_server_for_server_info(which: str, filled: Case, strange_server: str) -> None:
    wrong, failure_class, named = WRONG_SERVERS[which]
    result = run_module("server_info", wrong(filled.target_endpoint, strange_server), fails=True)
    assert result["failure_class"] == failure_class, result["msg"]
    assert named.lower() in result["msg"].lower()
    assert "s3cret" not in json.dumps(result)


@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize("which", list(WRONG_SERVERS))
@pytest.mark.parametrize("module", ["migrate", "validate"])
def test_wrong_server_for_two(module: str, which: str, side: str, filled: Case, strange_server: str) -> None:
    wrong, failure_class, named = WRONG_SERVERS[which]
    options: dict[str, Any] = {"source": filled.source_endpoint, "target": filled.target_endpoint}
    options[side] = wrong(options[side], strange_server)
    if module == "migrate":
        options["state_directory"] = str(filled.state)
    result = run_module(module, options, fails=True)
    assert result["failure_class"] == failure_class, result["msg"]
    assert named.lower() in result["msg"].lower()
    assert "s3cret" not in json.dumps(result)


@pytest.mark.parametrize("which", ["nothing answers", "unknown database", "user in the URL"])
@pytest.mark.parametrize("module", ["snapshot", "rollback"])
def test_wrong_server_for_one(module: str, which: str, filled: Case, strange_server: str) -> None:
    wrong, failure_class, named = WRONG_SERVERS[which]
    options = {**wrong(filled.target_endpoint, strange_server), "directory": str(filled.store)}
    if module == "rollback":
        options["snapshot_id"] = filled.snapshot()["snapshot"]["snapshot_id"]
    before = set(tree(filled.store / "snapshots"))
    result = run_module(module, options, fails=True)
    assert result["failure_class"] == failure_class, result["msg"]
    assert named.lower() in result["msg"].lower()
    assert set(tree(filled.store / "snapshots")) == before


# Snapshot directories


@pytest.mark.parametrize("check", [False, True])
def test_snapshot_directory_does_not_exist(check: bool, filled: Case, tmp_path: Path) -> None:
    missing = tmp_path / "nowhere" / "deep"
    result = run_module("snapshot", {**filled.target_endpoint, "directory": str(missing)}, check=check, fails=True)
    assert result["failure_class"] == "disk"
    assert str(missing) in result["msg"]
    assert not missing.parent.exists()


def test_snapshot_directory_is_a_file(filled: Case, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    result = run_module("snapshot", {**filled.target_endpoint, "directory": str(tmp_path / "file")}, fails=True)
    assert (result["failure_class"], (tmp_path / "file").read_text()) == ("disk", "mine")
    assert str(tmp_path / "file") in result["msg"]


def test_snapshot_directory_cannot_be_written(filled: Case) -> None:
    """For root nothing is read-only but what the kernel itself keeps so."""
    closed = Path("/proc/self") if os.geteuid() == 0 else filled.store
    if os.geteuid() != 0:
        closed.chmod(0o500)
    result = run_module("snapshot", {**filled.target_endpoint, "directory": str(closed)}, fails=True)
    assert result["failure_class"] == "disk"
    assert str(closed) in result["msg"]


@pytest.mark.parametrize("module", ["rollback", "snapshot_info"])
def test_store_does_not_exist(module: str, filled: Case, tmp_path: Path) -> None:
    missing = tmp_path / "nowhere"
    options = {"directory": str(missing), "snapshot_id": "latest", **(filled.target_endpoint if module == "rollback" else {})}
    result = run_module(module, options, fails=True)
    assert result["failure_class"] == "disk"
    assert str(missing) in result["msg"]


# Snapshots


@pytest.mark.parametrize("module", ["rollback", "snapshot_info"])
@pytest.mark.parametrize("wanted", ["snapshot_20200101_000000", "latest", "../../etc/passwd", "snapshot_20200101_000000/../x"])
def test_unknown_snapshot(module: str, wanted: str, filled: Case) -> None:
    if wanted != "latest":
        filled.snapshot()
    options = {"directory": str(filled.store), "snapshot_id": wanted, **(filled.target_endpoint if module == "rollback" else {})}
    result = run_module(module, options, fails=True)
    assert result["failure_class"] == "usage", result["msg"]
    assert wanted in result["msg"]


def flip_a_bit(archive: Path) -> None:
    data = bytearray(archive.read_bytes())
    data[len(data) // 2] ^= 1
    archive.write_bytes(data)


def cut_in_half(archive: Path) -> None:
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])


def cut_the_last_byte(archive: Path) -> None:
    archive.write_bytes(archive.read_bytes()[:-1])


def remove(archive: Path) -> None:
    archive.unlink()


def put_garbage(archive: Path) -> None:
    archive.write_bytes(b"this is no archive")


def empty(archive: Path) -> None:
    archive.write_bytes(b"")


@pytest.mark.parametrize("harm", [flip_a_bit, cut_in_half, cut_the_last_byte, remove, put_garbage, empty], ids=lambda harm: harm.__name__)
def test_damaged_archive(harm: Callable[[Path], None], filled: Case) -> None:
    taken = filled.snapshot()
    harm(Path(taken["path"]))
    snapshot_id = taken["snapshot"]["snapshot_id"]
    result = filled.rollback(snapshot_id=snapshot_id, fails=True)
    assert result["failure_class"] == "integrity", result["msg"]
    assert snapshot_id in result["msg"]
    listed = run_module("snapshot_info", {"directory": str(filled.store), "verify": "full"})["snapshots"]
    assert [(one["snapshot_id"], one["status"]) for one in listed] == [(snapshot_id, "failed")]
    assert listed[0]["problems"]


def test_latest_does_not_quietly_become_an_older_one(filled: Case) -> None:
    filled.snapshot(name="good")
    newest = filled.snapshot(name="newest")
    remove(Path(newest["path"]))
    result = filled.rollback(snapshot_id="latest", fails=True)
    assert result["failure_class"] == "integrity", result["msg"]
    assert newest["snapshot"]["snapshot_id"] in result["msg"]


@pytest.mark.parametrize("harm", [lambda text: text[:-20], lambda text: text.replace('"total_chunks"', '"total_chunk"'), lambda text: ""])
def test_damaged_manifest(harm: Callable[[str], str], filled: Case) -> None:
    snapshot_id = filled.snapshot()["snapshot"]["snapshot_id"]
    manifest = filled.store / "manifests" / (snapshot_id + ".json")
    manifest.write_text(harm(manifest.read_text()))
    result = filled.rollback(snapshot_id=snapshot_id, fails=True)
    assert result["failure_class"] == "integrity", result["msg"]
    assert snapshot_id in result["msg"]


def test_replaced_snapshot_is_noticed_by_its_manifests_checksum(filled: Case) -> None:
    snapshot_id = filled.snapshot()["snapshot"]["snapshot_id"]
    result = filled.rollback(snapshot_id=snapshot_id, expected_manifest_sha256="0" * 64, fails=True)
    assert result["failure_class"] == "integrity"
    assert snapshot_id in result["msg"]


# Options


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"routes": [{"from": "*", "to": "no spaces allowed"}]}, "no spaces allowed"),
        ({"routes": [{"from": "*", "to": ""}]}, "to"),
        ({"schema": {"fields": {"a": {"type": "text"}}}}, "text"),
        ({"schema": {"fields": {"a": {"typ": "string"}}}}, "typ"),
        ({"schema": "seeds"}, "schema"),
        ({"collections": ["things", "nothings"]}, "nothings"),
        ({"batch_size": 0}, "batch_size"),
        ({"min_valid_ratio": 1.5}, "min_valid_ratio"),
        ({"shard": {"index": 2, "count": 2}}, "shard"),
        ({"collections": []}, "collections"),
        ({"deadline": 0}, "deadline"),
        ({"deadline": -1}, "deadline"),
        ({"corrections": {"nothings": {"r1": {"n": 1}}}}, "nothings"),
        ({"unheard_of": 1}, "unheard_of"),
    ],
)
def test_bad_option_of_migrate(options: dict[str, Any], named: str, filled: Case) -> None:
    result = filled.migrate(fails=True, **options)
    assert result["failure_class"] == "usage", result["msg"]
    assert named.lower() in result["msg"].lower()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"url": "http://exa mple"}, "holds a space"),
        ({"token": "first line\nsecond line"}, "token"),
        ({"headers": {"x-name": "first line\r\nx-other: second line"}}, "headers"),
        ({"headers": {"x-\nname": "first line"}}, "headers"),
        ({"expected_counts": {"things": "many"}}, "many"),
        ({"expected_counts": {"things": -1}}, "-1"),
        ({"expected_counts": {"things": 1.5}}, "1.5"),
        ({"expected_counts": {"things": True}}, "True"),
    ],
)
def test_bad_option_of_server_info(options: dict[str, Any], named: str, filled: Case) -> None:
    result = run_module("server_info", {**filled.source_endpoint, **options}, fails=True)
    assert result["failure_class"] == "usage", result["msg"]
    assert named in result["msg"]
    assert "x-other" not in result["msg"]


@pytest.mark.parametrize("check", [False, True])
def test_a_report_directory_that_is_a_file(check: bool, filled: Case, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    result = filled.validate(check=check, report_directory=str(path), fails=True)
    assert result["failure_class"] == "disk"
    assert f"{path} is not a directory" in result["msg"]


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize(
    ("module", "option"),
    [("migrate", "state_directory"), ("migrate", "quarantine_file"), ("validate", "state_directory"), ("validate", "report_directory")],
)
def test_a_relative_path(module: str, option: str, check: bool, filled: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it begins is where Ansible happens to start the module."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir(mode=0o700)
    before = tree(tmp_path)
    run = filled.migrate if module == "migrate" else filled.validate
    result = run(check=check, fails=True, **{option: "here/file" if option == "quarantine_file" else "here"})
    assert result["failure_class"] == "usage"
    assert result["msg"].startswith(f"{option} must be an absolute path, not 'here")
    assert tree(tmp_path) == before


@pytest.mark.parametrize("options", [{}, {"check": True}, {"state": "absent"}])
def test_a_name_whose_snapshot_cannot_be_read_is_not_taken_for_free(options: dict[str, Any], filled: Case) -> None:
    snapshot_id = filled.snapshot(name="kept")["snapshot"]["snapshot_id"]
    (filled.store / "manifests" / (snapshot_id + ".json")).write_text("{")
    before = tree(filled.store)
    result = filled.snapshot(name="kept", fails=True, **options)
    assert result["failure_class"] == "integrity"
    assert snapshot_id in result["msg"]
    assert {path: content for path, content in tree(filled.store).items() if "logs" not in str(path)} == {
        path: content for path, content in before.items() if "logs" not in str(path)
    }


@pytest.mark.parametrize("name", ["with space", "../up", "a/b", "", "x" * 300])
def test_bad_snapshot_name(name: str, filled: Case) -> None:
    result = filled.snapshot(name=name, fails=True)
    assert result["failure_class"] == "usage", result["msg"]
    assert tree(filled.store) == {}


def test_a_snapshot_of_nothing(filled: Case) -> None:
    result = filled.snapshot(collections=[], fails=True)
    assert (result["failure_class"], "collections" in result["msg"]) == ("usage", True)
    assert tree(filled.store) == {}


def test_unknown_collection_for_snapshot(filled: Case) -> None:
    result = filled.snapshot(collections=["nothings"], fails=True)
    assert result["failure_class"] == "usage"
    assert "nothings" in result["msg"]
    assert list((filled.store / "snapshots").glob("*")) == [] if (filled.store / "snapshots").exists() else True


def test_expected_counts_that_are_not_met(filled: Case) -> None:
    result = run_module("server_info", {**filled.source_endpoint, "expected_counts": {"things": 21}}, fails=True)
    assert result["failure_class"] == "drift"
    assert "things" in result["msg"]
    assert "21" in result["msg"]
    assert "20" in result["msg"]


@pytest.mark.parametrize(("records", "words"), [(1, "1 id would"), (20, "20 ids would")])
def test_records_that_collide_are_named_before_anything_is_written(records: int, words: str, case: Case, target_proxy: CountingProxy) -> None:
    for name in ("one", "two"):
        trap_data.write(case.source, CollectionData(name, RECORDS[:records]))
    result = case.through(target=target_proxy).migrate(routes=[{"from": "*", "to": "all"}], fails=True)
    assert result["failure_class"] == "invalid_data", result["msg"]
    assert result["msg"].startswith(f"{words} collide in the target, among them all: 'r0'")
    assert target_proxy.writes == []


def test_invalid_records_are_named_before_anything_is_written(case: Case, target_proxy: CountingProxy) -> None:
    trap_data.write(case.source, CollectionData("things", RECORDS))
    schema = {"fields": {"n": {"type": "integer", "maximum": 18}}}
    result = case.through(target=target_proxy).migrate(schema=schema, fails=True)
    assert result["failure_class"] == "invalid_data", result["msg"]
    assert "r19" in result["msg"] + json.dumps(result)
    assert target_proxy.writes == []
