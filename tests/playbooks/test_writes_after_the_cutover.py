# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What clients wrote to the target after a cutover survives the rollback, and comes to the source the way the role's README says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.support.case import Case
from tests.support.chroma_server import ChromaServer
from tests.support.equality import contents_differences
from tests.support.raw import RawChroma, Record
from tests.support.run_module import CHECKOUT, run_module

from .test_runbook import SIZES, Runbook

README = CHECKOUT / "roles" / "rollback" / "README.md"


@pytest.fixture
def runbook(case: Case, tmp_path: Path) -> Runbook:
    return Runbook(case, tmp_path)


def test_saved_writes_are_migrated_back(runbook: Runbook, spare_server: ChromaServer) -> None:
    # One to one: what clients wrote has its collection in the source.
    one_to_one = {"chromadb_schema": "none", "chromadb_routes": []}
    runbook.write_inventory(**one_to_one)
    source = runbook.source.contents()
    runbook.play("runbook")
    core = runbook.target.collection("openwebui_core")["id"]
    some = source["openwebui_core"].records
    changed, deleted = sorted(some)[:2]
    new = [Record(f"new-{n}", some[changed].embedding, f"written after the cutover {n}", {"n": n}) for n in range(3)]
    runbook.target.add(core, new)
    runbook.target.update(core, ids=[changed], documents=["changed after the cutover"])
    runbook.target.delete(core, [deleted])
    written = runbook.target.contents()

    runbook.play("rollback", "-e", '{"rollback_discard_new_writes": true, "rollback_safety_snapshot": false}')
    runbook.target_is_as_before()
    runbook.client_is_as_before()
    assert contents_differences(source, runbook.source.contents()) == []

    audit = run_module("audit_info", {"directory": str(runbook.directory / "snapshot/the_target")})["entries"]
    saved = next(entry["details"]["safety_snapshot_id"] for entry in audit if entry["action"] == "rollback" and entry["status"] == "completed")
    playbook = runbook.directory / "from_the_readme.yml"
    found = re.search(r"## What clients wrote after a cutover.*?```yaml\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    spare, source_url = {"url": spare_server.url}, dict(runbook.source.endpoint)
    # The test's servers hold several databases; the README's have one.
    playbook.write_text(found.group(1).replace('url: "{{ chromadb_source_url }}"', "url: %s" % source_url.pop("url") + "".join(
        f"\n          {option}: {value}" for option, value in source_url.items())))  # fmt: skip
    chosen = {"spare_url": spare["url"], "saved_before": saved, "saved_collections": sorted(SIZES)}

    before = runbook.source.contents()
    runbook.play(str(playbook), "-e", json.dumps(chosen))
    # What is saved is everything as it was when the rollback began.
    assert contents_differences(written, RawChroma(spare_server.url).contents()) == []
    expected = dict(before)
    expected["openwebui_core"].records.update(written["openwebui_core"].records)
    assert contents_differences(expected, runbook.source.contents()) == []
    assert deleted in expected["openwebui_core"].records
    assert len(expected["openwebui_core"].records) == SIZES["openwebui_core"] + 3
    assert expected["openwebui_core"].records[changed].document == "changed after the cutover"
