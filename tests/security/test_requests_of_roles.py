# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What roles ask of servers by themselves, without a module of the collection: no redirect, proxy or .netrc moves a secret, and no answer tells one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.run_module import CHECKOUT
from tests.support.scripted_server import Reply, ScriptedServer

from .test_canary import HEADER, TOKEN, WITH_TOKEN, CommandLines, book_of, command_lines, play

__all__ = ["command_lines"]

URI = "ansible.builtin.uri"
STRAIGHT = {"follow_redirects": "none", "use_proxy": False, "use_netrc": False}
# Webhooks are out in the world, where a proxy may be the only way.
BY_PROXY = {"roles/notify/tasks/main.yml"}


def requests_of(tasks: Any, defaults: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Each task that sends a request, and what it is given, by itself or by the blocks around it."""
    for task in tasks or []:
        inner = {**defaults, **(task.get("module_defaults") or {}).get(URI, {})}
        if URI in task:
            yield task, {**inner, **task[URI]}
        for part in ("block", "rescue", "always"):
            yield from requests_of(task.get(part), inner)


REQUESTS = [
    (str(path.relative_to(CHECKOUT)), task, given)
    for path in sorted(CHECKOUT.glob("roles/*/tasks/*.yml"))
    for task, given in requests_of(yaml.safe_load(path.read_text()), {})
]


@pytest.mark.parametrize(("file", "task", "given"), REQUESTS, ids=lambda value: value if isinstance(value, str) else value.get("name", ""))
def test_every_request_goes_straight_to_the_server(file: str, task: dict[str, Any], given: dict[str, Any]) -> None:
    wanted = {name: value for name, value in STRAIGHT.items() if not (name == "use_proxy" and file in BY_PROXY)}
    assert {name: given.get(name) for name in wanted} == wanted
    if "headers" in given or "url_password" in given:
        # Ansible shows the message of what fails, whatever no_log says, and in it the server's own words.
        assert task.get("failed_when") is False
        assert ".attempts" in task.get("until", ".attempts"), "what runs out of attempts fails all the same"
        assert task.get("no_log")
    role = CHECKOUT / "/".join(file.split("/")[:2])
    assert [str(path) for path in role.rglob("*.yml") if f"{task.get('register', URI)}.msg" in path.read_text()] == []


def test_no_playbook_and_no_file_sends_requests_beside_the_roles() -> None:
    assert len(REQUESTS) > 10
    found = [path for place in ("playbooks", "roles/*/handlers") for path in CHECKOUT.glob(f"{place}/**/*.yml") if URI in path.read_text()]
    assert found == []


COLLECTION = {"name": "things", "id": "4b7c1f0e-0f0e-4b44-9d53-2b5dd3f7f1aa", "count": 3, "space": "cosine"}
PLACE = "/api/v2/tenants/default_tenant/databases"
ITEMS = f"{PLACE}/default_database/collections/{COLLECTION['id']}"
ASKED = {
    "other_databases": ("cutover", [("GET", PLACE)]),
    "smoke_collection": ("cutover", [("POST", f"{ITEMS}/get")]),
    "ask": ("gateway", [("GET", ITEMS)]),
}


class Asking:
    """One entry point of a role that asks `server`, with a token and a header that nobody else may see."""

    def __init__(self, name: str, server: ScriptedServer, directory: Path, command_lines: CommandLines) -> None:
        self.role, self.questions = ASKED[name]
        self.name, self.server, self.directory, self.command_lines = name, server, directory, command_lines

    def answers(self, reply: Reply) -> None:
        for question in self.questions:
            self.server.answers[question] = reply

    def play(self) -> str:
        endpoint = {"url": self.server.url, **WITH_TOKEN}
        (self.directory / "door.conf").write_text(f"listen {self.server.url.partition('//')[2]};")
        variables: dict[str, Any] = {
            "cutover_source_endpoint": endpoint, "cutover_source": endpoint, "cutover_source_info": {"server": {"api": "v2"}, "collections": []},
            "cutover_endpoint": endpoint, "cutover_target": endpoint, "cutover_after": {"server": {"api": "v2"}}, "cutover_collection": COLLECTION,
            "gateway_config_directory": str(self.directory), "gateway_ask_paths": [ITEMS], "gateway_ask_side": "source",
            "gateway_ask_headers": {"Authorization": "Bearer {{ lookup('env', 'CANARY_TOKEN') }}"},
        }  # fmt: skip
        use = {"name": f"infrafabric.chromadb.{self.role}", "tasks_from": self.name, "rolespec_validate": False}
        steps = [{"ansible.builtin.include_role": use, "vars": variables, "ignore_errors": True}]
        return play(self.directory, self.command_lines, *book_of(self.directory, steps, "true"), fails=None)


@pytest.fixture
def elsewhere() -> Iterator[ScriptedServer]:
    """Where nothing may arrive."""
    with ScriptedServer() as server:
        yield server
        assert server.requests == []


@pytest.fixture(params=ASKED)
def asking(request: pytest.FixtureRequest, tmp_path: Path, command_lines: CommandLines) -> Iterator[Asking]:
    with ScriptedServer() as server:
        one = Asking(request.param, server, tmp_path, command_lines)
        yield one
        sent = [asked.headers.get("Authorization") for asked in server.requests if asked.path == one.questions[0][1]]
        assert sent[:1] == [f"Bearer {TOKEN}"]


def test_no_redirect_takes_a_secret_elsewhere(asking: Asking, elsewhere: ScriptedServer) -> None:
    asking.answers(Reply(302, {}, {"Location": elsewhere.url.replace("127.0.0.1", "localhost") + "/stolen"}))
    assert "302" in asking.play()


def test_no_answer_makes_a_role_tell_a_secret(asking: Asking) -> None:
    """The words behind the status are the server's, and Ansible's message repeats them."""
    asking.answers(Reply(401, {}, reason=f"who is Bearer {TOKEN} with {HEADER}"))
    assert "401" in asking.play()


def test_no_environment_comes_between(asking: Asking, elsewhere: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login nobody password netrcpw\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, elsewhere.url)
    asking.answers(Reply(401, {}))
    assert "401" in asking.play()
