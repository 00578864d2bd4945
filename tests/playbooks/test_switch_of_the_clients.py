# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files of several kinds are switched, validated and brought back byte for byte; the cutover waits while it is postponed; approvals are on record."""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.playbooks.test_runbook import APPROVALS, ENV_FILE, Runbook
from tests.support.case import Case
from tests.support.equality import contents_differences
from tests.support.run_module import run_module

COMPOSE = "services:\n  chat:\n    image: chat\n    environment:\n      - CHROMADB_URL=http://old.example.com:1 # one\n      - MODE=x\n"
SETTINGS = "[vectors]\r\nserver = old.example.com:1;timeout=5\r\n; server of old times\r\n"
DISCARD = json.dumps({"rollback_discard_new_writes": True})


@pytest.fixture
def runbook(case: Case, tmp_path: Path) -> Runbook:
    return Runbook(case, tmp_path)


class Files:
    """An env file, a compose file, and one that only a pattern fits."""

    def __init__(self, runbook: Runbook) -> None:
        self.compose, self.settings = runbook.directory / "compose.yml", runbook.directory / "settings.ini"
        self.before = {runbook.env_file: ENV_FILE, self.compose: COMPOSE.encode(), self.settings: SETTINGS.encode()}
        for path in (self.compose, self.settings):
            path.write_bytes(self.before[path])
            path.chmod(0o604)
        address = runbook.target.url.partition("://")[2]
        self.address = address.encode()
        self.wanted: list[dict[str, Any]] = [
            {"path": str(runbook.env_file), "key": "CHROMADB_URL"},
            {"path": str(self.compose), "key": "CHROMADB_URL", "validate": f"{sys.executable} -c 'import sys, yaml; yaml.safe_load(open(sys.argv[1]))' %s"},
            {"path": str(self.settings), "regexp": r"^(server = )[^;\r]+", "replace": rf"\g<1>{address}"},
        ]

    def are_as_before(self) -> None:
        assert {path: path.read_bytes() for path in self.before} == self.before
        assert {path.stat().st_mode & 0o7777 for path in (self.compose, self.settings)} == {0o604}


def test_files_of_any_kind_are_switched_when_nobody_postpones_it_any_more(runbook: Runbook) -> None:
    files = Files(runbook)
    runbook.play("execute")

    # The last file's check fails, when the others have been switched already.
    bad = [*files.wanted[:2], {**files.wanted[2], "validate": "false %s"}]
    refused = runbook.play("cutover", "-e", json.dumps({"chromadb_client_files": bad}), fails=True)
    assert "was taken back" in refused.stdout
    files.are_as_before()

    postpone, seen = runbook.directory / "postpone", []
    postpone.touch()

    def allow() -> None:
        while not (runbook.state() or {}).get("cutover_begun"):
            time.sleep(0.05)
        # It has begun, and waits: nothing is switched while the file is there.
        began = time.monotonic()
        while time.monotonic() - began < 2:
            seen.append(files.address in files.compose.read_bytes())
            time.sleep(0.1)
        postpone.unlink()

    allowing = threading.Thread(target=allow, daemon=True)
    allowing.start()
    switch = {"chromadb_client_files": files.wanted, "chromadb_postpone_file": str(postpone)}
    runbook.play("cutover", "-e", json.dumps(switch))
    allowing.join(1)
    assert seen
    assert not any(seen)
    url = b"http://" + files.address
    assert {path: path.read_bytes() for path in files.before} == {
        path: content.replace(b"http://old.example.com:1", url).replace(b"old.example.com:1", files.address) for path, content in files.before.items()
    }

    audit = run_module("audit_info", {"directory": str(runbook.directory / "snapshot/the_target")})
    approvals = [entry["details"]["approvals"] for entry in audit["entries"] if entry["action"] == "approval"]
    assert {approval["role"] for approval in approvals[-1]} >= {"operations", "security", "engineering"}
    assert len(approvals[-1]) == 5

    runbook.play("rollback", "-e", DISCARD)
    files.are_as_before()
    runbook.target_is_as_before()


def with_client(runbook: Runbook, name: str, files: list[dict[str, Any]]) -> None:
    inventory = json.loads(runbook.inventory.read_text())
    inventory["all"]["children"]["chromadb_client"]["hosts"][name] = {"chromadb_client_files": files}
    runbook.inventory.write_text(json.dumps(inventory))


def test_a_client_that_names_the_target_already_is_told_before_anybody_is_moved(runbook: Runbook) -> None:
    """It may be writing there. Where some of its files are to be switched, or all others were, it is one like the others."""
    canary = "canary-neighbour-3f2"
    there, old = (runbook.directory / name for name in ("there.env", "old.env"))
    there.write_text(f"SECRET={canary}\nCHROMADB_URL={runbook.target.url}\n")
    old.write_text("CHROMADB_URL=http://old.example.com:1\n")
    files = [{"path": str(path), "key": "CHROMADB_URL"} for path in (there, old)]
    runbook.decided()
    before = runbook.target.contents()
    with_client(runbook, "another", files[:1])
    for arguments in (("--diff", "-vvv", "--check"), ()):
        output = runbook.play("cutover", *arguments, fails=True)
        assert canary not in output.stdout + output.stderr
        refused = " ".join(output.stdout.split())
        assert f"The switch would change nothing in {there} of another" in refused
        assert "Somebody has taken the cutover back" not in refused
    runbook.client_is_as_before()
    assert not runbook.restarts.exists()
    assert contents_differences(before, runbook.target.contents()) == []
    state = runbook.state()
    assert state is not None
    assert state.get("cutover_begun", "") == ""

    with_client(runbook, "another", files)
    runbook.play("cutover")
    assert old.read_text() == f"CHROMADB_URL={runbook.target.url}\n"
    # One that comes later, and was set up where the others work by now.
    with_client(runbook, "later", files[:1])
    runbook.play("cutover")


def only_the_target_has(runbook: Runbook, **variables: Any) -> None:
    """As in group_vars/chromadb_target: other hosts of the play come before it."""
    inventory = json.loads(runbook.inventory.read_text())
    inventory["all"]["children"]["chromadb_target"]["vars"] = variables
    for name in variables:
        inventory["all"]["vars"].pop(name, None)
    runbook.inventory.write_text(json.dumps(inventory))


def test_what_only_the_target_s_group_says_counts_as_well(runbook: Runbook) -> None:
    postpone = runbook.directory / "postpone"
    postpone.touch()
    runbook.decided()
    only_the_target_has(runbook, chromadb_postpone_file=str(postpone), cutover_postpone_seconds=1, chromadb_approvals=APPROVALS[:2])
    refused = " ".join(runbook.play("cutover", fails=True).stdout.split())
    assert "Missing: security, engineering, on_call" in refused

    only_the_target_has(runbook, chromadb_postpone_file=str(postpone), cutover_postpone_seconds=1, chromadb_approvals=APPROVALS)
    refused = " ".join(runbook.play("cutover", fails=True).stdout.split())
    assert f"{postpone} still exists on the control node" in refused
    runbook.client_is_as_before()

    # Where hosts name different ones, those count that all of them name.
    inventory = json.loads(runbook.inventory.read_text())
    inventory["all"]["children"]["chromadb_client"]["vars"] = {"chromadb_approvals": APPROVALS[1:]}
    runbook.inventory.write_text(json.dumps(inventory))
    refused = " ".join(runbook.play("cutover", fails=True).stdout.split())
    assert "Missing: operations." in refused

    del inventory["all"]["children"]["chromadb_client"]["vars"]
    inventory["all"]["children"]["chromadb_target"]["vars"] = {"chromadb_approvals": APPROVALS}
    runbook.inventory.write_text(json.dumps(inventory))
    runbook.play("cutover")
    state = runbook.state()
    assert state is not None
    assert state["approvals"] == APPROVALS


def test_no_output_shows_what_else_the_files_hold(runbook: Runbook) -> None:
    """At --diff -vvvv, in check mode too, there and back: neither the keys of others in the file, nor the old and the new token."""
    neighbour, old, new = "canary-neighbour-7d1", "canary-old-token-52c", "canary-new-token-e09"
    held = f"OPENAI_API_KEY={neighbour}\nCHROMADB_URL=http://old.example.com:1\nCHROMADB_TOKEN={old}\nLAST={neighbour}\n"
    runbook.env_file.write_text(held)
    path = str(runbook.env_file)
    wanted: list[dict[str, Any]] = [
        {"path": path, "key": "CHROMADB_URL"},
        {"path": path, "regexp": "^(CHROMADB_TOKEN=).*$", "replace": rf"\g<1>{new}"},
    ]

    def play(name: str, *arguments: str, fails: bool = False, **variables: Any) -> str:
        runbook.write_inventory(**{"chromadb_client_files": wanted, **variables})
        output = runbook.play(name, "--diff", "-vvvv", *arguments, fails=fails)
        text = output.stdout + output.stderr
        assert [canary for canary in (neighbour, old, new) if canary in text] == []
        return " ".join(text.split())

    runbook.play("execute")
    play("cutover", "--check")
    # What is refused is named, all the same.
    said = play("cutover", fails=True, chromadb_client_files=[*wanted, {"path": path, "key": "MISSPELLED", "value": new}])
    assert f"{path} has no line for MISSPELLED" in said
    said = play("cutover", fails=True, chromadb_client_files=[wanted[0], {**wanted[1], "validate": "sh -c 'cat $0 >&2; exit 3' %s"}])
    assert f"{path} could not be switched (^(CHROMADB_TOKEN=).*$): failed to validate: rc:3" in said
    assert "was taken back" in said
    assert runbook.env_file.read_text() == held

    play("cutover")
    switched = runbook.env_file.read_text()
    assert switched == held.replace("http://old.example.com:1", runbook.target.url).replace(old, new)
    runbook.env_file.write_text(switched + f"LATER={neighbour}\n")
    said = play("rollback", "-e", DISCARD)
    assert "was edited after the cutover" in said
    assert runbook.env_file.read_text() == held
