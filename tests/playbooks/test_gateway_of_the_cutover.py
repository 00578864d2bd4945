# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A cutover with a gateway: it is switched only where it can serve its clients, it is asked as they do, and no write is lost on the way back."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.lab.gateway import LocalGateway
from tests.playbooks.test_runbook import APPROVALS
from tests.support.chroma_server import ChromaServer
from tests.support.counting_proxy import CountingProxy, Fault
from tests.support.raw import RawChroma, Record
from tests.support.run_module import ansible_playbook, run_module

ONE_TO_ONE: dict[str, Any] = {"chromadb_schema": "none", "chromadb_routes": []}
OLD = "0.4.24"


Step = tuple[str, str, str]
# What a cutover does before its freeze to decide what moves the clients: a pass, and the gateway's map.
DECISION: tuple[Step, ...] = (("migrate", "prepare", "the_target"), ("migrate", "pass", "the_target"), ("cutover", "gateway_map", ""))


def record(number: int) -> Record:
    return Record(f"r{number}", [float(number), 1.0, 2.0], f"text {number}", {"n": number})


def poll(what: Any, seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "still not so"
        time.sleep(0.02)


class Stage:
    """A source with two collections, an empty target under the same tenant and database, and a gateway; an inventory of the three."""

    def __init__(self, gateway: LocalGateway, source: RawChroma, target: RawChroma, directory: Path) -> None:
        self.gateway, self.source, self.target, self.directory = gateway, source, target, directory
        for name in ("docs", "notes"):
            source.add(source.create(name), [record(number) for number in range(10)])
        self.docs = str(source.collection("docs")["id"])

    def play(self, *steps: Step, fails: bool = False, **variables: Any) -> str:
        """Steps of a cutover, each an entry point of a role on one of the hosts, or on both."""
        facts = {"cutover_frozen_at": "", "cutover_gateway_switches": False, "cutover_done": False, "cutover_switching": True, "cutover_held_at_first": []}
        tasks: list[dict[str, Any]] = [{"ansible.builtin.set_fact": facts}]
        for role, entry, host in steps:
            use = {"name": f"infrafabric.chromadb.{role}", "tasks_from": entry, "rolespec_validate": False}
            tasks.append({"ansible.builtin.include_role": use, "when": f"inventory_hostname == '{host}'" if host else True})
        playbook = self.directory / "steps.yml"
        playbook.write_text(json.dumps([{"hosts": "chromadb_target:chromadb_gateway", "gather_facts": False, "any_errors_fatal": True, "tasks": tasks}]))
        result = ansible_playbook(str(playbook), "-i", str(self.inventory(**variables)))
        assert (result.returncode != 0) == fails, result.stdout + result.stderr
        return " ".join(result.stdout.split())

    def inventory(self, **variables: Any) -> Path:
        servers = {f"chromadb_{side}_{option}": value
                   for side, place in (("source", self.source), ("target", self.target)) for option, value in place.endpoint.items()}
        directories = {f"chromadb_{kind}_dir": f"{self.directory}/{kind}/{{{{ inventory_hostname }}}}" for kind in ("snapshot", "state", "report")}
        # Of the gateway's host alone.
        its = {name: value for name, value in self.gateway.variables.items() if name != "gateway_target_url"}
        its.update((name, variables.pop(name)) for name in list(variables) if name.startswith("gateway_"))
        path = self.directory / "inventory.json"
        path.write_text(json.dumps({"all": {
            "vars": {
                "ansible_connection": "local", "ansible_python_interpreter": sys.executable, **servers, **directories,
                "chromadb_approvals": APPROVALS, "cutover_reverse_playbook": "", "cutover_watch_seconds": 0.2, "cutover_watch_interval": 0.2,
                "preflight_min_free_mb": 1, **ONE_TO_ONE, **variables,
            },
            "children": {
                "chromadb_source": {"hosts": {"the_source": {}}},
                "chromadb_target": {"hosts": {"the_target": {}}},
                "chromadb_gateway": {"hosts": {"the_gateway": its}},
            },
        }}))  # fmt: skip
        return path

    @property
    def path(self) -> str:
        """Of the collection docs, as a client holds it."""
        return f"{self.source._root()}/{self.docs}"

    def state(self) -> str:
        return str(self.gateway.call("status")["state"])

    def refuses(self, why: str, **variables: Any) -> None:
        said = self.play(*DECISION, fails=True, **variables)
        assert why in said
        assert "no client has chromadb_client_files" in said
        assert self.gateway.call("status")["target"] == ""

    def upsert_late(self) -> requests.Response:
        """As a client does, through the gateway."""
        return requests.post(self.gateway.url + self.path + "/upsert", json={"ids": ["late"], "embeddings": [[9.0, 9.0, 9.0]]}, timeout=900)

    def switched_to(self, url: str) -> None:
        """The gateway, with a copy of each collection in the target."""
        pairs = []
        for collection in self.source.collections():
            copy = self.target.create(collection["name"])
            self.target.add(copy, [record(number) for number in range(10)])
            pairs.append({"source": collection["id"], "target": copy})
        self.gateway.role("map", gateway_target_url=url, gateway_collections=pairs)
        self.gateway.call("switch", "--without-freeze")


@pytest.fixture(scope="module")
def gateway(source_server: ChromaServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalGateway]:
    found = LocalGateway(tmp_path_factory.mktemp("gateway"), source_server.url)
    found.role()
    try:
        yield found
    finally:
        found.remove()


@pytest.fixture
def stage(gateway: LocalGateway, source: RawChroma, target_server: ChromaServer, tmp_path: Path) -> Iterator[Stage]:
    target = RawChroma(target_server.url)
    for path, name in (("/api/v2/tenants", source.tenant), (f"/api/v2/tenants/{source.tenant}/databases", source.database)):
        target._call("POST", path, {"name": name})
    yield Stage(gateway, source, RawChroma(target_server.url, source.tenant, source.database), tmp_path)
    gateway.call("unswitch")
    gateway.call("thaw")


def test_a_gateway_that_would_lead_its_clients_astray_is_not_switched(stage: Stage, source_proxy: CountingProxy) -> None:
    stage.gateway.role("map", gateway_collections=[])
    elsewhere = stage.target.fresh_database("elsewhere")
    stage.refuses("the tenant is " + stage.source.tenant, chromadb_target_tenant=elsewhere.tenant, chromadb_target_database=elsewhere.database)
    stage.refuses("notes of the source is not migrated", chromadb_collections=["docs"])

    # The target has a collection of its name, from the time before the route.
    stage.refuses("records of docs go to merged", chromadb_routes=[{"from": "docs", "to": "merged"}])
    stage.refuses("records in docs get another id", chromadb_routes=[{"from": "docs", "to": "docs", "id_prefix": "of-"}])

    stage.source._call("POST", f"/api/v2/tenants/{stage.source.tenant}/databases", {"name": "second"})
    RawChroma(stage.source.url, stage.source.tenant, "second").create("theirs")
    stage.refuses("in another database as well, second")
    source_proxy.faults.append(Fault("status", lambda seen: seen.path.endswith("/collections_count"), times=None, status=403))
    stage.refuses("second (nobody could count its collections)", chromadb_source_url=source_proxy.url)
    assert "one address, " + stage.source.url in stage.play(*DECISION, fails=True, cutover_leave_databases=["second"], gateway_target_url=stage.source.url)
    assert stage.gateway.call("status")["target"] == ""
    source_proxy.reset()
    source_proxy.faults.append(Fault("status", lambda seen: seen.path.endswith("/databases"), times=None, status=403))
    assert "WARNING: %s does not list its databases" % source_proxy.url in stage.play(*DECISION, chromadb_source_url=source_proxy.url)
    stage.gateway.role("map", gateway_collections=[])
    stage.play(*DECISION, cutover_leave_databases=["second"])
    assert stage.gateway.call("status")["target"] == stage.target.url


def test_a_gateway_is_not_switched_to_a_server_of_another_api(gateway: LocalGateway, target: RawChroma, tmp_path: Path) -> None:
    gateway.role("map", gateway_collections=[])
    with ChromaServer(OLD) as old:
        Stage(gateway, RawChroma(old.url), RawChroma(target.url), tmp_path).refuses("the source has API v1 and the target API v2")


def test_a_gateway_is_asked_as_its_clients_ask_it_and_by_its_own_address_of_the_target(stage: Stage, target_proxy: CountingProxy) -> None:
    """The target's own host may call it by a name that leads elsewhere from the gateway."""
    stage.gateway.call("freeze", "--seconds", "3600")
    switch, smoke = ("gateway", "switch", "the_gateway"), ("cutover", "smoke", "")
    refusal = Fault("status", lambda seen: seen.path.endswith("/count"), times=None, status=401)
    target_proxy.faults.append(refusal)
    said = stage.play(*DECISION, switch, smoke, fails=True, gateway_target_url=target_proxy.url)
    # Whichever the server names first.
    asked = [f"status 401 from the target for {stage.source._root()}/{collection['id']}/count" for collection in stage.source.collections()]
    assert [words for words in asked if words in said] != []

    target_proxy.reset()
    stage.play(*DECISION, smoke, gateway_target_url=target_proxy.url)
    there = [str(collection["id"]) for collection in stage.target.collections()]
    assert {seen.path for seen in target_proxy.requests if seen.path.endswith("/count")} == {f"{stage.source._root()}/{uuid}/count" for uuid in there}


def test_a_write_that_the_target_is_still_at_work_on_is_saved_on_the_way_back(stage: Stage, target_proxy: CountingProxy) -> None:
    stage.switched_to(target_proxy.url)
    held, answers, ways = Fault("held", lambda seen: seen.verb == "upsert"), [], []
    target_proxy.faults.append(held)
    client = threading.Thread(target=lambda: answers.append(stage.upsert_late().status_code), daemon=True)
    client.start()
    poll(lambda: held.acted)
    way = threading.Thread(target=lambda: ways.append(stage.play(("cutover", "undo", ""), gateway_drain_seconds=300, gateway_freeze_seconds=1)), daemon=True)
    way.start()
    poll(lambda: stage.state() == "read_only" or not way.is_alive(), 300)
    held.until.set()
    for thread in (client, way):
        thread.join(300)
    assert answers == [200]
    assert len(ways) == 1
    assert stage.state() == "open"
    (snapshot,) = run_module("snapshot_info", {"directory": str(stage.directory / "snapshot/the_target")})["snapshots"]
    assert snapshot["total_chunks"] == 21


def test_a_target_that_does_not_answer_keeps_nobody_from_the_source(stage: Stage, target_proxy: CountingProxy) -> None:
    """The freeze before the way back is over after its time, and it is said."""
    stage.switched_to(target_proxy.url)
    held = Fault("held", lambda seen: seen.verb == "upsert")
    target_proxy.faults.append(held)
    client = threading.Thread(target=stage.upsert_late, daemon=True)
    client.start()
    poll(lambda: held.acted)
    try:
        assert "Writes were still in flight 0.2 s after the freeze" in stage.play(("cutover", "undo", "the_gateway"), gateway_drain_seconds=0.2)
        assert stage.state() == "open"
        assert stage.upsert_late().headers["X-Chromadb-Gateway"] == "source"
    finally:
        held.until.set()
        client.join(60)
