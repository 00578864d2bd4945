# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What Ansible itself offers, on three hosts over ssh: limits, tags, check mode, forks, batches, a dead host, lines of progress."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from tests.support.equality import contents_differences
from tests.support.raw import RawChroma, Record

from .gateway import CHECKOUT, changes, play

if "LAB_DIR" not in os.environ:
    pytest.skip("needs the hosts of the lab", allow_module_level=True)

from .stage import LAB, on_host, poll

INVENTORY = ("-i", str(LAB / "inventories" / "fleet.yml"))
TARGETS = {"target1": 1, "target2": 2, "target3": 3}
SNAPSHOTS = "/var/lib/chromadb/snapshots/snapshots"
SLOW_RECORDS = 800
# ansible.cfg has ssh ask three times, every five seconds, and give up five seconds after the last; a new connection is tried for ten.
# The rest is what Ansible itself takes on a busy machine.
NEW_CONNECTION, STANDING_CONNECTION = 10 + 5, 20 + 5
# host | migrate: write  [####......]  40 %  320/800  100/s  ETA 5 s
PROGRESS = re.compile(r"^(target\d) \| migrate: \w+  \[#*\.*\] +\d+ %  [\d,]+/800  [\d,]+/s  ETA [\d.]+ s$", re.MULTILINE)


@pytest.fixture(scope="module")
def fleet() -> dict[str, RawChroma]:
    play(LAB / "servers_of_the_fleet.yml", *INVENTORY)
    servers = {name: RawChroma("http://198.18.0.1%d:8000" % number) for name, number in TARGETS.items()}
    for name, server in servers.items():
        for collection in server.names():
            server.delete_collection(collection)
        server.add(server.create("own"), [Record(name, np.ones(3, "<f4"), "of %s" % name)])
    return servers


def snapshots(number: int) -> set[str]:
    return set(on_host(number, "ls %s 2>/dev/null || true" % SNAPSHOTS).split())


def network(host: str, state: str) -> None:
    subprocess.run(["ip", "link", "set", host, state], check=True)


def statuses(output: str) -> dict[str, dict[str, int]]:
    recap = output.split("PLAY RECAP", 1)[1].splitlines()[1:]
    hosts = [line for line in recap if " ok=" in line and not line.startswith("localhost ")]
    return {line.split(":")[0].strip(): {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", line)} for line in hosts}


def timed(playbook: str, words: str) -> tuple[str, float]:
    """The output of a playbook that fails, and how many seconds the task had taken when these words appeared."""
    command = [str(Path(sys.executable).with_name("ansible-playbook")), playbook, *INVENTORY]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1", "PYTHONUNBUFFERED": "1"}
    output, began, seen = "", 0.0, 0.0
    with subprocess.Popen(command, cwd=CHECKOUT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
        assert run.stdout is not None
        for line in run.stdout:
            output += line
            if line.startswith("TASK") and not seen:
                began = time.monotonic()
            elif words in line:
                seen = seen or time.monotonic()
    assert run.returncode != 0, output
    assert seen, output
    return output, seen - began


def test_check_mode_tells_and_leaves_every_host_as_it_was(fleet: dict[str, RawChroma]) -> None:
    before = {number: snapshots(number) for number in TARGETS.values()}
    output = play("infrafabric.chromadb.snapshot", *INVENTORY, "--check", "--diff")
    assert {host: count > 0 for host, count in changes(output).items()} == dict.fromkeys(TARGETS, True), output
    assert {number: snapshots(number) for number in TARGETS.values()} == before


def test_a_limit_is_kept_to(fleet: dict[str, RawChroma]) -> None:
    before = {number: snapshots(number) for number in TARGETS.values()}
    output = play("infrafabric.chromadb.snapshot", *INVENTORY, "--limit", "target2")
    assert set(changes(output)) == {"target2"}
    assert {number: snapshots(number) != before[number] for number in TARGETS.values()} == {1: False, 2: True, 3: False}


def test_a_dead_host_is_unreachable_within_seconds_and_the_others_finish(fleet: dict[str, RawChroma], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {number: snapshots(number) for number in (1, 2)}
    network("h3", "down")
    try:
        # The connection of an earlier playbook seems to stand: ssh finds out, and tries a new one.
        output, seconds = timed("infrafabric.chromadb.snapshot", "UNREACHABLE")
        monkeypatch.setenv("ANSIBLE_SSH_CONTROL_PATH_DIR", str(tmp_path))
        _output, seconds_anew = timed("infrafabric.chromadb.health", "UNREACHABLE")
    finally:
        network("h3", "up")
    print("a dead host is unreachable after %.1f s, and anew after %.1f s" % (seconds, seconds_anew))
    assert seconds < STANDING_CONNECTION + NEW_CONNECTION
    assert seconds_anew < NEW_CONNECTION
    found = statuses(output)
    assert found["target3"]["unreachable"] == 1, output
    assert [(found[host]["failed"], found[host]["unreachable"]) for host in ("target1", "target2")] == [(0, 0), (0, 0)], output
    assert all(snapshots(number) - before[number] for number in (1, 2)), (before, output)
    poll(lambda: on_host(3, "true") == "", 20, "the host is back")
    play("infrafabric.chromadb.snapshot", *INVENTORY, "--limit", "target3")


def test_a_host_that_dies_is_given_up_in_seconds() -> None:
    """With a connection that stands: neither the kernel nor ssh would notice for many minutes."""
    command = [str(Path(sys.executable).with_name("ansible")), "target3", *INVENTORY, "-m", "ansible.builtin.command", "-a", "sleep 4321"]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg")}
    ended: list[float] = []
    answers: list[subprocess.CompletedProcess[str]] = []

    def ask() -> None:
        answers.append(subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False))
        ended.append(time.monotonic())

    thread = threading.Thread(target=ask)
    thread.start()
    poll(lambda: on_host(3, "pgrep -x sleep || true"), 30, "the module runs")
    network("h3", "down")
    died = time.monotonic()
    try:
        thread.join(60)
    finally:
        network("h3", "up")
    assert ended
    assert answers[0].returncode == 4
    assert "UNREACHABLE" in answers[0].stdout
    print("a host that dies is given up after %.1f s" % (ended[0] - died))
    assert ended[0] - died < STANDING_CONNECTION


def test_batches_and_forks(fleet: dict[str, RawChroma]) -> None:
    """One first, then the others at once, and each gets the records that are its own."""
    for server in fleet.values():
        server.add(str(server.collection("own")["id"]), [Record("stranger", np.zeros(3, "<f4"))])
    output = play("infrafabric.chromadb.fleet_rollback", *INVENTORY, "--forks", "2", variables={"chromadb_fleet_serial": [1, "100%"]})
    assert output.count("PLAY [Roll the fleet back]") == 2, output
    assert "1 of 3 targets are done, 0 failed." in output, output
    assert {name: set(server.contents()["own"].records) for name, server in fleet.items()} == {name: {name} for name in fleet}


def test_progress_of_two_hosts_survives_a_short_outage(fleet: dict[str, RawChroma]) -> None:
    source = fleet["target1"]
    vectors = np.random.default_rng(1).normal(size=(SLOW_RECORDS, 8)).astype("<f4")
    source.add(source.create("slow"), [Record("s%d" % n, vectors[n], "slow %d" % n, {"n": n}) for n in range(SLOW_RECORDS)])
    copying = LAB / "copying_to_two_hosts.yml"
    checked = play(copying, *INVENTORY, "--check", variables={"rate": 4000})
    assert " | migrate" not in checked
    assert "slow" not in fleet["target2"].names()

    def cut() -> None:
        poll(lambda: "slow" in fleet["target2"].names() and fleet["target2"].count(str(fleet["target2"].collection("slow")["id"])) > 100, 60, "it copies")
        network("h2", "down")
        cut_at = time.monotonic()
        poll(lambda: time.monotonic() - cut_at > 2, 10, "the outage is over")
        network("h2", "up")

    cutter = threading.Thread(target=cut)
    cutter.start()
    output = play(copying, *INVENTORY, variables={"rate": 50})
    cutter.join()
    shown = PROGRESS.findall(output)
    assert shown.count("target2") >= 3, output
    assert shown.count("target3") >= 3, output
    # Whole lines: nothing else is on one, and both hosts' are mixed because both worked at once.
    assert all(PROGRESS.match(line) or "does not answer" in line or "ETA" not in line for line in output.splitlines() if " | migrate" in line)
    assert shown != sorted(shown)
    for name in ("target2", "target3"):
        assert "%s copied True" % name in output
        held = fleet[name].contents()
        assert contents_differences({"slow": source.contents()["slow"]}, {"slow": held["slow"]}) == []
    again = play(copying, *INVENTORY, variables={"rate": 4000})
    assert set(changes(again).values()) == {0}
