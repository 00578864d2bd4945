# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role notify tells what it can, and ends no run: whatever the webhooks do, and whatever is wrong with the lists."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.run_module import ansible_playbook
from tests.support.scripted_server import Reply, ScriptedServer

CONTACTS = [
    {"level": 4, "name": "On call", "address": "+1 555 0100"},
    {"level": 2, "name": "Administrators"},
    {"level": 3, "name": "Engineering", "address": "eng@example.org"},
    {"name": "Somebody", "address": "anybody@example.org"},
]
LINES = {
    1: "Level 1: Somebody, anybody@example.org",
    2: "Level 2: Administrators, whose address is not set",
    3: "Level 3: Engineering, eng@example.org",
    4: "Level 4: On call, +1 555 0100",
}


@pytest.fixture
def webhook() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        server.answers["POST", "/hook"] = Reply(204, b"")
        yield server


def tell(directory: Path, *events: dict[str, Any], arguments: tuple[str, ...] = (), **variables: Any) -> str:
    """Of a play that ends with another task, in which nothing fails."""
    tasks: list[dict[str, Any]] = [{"ansible.builtin.include_role": {"name": "infrafabric.chromadb.notify"}, "vars": event} for event in events]
    tasks.append({"ansible.builtin.debug": {"msg": "the run goes on"}})
    playbook = directory / "notify.yml"
    playbook.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "any_errors_fatal": True, "vars": variables, "tasks": tasks}]))
    done = ansible_playbook(
        "-i", "localhost,", "-c", "local", str(playbook), "-e", json.dumps({"notify_delay_seconds": 0, "notify_retries": 1}), *arguments,
        extra_env={"ANSIBLE_CALLBACK_RESULT_FORMAT": "json", "ANSIBLE_BECOME_EXE": "/bin/false", "ANSIBLE_BECOME_ALLOW_SAME_USER": "true"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the run goes on" in done.stdout
    assert "secret" not in done.stdout + done.stderr
    return " ".join(done.stdout.split())


def test_levels_and_decisions_with_contacts_that_lack_something(webhook: ScriptedServer, tmp_path: Path) -> None:
    levels: list[dict[str, Any]] = [{"notify_minutes": 29}, {"notify_minutes": 60}, {"notify_critical": True}]
    events = [{"notify_event": "escalation", **level} for level in levels]
    events += [{"notify_event": "decision", "notify_decision": decision, "notify_reasons": ["a reason"]} for decision in ("go", "marginal")]
    events += [{"notify_event": "cutover_elsewhere"}]
    events += [{"notify_event": "rolled_back", "settings_run": {"clients_stay": stay}} for stay in (False, True)]
    said = tell(tmp_path, *events, chromadb_contacts=CONTACTS, chromadb_notify_webhooks=[{"url": f"{webhook.url}/hook"}])
    assert "did not take" not in said
    first, third, fourth, go, marginal, elsewhere, back, stay = (body["text"] for body in webhook.bodies("hook"))
    for text, level, words in ((first, 1, "first 30 minutes"), (third, 3, "more than an hour"), (fourth, 4, "critical")):
        assert text.startswith(f"ChromaDB migration: escalation, level {level} ({words}): ")
        assert [line for line in text.splitlines() if line.startswith("Level")] == [LINES[number] for number in range(1, level + 1)]
    # Whether it is rolled back depends on what failed, and is told when it is done.
    assert "rollback" not in fourth
    assert "ChromaDB migration: GO\nThe copy is complete and proved." in go
    assert "ChromaDB migration: the copy is complete, the clients can move\nThe cutover moves nobody itself here." in elsewhere
    assert "ChromaDB migration: rolled back\nThe clients work with the old server, as before." in back
    assert "ChromaDB migration: rolled back\nThe clients still work with the new server" in stay
    assert "ChromaDB migration: MARGINAL, a person decides\nThe copy is complete, with warnings.\n- a reason" in marginal


def test_decisions_that_are_no_verdict(webhook: ScriptedServer, tmp_path: Path) -> None:
    decisions = ["hold", "rolled back", "not validated", "of a later release", None]
    events = [{"notify_event": "decision", "notify_decision": decision, "notify_reasons": ["a reason"]} for decision in decisions]
    said = tell(tmp_path, *events, chromadb_notify_webhooks=[{"url": f"{webhook.url}/hook"}])
    assert "did not take" not in said
    assert [body["text"].replace("ChromaDB migration: ", "") for body in webhook.bodies("hook")] == [
        "HOLD\nA person holds it, and the clients stay where they are. When that is taken back, run execute again.\n- a reason",
        *(f"{words}\nThe clients stay where they are.\n- a reason" for words in ("ROLLED BACK", "NOT VALIDATED", "OF A LATER RELEASE", "NO DECISION")),
    ]


@pytest.mark.parametrize("become", [(), ("--become",)], ids=["by variable", "by --become"])
def test_it_is_told_where_the_control_node_has_no_sudo(become: tuple[str, ...], webhook: ScriptedServer, tmp_path: Path) -> None:
    variables = {} if become else {"ansible_become": True}
    said = tell(tmp_path, {"notify_event": "start"}, arguments=become, chromadb_notify_webhooks=[{"url": f"{webhook.url}/hook"}], **variables)
    assert "did not take" not in said
    assert len(webhook.bodies("hook")) == 1


@pytest.mark.parametrize("webhooks", [None, [], ""])
def test_lists_that_are_empty(webhooks: Any, tmp_path: Path) -> None:
    said = tell(tmp_path, {"notify_event": "escalation"}, chromadb_notify_webhooks=webhooks, chromadb_contacts=None)
    assert "did not take" not in said
    assert "WARNING" not in said


def test_the_words_of_a_webhook_that_fails_are_not_shown(webhook: ScriptedServer, tmp_path: Path) -> None:
    """It may repeat its own address in them, which is a secret."""
    webhook.answers["POST", "/hook"] = Reply(500, {}, reason="no secret is known here")
    said = tell(tmp_path, {"notify_event": "start"}, chromadb_notify_webhooks=[{"url": f"{webhook.url}/hook"}])
    assert "1 of 1 webhooks did not take the message 'start': 127.0.0.1" in said
    assert len(webhook.bodies("hook")) == 2


def test_an_option_that_is_none_ends_no_run(webhook: ScriptedServer, tmp_path: Path) -> None:
    options = {"notify_timeout_seconds": "soon", "notify_window": 7, "notify_subject": None, "notify_war_room": None}
    tell(tmp_path, {"notify_event": "window", **options}, chromadb_notify_webhooks=[{"url": f"{webhook.url}/hook"}])


def test_addresses_that_are_none_are_named_and_the_others_told(webhook: ScriptedServer, tmp_path: Path) -> None:
    wrong: list[Any] = [
        {"url": "http://[fe80::1/secret"}, {"url": "http://[192.0.2.1]/secret"}, {"url": "http://127.0.0.1:99999/secret"}, {"url": None}, {"key": "secret"},
        "secret", {"url": f"{webhook.url}/hook", "fields": "secret"},
    ]  # fmt: skip
    hooks = [*wrong, {"url": f"{webhook.url}/hook", "key": "content"}]
    said = tell(tmp_path, {"notify_event": "start"}, chromadb_notify_webhooks=hooks)
    assert "7 of 8 webhooks did not take the message 'start': number 1, which has no url that can be sent to; [192.0.2.1]; 127.0.0.1; number 4, which" in said
    assert said.count("which has no url that can be sent to") == 4
    assert [list(body) for body in webhook.bodies("hook")] == [["content"]]


@pytest.mark.parametrize("variables", [
    {"chromadb_notify_webhooks": 7},
    {"chromadb_notify_webhooks": [{"url": "http://127.0.0.1:9/secret"}], "chromadb_contacts": 7},
])  # fmt: skip
def test_what_cannot_be_read_at_all_is_said(variables: dict[str, Any], tmp_path: Path) -> None:
    said = tell(tmp_path, {"notify_event": "escalation"}, **variables)
    assert "WARNING: the message 'escalation' was perhaps not sent to anybody" in said


def test_a_webhook_that_never_answers_takes_no_longer_than_its_timeout(webhook: ScriptedServer, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # the kernel accepts, and nobody reads
        hooks = [{"url": "http://127.0.0.1:%d/secret" % silent.getsockname()[1]}, {"url": f"{webhook.url}/hook"}]
        began = time.monotonic()
        said = tell(tmp_path, {"notify_event": "start", "notify_timeout_seconds": 1}, chromadb_notify_webhooks=hooks)
        took = time.monotonic() - began
    assert "1 of 2 webhooks did not take the message 'start': 127.0.0.1" in said
    assert len(webhook.bodies("hook")) == 1
    # Far below the default's 10 s for each of two tries, and the rest is Ansible's own time.
    assert took < 90
