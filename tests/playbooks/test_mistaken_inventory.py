# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Mistakes in and with the inventory: a playbook says so before it does anything."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.support.chroma_server import free_port
from tests.support.run_module import CHECKOUT, ansible_playbook


def write_inventory(directory: Path, source_url: str, target_url: str, **more: str) -> str:
    path = directory / "inventory.json"
    variables = {
        "ansible_connection": "local", "ansible_python_interpreter": sys.executable, "chromadb_source_url": source_url, "chromadb_target_url": target_url,
        **{f"chromadb_{kind}_dir": str(directory / kind) for kind in ("snapshot", "state", "report")}, **more,
    }  # fmt: skip
    groups = {"chromadb_source": {"hosts": {"old": {}}}, "chromadb_target": {"hosts": {"new": {}}}}
    path.write_text(json.dumps({"all": {"vars": variables, "children": groups}}))
    return str(path)


DEFAULTS = {"chromadb_target_tenant": "default_tenant", "chromadb_source_database": "default_database"}


@pytest.mark.parametrize("written_out", [{}, DEFAULTS], ids=["", "defaults"])
def test_target_that_is_the_source_is_refused_before_anything_is_done(tmp_path: Path, written_out: dict[str, str]) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    by_name = url.replace("127.0.0.1", "localhost") if written_out else url
    done = ansible_playbook("infrafabric.chromadb.execute", "-i", write_inventory(tmp_path, url, by_name + "/", **written_out))
    assert done.returncode == 2, done.stdout
    assert "name the same database" in " ".join(done.stdout.split()), done.stdout
    assert "does not answer" not in done.stdout
    assert not (tmp_path / "snapshot").exists()


@pytest.mark.parametrize("playbook", ["snapshot", "execute", "snapshot_list"])
def test_store_of_a_relative_path_is_refused(tmp_path: Path, playbook: str) -> None:
    """Ansible would take it from the directory of the playbooks."""
    url = f"http://127.0.0.1:{free_port()}"
    inventory = write_inventory(tmp_path, url, url + "1", chromadb_snapshot_dir="relative_store")
    done = ansible_playbook(f"infrafabric.chromadb.{playbook}", "-i", inventory)
    assert done.returncode == 2, done.stdout
    assert "must be an absolute path, not" in " ".join(done.stdout.split()), done.stdout
    assert "relative_store" in done.stdout
    assert not (CHECKOUT / "playbooks" / "relative_store").exists()


@pytest.mark.parametrize("number", ["0", "-1", "all"])
def test_number_of_log_entries_that_is_none_is_refused(tmp_path: Path, number: str) -> None:
    inventory = write_inventory(tmp_path, "http://127.0.0.1:1", "http://127.0.0.1:2")
    done = ansible_playbook("infrafabric.chromadb.audit_log", "-i", inventory, "-e", f"audit_limit={number}")
    assert done.returncode == 2, done.stdout
    assert f"audit_limit must be a number from 1, not {number}." in " ".join(done.stdout.split()), done.stdout


def test_another_database_of_the_same_server_is_another_target(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    inventory = write_inventory(tmp_path, url, url, chromadb_target_database="other", chromadb_target_retries="0", chromadb_source_retries="0")
    done = ansible_playbook("infrafabric.chromadb.execute", "-i", inventory)
    assert "does not answer" in done.stdout, done.stdout
    assert "name the same database" not in done.stdout


def test_inventory_that_is_not_there_is_a_failure(tmp_path: Path) -> None:
    done = ansible_playbook("infrafabric.chromadb.snapshot", "-i", str(tmp_path / "misspelled.yml"))
    assert done.returncode != 0, done.stdout
    assert "misspelled.yml" in done.stderr, done.stderr


@pytest.mark.parametrize("playbook", sorted({path.stem for path in (CHECKOUT / "playbooks").glob("*.yml")} - {"demo"}))
def test_inventory_without_the_groups_is_a_failure(playbook: str) -> None:
    """Ansible itself calls it a success, and a misspelled group would mean no snapshot every night."""
    done = ansible_playbook(f"infrafabric.chromadb.{playbook}", "-i", "somebody,")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Nothing was done: the inventory has no host for this playbook, which works on chromadb_" in " ".join(done.stdout.split())


def test_limit_without_a_host_of_the_playbook_is_pointed_out() -> None:
    done = ansible_playbook("infrafabric.chromadb.snapshot", "-i", "somebody,", "--limit", "somebody")
    assert "Nothing was done: no host that was named has a part in this playbook." in " ".join(done.stderr.split()), done.stdout + done.stderr


def test_misspelled_variable_is_pointed_out(tmp_path: Path) -> None:
    """For the right name the default would hold, without a word of Ansible's; names with another beginning are somebody's own."""
    url = f"http://127.0.0.1:{free_port()}"
    misspelled = {"chromadb_maintenance_windo": "tonight", "own_directory": "/srv"}
    inventory = write_inventory(tmp_path, url, url + "1", chromadb_source_retries="0", chromadb_target_retries="0", **misspelled)
    execute, precheck = (ansible_playbook(f"infrafabric.chromadb.{name}", "-i", inventory) for name in ("execute", "precheck"))
    assert "WARNING: nothing reads chromadb_maintenance_windo. If" in " ".join(execute.stdout.split()), execute.stdout
    assert "warning variables Nothing reads chromadb_maintenance_windo." in " ".join(precheck.stdout.split()), precheck.stdout


def test_address_whose_name_is_misspelled_is_named(tmp_path: Path) -> None:
    inventory = Path(write_inventory(tmp_path, "http://127.0.0.1:1", "http://127.0.0.1:2"))
    inventory.write_text(inventory.read_text().replace("chromadb_source_url", "chromadb_source_ulr"))
    for name in ("execute", "snapshot", "status"):
        done = ansible_playbook(f"infrafabric.chromadb.{name}", "-i", str(inventory))
        assert done.returncode != 0
        assert "chromadb_source_url is not set" in " ".join((done.stdout + done.stderr).split()), (name, done.stdout)


def test_limit_that_leaves_the_target_out_is_refused(tmp_path: Path) -> None:
    inventory = write_inventory(tmp_path, "http://127.0.0.1:1", "http://127.0.0.1:2")
    done = ansible_playbook("infrafabric.chromadb.execute", "-i", inventory, "--limit", "old")
    assert done.returncode != 0
    assert "None of the targets (new) takes part, and nothing was done." in " ".join(done.stdout.split()), done.stdout


@pytest.mark.parametrize(
    ("playbook", "limit"),
    [("rollback", ()), *((playbook, ("--limit", "both")) for playbook in ("execute", "rollback", "fleet_rollback", "snapshot", "status", "health"))],
)
def test_host_that_is_the_source_and_the_target_is_refused(tmp_path: Path, playbook: str, limit: tuple[str, ...]) -> None:
    """Its server is one of two: what is meant for the target would be done to the source. With --limit the first play is left out."""
    inventory = Path(write_inventory(tmp_path, f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}"))
    inventory.write_text(inventory.read_text().replace('"old"', '"both"').replace('"new"', '"both"'))
    done = ansible_playbook(f"infrafabric.chromadb.{playbook}", "-i", str(inventory), *limit)
    assert done.returncode != 0, done.stdout
    said = " ".join((done.stdout + done.stderr).split())
    assert "both is in chromadb_source and in chromadb_target" in said, done.stdout + done.stderr
    assert "Connection refused" not in said
    assert not any((tmp_path / kind).exists() for kind in ("snapshot", "state", "report"))


def test_misspelled_option_of_a_rollback_is_refused(tmp_path: Path) -> None:
    inventory = write_inventory(tmp_path, "http://127.0.0.1:1", "http://127.0.0.1:2")
    done = ansible_playbook("infrafabric.chromadb.rollback", "-i", inventory, "-e", '{"rollback_snapshotid": "snapshot_20260101_000000"}')
    assert done.returncode != 0
    assert "There is no option rollback_snapshotid, and nothing was changed." in " ".join(done.stdout.split()), done.stdout
