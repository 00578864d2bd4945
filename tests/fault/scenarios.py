# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Operations on small databases that can be set up again in a moment, each with what holds before and after it.

Every attempt gets a database of its own on a shared server, and copies of the directories.
"""

from __future__ import annotations

import itertools
import json
import shutil
import tarfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Callable, Optional

from tests.support import archives, trap_data
from tests.support.chroma_server import ChromaServer, free_port
from tests.support.raw import Contents, RawChroma, RawError, Record
from tests.support.run_module import run_module

from . import oracle

DIMENSION = trap_data.DIMENSION
SETTLE_SECONDS = 20.0


def records(first: int, last: int, seed: int, text: str = "document", dimension: int = DIMENSION) -> list[Record]:
    """Records with everything that a record can have, a third of them with lists, a quarter without a document."""
    rows = trap_data.vectors(last, dimension, seed)
    found = []
    for n in range(first, last):
        metadata: dict[str, Any] = {"n": n, "share": n / 7, "even": n % 2 == 0, "name": "%s %d" % (text, n)}
        if n % 3 == 0:
            metadata["list"] = [n, n + 1]
        found.append(Record("r%03d" % n, rows[n], None if n % 4 == 3 else "%s of %d" % (text, n), metadata, "file:///%d" % n if n % 5 == 0 else None))
    return found


CosineMetadata = {"hnsw:space": "cosine", "owner": "tests"}
Filled = dict[str, tuple[list[Record], Optional[dict[str, Any]]]]

# What a database should hold, and what has become of it: changed, cleared, lost and surplus records, and whole collections.
GOOD: Filled = {
    "things": (records(0, 36, seed=1), {"hnsw:space": "l2", "note": "good"}),
    "cosine": (records(0, 14, seed=2), CosineMetadata),
    "small": (records(0, 3, seed=3), None),
}


def _damaged() -> Filled:
    things = GOOD["things"][0]
    changed = [record._replace(metadata={"n": -1, "other": [1, 2]}, document="changed") for record in things[:8]]
    cleared = [record._replace(uri="other://uri", document="there") for record in things[8:16]]
    return {
        "things": (changed + cleared + things[16:28] + records(40, 46, seed=4, text="surplus"), {"hnsw:space": "l2", "note": "bad"}),
        "cosine": (GOOD["cosine"][0][:5], CosineMetadata),
        "extra": (records(0, 4, seed=5), None),
    }


DAMAGED = _damaged()
OTHER_SPACE: Filled = {**GOOD, "things": (DAMAGED["things"][0], {"hnsw:space": "ip"})}


def fill(place: RawChroma, filled: Filled) -> RawChroma:
    for name, (held, metadata) in filled.items():
        trap_data.write(place, trap_data.CollectionData(name, held, metadata))
    return place


@dataclass
class Attempt:
    """One set-up of a scenario: the directories, the database that is changed, the options of the module."""

    store: Path
    state: Path
    place: RawChroma
    module: str
    options: dict[str, Any]
    old: dict[str, Contents]
    expected: dict[str, Contents]
    writes_store: bool
    # Nobody but the tasks of the scenario writes to the database, and what they sent arrived as they sent it.
    alone: bool = field(default=True, kw_only=True)
    harmed: bool = field(default=False, kw_only=True)
    # The run failed when the snapshot was there and complete (its folder could not be synced, the audit not be ended): the next finds nothing new.
    failed_visibly: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        self.snapshots = oracle.visible(self.store)
        self.takes = self.module == "snapshot" or (self.module == "rollback" and self.options.get("safety_snapshot", True))
        self.away: list[tuple[str, str]] = []

    def new_snapshots(self) -> list[str]:
        return [snapshot_id for snapshot_id in oracle.visible(self.store) if snapshot_id not in self.snapshots]

    def contents(self) -> dict[str, Contents]:
        """What the database holds, as soon as the server can say so: a request whose client died may still be at work."""
        until = time.monotonic() + SETTLE_SECONDS
        while True:
            try:
                return self.place.contents()
            except RawError:
                if time.monotonic() > until:
                    raise

    def dead(self) -> list[str]:
        """What does not hold right after a death or a failure."""
        now = self.contents()
        journals = [self.store / "logs" / "rollback_journal.jsonl", *self.state.glob("*journal*.jsonl")]
        self.away = oracle.journalled(*journals)
        found = oracle.record_violations(self.old, self.expected, now, self.away)
        found += oracle.store_violations(self.store) + oracle.chain_violations(self.store) + self.held_otherwise()
        if self.writes_store and self.module != "migrate" and oracle.equality_violations(self.old, now) and not self._begun():
            found.append("the database was changed before the audit said so")
        return found

    def _begun(self) -> bool:
        return any(entry["action"] == self.module and entry["status"] == "initiated" for entry in oracle.audit_entries(self.store))

    def converged(self) -> list[str]:
        """What does not hold after the second run."""
        found = oracle.equality_violations(self.expected, self.contents())
        found += oracle.store_violations(self.store) + oracle.chain_violations(self.store) + self.held_otherwise() + self.untaken()
        found += oracle.mode_violations(self.store) + oracle.mode_violations(self.state) + oracle.leftovers(self.state)
        if self.writes_store:
            found += oracle.leftovers(self.store) + oracle.unended(self.store)
        return found

    def held_otherwise(self) -> list[str]:
        """Where a snapshot holds something else than the database did when it was taken."""
        found: list[str] = []
        for snapshot_id in oracle.visible(self.store):
            try:
                found += ["%s: %s" % (snapshot_id, line) for line in self._held_otherwise(snapshot_id)]
            except (OSError, KeyError, ValueError, tarfile.TarError) as error:
                found.append("%s cannot be read: %r" % (snapshot_id, error))
        return found

    def _held_otherwise(self, snapshot_id: str) -> list[str]:
        held = archives.contents_of(self.store, snapshot_id)
        if snapshot_id in self.snapshots:
            return oracle.equality_violations(self.expected, held, index_settings=False)
        if self.alone and snapshot_id == self.new_snapshots()[0]:
            return oracle.equality_violations(self.old, held, index_settings=False)
        # Later ones are of what an interrupted run left, which one that harmed records cannot be compared with.
        return [] if self.harmed else oracle.record_violations(self.old, self.expected, held, self.away)[: oracle.SHOWN]

    def untaken(self) -> list[str]:
        """A run that should have taken a snapshot, and did not."""
        return ["no snapshot was taken"] if self.takes and self.alone and not self.new_snapshots() else []


@dataclass
class QuarantineAttempt(Attempt):
    """A migration that leaves records out, and names them in a file."""

    quarantine: Path
    left_out: set[str]

    def dead(self) -> list[str]:
        return super().dead() + (self.told_otherwise() if self.quarantine.exists() else [])

    def converged(self) -> list[str]:
        beside = [path.name for path in sorted(self.quarantine.parent.iterdir()) if path != self.quarantine]
        return super().converged() + self.told_otherwise() + ["%s was left beside the quarantine file" % name for name in beside]

    def told_otherwise(self) -> list[str]:
        told = sorted(json.loads(line)["id"] for line in self.quarantine.read_text().splitlines()) if self.quarantine.exists() else None
        return [] if told == sorted(self.left_out) else ["the quarantine file names %s" % told]


@dataclass
class FilesAttempt(Attempt):
    """The directory of a stopped server: `old` and `expected` are unused, the trees take their place."""

    data: Path
    old_tree: dict[str, str]
    expected_tree: dict[str, str]

    def dead(self) -> list[str]:
        found = oracle.store_violations(self.store) + oracle.chain_violations(self.store) + self.held_otherwise()
        now = oracle.tree_of(self.data) if self.data.exists() else None
        if now not in (self.old_tree, self.expected_tree):
            found.append("the directory is %s" % ("gone" if now is None else "neither the old nor the wanted one"))
        if now != self.old_tree and not self._begun():
            found.append("the directory was changed before the audit said so")
        return found

    def converged(self) -> list[str]:
        found = oracle.store_violations(self.store) + oracle.chain_violations(self.store) + oracle.mode_violations(self.store)
        found += oracle.leftovers(self.store) + oracle.unended(self.store) + self.held_otherwise() + self.untaken()
        if not self.data.exists() or oracle.tree_of(self.data) != self.expected_tree:
            found.append("the directory is not the wanted one")
        beside = sorted(path.name for path in self.data.parent.iterdir() if path != self.data)
        if beside:
            found.append("%s was left beside the directory" % ", ".join(beside))
        told = {entry["status"] for entry in oracle.audit_entries(self.store) if entry["action"] == self.module}
        ends = {"completed", "failed"} if self.failed_visibly and self.module == "snapshot" else {"completed"}
        if "initiated" not in told or not told & ends:
            found.append("the audit says only %s of it" % sorted(told))
        return found

    def _held_otherwise(self, snapshot_id: str) -> list[str]:
        held = archives.tree_of_archive(self.store, snapshot_id)
        trees = [self.expected_tree] if snapshot_id in self.snapshots else [self.old_tree]
        if snapshot_id in self.new_snapshots()[1:]:
            trees.append(self.expected_tree)
        return [] if held in trees else ["it holds other files than the directory did"]


@dataclass
class Scenario:
    """`attempt()` sets it up anew."""

    name: str
    make: Callable[[Path], Attempt]
    directory: Path
    numbers: Any = field(default_factory=itertools.count)

    def attempt(self) -> Attempt:
        place = self.directory / ("%s-%04d" % (self.name, next(self.numbers)))
        place.mkdir(mode=0o700, parents=True)
        return self.make(place)


class Scenarios:
    """All of them on two servers."""

    def __init__(self, source: RawChroma, target: RawChroma, directory: Path) -> None:
        self._target = target
        self._directory = directory
        self._good = fill(source.fresh_database("good"), GOOD)
        self._good_contents = self._good.contents()
        self._store = directory / "store"
        self._store.mkdir(mode=0o700)
        options = {**self._good.endpoint, "directory": str(self._store)}
        self._snapshot_id: str = run_module("snapshot", {**options, "name": "good"})["snapshot"]["snapshot_id"]
        self._contents: dict[str, dict[str, Contents]] = {}
        makers = {
            "snapshot": self._snapshot,
            "incremental": self._incremental,
            "migrate": self._migrate,
            "quarantine": self._quarantine,
            "catch-up": self._catch_up,
            "rollback": self._rollback,
            "swap": self._swap,
            "prune": self._prune,
            "snapshot-files": self._snapshot_files,
            "rollback-files": self._rollback_files,
        }
        self._files: tuple[Path, str] | None = None
        self.all = {name: Scenario(name, make, directory) for name, make in makers.items()}

    def _place(self, filled: Filled, label: str) -> tuple[RawChroma, dict[str, Contents]]:
        place = fill(self._target.fresh_database("fault"), filled)
        if label not in self._contents:
            self._contents[label] = place.contents()
        return place, self._contents[label]

    def _directories(self, place: Path, with_store: bool) -> tuple[Path, Path]:
        store, state = place / "store", place / "state"
        state.mkdir(mode=0o700)
        if with_store:
            shutil.copytree(self._store, store)
        else:
            store.mkdir(mode=0o700)
        return store, state

    def _snapshot(self, place: Path) -> Attempt:
        store, state = self._directories(place, with_store=False)
        options = {**self._good.endpoint, "directory": str(store), "name": "attempt", "batch_size": 8}
        return Attempt(store, state, self._good, "snapshot", options, self._good_contents, self._good_contents, True)

    def _incremental(self, place: Path) -> Attempt:
        """On top of another one, with older ones that retention takes away."""
        store, state = self._directories(place, with_store=True)
        for number in (1, 2):
            _aged(store, self._snapshot_id, "snapshot_2024010%d_000000_old" % number)
        options = {**self._good.endpoint, "directory": str(store), "name": "attempt", "base": self._snapshot_id, "retention_days": 1, "batch_size": 8}
        return Attempt(store, state, self._good, "snapshot", options, self._good_contents, self._good_contents, True)

    def _migrate(self, place: Path) -> Attempt:
        store, state = self._directories(place, with_store=False)
        target = self._target.fresh_database("fault")
        options = {"source": self._good.endpoint, "target": target.endpoint, "state_directory": str(state), "batch_size": 8}
        return Attempt(store, state, target, "migrate", options, {}, self._good_contents, False)

    def _quarantine(self, place: Path) -> Attempt:
        """Three of the records are not as the schema wants them."""
        store, state = self._directories(place, with_store=False)
        target = self._target.fresh_database("fault")
        quarantine = place / "beside" / "quarantine.jsonl"
        quarantine.parent.mkdir(mode=0o700)
        things = self._good_contents["things"]
        kept = {name: record for name, record in things.records.items() if (record.metadata or {})["n"] <= 32}
        options = {
            "source": self._good.endpoint, "target": target.endpoint, "state_directory": str(state), "batch_size": 8, "on_invalid": "skip",
            "schema": {"fields": {"n": {"type": "integer", "maximum": 32}}}, "min_valid_ratio": 0.9, "quarantine_file": str(quarantine),
        }  # fmt: skip
        expected = {**self._good_contents, "things": replace(things, records=kept)}
        return QuarantineAttempt(store, state, target, "migrate", options, {}, expected, False, quarantine, {*things.records} - {*kept})

    def _catch_up(self, place: Path) -> Attempt:
        store, state = self._directories(place, with_store=False)
        damaged = {name: DAMAGED[name] for name in ("things", "cosine")}
        target, old = self._place(damaged, "catch-up")
        options = {"source": self._good.endpoint, "target": target.endpoint, "state_directory": str(state), "batch_size": 8, "prune": True}
        return Attempt(store, state, target, "migrate", options, old, self._good_contents, False)

    def _rollback(self, place: Path) -> Attempt:
        store, state = self._directories(place, with_store=True)
        target, old = self._place(DAMAGED, "damaged")
        options = {**target.endpoint, "directory": str(store), "snapshot_id": self._snapshot_id}
        return Attempt(store, state, target, "rollback", options, old, self._good_contents, True)

    def _swap(self, place: Path) -> Attempt:
        store, state = self._directories(place, with_store=True)
        target, old = self._place(OTHER_SPACE, "other-space")
        options = {**target.endpoint, "directory": str(store), "snapshot_id": self._snapshot_id, "safety_snapshot": False}
        return Attempt(store, state, target, "rollback", options, old, self._good_contents, True)

    def _prune(self, place: Path) -> Attempt:
        store, state = self._directories(place, with_store=True)
        for number in range(1, 6):
            _aged(store, self._snapshot_id, "snapshot_2024010%d_000000_old" % number)
        options = {"directory": str(store), "retention_days": 1}
        return Attempt(store, state, self._good, "snapshot_prune", options, self._good_contents, self._good_contents, True)

    def _stopped(self) -> tuple[Path, str]:
        """A folder with the directories `good` and `damaged` of a server, and a store with the files of the first; its snapshot's id."""
        if self._files is None:
            base = self._directory / "files"
            with ChromaServer() as server:
                fill(RawChroma(server.url), GOOD)
                server.stop()
                shutil.copytree(server.directory / "data", base / "good")
                server.start()
                live = RawChroma(server.url)
                live.delete(live.collection("things")["id"], [record.id for record in GOOD["things"][0][:9]])
                live.create("extra")
                server.stop()
                shutil.copytree(server.directory / "data", base / "damaged")
            (base / "store").mkdir(mode=0o700)
            options = {**_nobody(), "directory": str(base / "store"), "method": "files", "data_directory": str(base / "good"), "name": "good"}
            self._files = base, run_module("snapshot", options)["snapshot"]["snapshot_id"]
        return self._files

    def _files_attempt(self, place: Path, module: str, begin: str, options: dict[str, Any]) -> FilesAttempt:
        base, _snapshot_id = self._stopped()
        store, state = self._directories(place, with_store=False)
        if module == "rollback":
            store.rmdir()
            shutil.copytree(base / "store", store)
        data = place / "server" / "data"
        shutil.copytree(base / begin, data)
        options = {**_nobody(), "directory": str(store), "data_directory": str(data), **options}
        old, wanted = oracle.tree_of(data), oracle.tree_of(base / "good")
        return FilesAttempt(store, state, self._good, module, options, {}, {}, True, data, old, wanted)

    def _snapshot_files(self, place: Path) -> Attempt:
        return self._files_attempt(place, "snapshot", "good", {"method": "files", "name": "attempt"})

    def _rollback_files(self, place: Path) -> Attempt:
        return self._files_attempt(place, "rollback", "damaged", {"snapshot_id": self._stopped()[1]})


def _nobody() -> dict[str, Any]:
    """An address at which no server answers."""
    return {"url": "http://127.0.0.1:%d" % free_port(), "retries": 0}


def _aged(store: Path, snapshot_id: str, new_id: str) -> None:
    """A copy of a snapshot under an old id."""
    import importlib

    archive = "ansible_collections.infrafabric.chromadb.plugins.module_utils._archive"
    manifest, new_manifest = (importlib.import_module("%s.%s" % (archive, name)) for name in ("manifest", "new_manifest"))
    values = dict(manifest.load_manifest(_opened(store), snapshot_id).values)
    moment = "%s-%s-%sT00:00:00+00:00" % (new_id[9:13], new_id[13:15], new_id[15:17])
    values.update(snapshot_id=new_id, timestamp=moment, name="old")
    path = store / "manifests" / (new_id + ".json")
    path.write_bytes(manifest.render_manifest(new_manifest.seal(values).values))
    path.chmod(0o600)
    shutil.copy(store / "snapshots" / (snapshot_id + ".tar.gz"), store / "snapshots" / (new_id + ".tar.gz"))


def _opened(store: Path) -> Any:
    import importlib

    module = importlib.import_module("ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.store")
    return module.open_store(str(store))
