# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Secrets that can be recognised, given to every module and to the playbooks at -vvvv, which read and write with them, and fail in
the middle of a write: afterwards they are in no output, no file, no command line of any process, no report and no message."""

from __future__ import annotations

import base64
import json
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import trap_data
from tests.support.case import Case
from tests.support.chroma_server import ChromaServer, free_port
from tests.support.counting_proxy import CountingProxy, Fault, every_write
from tests.support.raw import Record
from tests.support.run_module import CHECKOUT, ansible_playbook, run_module
from tests.support.scripted_server import Reply, ScriptedServer

TOKEN, PASSWORD, HEADER, WEBHOOK = "canary-token-91c7d2", "canary-password-5be038", "canary-header-e4410f", "canary-webhook-a02c1e"
EMBEDDER = "canary-embedder-7d19b4"
ENCODED = base64.b64encode(f"somebody:{PASSWORD}".encode()).decode()
# Most of a secret is as bad as the whole.
NEEDLES = [needle[:-4].encode() for needle in (TOKEN, PASSWORD, HEADER, WEBHOOK, EMBEDDER, ENCODED)]
# The secrets come from the environment, as from a vault: no file of the test holds them.
SECRETS = {"CANARY_TOKEN": TOKEN, "CANARY_PASSWORD": PASSWORD, "CANARY_HEADER": HEADER, "CANARY_WEBHOOK": WEBHOOK, "CANARY_EMBEDDER": EMBEDDER}
WITH_TOKEN = {"token": "{{ lookup('env', 'CANARY_TOKEN') }}", "headers": {"x-other": "{{ lookup('env', 'CANARY_HEADER') }}"}}
WITH_PASSWORD = {"username": "somebody", "password": "{{ lookup('env', 'CANARY_PASSWORD') }}"}
APPROVALS = [{"role": role, "name": "Somebody", "time": "2026-01-02T09:00:00+00:00"} for role in ("operations", "dba", "security", "engineering", "on_call")]


class CommandLines(threading.Thread):
    """Reads the arguments of every process, which everybody may read, again and again, and keeps those that hold a secret."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.found: set[bytes] = set()
        self.looks = 0
        self.stopped = threading.Event()

    def run(self) -> None:
        while not self.stopped.wait(0.02):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    line = path.read_bytes()
                except OSError:
                    continue
                if any(needle in line for needle in NEEDLES):
                    self.found.add(line)
            self.looks += 1


@pytest.fixture
def command_lines() -> Iterator[CommandLines]:
    watch = CommandLines()
    watch.start()
    yield watch
    watch.stopped.set()
    watch.join()


def found_in(directory: Path) -> list[str]:
    return [str(path) for path in directory.rglob("*") if path.is_file() and any(needle in path.read_bytes() for needle in NEEDLES)]


def play(directory: Path, command_lines: CommandLines, *arguments: str, fails: bool | None = False) -> str:
    """What it said at -vvvv and with --diff. Nothing of that, and nothing that it left, holds a secret."""
    # The temporary files of this run lie where they are looked at.
    temporary = directory / "tmp"
    temporary.mkdir(exist_ok=True)
    environment = {**SECRETS, "TMPDIR": str(temporary), "ANSIBLE_LOCAL_TEMP": str(temporary), "ANSIBLE_REMOTE_TEMP": str(temporary)}
    done = ansible_playbook("-vvvv", "--diff", *arguments, extra_env=environment)
    said = (done.stdout + done.stderr).encode()
    assert "PLAY RECAP" in done.stdout, done.stdout[-3000:]
    assert [line for line in said.splitlines() if any(needle in line for needle in NEEDLES)] == []
    assert found_in(directory) == []
    assert command_lines.found == set()
    assert command_lines.looks > 10
    assert fails in (None, done.returncode != 0), done.stdout[-6000:]
    return done.stdout


def tasks(case: Case, directory: Path, data: Path) -> list[dict[str, Any]]:
    """Every module: as it should be, against a port where nobody listens, and against something that is no database."""
    source, target = {**case.source.endpoint, **WITH_PASSWORD}, {**case.target.endpoint, **WITH_TOKEN}
    nobody = {**target, "url": f"http://127.0.0.1:{free_port()}", "retries": 0, "timeout": 2}
    absent = {**target, "database": "absent"}
    store, state = {"directory": str(case.store)}, {"state_directory": str(case.state)}
    modules: list[tuple[str, dict[str, Any]]] = []
    for place in (target, nobody, absent):
        modules += [
            ("server_info", {**place, "gather": ["health", "collections", "traps"]}),
            ("snapshot", {**place, **store}),
            ("migrate", {"source": source, "target": place, **state}),
            ("migrate", {"source": place, "target": source, **state}),
            ("validate", {"source": source, "target": place, "report_directory": str(directory)}),
            ("rollback", {**place, **store, "snapshot_id": "latest"}),
            ("monitor_info", {**place, "duration": 0.2, "interval": 0.1, "searches": 2}),
            ("audit_event", {**place, **store, "action": "freeze", "reason": "a test"}),
        ]
    modules += [("snapshot_info", {**store, "verify": "full"}), ("snapshot_prune", store), ("audit_info", store)]
    modules.append(("source_changes_info", {"data_directory": str(data), "tenant": case.source.tenant, "database": case.source.database}))
    assert {name for name, _options in modules} == {path.stem for path in (CHECKOUT / "plugins/modules").glob("*.py")}, "every module is tried"
    return [task(name, number, options) for number, (name, options) in enumerate(modules)]


def task(name: str, number: int, options: dict[str, Any]) -> dict[str, Any]:
    return {"name": f"{name} {number}", f"infrafabric.chromadb.{name}": options, "ignore_errors": True, "register": f"{name}_{number}"}


def book_of(directory: Path, tasks: list[dict[str, Any]], *insists: str) -> list[str]:
    """The arguments that play these tasks, and insist on these conditions at the end."""
    book = directory / "play.yml"
    last = {"name": "Insist that they did something", "ansible.builtin.assert": {"that": list(insists)}}
    book.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": [*tasks, last]}]))
    return ["-i", "localhost,", "-c", "local", "-e", f"ansible_python_interpreter={sys.executable}", str(book)]


@pytest.fixture
def filled(case: Case) -> Case:
    """The target lacks records and a collection of the source, has others, and a record that was changed."""
    records = [Record("r%d" % n, row, "text", {"n": n}) for n, row in enumerate(trap_data.vectors(30))]
    changed = [Record("r3", records[4].embedding, "another text", {"n": 3}), Record("surplus", records[5].embedding, "of the target alone", {"n": -1})]
    # What it has there beyond a vector goes only with the record itself, which the journal holds until it is back.
    case.source.add(case.source.create("things"), [*records[:2], Record("r2", records[2].embedding), *records[3:]])
    case.source.add(case.source.create("missing"), records[:9])
    case.target.add(case.target.create("things"), [*records[:3], *changed, *records[8:20]])
    case.target.add(case.target.create("of_the_target"), records[:4])
    return case


def test_no_module_tells_its_secrets(filled: Case, source_server: ChromaServer, tmp_path: Path, command_lines: CommandLines) -> None:
    insists = ["snapshot_1 is changed", "migrate_2 is changed", "migrate_3 is changed", "rollback_5 is changed", "rollback_13 is failed"]
    play(tmp_path, command_lines, *book_of(tmp_path, tasks(filled, tmp_path, source_server.directory / "data"), *insists))
    assert len(list((filled.store / "snapshots").glob("*.tar.gz"))) >= 1, "the modules worked, and did not all fail at once"


def who_is_this(headers: bytes) -> bytes:
    """The token comes where a message is cut, so that most of it is before that, and another header at the beginning."""
    sent = dict(line.split(b": ", 1) for line in headers.lower().splitlines() if b": " in line)
    words = b"who is this? " + sent[b"x-other"]
    return json.dumps({"error": (words.ljust(285, b".") + sent[b"authorization"].rpartition(b" ")[2]).decode()}).encode()


def test_no_write_that_fails_tells_its_secrets(filled: Case, tmp_path: Path, command_lines: CommandLines, target_proxy: CountingProxy) -> None:
    """Something is written, and then the server answers with what it was sent: in messages, logs, checkpoints, quarantine and audit log."""
    target_proxy.faults = [Fault("status", every_write, skip=2, times=None, status=500, rewrite=who_is_this)]
    filled.through(target=target_proxy)
    place = {**filled.target_endpoint, **WITH_TOKEN, "retries": 0}
    source = {**filled.source.endpoint, **WITH_PASSWORD}
    steps = [
        task("snapshot", 0, {**place, "directory": str(filled.store)}),
        task("migrate", 1, {"source": source, "target": place, "state_directory": str(filled.state), "batch_size": 5}),
        task("rollback", 2, {**place, "directory": str(filled.store), "snapshot_id": "latest"}),
    ]
    insists = ["snapshot_0 is changed", "migrate_1 is failed", "rollback_2 is failed", "'who is this' in migrate_1.msg", "'who is this' in rollback_2.msg"]
    play(tmp_path, command_lines, *book_of(tmp_path, steps, *insists))
    assert target_proxy.faults[0].acted > 1


# In this order, the second and third beside a target where nobody listens as well.
STORY = ["precheck", "execute", "rollback", "status"]
# What else there is, with what it needs, and whether it fails (None: that is not the question here).
OTHERS: dict[str, tuple[list[str], bool | None]] = {
    "audit_log": ([], False),
    "check_setup": ([], None),
    "cutover": ([], True),  # before anything was decided; the whole of it is the test above
    "fleet_rollback": (["-e", "rollback_snapshot_id=latest"], False),
    "gateway_give_back": (["--check"], None),  # nginx and a server of systemd are needed for more
    "gateway_take_over": (["--check"], None),
    "guest_rollback": (["--limit", "the_target"], True),  # an API at which nobody answers
    "health": ([], False),
    "monitor": (["-e", '{"monitor_seconds": 0.4, "monitor_interval": 0.2}'], None),
    "snapshot": ([], False),
    "snapshot_info": (["--limit", "the_target"], False),
    "snapshot_list": ([], False),
    "snapshot_prune": ([], False),
    "snapshot_verify": ([], None),
}
LEFT_OUT = {
    "demo": "it brings servers and an inventory of its own, which have no secrets",
    "runbook": "precheck, execute and cutover, and nothing of its own",
}


def inventory_of(case: Case, directory: Path, webhook: ScriptedServer) -> str:
    """An inventory that has secrets wherever one is for; the path of its file."""
    places = {"source": {**case.source.endpoint, **WITH_PASSWORD}, "target": {**case.target.endpoint, **WITH_TOKEN}}
    variables = {f"chromadb_{side}_{option}": value for side, place in places.items() for option, value in place.items()}
    variables |= {f"chromadb_{kind}_dir": f"{directory}/{kind}/{{{{ inventory_hostname }}}}" for kind in ("snapshot", "state", "report")}
    variables |= {
        "ansible_connection": "local", "ansible_python_interpreter": sys.executable, "chromadb_approvals": APPROVALS, "preflight_min_free_mb": 1,
        "chromadb_schema": None, "chromadb_routes": None, "cutover_watch_seconds": 0.2, "cutover_watch_interval": 0.2,
        "chromadb_client_files": [], "cutover_reverse_playbook": str(directory / "reverse.yml"),
    }  # fmt: skip
    hosts: dict[str, Any] = {f"chromadb_{role}": {"hosts": {f"the_{role}": {}}} for role in ("source", "target")}
    webhook.answers["POST", f"/{WEBHOOK}"] = Reply(200, {})
    variables["chromadb_notify_webhooks"] = [{"url": webhook.url + "/{{ lookup('env', 'CANARY_WEBHOOK') }}", "headers": WITH_TOKEN["headers"]}]
    inventory = directory / "inventory.json"
    inventory.write_text(json.dumps({"all": {"vars": variables, "children": hosts}}))
    return str(inventory)


def require_nothing_told(webhook: ScriptedServer) -> list[str]:
    """What the webhook was told."""
    told = [json.dumps(request.body) for request in webhook.requests]
    assert [words for words in told if any(needle in words.encode() for needle in NEEDLES)] == []
    return told


def test_no_playbook_tells_its_secrets(filled: Case, tmp_path: Path, command_lines: CommandLines) -> None:
    nobody = json.dumps({"chromadb_target_url": f"http://127.0.0.1:{free_port()}", "chromadb_target_retries": 0})
    with ScriptedServer() as webhook:
        inventory = inventory_of(filled, tmp_path, webhook)
        play(tmp_path, command_lines, "-i", inventory, "infrafabric.chromadb.precheck", "-e", nobody, fails=True)
        play(tmp_path, command_lines, "-i", inventory, "infrafabric.chromadb.execute", "-e", nobody, fails=True)
        said = play(tmp_path, command_lines, "-i", inventory, "infrafabric.chromadb.execute")
        assert re.search(r"TASK \[[^]]*Bring the target level [^\n]*\n(?:(?!\nTASK ).)*?\nchanged: \[the_target\]", said, re.DOTALL)
        said = play(tmp_path, command_lines, "-i", inventory, "infrafabric.chromadb.rollback")
        assert re.search(r"TASK \[[^]]*Bring back [^\n]*\n(?:(?!\nTASK ).)*?\nchanged: \[the_target\]", said, re.DOTALL)
        play(tmp_path, command_lines, "-i", inventory, "infrafabric.chromadb.status")
        assert len(require_nothing_told(webhook)) >= 3
    assert list((tmp_path / "report").rglob("*.html"))


# What a client's file holds besides the address: the file and its original on the client's host, and nothing else.
OF_A_CLIENT = "secret-of-a-client-3f77a9"


def test_no_cutover_tells_its_secrets(filled: Case, tmp_path: Path, command_lines: CommandLines) -> None:
    """From execute over the cutover to the way back, with a client whose file is changed, and with searches that an embedding service makes vectors of."""
    client_file = tmp_path / "client.env"
    client_file.write_text(f"API_KEY={OF_A_CLIENT}\nCHROMADB_URL={filled.source.url}\n")
    client_file.chmod(0o600)
    query = [float(number) for number in trap_data.vectors(1)[0]]
    with ScriptedServer() as webhook, ScriptedServer() as embedder:
        embedder.answers["POST", "/embed"] = lambda body: {"embeddings": [query for _text in body["input"]]}
        inventory = Path(inventory_of(filled, tmp_path, webhook))
        told = json.loads(inventory.read_text())
        told["all"]["children"]["chromadb_client"] = {"hosts": {"the_client": {}}}
        told["all"]["vars"] |= {
            "chromadb_client_files": [{"path": str(client_file), "key": "CHROMADB_URL"}], "chromadb_queries": [{"text": "what is this?"}],
            "chromadb_embedder": {"url": embedder.url + "/embed", "headers": {"x-key": "{{ lookup('env', 'CANARY_EMBEDDER') }}"}},
        }  # fmt: skip
        inventory.write_text(json.dumps(told))

        def plays(playbook: str, *arguments: str, fails: bool = False) -> str:
            said = play(tmp_path, command_lines, "-i", str(inventory), f"infrafabric.chromadb.{playbook}", *arguments, fails=fails)
            assert OF_A_CLIENT not in said
            return said

        plays("execute")
        assert embedder.requests[0].headers["x-key"] == EMBEDDER
        plays("cutover")
        assert filled.target.url in client_file.read_text()
        plays("status")
        assert "rollback_discard_new_writes=true" in plays("rollback", fails=True)
        assert filled.target.url in client_file.read_text()
        plays("rollback", "-e", json.dumps({"rollback_discard_new_writes": True, "rollback_reason": "a test"}))
        assert filled.source.url in client_file.read_text()
        assert len(require_nothing_told(webhook)) >= 3
    assert list((tmp_path / "report").rglob("*.html"))


def test_every_playbook_is_named() -> None:
    assert {*STORY, *OTHERS, *LEFT_OUT} == {path.stem for path in (CHECKOUT / "playbooks").glob("*.yml")}
    assert len(STORY) + len(OTHERS) + len(LEFT_OUT) == len({*STORY, *OTHERS, *LEFT_OUT})


@pytest.mark.parametrize("playbook", OTHERS)
def test_no_other_playbook_tells_its_secrets(playbook: str, filled: Case, tmp_path: Path, command_lines: CommandLines) -> None:
    arguments, fails = OTHERS[playbook]
    store = tmp_path / "snapshot" / "the_target"
    store.mkdir(mode=0o700, parents=True)
    (tmp_path / "snapshot" / "the_source").mkdir(mode=0o700)
    found = run_module("snapshot", {**filled.target.endpoint, "directory": str(store)})["snapshot"]["snapshot_id"]
    more: dict[str, Any] = {"snapshot_id": found} if playbook.startswith("snapshot_") else {}
    if playbook.startswith("gateway_"):
        more |= {"gateway_source_url": filled.source.url, "gateway_target_url": filled.target.url}
    if playbook == "guest_rollback":
        api = {"api_host": "127.0.0.1", "api_port": free_port(), "api_user": "tester@pve", "api_token_id": "some", "validate_certs": False}
        more |= {"chromadb_proxmox": {**api, "api_token_secret": WITH_TOKEN["token"]}, "chromadb_proxmox_vmid": 104}
    with ScriptedServer() as webhook:
        inventory = Path(inventory_of(filled, tmp_path, webhook))
        told = json.loads(inventory.read_text())
        told["all"]["vars"] |= more
        told["all"]["children"]["chromadb_gateway"] = {"hosts": {"the_gateway": {}} if playbook.startswith("gateway_") else {}}
        inventory.write_text(json.dumps(told))
        said = play(tmp_path, command_lines, "-i", str(inventory), f"infrafabric.chromadb.{playbook}", *arguments, fails=fails)
        require_nothing_told(webhook)
    assert re.search(r"^(ok|changed|fatal|failed): \[the_(?!.*skip)", said, re.MULTILINE), "it did something"
