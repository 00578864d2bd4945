# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The gateway is put in front of a server that runs and is written to, and taken away again."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest
import requests

from tests.support.equality import contents_differences
from tests.support.raw import RawChroma, Record

from .gateway import changes, play

if "LAB_DIR" not in os.environ:
    pytest.skip("needs the hosts of the lab", allow_module_level=True)

from .stage import DIMENSION, INVENTORY, LAB, Writer, answers, on_host, poll

# A server and a gateway of names and ports of their own: other tests have theirs on the same host.
HOST, ADDRESS = 3, "198.18.0.13"
PUBLIC, MOVED, DIRECT = "http://%s:8020" % ADDRESS, "http://%s:8021" % ADDRESS, "http://%s:8022" % ADDRESS
PLAYS = ("-i", str(LAB / "inventories" / "one_server.yml"))
# Everything that the role could leave, and everything that is the server's own, with owner and mode.
STATE = (
    "find /etc/systemd/system /etc/archive /etc/archive-gateway /usr/local/sbin /var/lib/archive-gateway /var/cache/archive-gateway /run/archive-gateway"
    " -printf '%p %u:%g %m %l\\n' 2>/dev/null | sort; sha256sum /etc/systemd/system/archive.service /etc/archive/*; getent passwd archive-gateway;"
    " ss -Hltn | awk '{print $4}' | grep :802 | sort; systemctl is-enabled archive"
)
UNIT = """[Service]
User=archive
ExecStart=/opt/chromadb/1.5.9/bin/chroma run --path /var/lib/archive/data --host 0.0.0.0 --port 8020
Restart=on-failure
[Install]
WantedBy=multi-user.target
"""


@pytest.fixture(scope="module")
def server() -> Iterator[RawChroma]:
    """A server of the role, whose port is in its configuration file."""
    play(LAB / "second_server.yml", *INVENTORY, variables={"server_instance": "archive", "server_user": "archive", "server_port": 8020})
    server = RawChroma(PUBLIC)
    held = server.create("papers")
    vectors = np.random.default_rng(3).normal(size=(200, DIMENSION)).astype("<f4")
    server.add(held, [Record("p%d" % n, vectors[n], "paper %d" % n, {"n": n}) for n in range(200)])
    server.create("written")
    yield server
    on_host(HOST, "systemctl disable --now archive; rm -rf /etc/systemd/system/archive.service /etc/archive /var/lib/archive; userdel archive")
    on_host(HOST, "systemctl daemon-reload")


def reached(url: str) -> int:
    """The status with which the port answers this machine; 0 when it is closed."""
    try:
        return requests.get(url + "/api/v2/heartbeat", timeout=5).status_code
    except requests.RequestException:
        return 0


def test_a_written_server_gets_its_gateway_and_goes_back(server: RawChroma) -> None:
    before, papers = on_host(HOST, STATE), server.contents()["papers"]
    uuid = str(server.collection("written")["id"])
    with Writer(uuid, "take", url=PUBLIC) as writer:
        poll(lambda: len(writer.acknowledged) > 3, 30, "writes are acknowledged")

        told = play("infrafabric.chromadb.gateway_take_over", *PLAYS, "--check", "--diff")
        assert "archive.service moves from port 8020 to 127.0.0.1:8021" in told, told
        assert changes(told)["server"] > 0
        assert ": port: 8020 becomes port: 8021" in " ".join(told.split()), told
        assert on_host(HOST, STATE) == before

        output = play("infrafabric.chromadb.gateway_take_over", *PLAYS)
        assert "The port was taken over; clients were refused for" in output, output
        poll(lambda: writer.side == "source", 30, "the same client writes through the gateway")
        assert (reached(PUBLIC), reached(MOVED), reached(DIRECT)) == (200, 0, 200)
        assert on_host(2, "curl -s -o /dev/null -w '%%{http_code}' %s/api/v2/heartbeat" % DIRECT) == "403"
        assert changes(play("infrafabric.chromadb.gateway_take_over", *PLAYS)) == {"server": 0}
        assert str(server.collection("written")["id"]) == uuid

        on_host(HOST, "archive-gateway freeze --seconds 600")
        assert "is read_only" in play("infrafabric.chromadb.gateway_give_back", *PLAYS, fails=True)
        on_host(HOST, "archive-gateway thaw")
        moved = on_host(HOST, STATE)
        assert changes(play("infrafabric.chromadb.gateway_give_back", *PLAYS, "--check"))["server"] > 0
        assert on_host(HOST, STATE) == moved
        play("infrafabric.chromadb.gateway_give_back", *PLAYS)
        poll(lambda: writer.side == "None", 30, "the client writes to the server itself")
        assert changes(play("infrafabric.chromadb.gateway_give_back", *PLAYS)) == {"server": 0}
    assert on_host(HOST, STATE) == before
    held = server.contents()
    assert contents_differences({"papers": papers}, {"papers": held["papers"]}) == []
    assert set(writer.acknowledged) <= set(held["written"].records)


def test_the_port_may_be_in_the_unit(server: RawChroma) -> None:
    """As everybody writes it, and as the releases before 1.0 want it."""
    on_host(HOST, "cat > /etc/systemd/system/archive.service <<'END'\n" + UNIT + "END\nsystemctl daemon-reload; systemctl restart archive")
    poll(lambda: answers(PUBLIC), 60, "the server answers")
    before = on_host(HOST, STATE)
    play("infrafabric.chromadb.gateway_take_over", *PLAYS)
    assert "--host 127.0.0.1 --port 8021\n" in on_host(HOST, "cat /etc/systemd/system/archive.service")
    assert (reached(PUBLIC), reached(MOVED), reached(DIRECT)) == (200, 0, 200)
    play("infrafabric.chromadb.gateway_give_back", *PLAYS)
    assert on_host(HOST, STATE) == before


def test_a_gateway_that_does_not_start_leaves_the_server_its_port(server: RawChroma) -> None:
    """Somebody else has the tools' port: the router cannot start when the server has moved already."""
    before = on_host(HOST, "cat /etc/systemd/system/archive.service; sha256sum /etc/archive/*; systemctl is-enabled archive")
    wrong: dict[str, object] = {"gateway_direct_port": 22}
    output = play("infrafabric.chromadb.gateway_take_over", *PLAYS, variables=wrong, fails=True)
    assert "the server has it again" in output, output
    assert reached(PUBLIC) == 200
    assert on_host(HOST, "cat /etc/systemd/system/archive.service; sha256sum /etc/archive/*; systemctl is-enabled archive") == before
    play("infrafabric.chromadb.gateway_give_back", *PLAYS)
    assert on_host(HOST, "ls -d /etc/archive-gateway /usr/local/sbin/archive-gateway 2>/dev/null || true") == ""


def test_what_is_not_there_to_be_moved_is_refused_before_anything_is_done(server: RawChroma) -> None:
    before = on_host(HOST, STATE)
    assert "gateway_take_over_files" in play("infrafabric.chromadb.gateway_take_over", *PLAYS, variables={"gateway_port": 8029}, fails=True)
    assert on_host(HOST, STATE) == before
