# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The searches of the user come from a file on the control node, for the precheck and for the validation."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import trap_data
from tests.support.case import ANY_SPEED, Case
from tests.support.raw import Record
from tests.support.run_module import ansible_playbook

VALIDATE = {"role": "infrafabric.chromadb.validate"}
PRECHECK = {"role": "infrafabric.chromadb.preflight"}


def play(case: Case, directory: Path, role: dict[str, str], **variables: Any) -> str:
    path = directory / "play.yml"
    path.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "roles": [role]}]))
    common = {
        "ansible_python_interpreter": sys.executable, "chromadb_schema": None, "chromadb_routes": [], "chromadb_state_dir": str(case.state),
        "preflight_steps": ["queries"], "preflight_log_directory": str(directory), "chromadb_report_dir": str(directory / "reports"),
        "preflight_source": case.source_endpoint, "preflight_target": case.target_endpoint,
        "validate_source": case.source_endpoint, "validate_target": case.target_endpoint, "validate_thresholds": ANY_SPEED,
    }  # fmt: skip
    done = ansible_playbook("-i", "localhost,", "-c", "local", str(path), "-e", json.dumps({**common, **variables}))
    return done.stdout + done.stderr


@pytest.mark.parametrize("name", ["queries.json", "queries.yml"])
def test_queries_of_a_file_are_searched_for(name: str, case: Case, tmp_path: Path) -> None:
    rows = trap_data.vectors(30)
    case.source.add(case.source.create("things"), [Record("r%d" % n, row, "text", None) for n, row in enumerate(rows)])
    case.migrate()
    given = [{"embedding": row.tolist(), "collection": "things"} for row in rows[:7]]
    lines = ["- {embedding: %s, collection: things}" % query["embedding"] for query in given]
    (tmp_path / name).write_text(json.dumps(given, indent="\t") if name.endswith("json") else "\n".join(lines))
    play(case, tmp_path, VALIDATE, chromadb_queries_file=str(tmp_path / name), chromadb_queries=given[:1])
    [report] = (tmp_path / "reports").glob("validation_*.json")
    queries = json.loads(report.read_text())["queries"]
    assert [query["query"] for query in queries] == ["query %d" % number for number in range(1, 9)]


def test_a_precheck_reads_the_file_and_takes_texts_where_something_embeds_them(case: Case, tmp_path: Path) -> None:
    path = tmp_path / "queries.yml"
    path.write_text("- text: How do I reset my password?\n")
    log = tmp_path / "precheck_localhost.json"
    play(case, tmp_path, PRECHECK, chromadb_queries_file=str(path))
    [refused] = json.loads(log.read_text())["verdicts"]
    assert (refused["verdict"], "1 of the queries have no embedding" in refused["details"]) == ("failed", True)
    play(case, tmp_path, PRECHECK, chromadb_queries_file=str(path), chromadb_embedder={"command": ["embed"]})
    assert [verdict["verdict"] for verdict in json.loads(log.read_text())["verdicts"]] == ["passed"]


def test_a_file_that_is_not_there_is_named(case: Case, tmp_path: Path) -> None:
    shown = play(case, tmp_path, VALIDATE, chromadb_queries_file=str(tmp_path / "nowhere.json"))
    assert "nowhere.json" in shown
    assert "failed=1" in shown
    assert "chromadb_queries_file is" in shown
    assert not list((tmp_path / "reports").glob("validation_*"))


def test_a_precheck_goes_on_without_the_file_and_names_it(case: Case, tmp_path: Path) -> None:
    missing = tmp_path / "nowhere.yml"
    shown = play(case, tmp_path, PRECHECK, chromadb_queries_file=str(missing), preflight_steps=["queries", "notifications"])
    assert "Not ready: queries. queries: chromadb_queries_file is" in " ".join(shown.split())
    verdicts = json.loads((tmp_path / "precheck_localhost.json").read_text())["verdicts"]
    assert [(verdict["step"], verdict["verdict"]) for verdict in verdicts] == [("queries", "failed"), ("notifications", "warning")]
    assert f"chromadb_queries_file is {missing}, and there is no such file on the control node" in verdicts[0]["details"]
    assert "chromadb_queries_file" in verdicts[0]["next"]
