# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the steps of the preflight role say when all is well, and when something is wrong with each; of the target see the file beside this one."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import trap_data
from tests.support.case import Case
from tests.support.raw import Record
from tests.support.run_module import ansible_playbook, run_module

RECORDS = 40
CONTACTS = [{"level": level, "name": f"Level {level}", "address": f"level{level}@example.org"} for level in (1, 2, 3, 4)]


class Precheck:
    """The role on this machine, for a source whose last record lacks what the schema asks for."""

    def __init__(self, case: Case, directory: Path) -> None:
        vectors = trap_data.vectors(RECORDS)
        records = [Record("r%d" % n, vectors[n], "text", {"n": n} if n else {"other": n}) for n in range(RECORDS)]
        case.source.add(case.source.create("docs"), records)
        self.case, self.directory, self.store = case, directory, directory / "store"
        self.inventory = "localhost,"
        self.play = directory / "play.yml"
        self.play.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "roles": [{"role": "infrafabric.chromadb.preflight"}]}]))
        servers = {f"chromadb_{side}_{option}": value
                   for side, place in (("source", case.source), ("target", case.target)) for option, value in place.endpoint.items()}
        self.variables = {
            "ansible_python_interpreter": sys.executable, **servers, "chromadb_snapshot_dir": str(self.store), "chromadb_state_dir": str(directory / "state"),
            "chromadb_report_dir": str(directory / "reports"), "preflight_min_free_mb": 1, "chromadb_expected_counts": {"docs": RECORDS}, "chromadb_routes": [],
            "chromadb_schema": {"fields": {"n": {"type": "integer", "required": True}}}, "chromadb_contacts": CONTACTS,
            "chromadb_maintenance_window": {"start": "2026-01-01T00:00:00Z", "end": "2126-01-01T00:00:00Z"},
            "chromadb_notify_webhooks": [{"url": "https://chat.example.org/hooks/secret-part"}],
        }  # fmt: skip

    def __call__(self, *steps: str, fails: bool = False, **variables: Any) -> dict[str, dict[str, str]]:
        done = ansible_playbook(
            "-i", self.inventory, "-c", "local", str(self.play), "-e", json.dumps({**self.variables, "preflight_steps": steps, **variables})
        )
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        assert "secret-part" not in done.stdout + done.stderr
        log = json.loads((self.directory / "reports/precheck_localhost.json").read_text())
        return {verdict["step"]: verdict for verdict in log["verdicts"]}

    def snapshot(self, **options: Any) -> str:
        self.store.mkdir(exist_ok=True)
        return str(run_module("snapshot", {**self.case.source.endpoint, "directory": str(self.store), **options})["snapshot"]["snapshot_id"])


@pytest.fixture
def precheck(case: Case, tmp_path: Path) -> Precheck:
    return Precheck(case, tmp_path)


def test_verdicts_of_a_migration_that_is_ready_but_for_one_record(precheck: Precheck) -> None:
    snapshot = precheck.snapshot()
    found = precheck("window", "backup", "source", "dry_run", "notifications")
    assert {step: verdict["verdict"] for step, verdict in found.items()} == {
        "window": "passed", "backup": "passed", "source": "passed", "dry_run": "warning", "notifications": "passed",
    }  # fmt: skip
    assert found["window"]["details"] == "From 2026-01-01T00:00:00Z to 2126-01-01T00:00:00Z."
    assert found["backup"]["details"].startswith(f"{snapshot}, 0.0 hours old and read in full")
    assert found["source"]["details"].startswith(f"{RECORDS} records in 1 collections")
    assert found["dry_run"]["details"].startswith(f"{RECORDS - 1} of {RECORDS} records are valid")
    assert "chromadb_corrections" in found["dry_run"]["next"]
    assert found["notifications"]["details"] == "1 webhooks; contacts for all four levels of the escalation."


def test_verdicts_come_in_the_order_of_the_steps(precheck: Precheck) -> None:
    # The host that is ready first has no backup to look after: the other's task for that comes after all of the first one's.
    first, second = ["window", "source"], ["window", "backup", "source"]
    precheck.play.write_text(precheck.play.read_text().replace("localhost", "all"))
    steps = f"{{{{ {first} if inventory_hostname == 'first' else {second} }}}}"
    variables = json.dumps({**precheck.variables, "preflight_steps": steps})
    done = ansible_playbook("-f", "1", "-i", "first,second,", "-c", "local", str(precheck.play), "-e", variables)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.index("Measure the free space") > done.stdout.index("Judge the source")
    for host, expected in (("first", first), ("second", second)):
        log = json.loads((precheck.directory / f"reports/precheck_{host}.json").read_text())
        assert [verdict["step"] for verdict in log["verdicts"]] == expected


def test_verdicts_where_everything_is_wrong(precheck: Precheck) -> None:
    whole, damaged = precheck.snapshot(), precheck.snapshot()
    archive = precheck.store / "snapshots" / f"{damaged}.tar.gz"
    content = archive.read_bytes()
    quarter = len(content) // 4
    archive.write_bytes(content[:quarter] + bytes(byte ^ 0xFF for byte in content[quarter:-quarter]) + content[-quarter:])
    found = precheck(
        "backup", "source", "dry_run", "notifications", fails=True,
        chromadb_expected_counts={"docs": RECORDS + 1},
        chromadb_schema={"fields": {"impossible": {"type": "integer", "required": True}}},
        chromadb_contacts=[*CONTACTS[:3], {"level": 4, "name": "On call"}, {"level": 7, "address": "nobody@example.org"}],
        chromadb_notify_webhooks=[{"url": "https://chat.example.org/hooks/secret-part"}, {"url": "http://[fe80::1/secret-part"}, {"key": "text"}],
    )  # fmt: skip
    assert {step: verdict["verdict"] for step, verdict in found.items()} == dict.fromkeys(("backup", "source", "dry_run", "notifications"), "failed")
    assert found["backup"]["details"].startswith(f"{damaged} is damaged: ")
    assert whole not in found["backup"]["details"]
    assert "take another" in found["backup"]["next"]
    assert str(RECORDS + 1) in found["source"]["details"]
    assert found["dry_run"]["details"]
    said = found["notifications"]["details"]
    for words in (
        "number 2 of chromadb_notify_webhooks has no url that can be sent to", "number 3 of chromadb_notify_webhooks has no url that can be sent to",
        "number 4 of chromadb_contacts has no address", "number 5 of chromadb_contacts has no name", "number 5 of chromadb_contacts has no level from 1 to 4",
    ):  # fmt: skip
        assert words in said


def test_of_two_backups_of_one_second_the_newer_one_is_judged(precheck: Precheck) -> None:
    older, newer = precheck.snapshot(), precheck.snapshot()
    manifests = [precheck.store / "manifests" / f"{name}.json" for name in (older, newer)]
    before, after = (json.loads(manifest.read_text()) for manifest in manifests)
    after["timestamp"] = before["timestamp"]
    del after["manifest_sha256"]
    after["manifest_sha256"] = hashlib.sha256(json.dumps(after, sort_keys=True, separators=(",", ":")).encode("ascii")).hexdigest()
    manifests[1].write_text(json.dumps(after))
    assert precheck("backup")["backup"]["details"].startswith(f"{newer}, ")


def test_backup_is_of_the_database_and_of_all_that_is_migrated(precheck: Precheck) -> None:
    """The same server has other databases, and a snapshot of some collections brings back no others."""
    precheck.snapshot(tenant="default_tenant", database="default_database")
    some = precheck.snapshot(collections=["docs"])
    found = precheck("backup")["backup"]
    assert found["verdict"] == "warning", found
    assert precheck.case.source.endpoint["database"] in found["details"]
    assert precheck("backup", chromadb_collections=["docs"])["backup"]["details"].startswith(f"{some}, 0.0 hours old")
    assert precheck("backup", chromadb_collections=["docs", "others"])["backup"]["verdict"] == "warning"


def test_approvals_are_those_that_the_cutover_asks_for(precheck: Precheck) -> None:
    dba = {"chromadb_approvals": [{"role": "dba", "name": "B. Person", "time": "2026-01-02T09:00:00+00:00"}]}
    assert precheck("approvals", **dba)["approvals"]["details"] == "Not there yet: operations, security, engineering, on_call."
    found = precheck("approvals", cutover_required_approvals=["dba"], **dba)["approvals"]
    assert (found["verdict"], found["details"]) == ("passed", "dba: B. Person")
    found = precheck("approvals", cutover_required_approvals=["dba", "legal"], **dba)["approvals"]
    assert (found["verdict"], found["details"]) == ("warning", "Not there yet: legal.")
    found = precheck("approvals", cutover_require_approvals=False)["approvals"]
    assert (found["verdict"], found["details"]) == ("passed", "None is needed.")


def test_a_cutover_that_would_move_nobody(precheck: Precheck) -> None:
    groups = precheck.directory / "inventory"
    precheck.inventory = str(groups)
    files = [{"path": "/srv/webui/.env", "key": "CHROMADB_URL"}]
    groups.write_text("localhost\n[chromadb_clients]\nwebui\n")
    found = precheck("clients", chromadb_client_files=files)["clients"]
    assert (found["verdict"], found["details"]) == (
        "warning", "The cutover would move nobody: no host is in the group chromadb_client, and none is in chromadb_gateway.")  # fmt: skip
    for name in ("chromadb_client,", "chromadb_client_files", "chromadb_gateway", "cutover_clients_elsewhere=true"):
        assert name in found["next"]
    elsewhere = precheck("clients", cutover_clients_elsewhere=True)["clients"]
    assert (elsewhere["verdict"], elsewhere["details"]) == ("passed", "Nobody is moved by the cutover: cutover_clients_elsewhere is set.")

    groups.write_text("localhost\n[chromadb_client]\nwebui\n")
    found = precheck("clients")["clients"]
    assert (found["verdict"], "webui of the group chromadb_client has no chromadb_client_files" in found["details"]) == ("warning", True)
    assert precheck("clients", chromadb_client_files=files)["clients"]["details"] == "Moved by files of webui."
    groups.write_text("localhost\n[chromadb_client]\nwebui\n[chromadb_gateway]\nfront\n")
    assert precheck("clients")["clients"]["details"] == "Moved by the gateway of front."


def test_a_freeze_that_would_find_no_database(precheck: Precheck, tmp_path: Path) -> None:
    """In the cutover it would be found out when all is ready; so it is found out the day before."""
    groups = precheck.directory / "inventory"
    groups.write_text("[chromadb_source]\nlocalhost\n")
    triggers = {"chromadb_freeze_method": "sqlite_triggers"}
    without_a_host = precheck("freeze", fails=True, **triggers)["freeze"]
    assert "no host in the group chromadb_source" in without_a_host["details"]
    precheck.inventory = str(groups)
    assert "chromadb_source_data_directory is not set" in precheck("freeze", fails=True, **triggers)["freeze"]["details"]
    data = tmp_path / "data"
    assert "and there is none" in precheck("freeze", fails=True, chromadb_source_data_directory=str(data), **triggers)["freeze"]["details"]
    data.mkdir()
    (data / "chroma.sqlite3").touch()
    assert precheck("freeze", chromadb_source_data_directory=str(data), **triggers)["freeze"]["verdict"] == "passed"
