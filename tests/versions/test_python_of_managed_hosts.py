# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every module on each Python that managed hosts may have: sent there by Ansible, with the packages that the role runtime installs."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.case import ANY_SPEED, Case
from tests.support.chroma_server import ChromaServer
from tests.support.equality import contents_differences
from tests.support.raw import RawChroma
from tests.support.run_module import CHECKOUT, ansible_playbook
from tests.support.server_versions import CURRENT, cache_directory
from tests.support.trap_data import build

from .conftest import BUDGET

OLDEST, NEWEST = 9, 14
MODULES = {path.stem for path in (CHECKOUT / "plugins/modules").glob("[a-z]*.py")}


def interpreters() -> dict[str, str]:
    """Each Python 3 that this machine has: version and path."""
    found = {}
    for minor in range(OLDEST, NEWEST + 1):
        places = [*sorted(Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/python3.{minor}")), shutil.which(f"python3.{minor}")]
        for place in filter(None, places):
            answer = subprocess.run([place, "-c", "import ensurepip, sys; print('3.%d' % sys.version_info[1])"], stdout=subprocess.PIPE, text=True, check=False)
            if answer.stdout.strip() == f"3.{minor}":
                found[f"3.{minor}"] = str(place)
    return found


INTERPRETERS = interpreters()


def runtime(version: str) -> str:
    """A Python of this version with what the role `runtime` installs; made once."""
    requirements = CHECKOUT / "roles/runtime/files/requirements.txt"
    wanted = requirements.read_text()
    place = cache_directory() / "runtimes" / version
    stamp = place / ".complete"
    if not (stamp.is_file() and json.loads(stamp.read_text()) == wanted):
        shutil.rmtree(place, ignore_errors=True)
        subprocess.run([INTERPRETERS[version], "-m", "venv", str(place)], check=True)
        pip = [str(place / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:", "--require-hashes"]
        subprocess.run([*pip, "-r", str(requirements)], check=True)
        stamp.write_text(json.dumps(wanted))
    return str(place / "bin/python")


def chosen() -> list[Any]:
    """In a slice, the oldest one: what it can run, the newer ones can, and the rest of the tests run one of those."""
    versions = [f"3.{minor}" for minor in range(OLDEST, OLDEST + 1 if BUDGET else NEWEST + 1)]
    return [pytest.param(version, marks=() if version in INTERPRETERS else pytest.mark.skip(reason=f"no Python {version} here")) for version in versions]


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[ChromaServer, ChromaServer]]:
    with ChromaServer() as source, ChromaServer() as target:
        yield source, target


def tasks(case: Case, data_directory: Path) -> list[dict[str, Any]]:
    """Each module once or more, registered under the name of its task."""
    store = {"directory": str(case.store)}
    target, both = case.target_endpoint, {"source": case.source_endpoint, "target": case.target_endpoint}
    copy = {**both, "state_directory": str(case.state)}
    calls: list[tuple[str, str, dict[str, Any]]] = [
        ("looked", "server_info", {**case.source_endpoint, "gather": ["health", "collections", "traps"]}),
        ("marked", "source_changes_info", {"data_directory": str(data_directory), "database": case.source.database, "tenant": case.source.tenant}),
        ("before", "snapshot", {**target, **store, "name": "before"}),
        ("copied", "migrate", copy),
        ("again", "migrate", copy),
        ("validated", "validate", {**both, "thresholds": ANY_SPEED, "report_directory": str(case.state)}),
        ("after", "snapshot", {**target, **store, "name": "after"}),
        ("emptied", "rollback", {**target, **store, "snapshot_id": "{{ before.snapshot.snapshot_id }}", "safety_snapshot": False}),
        ("filled", "rollback", {**target, **store, "snapshot_id": "{{ after.snapshot.snapshot_id }}", "safety_snapshot": False}),
        ("listed", "snapshot_info", {**store, "verify": "full"}),
        ("pruned", "snapshot_prune", store),
        ("noted", "audit_event", {**target, **store, "action": "cutover", "reason": "A test"}),
        ("audited", "audit_info", store),
        ("watched", "monitor_info", {**target, "searches": 5, "textfile": str(case.state / "chromadb.prom")}),
    ]
    assert {module for _name, module, _options in calls} == MODULES
    return [{"name": name, f"infrafabric.chromadb.{module}": options, "register": name} for name, module, options in calls]


@pytest.mark.parametrize("version", chosen())
def test_every_module(version: str, servers: tuple[ChromaServer, ChromaServer], tmp_path: Path) -> None:
    source, target = (RawChroma(server.url).fresh_database(f"python{version.replace('.', '_')}") for server in servers)
    case = Case(source, target, tmp_path)
    records = build(source, CURRENT)
    listed = tasks(case, servers[0].directory / "data")
    results = tmp_path / "results.json"
    names = [task["name"] for task in listed]
    keep = {"ansible.builtin.copy": {"content": {name: f"{{{{ {name} }}}}" for name in names}, "dest": str(results)}}
    play = tmp_path / "play.json"
    play.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": [*listed, keep]}]))
    done = ansible_playbook("-i", "localhost,", "-c", "local", "-e", f"ansible_python_interpreter={runtime(version)}", str(play))
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    found = json.loads(results.read_text())
    assert (found["copied"]["changed"], found["again"]["changed"], found["copied"]["records"]["added"]) == (True, False, records)
    assert found["validated"]["decision"] == "go", found["validated"]["reasons"]
    assert (found["emptied"]["verified"], found["filled"]["verified"]) == (True, True)
    assert sum(collection["added"] for collection in found["filled"]["collections"]) == records
    assert [snapshot["problems"] for snapshot in found["listed"]["snapshots"]] == [[], []]
    assert found["audited"]["chain_intact"]
    assert contents_differences(source.contents(), target.contents()) == []
