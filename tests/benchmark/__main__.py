# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the modules cost, as ratios against a minimal raw client in the same run: `make bench`.

    python -m tests.benchmark                     everything (about half an hour, and once longer: the large source is built and kept)
    python -m tests.benchmark case old --repeat 3 the case of 9,832 records, and the same from old servers

Seconds are those that a module returns, memory is the peak of its process. A machine that does something else as well
makes single figures meaningless and leaves ratios roughly right; --repeat takes medians.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

from tests.support.chroma_server import ChromaServer
from tests.support.raw import RawChroma
from tests.support.run_module import Apart

from .data import CASE, LARGE, SMALL, kept_source, six_collections
from .others import Others, cores
from .raw_client import PAGE, Prepared, export

MEGABYTE = 1_000_000


@dataclass
class Row:
    """One line of the table. `bound` is what `value` must not exceed."""

    name: str
    value: float
    unit: str
    bound: float | None
    remark: str = ""

    def text(self) -> str:
        verdict = "" if self.bound is None else ("ok" if self.value <= self.bound else "TOO MUCH")
        bound = "" if self.bound is None else "%g" % self.bound
        return "%-58s %9.2f %-3s %7s  %-8s %s" % (self.name, self.value, self.unit, bound, verdict, self.remark)


def ratio(name: str, seconds: list[float], reference: list[float], bound: float | None, what: str) -> Row:
    """Medians against each other."""
    ours, theirs = statistics.median(seconds), statistics.median(reference)
    return Row(name, ours / theirs, "x", bound, "%.2f s against %.2f s of %s (%d runs)" % (ours, theirs, what, len(seconds)))


class Runner:
    """Runs modules apart, and remembers the greatest memory of each."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.peaks: dict[str, int] = {}

    def __call__(self, module: str, **options: Any) -> dict[str, Any]:
        if module == "migrate":
            options["state_directory"] = str(self.directory)
        run = Apart(module, options)
        result = run.result()
        self.peaks[module] = max(self.peaks.get(module, 0), run.peak_bytes)
        return result


def case(repeat: int, directory: Path) -> Iterator[Row]:
    """9,832 records of 384 dimensions between servers of the current release."""
    run = Runner(directory)
    prepared = Prepared()
    for name, records in six_collections():
        prepared.add(name, records)
    imports, migrations = [], []
    with ChromaServer() as source_server:
        source = RawChroma(source_server.url)
        prepared.send(source)
        for _turn in range(repeat):
            with ChromaServer() as server:
                imports.append(prepared.send(RawChroma(server.url)))
            with ChromaServer() as server:
                result = run("migrate", source=source.endpoint, target=RawChroma(server.url).endpoint, batch_size=PAGE)
                migrations.append(result["seconds"])
        yield ratio("migrate %d" % CASE, migrations, imports, 1.25, "raw import")
        with ChromaServer() as target_server:
            target = RawChroma(target_server.url)
            run("migrate", source=source.endpoint, target=target.endpoint)
            yield from _differences_only(repeat, run, source, target)
            yield from _snapshots(repeat, run, target, directory, prepared)
    for module, peak in sorted(run.peaks.items()):
        yield Row("%s: memory at %d" % (module, CASE), peak / MEGABYTE, "MB", 200 if module == "validate" else 150)


def _differences_only(repeat: int, run: Runner, source: RawChroma, target: RawChroma) -> Iterator[Row]:
    both = {"source": source.endpoint, "target": target.endpoint}
    exports, again, caught_up, validated = [], [], [], []
    docs = source.collection("openwebui_docs")["id"]
    for turn in range(repeat):
        exports.append(export(source, target))
        result = run("migrate", **both)
        assert result["changed"] is False
        again.append(result["seconds"])
        ids = source.get(docs, limit=100, offset=100 * turn)["ids"]
        source.update(docs, ids=ids, documents=["changed in turn %d" % turn] * len(ids))
        result = run("migrate", **both)
        assert result["records"]["changed"] == 100, result["records"]
        caught_up.append(result["seconds"])
        result = run("validate", **both)
        assert result["decision"] == "go", result["reasons"]
        validated.append(result["seconds"])
    yield ratio("migrate again, nothing to do", again, exports, 3, "raw export of both sides")
    yield ratio("migrate again, 100 changed", caught_up, exports, 3.2, "raw export of both sides")
    yield ratio("validate", validated, exports, 3, "raw export of both sides")


def _snapshots(repeat: int, run: Runner, place: RawChroma, directory: Path, prepared: Prepared) -> Iterator[Row]:
    here = {**place.endpoint, "directory": str(directory)}
    exports, taken, verified, restored, sizes = [], [], [], [], []
    imports: list[float] = []
    mended: list[float] = []
    mended_safely: list[float] = []
    for turn in range(repeat):
        exports.append(export(place))
        result = run("snapshot", **here, name="turn%d" % turn)
        taken.append(result["seconds"])
        sizes.append(Path(result["path"]).stat().st_size / MEGABYTE)
        snapshot_id = result["snapshot"]["snapshot_id"]
        verified.append(run("snapshot_info", directory=str(directory), snapshot_id=snapshot_id, verify="full")["seconds"])
        for safety, seconds in ((False, mended), (True, mended_safely)):
            _damage(place)
            result = run("rollback", **here, snapshot_id=snapshot_id, safety_snapshot=safety)
            assert result["changed"]
            assert result["verified"]
            seconds.append(result["seconds"])
        # The import that it is measured by goes into the same server in the same state: one that was emptied.
        _empty(place)
        imports.append(prepared.send(place))
        _empty(place)
        result = run("rollback", **here, snapshot_id=snapshot_id, safety_snapshot=False)
        restored.append(result["seconds"])
    yield ratio("snapshot, verified", taken, exports, 1.6, "raw export")
    yield Row("snapshot: size", statistics.median(sizes), "MB", 17)
    yield Row("snapshot_info, verify full", statistics.median(verified), "s", 1)
    yield ratio("rollback of 1 % damage", mended, exports, 2, "raw export")
    yield ratio("rollback of 1 % damage, safety snapshot first", mended_safely, exports, 4, "raw export")
    yield ratio("rollback after the loss of everything", restored, imports, 1.25, "raw import")


def _empty(place: RawChroma) -> None:
    for name in place.names():
        place.delete_collection(name)


def files(repeat: int, directory: Path) -> Iterator[Row]:
    """The directory of a stopped server: against cp -r of it, and the restart that both need."""
    run = Runner(directory)
    prepared = Prepared()
    for name, records in six_collections():
        prepared.add(name, records)
    taken, restored, restored_safely, copied = [], [], [], []
    with ChromaServer() as server:
        place = RawChroma(server.url)
        prepared.send(place)
        here = {"url": server.url, "retries": 0, "directory": str(directory / "store"), "data_directory": str(server.directory / "data")}
        (directory / "store").mkdir()
        for turn in range(repeat):
            started = time.perf_counter()
            server.stop()
            subprocess.run(["cp", "-r", here["data_directory"], str(directory / ("copy%d" % turn))], check=True)
            server.start()
            copied.append(time.perf_counter() - started)
            for safety, seconds in ((False, restored), (True, restored_safely)):
                server.stop()
                result = run("snapshot", **here, method="files", name="turn%d%s" % (turn, "safe" if safety else ""))
                taken.append(result["seconds"])
                server.start()
                before = {collection["name"]: place.count(collection["id"]) for collection in place.collections()}
                for name in list(before)[:3]:
                    place.delete_collection(name)
                server.stop()
                result = run("rollback", **here, snapshot_id=result["snapshot"]["snapshot_id"], strategy="files", safety_snapshot=safety)
                seconds.append(result["seconds"])
                server.start()
                assert {collection["name"]: place.count(collection["id"]) for collection in place.collections()} == before
    yield ratio("snapshot of files, verified", taken, copied, 3, "cp -r and the restart")
    yield ratio("rollback of files", restored, copied, 3, "cp -r and the restart")
    yield ratio("rollback of files, safety snapshot first", restored_safely, copied, 3, "cp -r and the restart")


def _damage(place: RawChroma) -> None:
    """One record in a hundred of each collection gets another text."""
    for collection in place.collections():
        ids = place.get(collection["id"], limit=max(1, place.count(collection["id"]) // 100))["ids"]
        place.update(collection["id"], ids=ids, documents=["damaged"] * len(ids))


def memory(repeat: int, directory: Path) -> Iterator[Row]:
    """Peaks at 10,000 and at 100,000 records, and whether the ratio of migrate still holds there."""
    peaks: dict[int, dict[str, int]] = {}
    for records in (SMALL, LARGE):
        run = Runner(directory)
        with ChromaServer(directory=kept_source(records)) as source_server, ChromaServer() as target_server:
            source, target = RawChroma(source_server.url), RawChroma(target_server.url)
            taken = run("snapshot", **source.endpoint, directory=str(directory))
            migrated = run("migrate", source=source.endpoint, target=target.endpoint, batch_size=PAGE)
            run("validate", source=source.endpoint, target=target.endpoint)
            # After little damage, with a safety snapshot, and after the loss of everything.
            for harm, safety in ((_damage, True), (_empty, False)):
                harm(target)
                run("rollback", **target.endpoint, directory=str(directory), snapshot_id=taken["snapshot"]["snapshot_id"], safety_snapshot=safety)
            prepared = Prepared()
            prepared.add("benchmark", source.records(source.collection("benchmark")["id"]).values())
        with ChromaServer() as server:
            imported = prepared.send(RawChroma(server.url))
        yield ratio("migrate %d" % records, [migrated["seconds"]], [imported], 1.25, "raw import")
        peaks[records] = run.peaks
        for module, peak in sorted(run.peaks.items()):
            yield Row("%s: memory at %d" % (module, records), peak / MEGABYTE, "MB", 200 if module == "validate" else 150)
    for module in ("migrate", "rollback", "snapshot"):
        grown = (peaks[LARGE][module] - peaks[SMALL][module]) / MEGABYTE
        yield Row("%s: memory grown from %d to %d" % (module, SMALL, LARGE), grown, "MB", 40)


def old(repeat: int, directory: Path) -> Iterator[Row]:
    """From old servers: against the slower of reading them and of writing to the target.

    Whoever does both at once needs two cores for it, and more to compare; the remark says how many others took.
    """
    run = Runner(directory)
    modern, plain = Prepared(), Prepared(modern=False)
    for name, records in six_collections():
        modern.add(name, records)
        plain.add(name, records)
    for version in ("0.4.24", "0.5.23"):
        exports, imports, migrations = [], [], []
        beside_raw: list[Others] = []
        beside_ours: list[Others] = []
        with ChromaServer(version) as source_server:
            source = RawChroma(source_server.url)
            plain.send(source)
            for _turn in range(repeat):
                with Others() as others:
                    exports.append(export(source))
                beside_raw.append(others)
                with ChromaServer() as server, Others() as others:
                    imports.append(modern.send(RawChroma(server.url)))
                beside_raw.append(others)
                with ChromaServer() as server, Others() as others:
                    result = run("migrate", source=source.endpoint, target=RawChroma(server.url).endpoint, batch_size=PAGE)
                    migrations.append(result["seconds"])
                beside_ours.append(others)
        slower, what = (exports, "raw export") if statistics.median(exports) > statistics.median(imports) else (imports, "raw import")
        row = ratio("migrate %d from %s" % (CASE, version), migrations, slower, 1.3, what)
        row.remark += "; of %d cores others used %.1f and %.1f" % (os.cpu_count() or 1, cores(beside_ours), cores(beside_raw))
        yield row


SUITES: dict[str, Callable[[int, Path], Iterator[Row]]] = {"case": case, "files": files, "old": old, "memory": memory}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmark", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("suites", nargs="*", metavar="SUITE", help="of %s; all without any" % ", ".join(SUITES))
    parser.add_argument("--repeat", type=int, default=1, help="how often to measure what is compared; medians count")
    chosen = parser.parse_args(arguments)
    for unknown in set(chosen.suites) - set(SUITES):
        parser.error("%r is none of %s" % (unknown, ", ".join(SUITES)))
    rows = []
    print("%-58s %9s %-3s %7s" % ("what", "measured", "", "at most"), flush=True)
    for name in chosen.suites or SUITES:
        with tempfile.TemporaryDirectory(prefix="benchmark-") as directory:
            for row in SUITES[name](chosen.repeat, Path(directory)):
                rows.append(row)
                print(row.text(), flush=True)
    return int(any(row.bound is not None and row.value > row.bound for row in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
