# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A small migration between the hosts of the lab, with a client that writes through the gateway, and everything that can be killed in it."""

from __future__ import annotations

import functools
import http.client
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Container
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Callable

import numpy as np
import requests

from tests.support.archives import contents_of
from tests.support.equality import contents_differences
from tests.support.raw import Contents, RawChroma, Record

from .gateway import CHECKOUT, play

LAB = CHECKOUT / "tests" / "lab"
INVENTORY = ("-i", str(LAB / "inventories" / "runbook.yml"))
SOURCE, TARGET, GATEWAY = "http://198.18.0.11:8001", "http://198.18.0.12:8000", "http://198.18.0.11:8000"
SOURCE_HOST, TARGET_HOST, CLIENT_HOST = 1, 2, 3
COLLECTIONS = ("papers", "letters", "written")
RECORDS = 400
DIMENSION = 16
FREEZE_SECONDS = 15
# How a module's process is found on its host; the brackets keep the pattern from finding itself.
MODULE = "[/]opt/chromadb-runtime/bin/python"
CLIENT_FILE = "/etc/client.env"
VARIABLES: dict[str, object] = {
    "gateway_freeze_seconds": FREEZE_SECONDS,
    "cutover_watch_seconds": 1,
    "cutover_watch_interval": 1,
    "chromadb_client_files": [{"path": CLIENT_FILE, "key": "CHROMADB_URL"}],
}
DISCARD: dict[str, object] = {"rollback_discard_new_writes": True}
CLIENT_SETTINGS = "SECRET=not-a-real-secret\nCHROMADB_URL=%s\n" % GATEWAY


def ssh(number: int, command: str) -> list[str]:
    options = ["-i", os.environ["LAB_DIR"] + "/key", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
    return ["ssh", *options, "root@198.18.0.1%d" % number, command]


def on_host(number: int, command: str) -> str:
    done = subprocess.run(ssh(number, command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout


def snapshots_of(number: int) -> list[dict[str, Contents]]:
    """What each snapshot on this host holds, as its archive says."""
    copied = subprocess.run(ssh(number, "tar -C /var/lib/chromadb -c snapshots"), stdout=subprocess.PIPE, timeout=120, check=True).stdout
    with tempfile.TemporaryDirectory(dir=os.environ["LAB_DIR"]) as place:
        with tarfile.open(fileobj=io.BytesIO(copied)) as tar:
            tar.extractall(place, filter="data")
        store = Path(place, "snapshots")
        return [contents_of(store, manifest.stem) for manifest in sorted((store / "manifests").glob("*.json"))]


def poll(what: Callable[[], object], seconds: float, meaning: str) -> float:
    """Wait until something holds; how long it took."""
    began = time.monotonic()
    while not what():
        assert time.monotonic() - began < seconds, "after %g s still not so: %s" % (seconds, meaning)
        time.sleep(0.05)
    return time.monotonic() - began


def answers(url: str) -> bool:
    try:
        return requests.get(url + "/api/v2/heartbeat", timeout=5).ok
    except requests.RequestException:
        return False


class Writer:
    """A client that writes one record after the other through the gateway, and remembers which server acknowledged each.

    It never writes an id twice, and goes on after an error: what was not acknowledged may be there or not.
    """

    def __init__(self, collection: str, prefix: str, pause: float = 0.05, url: str = GATEWAY) -> None:
        self.acknowledged: dict[str, str] = {}
        # By a gateway, and by a server with a scorecard.
        self.refused = self.limited = 0
        self.tried = 0
        self.side = ""
        self._path = "/api/v2/tenants/default_tenant/databases/default_database/collections/%s/upsert" % collection
        self._prefix, self._pause, self._url = prefix, pause, url
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join(60)

    def _write(self) -> None:
        host, port = self._url.rsplit("/", 1)[1].split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=30)
        number = 0
        while not self._stop.wait(self._pause):
            number += 1
            record = self.record(number)
            name = record.id
            body = {"ids": [name], "embeddings": [record.embedding.tolist()], "documents": [record.document], "metadatas": [record.metadata]}
            self.tried = number
            try:
                connection.request("POST", self._path, json.dumps(body), {"Content-Type": "application/json"})
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException):
                connection.close()
                continue
            self.side = str(answer.getheader("X-Chromadb-Gateway"))
            if answer.status in (200, 201):
                self.acknowledged[name] = self.side
            elif answer.status == 403:
                self.refused += 1
            elif answer.status == 429:
                self.limited += 1

    def record(self, number: int) -> Record:
        vector = np.random.default_rng(number).normal(size=DIMENSION).astype("<f4")
        return Record("%s-%d" % (self._prefix, number), vector, "acknowledged", {"number": number})

    def written_of(self, held: Container[str]) -> dict[str, Record]:
        """What is there of all that it tried to write, as it must be there."""
        records = [self.record(number) for number in range(1, self.tried + 1)]
        return {record.id: record for record in records if record.id in held}

    def acknowledged_by(self, side: str) -> set[str]:
        return {name for name, by in dict(self.acknowledged).items() if by == side}


def clear() -> None:
    """Nothing on the hosts is left of an earlier migration, and both servers are empty."""
    for host in (SOURCE_HOST, TARGET_HOST):
        on_host(host, "systemctl reset-failed chromadb; systemctl start chromadb")
        on_host(host, "pkill -KILL -f '%s'; cd /var/lib/chromadb && rm -rf snapshots state reports" % MODULE)
    on_host(SOURCE_HOST, "chromadb-gateway thaw; chromadb-gateway unswitch")
    settings = CLIENT_SETTINGS.replace("\n", "\\n")
    on_host(CLIENT_HOST, "rm -rf /var/lib/chromadb; printf '%s' > %s && chmod 640 %s" % (settings, CLIENT_FILE, CLIENT_FILE))
    for server in (RawChroma(SOURCE), RawChroma(TARGET)):
        poll(lambda url=server.url: answers(url), 60, "the server answers")  # type: ignore[misc]
        for name in server.names():
            server.delete_collection(name)


class Stage:
    """Source, target, gateway and client as a new migration finds them."""

    def __init__(self) -> None:
        self.source, self.target = RawChroma(SOURCE), RawChroma(TARGET)
        clear()
        random = np.random.default_rng(5)
        for name in COLLECTIONS:
            held = self.source.create(name)
            vectors = random.normal(size=(RECORDS, DIMENSION)).astype("<f4")
            self.source.add(held, [Record("%s-%d" % (name, n), vectors[n], "%s %d" % (name, n), {"n": n}) for n in range(RECORDS)])
        own = self.target.create("there_before")
        self.target.add(own, [Record("kept", np.ones(DIMENSION, "<f4"), "was there before")])
        self.before, self.at_first = self.target.contents(), self.source.contents()
        self.written = str(self.source.collection("written")["id"])

    # The state

    def gateway(self) -> dict[str, object]:
        answer: dict[str, object] = json.loads(on_host(SOURCE_HOST, "chromadb-gateway status"))
        return answer

    def client_settings(self) -> tuple[str, str]:
        return on_host(CLIENT_HOST, "cat %s" % CLIENT_FILE), on_host(CLIENT_HOST, "stat -c %%a %s" % CLIENT_FILE).strip()

    def is_old(self, writer: Writer, side: str = "source") -> None:
        """The source serves as before with every write that it acknowledged, and the target is as it was; what that acknowledged is saved.

        Who writes past the gateway is told no side.
        """
        gateway = self.gateway()
        assert (gateway["frozen"], gateway["switched"]) == (False, False), gateway
        assert self.client_settings() == (CLIENT_SETTINGS, "640")
        self._serves(writer, side)
        # The client goes on writing: what it knew before the look is what must be seen.
        acknowledged = writer.acknowledged_by(side)
        held = self.source.contents()
        assert sorted(acknowledged - set(held["written"].records)) == []
        assert contents_differences(self._expected(writer, held), held) == []
        assert contents_differences(self.before, self.target.contents()) == []
        self._is_saved(writer)

    def is_new(self, writer: Writer) -> None:
        """The target serves, with every record of the source and every write that anybody acknowledged."""
        gateway = self.gateway()
        assert (gateway["frozen"], gateway["switched"]) == (False, True), gateway
        self._serves(writer, "target")
        acknowledged = dict(writer.acknowledged)
        target, source = self.target.contents(), self.source.contents()
        missing = {name: side for name, side in acknowledged.items() if name not in target["written"].records}
        assert missing == {}
        assert writer.acknowledged_by("target").isdisjoint(source["written"].records)
        assert contents_differences(self._expected(writer, source), source) == []
        assert sorted(source["written"].records.keys() - target["written"].records.keys()) == []
        assert contents_differences({**self._expected(writer, target), **self.before}, target) == []

    def _expected(self, writer: Writer, held: dict[str, Contents]) -> dict[str, Contents]:
        """What the source was filled with, and what is held of the client's writes: of one that was not acknowledged nobody knows whether it is there."""
        written = self.at_first["written"]
        there = writer.written_of(held["written"].records)
        return {**self.at_first, "written": replace(written, records={**written.records, **there})}

    def _is_saved(self, writer: Writer) -> None:
        """Each write that the target acknowledged until it was rolled back is in a snapshot of it, as it was written."""
        wanted = writer.written_of(writer.acknowledged_by("target"))
        if not wanted:
            return
        held: dict[str, Record] = {}
        for snapshot in snapshots_of(TARGET_HOST):
            held.update(snapshot["written"].records if "written" in snapshot else {})
        saved = {name: record for name, record in held.items() if name in wanted}
        written = self.at_first["written"]
        assert contents_differences({"written": replace(written, records=wanted)}, {"written": replace(written, records=saved)}) == []
        print("all %d writes that the target acknowledged are in its snapshots" % len(wanted), flush=True)

    def _serves(self, writer: Writer, side: str) -> None:
        """New writes are acknowledged by this server."""
        known = len(writer.acknowledged_by(side))
        poll(lambda: len(writer.acknowledged_by(side)) > known, 30, "writes are acknowledged by the %s" % side)
        assert writer.side == side


class Playbook:
    """ansible-playbook at work, which can be killed as its machine can."""

    def __init__(self, name: str, variables: dict[str, object] | None = None, inventory: tuple[str, ...] = INVENTORY) -> None:
        command = [str(Path(sys.executable).with_name("ansible-playbook")), "infrafabric.chromadb.%s" % name, *inventory]
        command += ["--extra-vars", json.dumps({**VARIABLES, **(variables or {})})]
        environment = {**os.environ, "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
        self.name = name
        self.log = Path(os.environ["LAB_DIR"]) / "playbook.log"
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                command, cwd=CHECKOUT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def wait(self, seconds: float = 600) -> int:
        return self._process.wait(seconds)

    def kill(self) -> str:
        """The control node is gone: the playbook, and all its connections. The next command comes from another one, which shares none of them."""
        killed = ""
        if self.running:
            os.killpg(self._process.pid, signal.SIGKILL)
            killed = "ansible-playbook %d" % self._process.pid
        self._process.wait()
        cut_connections()
        os.environ["ANSIBLE_SSH_CONTROL_PATH_DIR"] = tempfile.mkdtemp(prefix="cp", dir=os.environ["LAB_DIR"])
        return killed

    def output(self) -> str:
        return self.log.read_text()


def cut_connections() -> str:
    """Kill every ssh of the playbooks, which are those with this lab's control sockets; a playbook that runs finds its hosts unreachable."""
    killed = []
    for pid in connections():
        try:
            os.kill(pid, signal.SIGKILL)
            killed.append(str(pid))
        except ProcessLookupError:
            pass
    return "ssh %s" % ", ".join(killed) if killed else ""


def connections() -> list[int]:
    mine = (os.environ["LAB_DIR"] + "/cp").encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes()
        except OSError:
            continue
        if mine in words:
            found.append(int(path.parent.name))
    return found


# Each says what it has killed; "" where there was nothing to kill.


def kill_module() -> str:
    """The next module that is at work on the target's host, whichever it is."""
    done = on_host(TARGET_HOST, "for n in $(seq 50); do pkill -KILL --echo -f '%s' && break; sleep 0.1; done; true" % MODULE)
    return ", ".join(line.replace(" killed (pid ", " ").rstrip(")") for line in done.splitlines())


def kill_server(number: int) -> str:
    """Its process dies at once; systemd starts another one. Between two starts there is none to kill."""
    pid = "pid=$(systemctl show --property MainPID --value chromadb)"
    return on_host(number, "%s; [ $pid = 0 ] || { kill -KILL $pid && echo chroma $pid; }" % pid).strip()


def kill_source() -> str:
    return kill_server(SOURCE_HOST)


def kill_target() -> str:
    return kill_server(TARGET_HOST)


@functools.cache
def install() -> None:
    """Once for all tests of a lab; whoever takes something away clears this."""
    play(LAB / "install.yml", *INVENTORY)
