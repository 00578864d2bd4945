# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbooks on real servers, by FQCN: the whole runbook, and every way back."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.case import Case
from tests.support.equality import contents_differences
from tests.support.raw import Record
from tests.support.run_module import CHECKOUT, ansible_playbook, run_module

sys.path.insert(0, str(CHECKOUT / "playbooks" / "files" / "demo"))
import sample_data

SIZES = {"openwebui_core": 40, "openwebui_docs": 30, "openwebui_functions": 20}
APPROVALS = [{"role": role, "name": "Somebody", "time": "2026-01-02T09:00:00+00:00"}
             for role in ("operations", "DBA", "security", "engineering", "on-call engineer")]  # fmt: skip
ENV_FILE = b"# s\xc3\xa9ttings\r\nSECRET=not-a-real-secret\r\nCHROMADB_URL=http://old.example.com:1\r\nLAST=no newline at the end"


class Runbook:
    """A source with data, a target with a collection of its own, and a client with a file; an inventory of the three."""

    def __init__(self, case: Case, directory: Path) -> None:
        self.source, self.target, self.directory = case.source, case.target, directory
        texts = sample_data.sample_records(sum(SIZES.values()))
        for name, size in SIZES.items():
            collection = self.source.create(name, configuration={"hnsw": {"space": "cosine"}})
            self.source.add(collection, [Record(f"{name}-{r.id}", r.embedding, r.document, dict(r.metadata)) for _number, r in zip(range(size), texts)])
        own = self.target.create("there_before")
        self.target.add(own, [Record("a", next(sample_data.sample_records(1)).embedding, "kept", None)])
        self.before = self.target.contents()

        self.env_file = directory / "client" / ".env"
        # A link, as deployments have it: it must stay one.
        real = directory / "deployed" / "production.env"
        for place in (self.env_file.parent, real.parent):
            place.mkdir()
        self.env_file.symlink_to("../deployed/production.env")
        self.env_file.write_bytes(ENV_FILE)
        self.env_file.chmod(0o640)
        self.restarts = directory / "restarts"
        self.inventory = directory / "inventory.json"
        self.write_inventory()

    def write_inventory(self, **variables: Any) -> None:
        servers = {f"chromadb_{side}_{option}": value
                   for side, place in (("source", self.source), ("target", self.target)) for option, value in place.endpoint.items()}
        directories = {f"chromadb_{kind}_dir": f"{self.directory}/{kind}/{{{{ inventory_hostname }}}}" for kind in ("snapshot", "state", "report")}
        self.inventory.write_text(json.dumps({"all": {
            "vars": {
                "ansible_connection": "local", "ansible_python_interpreter": sys.executable, **servers, **directories,
                "chromadb_expected_counts": SIZES, "chromadb_approvals": APPROVALS,
                "chromadb_client_files": [{"path": str(self.env_file), "key": "CHROMADB_URL"}],
                "chromadb_client_commands": [["sh", "-c", f"grep CHROMADB_URL {self.env_file} >> {self.restarts}"]],
                "cutover_reverse_playbook": str(self.directory / "reverse.yml"),
                "cutover_watch_seconds": 0.2, "cutover_watch_interval": 0.2, "preflight_min_free_mb": 1, **variables,
            },
            "children": {f"chromadb_{role}": {"hosts": {f"the_{role}": {}}} for role in ("source", "target", "client")},
        }}))

    def play(self, name: str, *arguments: str, fails: bool = False) -> subprocess.CompletedProcess[str]:
        result = ansible_playbook(name if "/" in name else f"infrafabric.chromadb.{name}", "-i", str(self.inventory), *arguments)
        assert (result.returncode != 0) == fails, result.stdout + result.stderr
        return result

    def state(self) -> dict[str, Any] | None:
        path = self.directory / "state/the_target/runbook_the_target.json"
        found: dict[str, Any] | None = json.loads(path.read_text()) if path.exists() else None
        return found

    def decided(self, host: str = "the_target") -> None:
        """As execute leaves it; what was not copied yet the cutover copies."""
        path = self.directory / f"state/{host}/runbook_{host}.json"
        for place in (path.parent, self.directory / "snapshot" / host):
            place.mkdir(mode=0o700, parents=True)
        path.write_text(json.dumps({"id": "20260110t020000", "status": "open", "decision": "go", "source": self.source.url, "target": self.target.url}))

    def rollbacks(self) -> list[tuple[str, str, str]]:
        """What the audit log of the target's store says about rollbacks: status, trigger, reason. Its chain is checked."""
        audit = run_module("audit_info", {"directory": str(self.directory / "snapshot/the_target")})
        assert audit["chain_intact"] is True
        return [(entry["status"], entry["trigger"], " ".join(entry["reason"].split())) for entry in audit["entries"] if entry["action"] == "rollback"]

    def migrations(self) -> list[dict[str, Any]]:
        entries = run_module("audit_info", {"directory": str(self.directory / "snapshot/the_target")})["entries"]
        return [entry for entry in entries if entry["action"] == "migrate"]

    def target_is_as_before(self) -> None:
        assert contents_differences(self.before, self.target.contents()) == []

    def client_is_as_before(self) -> None:
        assert self.env_file.read_bytes() == ENV_FILE
        assert self.env_file.is_symlink()
        assert self.env_file.stat().st_mode & 0o7777 == 0o640


@pytest.fixture
def runbook(case: Case, tmp_path: Path) -> Runbook:
    return Runbook(case, tmp_path)


def test_from_the_first_check_to_the_rollback_after_the_cutover(runbook: Runbook) -> None:
    files = sorted(path for path in runbook.directory.rglob("*") if path.is_file() and path.parts[-2] != "snapshots")
    runbook.play("runbook", "--check", "--diff")
    runbook.target_is_as_before()
    runbook.client_is_as_before()
    assert sorted(path for path in runbook.directory.rglob("*") if path.is_file() and path.parts[-2] != "snapshots") == files

    runbook.play("runbook")
    contents = runbook.target.contents()
    migrated = {name: found for name, found in contents.items() if name != "there_before"}
    assert set(migrated) <= {"sergio_personality", "sergio_rhetorical", "sergio_humor", "sergio_corpus"}
    assert sum(len(found.records) for found in migrated.values()) == sum(SIZES.values())
    assert {record.metadata["source_collection"] for found in migrated.values() for record in found.records.values() if record.metadata} == set(SIZES)
    assert runbook.env_file.read_bytes() == ENV_FILE.replace(b"http://old.example.com:1", runbook.target.url.encode())
    assert runbook.env_file.is_symlink()
    assert runbook.restarts.read_text().count(runbook.target.url) == 1
    state = runbook.state()
    assert state is not None
    assert (state["status"], state["decision"], len(state["approvals"])) == ("cut_over", "go", 5)

    assert "changed=" in (again := runbook.play("cutover").stdout)
    assert not re.search(r"changed=[1-9]", again)

    refused = runbook.play("execute", fails=True)
    assert "another migration would overwrite" in " ".join(refused.stdout.split())
    refused = runbook.play("rollback", fails=True)
    assert "rollback_discard_new_writes=true" in refused.stdout
    assert contents_differences(contents, runbook.target.contents()) == []

    reverse = str(runbook.directory / "reverse.yml")
    refused = runbook.play(reverse, fails=True)
    assert "rollback_discard_new_writes=true" in refused.stdout
    assert runbook.rollbacks() == []
    runbook.play(reverse, "-e", '{"rollback_discard_new_writes": true, "rollback_reason": "The new model answers badly"}')
    assert runbook.rollbacks() == [(status, "manual", "The new model answers badly") for status in ("initiated", "completed")]
    runbook.target_is_as_before()
    runbook.client_is_as_before()
    assert runbook.restarts.read_bytes().endswith(b"CHROMADB_URL=http://old.example.com:1\r\n")
    assert not re.search(r"changed=[1-9]", runbook.play("rollback").stdout)


def test_a_no_go_rolls_the_target_back_by_itself(runbook: Runbook) -> None:
    runbook.write_inventory(chromadb_expected_counts={**SIZES, "openwebui_core": SIZES["openwebui_core"] + 30})
    result = runbook.play("execute", fails=True)
    assert "verified; the source was only read" in " ".join(result.stdout.split())
    runbook.target_is_as_before()
    state = runbook.state()
    assert state is not None
    assert (state["status"], state["decision"]) == ("rolled_back", "no_go")
    initiated, completed = runbook.rollbacks()
    assert (initiated[:2], completed[:2]) == (("initiated", "automatic"), ("completed", "automatic"))
    assert initiated[2] == completed[2]
    assert "openwebui_core" in completed[2]

    # What fails is the decision; the rollback did what it should.
    phases = {line.split()[0]: line for line in result.stdout.partition("RUNBOOK")[2].splitlines() if line.split()}
    assert ("FAILED" in phases["decide"], "FAILED" in phases["rollback"]) == (True, False), result.stdout

    refused = runbook.play("cutover", fails=True)
    assert "needs a go" in " ".join(refused.stdout.split())
    runbook.client_is_as_before()


def test_a_cutover_that_fails_after_the_switch_brings_the_clients_back(runbook: Runbook) -> None:
    runbook.play("execute")
    refused = runbook.play("cutover", "-e", json.dumps({"chromadb_approvals": APPROVALS[:2]}), fails=True)
    assert "Missing: security, engineering, on_call" in " ".join(refused.stdout.split())
    postponed = {"chromadb_postpone_file": str(runbook.inventory), "cutover_postpone_seconds": 1}
    refused = runbook.play("cutover", "-e", json.dumps(postponed), fails=True)
    assert "still exists on the control node" in " ".join(refused.stdout.split())
    runbook.client_is_as_before()
    failing = ["sh", "-c", f"! grep -q {runbook.target.url} {runbook.env_file}"]
    result = runbook.play("cutover", "-e", json.dumps({"chromadb_client_commands": [failing]}), fails=True)
    assert "was taken back" in result.stdout
    runbook.client_is_as_before()
    state = runbook.state()
    assert state is not None
    assert (state["status"], state["cutover_begun"]) == ("open", "")
    runbook.play("cutover")
    assert runbook.target.url.encode() in runbook.env_file.read_bytes()


def test_a_deadline_that_passes_rolls_back(runbook: Runbook) -> None:
    # A faithful copy needs no look at the records before its first write, and at this pace it would take most of a minute.
    slow = {"chromadb_migration_deadline": 5, "migrate_max_records_per_second": 2, "chromadb_schema": "none", "chromadb_routes": []}
    result = runbook.play("execute", "-e", json.dumps(slow), fails=True)
    assert "did not end in time" in result.stdout
    runbook.target_is_as_before()
    initiated, completed = runbook.rollbacks()
    assert (initiated[:2], completed[:2]) == (("initiated", "time_based"), ("completed", "time_based"))
    assert initiated[2] == completed[2]
    assert "deadline" in completed[2]


def test_a_run_that_ended_before_its_snapshot_has_nothing_to_bring_back(runbook: Runbook) -> None:
    """And the decision of a run that was taken back speaks for no other."""
    runbook.play("execute")
    runbook.play("rollback")
    refused = runbook.play("cutover", fails=True)
    assert "is none, since the run was taken back" in " ".join(refused.stdout.split())
    runbook.target.add(runbook.target.create("later"), [Record("since", [1.0, 2.0], "written after the newest snapshot", None)])
    later = runbook.target.contents()
    store = runbook.directory / "not-a-directory"
    store.write_text("")
    runbook.play("execute", "-e", json.dumps({"chromadb_snapshot_dir": str(store)}), fails=True)
    state = runbook.state()
    assert state is not None
    assert (state["status"], state.get("decision"), state.get("snapshot_id")) == ("open", None, None)
    said = " ".join(runbook.play("rollback").stdout.split())
    assert "wrote nothing to it: there is nothing to bring back" in said
    assert contents_differences(later, runbook.target.contents()) == []
    state = runbook.state()
    assert state is not None
    assert state["status"] == "rolled_back"
    runbook.play("rollback", "-e", '{"rollback_snapshot_id": "latest"}')
    runbook.target_is_as_before()


def test_the_operator_wins(runbook: Runbook) -> None:
    said = runbook.directory / "operator"
    runbook.write_inventory(chromadb_operator_file=str(said))
    said.write_text("")
    result = runbook.play("execute")
    assert "decision  HOLD" in result.stdout
    said.unlink()
    refused = runbook.play("cutover", "-e", '{"chromadb_operator_decision": "abort"}', fails=True)
    assert "Aborted by the operator" in refused.stdout
    runbook.client_is_as_before()
    said.write_text("Abort: wrong model\n")
    result = runbook.play("execute", fails=True)
    assert "wrong model" in result.stdout.partition("decision  ROLLED BACK")[2], result.stdout
    runbook.target_is_as_before()
    state = runbook.state()
    assert state is not None
    assert (state["status"], state["decision"]) == ("rolled_back", "no_go")


@pytest.mark.parametrize(("window", "words"), [
    ({"start": "2026-01-02T02:00:00", "end": "2126-01-02T04:00:00"}, "each a text in ISO 8601 with its offset"),
    ({"start": "2126-01-02T02:00:00Z", "end": "2026-01-02T04:00:00+00:00"}, "which is not later"),
])  # fmt: skip
def test_a_window_that_is_none_is_refused_by_its_name(runbook: Runbook, window: dict[str, str], words: str) -> None:
    for playbook in ("precheck", "cutover", "execute"):
        refused = " ".join(runbook.play(playbook, "-e", json.dumps({"chromadb_maintenance_window": window}), fails=True).stdout.split())
        assert "chromadb_maintenance_window" in refused, playbook
        assert words in refused, playbook
    assert runbook.state() is None


def test_outside_the_window_nothing_begins_and_precheck_says_so(runbook: Runbook) -> None:
    past = json.dumps({"chromadb_maintenance_window": {"start": "2026-01-02T02:00:00+00:00", "end": "2026-01-02T04:00:00+00:00"}})
    for playbook in ("execute", "cutover"):
        refused = runbook.play(playbook, "-e", past, fails=True)
        assert "chromadb_maintenance_window is 2026-01-02T02:00:00+00:00" in " ".join(refused.stdout.split())
    assert runbook.state() is None
    refused = runbook.play("precheck", "-e", past, fails=True)
    assert "The maintenance window ended at 2026-01-02T04:00:00+00:00" in " ".join(refused.stdout.split())
    runbook.target_is_as_before()

    verdicts, dry_run = {}, {}
    for host in ("the_source", "the_target"):
        log = json.loads((runbook.directory / "report" / host / f"precheck_{host}.json").read_text())
        verdicts[host] = {verdict["step"]: verdict["verdict"] for verdict in log["verdicts"]}
        dry_run[host] = log["dry_run"]
    assert verdicts["the_source"] == {"variables": "passed", "window": "failed", "backup": "warning", "source": "passed"}
    assert verdicts["the_target"] == {
        "variables": "passed", "window": "failed", "source": "passed", "target": "warning", "dry_run": "passed", "queries": "warning", "approvals": "passed",
        "clients": "passed", "notifications": "warning",
    }  # fmt: skip
    assert (dry_run["the_source"], dry_run["the_target"]["records"]["added"]) == ({}, sum(SIZES.values()))


def test_the_audit_log_tells_of_migrations(runbook: Runbook) -> None:
    """How one began, how it ended, and that one of which nobody wrote the end has none."""
    runbook.play("execute", "--check")
    assert not (runbook.directory / "snapshot/the_target/logs").exists()
    refused = {"migrate_on_invalid": "fail", "chromadb_schema": {"fields": [{"name": "impossible", "type": "int", "required": True}]}}
    runbook.play("execute", "-e", json.dumps(refused), fails=True)
    begun, failed = runbook.migrations()
    sides = {"source": runbook.source.url, "target": runbook.target.url}
    assert (begun["status"], failed["status"]) == ("initiated", "failed")
    assert failed["reason"]
    assert failed["reason"] != "Another host failed."
    for entry in (begun, failed):
        assert {name: entry["details"][name] for name in sides} == sides

    # As a control node leaves it that dies.
    event = {"directory": str(runbook.directory / "snapshot/the_target"), "action": "migrate", "status": "initiated", "details": sides}
    run_module("audit_event", {**runbook.target.endpoint, **event})
    runbook.play("execute")
    lines = runbook.migrations()[2:]
    assert [entry["status"] for entry in lines] == ["initiated", "failed", "initiated", "completed"]
    assert "died" in lines[1]["reason"]
    assert lines[-1]["details"]["records"]["added"] == sum(SIZES.values())
    assert lines[-1]["details"]["last_pass"]["read"] == sum(SIZES.values())
    runbook.play("rollback")
    assert len(runbook.migrations()) == 6
