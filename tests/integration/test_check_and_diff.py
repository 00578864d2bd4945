# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Check mode and diff mode: the same answer as the run gives, and not one write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support import trap_data
from tests.support.case import Case
from tests.support.counting_proxy import CountingProxy
from tests.support.equality import contents_differences
from tests.support.raw import Record
from tests.support.run_module import run_module
from tests.support.trap_data import CollectionData

RECORDS = [Record("r%d" % n, row, "r", {"n": n}) for n, row in enumerate(trap_data.vectors(30))]


@pytest.fixture
def different(case: Case, target_proxy: CountingProxy) -> Case:
    """Of `things` the target lacks 3, holds 2 otherwise and 1 more; of `others` it has nothing."""
    trap_data.write(case.source, CollectionData("things", RECORDS))
    trap_data.write(case.source, CollectionData("others", RECORDS[:7]))
    there = RECORDS[3:28] + [record._replace(document="changed") for record in RECORDS[28:]] + [RECORDS[0]._replace(id="stranger")]
    trap_data.write(case.target, CollectionData("things", there))
    return case.through(target=target_proxy)


def numbers(result: dict[str, Any]) -> dict[str, Any]:
    """What a check and a run must agree on."""
    return {name: result[name] for name in ("changed", "records", "migration_id") if name in result}


def test_migrate(different: Case, target_proxy: CountingProxy) -> None:
    before = different.target.contents()
    checked = different.migrate(check=True, diff=True, prune=True)
    assert target_proxy.writes == []
    assert contents_differences(before, different.target.contents()) == []
    assert checked["records"] == {"read": 37, "valid": 37, "invalid": 0, "added": 10, "changed": 2, "unchanged": 25, "deleted": 1}
    shown = json.dumps(checked["diff"])
    assert "+3 ~2 -1" in shown
    assert "+7" in shown
    assert all(record_id in shown for record_id in ("r0", "r28", "stranger"))

    done = different.migrate(diff=True, prune=True)
    assert numbers(done) == numbers(checked)
    assert done["diff"] == checked["diff"]
    assert different.differences() == []

    again = different.migrate(check=True, diff=True, prune=True)
    assert again["changed"] is False
    assert "+0" not in json.dumps(again.get("diff", []))


def test_a_terminal_does_not_obey_what_a_diff_shows(different: Case) -> None:
    place = different.source.create("named")
    different.source.add(place, [Record("r0", RECORDS[0].embedding, None, {"\x1b[2J\x9b31mkey": "value"})])
    shown = "".join(str(text) for part in different.migrate(check=True, diff=True)["diff"] for text in part.values())
    assert "\\x1b[2J\\x9b31mkey: 'value'" in shown
    assert not any(character in shown for character in "\x1b\x9b")


def test_no_diff_unless_wanted(different: Case) -> None:
    assert "diff" not in different.migrate(check=True)


def test_rollback(different: Case, target_proxy: CountingProxy) -> None:
    different.snapshot(name="before")
    saved = different.target.contents()
    different.migrate(prune=True)
    moved = different.target.contents()
    target_proxy.reset()
    checked = different.rollback(snapshot_id="latest", check=True, diff=True)
    assert (checked["changed"], checked["verified"], target_proxy.writes) == (True, False, [])
    assert contents_differences(moved, different.target.contents()) == []
    shown = json.dumps(checked["diff"])
    assert "+1 ~2 -3" in shown
    assert "others" in shown
    assert len(list((different.store / "snapshots").glob("*.tar.gz"))) == 1, "no safety snapshot in check mode"

    done = different.rollback(snapshot_id="latest", diff=True)
    assert (done["changed"], done["verified"]) == (True, True)
    assert done["collections"] == checked["collections"]
    assert contents_differences(saved, different.target.contents()) == []


def test_snapshot(different: Case) -> None:
    checked = different.snapshot(check=True, diff=True, name="one")
    assert (checked["changed"], checked["records"]) == (True, 28)
    assert list(different.store.rglob("*.tar.gz*")) == []
    done = different.snapshot(name="one")
    assert (done["changed"], done["records"]) == (True, 28)
    assert different.snapshot(check=True, name="one")["changed"] is False
    again = different.snapshot(name="one")
    assert (again["changed"], again["path"]) == (False, done["path"])


def test_snapshot_absent(different: Case) -> None:
    path = Path(different.snapshot(name="one")["path"])
    different.snapshot(name="two")
    checked = different.snapshot(check=True, diff=True, name="one", state="absent")
    assert (checked["changed"], path.exists()) == (True, True)
    assert different.snapshot(name="one", state="absent")["changed"] is True
    assert not path.exists()
    assert different.snapshot(name="one", state="absent")["changed"] is False


def test_a_snapshot_that_another_one_is_based_on_does_not_go(different: Case) -> None:
    base = different.snapshot(name="one")["snapshot"]["snapshot_id"]
    above = different.snapshot(name="two", base="latest")["snapshot"]["snapshot_id"]
    messages = []
    for check in (True, False):
        result = different.snapshot(check=check, name="one", state="absent", fails=True)
        assert result["failure_class"] == "usage"
        messages.append(result["msg"])
    assert messages == [f"The snapshot {base} is the base of {above}. Delete what is based on it first."] * 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"base": "snapshot_20200101_000000"}, "There is no snapshot snapshot_20200101_000000 in "),
        ({"prune": True, "keep_min": 0}, "keep_min must be at least 1, not 0: the last good snapshot is never deleted."),
    ],
)
def test_a_snapshot_that_cannot_be_taken_so(options: dict[str, Any], words: str, different: Case) -> None:
    for check in (True, False):
        result = different.snapshot(check=check, fails=True, **options)
        assert (result["failure_class"], words in result["msg"]) == ("usage", True), result["msg"]
    assert list(different.store.rglob("*.tar.gz*")) == []


def test_snapshot_prune(different: Case) -> None:
    for name in ("one", "two", "three"):
        different.snapshot(name=name)
    options = {"directory": str(different.store), "keep_max": 1, "retention_days": 0}
    checked = run_module("snapshot_prune", options, check=True, diff=True)
    assert (checked["changed"], len(checked["deleted"]), len(checked["kept"])) == (True, 2, 1)
    assert len(list(different.store.rglob("*.tar.gz"))) == 3
    done = run_module("snapshot_prune", options)
    assert (done["deleted"], done["kept"]) == (checked["deleted"], checked["kept"])
    assert len(list(different.store.rglob("*.tar.gz"))) == 1
    assert run_module("snapshot_prune", options)["changed"] is False


def test_modules_that_only_look(different: Case, target_proxy: CountingProxy) -> None:
    different.snapshot()
    target_proxy.reset()
    for check in (False, True):
        info = run_module("server_info", {**different.target_endpoint, "gather": ["health", "collections", "traps"]}, check=check)
        assert (info["changed"], [c["name"] for c in info["collections"]]) == (False, ["things"])
        assert run_module("snapshot_info", {"directory": str(different.store)}, check=check)["changed"] is False
        assert run_module("audit_info", {"directory": str(different.store)}, check=check)["changed"] is False
        assert different.validate(check=check)["changed"] is False
    # Whether a server takes writes is asked with a collection that cannot be.
    assert [seen for seen in target_proxy.writes if seen.status != 404] == []


def test_of_a_server_only_what_is_asked_for_is_returned(different: Case) -> None:
    parts = {"server", "collections", "traps"}
    told = {gather: parts & set(run_module("server_info", {**different.target_endpoint, "gather": [gather]})) for gather in ("health", "collections", "traps")}
    assert told == {"health": {"server"}, "collections": {"server", "collections"}, "traps": {"server", "traps"}}


def test_validate_writes_no_report_in_check_mode(different: Case, tmp_path: Path) -> None:
    (tmp_path / "reports").mkdir()
    different.validate(check=True, report_directory=str(tmp_path / "reports"))
    assert list((tmp_path / "reports").iterdir()) == []


def test_directories_that_are_not_there_yet_are_named(different: Case, tmp_path: Path) -> None:
    """A run would fail, unless something creates them first: roles do, and in check mode they did not."""
    reports, quarantine = tmp_path / "nowhere", tmp_path / "elsewhere" / "quarantine.jsonl"
    judged = different.validate(check=True, report_directory=str(reports))
    assert f"The report directory {reports} does not exist. A run fails unless something creates it first" in str(judged["warnings"])
    planned = different.migrate(check=True, on_invalid="skip", quarantine_file=str(quarantine))
    assert f"The directory of the quarantine file {quarantine} does not exist. A run fails unless something creates it first" in str(planned["warnings"])
    assert not reports.exists()
    assert not quarantine.parent.exists()
    assert "warnings" not in different.migrate(check=True, quarantine_file=str(quarantine)), "with on_invalid: fail there is no such file"


@pytest.mark.parametrize(("place", "words"), [("reports", "is a directory"), ("file/q.jsonl", "Not a directory"), ("reports/q.jsonl", None)])
def test_a_quarantine_file_that_could_not_be_made(place: str, words: str | None, different: Case, tmp_path: Path) -> None:
    (tmp_path / "reports").mkdir()
    (tmp_path / "file").touch()
    path = str(tmp_path / place)
    result = different.migrate(check=True, fails=words is not None, on_invalid="skip", quarantine_file=path)
    if words is not None:
        assert result["failure_class"] == "disk"
        assert path in result["msg"]
        assert words in result["msg"]
    assert list((tmp_path / "reports").iterdir()) == []
