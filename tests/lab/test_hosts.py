# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The infrastructure roles on real hosts, over ssh. Runs in the lab: tests/lab/lab pytest tests/lab."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from packaging.utils import parse_wheel_filename

from tests.support.raw import RawChroma

from .gateway import CHECKOUT, changes, play
from .load import Known, Load

if "LAB_DIR" not in os.environ:
    pytest.skip("needs the hosts of the lab", allow_module_level=True)

from .stage import install, on_host

LAB = CHECKOUT / "tests" / "lab"
INVENTORY = ("-i", str(LAB / "inventories" / "runbook.yml"))
SOURCE, TARGET, GATEWAY = "http://198.18.0.11:8001", "http://198.18.0.12:8000", "http://198.18.0.11:8000"


def status() -> dict[str, object]:
    answer: dict[str, object] = json.loads(on_host(1, "chromadb-gateway status"))
    return answer


@pytest.fixture(scope="module")
def installed() -> tuple[str, str]:
    """Servers and gateway, and the collection `demo` on both: its UUIDs."""
    install()
    uuids: list[str] = []
    for url in (SOURCE, TARGET):
        server = RawChroma(url)
        uuids.append(server.create("demo"))
        body = {"ids": ["r%d" % n for n in range(50)], "embeddings": [[n, 1.0, 2.0, 3.0] for n in range(50)]}
        path = "/api/v2/tenants/default_tenant/databases/default_database/collections/%s/add" % uuids[-1]
        server.session.post(url + path, json=body, timeout=60).raise_for_status()
    return uuids[0], uuids[1]


def ids(url: str, uuid: str) -> set[str]:
    path = "/api/v2/tenants/default_tenant/databases/default_database/collections/%s/get" % uuid
    return set(RawChroma(url).session.post(url + path, json={"include": []}, timeout=60).json()["ids"])


def test_a_second_run_changes_nothing(installed: tuple[str, str]) -> None:
    assert set(changes(play(LAB / "install.yml", *INVENTORY)).values()) == {0}


def test_the_services_run_without_privileges(installed: tuple[str, str]) -> None:
    for host, unit in ((1, "chromadb"), (1, "chromadb-gateway"), (1, "chromadb-gateway-router"), (2, "chromadb")):
        pid = on_host(host, "systemctl show --property MainPID --value %s" % unit).strip()
        facts = on_host(host, "grep -E '^(Uid|NoNewPrivs|CapEff):' /proc/%s/status" % pid).split()
        assert "0" not in facts[1:5], (unit, facts)
        assert facts[facts.index("NoNewPrivs:") + 1] == "1"
        assert int(facts[facts.index("CapEff:") + 1], 16) == 0


def test_the_switch_under_load_is_noticed_by_no_reader(installed: tuple[str, str]) -> None:
    on_source, on_target = installed
    pairs: dict[str, object] = {"gateway_collections": [{"source": on_source, "target": on_target}]}
    with Load(GATEWAY, on_source, Known.of(RawChroma(SOURCE), on_source), pause=0.03, limit=500) as load:
        play(LAB / "switch.yml", *INVENTORY, variables=pairs)
        switched = time.monotonic()
        assert status()["state"] == "switched"
        while not any(moment > switched + 1 for moment in load.tally.acknowledged.values()):
            assert time.monotonic() - switched < 30
            time.sleep(0.1)
    tally = load.tally
    print(tally)
    assert tally.failed_reads == []
    assert tally.failed_writes == []
    source, target = ids(SOURCE, on_source), ids(TARGET, on_target)
    assert set(tally.acknowledged) <= source | target
    assert {name for name, moment in tally.acknowledged.items() if moment > switched + 0.5} <= target - source
    play(LAB / "gateway_step.yml", *INVENTORY, variables={"step": "unswitch"})
    assert status()["state"] == "open"


def test_a_freeze_that_nobody_ends_ends_by_itself(installed: tuple[str, str]) -> None:
    """As when the control node has died; and neither the gateway's restart nor a crash of its processes is a thaw."""
    play(LAB / "gateway_step.yml", *INVENTORY, variables={"step": "freeze", "gateway_freeze_seconds": 20})
    on_host(1, "systemctl restart chromadb-gateway-router && kill -KILL $(systemctl show --property MainPID --value chromadb-gateway)")
    assert status()["state"] == "read_only"
    began = time.monotonic()
    while status()["state"] != "open":
        assert time.monotonic() - began < 60
        time.sleep(0.5)
    assert on_host(1, "systemctl list-units --all --no-legend 'chromadb-gateway-expiry*'").strip() == ""
    assert on_host(1, "systemctl is-active chromadb-gateway chromadb-gateway-router").split() == ["active", "active"]


def test_a_second_server_is_installed_from_wheels_beside_the_first_and_removed(installed: tuple[str, str], tmp_path: Path) -> None:
    """Byte for byte from a list, with a tenant and a database; the other release's data are refused, and the first server keeps the user of both."""
    listed = [line.split() for line in on_host(2, "cd /srv/wheels && sha256sum *.whl").splitlines()]
    names = {"==".join(str(part) for part in parse_wheel_filename(wheel)[:2]): sha256 for sha256, wheel in listed}
    right, wrong, other = (tmp_path / name for name in ("right.txt", "wrong.txt", "other.txt"))
    right.write_text("".join("%s --hash=sha256:%s\n" % pair for pair in names.items()))
    wrong.write_text("".join("%s --hash=sha256:%s\n" % (name, sha256[::-1] if name.startswith("chromadb==") else sha256) for name, sha256 in names.items()))
    other.write_text(right.read_text().replace("chromadb==1.5.9", "chromadb==1.5.90"))
    wanted: dict[str, object] = {
        "second_host": "target",
        "server_instance": "second",
        "server_venv": "/opt/second",
        "server_port": 8009,
        "server_tenants": [{"name": "research", "databases": ["papers", "notes"]}],
        "runtime_venv": "/opt/second-runtime",
        "server_requirements": str(right),
    }
    refused = play(LAB / "second_server.yml", *INVENTORY, variables={**wanted, "server_requirements": str(other)}, fails=True)
    assert "does not name chromadb==1.5.9" in " ".join(refused.split())
    refused = play(LAB / "second_server.yml", *INVENTORY, variables={**wanted, "server_requirements": str(wrong)}, fails=True)
    assert "DO NOT MATCH THE HASHES" in refused
    assert on_host(2, "ls -d /opt/second/bin/chroma /etc/second 2>/dev/null || true") == ""
    play(LAB / "second_server.yml", *INVENTORY, variables=wanted)
    assert changes(play(LAB / "second_server.yml", *INVENTORY, "--check", variables=wanted)) == {"target": 0}
    assert changes(play(LAB / "second_server.yml", *INVENTORY, variables=wanted)) == {"target": 0}
    second = RawChroma("http://198.18.0.12:8009")
    names = [database["name"] for database in second.session.get(second.url + "/api/v2/tenants/research/databases", timeout=60).json()]
    assert sorted(names) == ["notes", "papers"]
    with pytest.raises(AssertionError, match=r"was written by Chroma 1\.5\.9"):
        play(LAB / "second_server.yml", *INVENTORY, variables={**wanted, "server_version": "1.0.21"})
    play(LAB / "second_server.yml", *INVENTORY, variables={**wanted, "server_state": "absent", "runtime_state": "absent", "server_remove_data": True})
    assert on_host(2, "ls -d /opt/second* /etc/second /var/lib/second/data /etc/systemd/system/second.service 2>/dev/null || true") == ""
    assert on_host(2, "id -un chromadb; systemctl is-active chromadb").split() == ["chromadb", "active"]


def test_the_gateway_goes_without_a_trace(installed: tuple[str, str]) -> None:
    install.cache_clear()
    play(LAB / "gateway_step.yml", *INVENTORY, variables={"step": "remove"})
    places = "/etc /var/lib /var/cache /run /usr/local/sbin /etc/systemd/system /etc/systemd/system/multi-user.target.wants"
    assert on_host(1, "find %s -maxdepth 1 -name 'chromadb-gateway*'" % places) == ""
    assert on_host(1, "id chromadb-gateway 2>/dev/null || echo gone").strip() == "gone"
