# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A collection that somebody deletes or renames in the source between `execute` and `cutover` is not back in the target afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.case import Case
from tests.support.equality import contents_differences

from .test_runbook import Runbook

ONE_TO_ONE = {"chromadb_schema": "none", "chromadb_routes": []}


@pytest.fixture
def runbook(case: Case, tmp_path: Path) -> Runbook:
    return Runbook(case, tmp_path)


@pytest.mark.parametrize("variables", [ONE_TO_ONE, {}], ids=["one to one", "merged"])
def test_it_is_named_before_anything_is_switched(variables: dict[str, Any], runbook: Runbook) -> None:
    runbook.write_inventory(**variables)
    runbook.play("execute")
    migrated = runbook.target.contents()
    runbook.source.delete_collection("openwebui_functions")
    runbook.source.modify(str(runbook.source.collection("openwebui_docs")["id"]), new_name="documents")
    refused = " ".join(runbook.play("cutover", fails=True).stdout.split())
    assert "openwebui_docs, openwebui_functions of" in refused
    assert "deleted or renamed since execute" in refused
    runbook.client_is_as_before()
    if variables:
        now = runbook.target.contents()
        assert contents_differences(migrated, {name: now[name] for name in migrated}) == []

    # What the message says.
    runbook.write_inventory(**variables, chromadb_expected_counts={})
    runbook.play("rollback")
    runbook.target_is_as_before()
    runbook.play("execute")
    runbook.play("cutover")
    found = runbook.target.contents()
    assert sum(len(held.records) for name, held in found.items() if name != "there_before") == 70
    if variables:
        assert sorted(found) == ["documents", "openwebui_core", "there_before"]
