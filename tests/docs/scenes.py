# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The servers of a document, by their documented addresses, and what happens to them between its commands."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Callable

from tests.support.chroma_server import ChromaServer
from tests.support.raw import RawChroma
from tests.support.run_module import CHECKOUT, run_module

sys.path.insert(0, str(CHECKOUT / "playbooks" / "files" / "demo"))
import sample_data

# Small enough that a document takes seconds: 196 records in six collections.
FRACTION = 0.02

SOURCE_ADDRESSES = ("192.0.2.10:8000",)
TARGET_ADDRESSES = ("192.0.2.20:8000", "localhost:8000", "192.0.2.21:8000")
SPARE_ADDRESSES = ("192.0.2.22:8000",)


class Servers:
    """A source and a target, and a spare server that is started when a scene wants it."""

    def __init__(self, source: ChromaServer, target: ChromaServer) -> None:
        self.source, self.target = source, target
        self.spare = ChromaServer()
        # What stands for the root of the file system of the documents.
        self.outside = Path()

    def address(self, documented: str) -> str | None:
        """HOST:PORT of the server that a documented HOST:PORT stands for."""
        for addresses, server in self._all():
            if documented in addresses and server.port:
                return "127.0.0.1:%d" % server.port
        return None

    def addresses(self, text: str) -> dict[str, str]:
        """Documented HOST:PORT to real HOST:PORT; of several names the one that the text has first."""
        found = {}
        for addresses, server in self._all():
            if server.port:
                by_place = sorted(addresses, key=lambda name: text.find(name) if name in text else len(text))
                found[by_place[0]] = "127.0.0.1:%d" % server.port
        return found

    def directories(self) -> dict[str, str]:
        """Documented directories of the servers' data to the real ones."""
        return {"/srv/chroma/source": str(self.source.directory / "data"), "/srv/chroma/target": str(self.target.directory / "data")}

    def empty(self) -> None:
        for server in (self.source, self.target):
            if not server.running:
                server.start()
            place = RawChroma(server.url)
            for name in place.names():
                place.delete_collection(name)

    def close(self) -> None:
        self.spare.close()

    def _all(self) -> list[tuple[tuple[str, ...], ChromaServer]]:
        return [(SOURCE_ADDRESSES, self.source), (TARGET_ADDRESSES, self.target), (SPARE_ADDRESSES, self.spare)]


def _write_more(server: ChromaServer) -> None:
    """What clients write while a document is being followed: ten records more, in the first collection."""
    place = sample_data.DemoServer(server.url)
    place.add(place.collections()[0]["id"], sample_data.sample_records(10, prefix="later"))


def _start_spare(servers: Servers) -> None:
    servers.spare.start()
    sample_data.load(servers.spare.url, FRACTION)


def _save_target(servers: Servers) -> None:
    store = servers.outside / "srv/chromadb/snapshots"
    store.mkdir(parents=True, mode=0o700)
    run_module("snapshot", {"url": servers.target.url, "directory": str(store), "name": "before_upgrade"})


def _directories_of_a_cutover(servers: Servers) -> None:
    (servers.outside / "target.example.com/var/lib/chromadb/snapshots").mkdir(parents=True, mode=0o700)


SCENES: dict[str, Callable[[Servers], object]] = {
    "the source holds the sample data": lambda servers: sample_data.load(servers.source.url, FRACTION),
    "the target holds the sample data": lambda servers: sample_data.load(servers.target.url, FRACTION),
    "a second target holds the sample data": _start_spare,
    "a snapshot of the target was taken before an upgrade": _save_target,
    "the target's host has the directories that a cutover leaves": _directories_of_a_cutover,
    "an accident damages the target": lambda servers: sample_data.damage(servers.target.url),
    "clients write to the source": lambda servers: _write_more(servers.source),
    "clients write to the target": lambda servers: _write_more(servers.target),
    "the target is empty": lambda servers: [RawChroma(servers.target.url).delete_collection(name) for name in RawChroma(servers.target.url).names()],
    "the target stops": lambda servers: servers.target.stop(),
    "the target starts": lambda servers: servers.target.start(),
    "the source stops": lambda servers: servers.source.stop(),
    "the source starts": lambda servers: servers.source.start(),
}
