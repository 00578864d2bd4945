# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Disks that are full, broken, read-only or denied, and files that may not grow: the run fails as `disk`, harms nothing, and goes on later."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Callable

import pytest

from tests.support.raw import RawChroma
from tests.support.run_module import CHECKOUT

from . import oracle
from .conftest import Tally
from .forks import Forks, Run
from .injected import FSYNC, MKDIR, RENAME, UNLINK, WRITE
from .scenarios import Attempt, Scenarios, fill, records

NAMES = ("snapshot", "incremental", "snapshot-files", "migrate", "catch-up", "rollback", "swap", "rollback-files", "prune")
AFFECTED = {"ENOSPC": (WRITE, MKDIR, RENAME), "EIO": (WRITE, FSYNC), "EACCES": (RENAME, UNLINK, MKDIR), "EDQUOT": (WRITE,)}
NOBODY = 65534


def unheeded(run: Run) -> list[str]:
    """A step went wrong, and the run said that all was well: there is no step whose failure does not matter."""
    if run.acted is None:
        return ["it never came to this step"]
    return [] if run.failed else ["it succeeded, although this step did not"]


def judged(attempt: Attempt, run: Run, forks: Forks) -> list[str]:
    """What is wrong after a run on a bad disk, and after the one on a good disk that follows it."""
    found = attempt.dead()
    attempt.failed_visibly = run.failed and bool(attempt.new_snapshots())
    if run.result is None:
        found.append("it gave no result: %s" % run.output[-300:])
    elif run.failed and run.failure_class != "disk":
        found.append("it failed as %s: %s" % (run.failure_class, run.message))
    elif run.failed and "Traceback" in run.output:
        found.append("it failed with a traceback")
    again = forks.run(attempt.module, attempt.options)
    if again.failed:
        found.append("the second run failed: %s" % again.message)
    return found + attempt.converged()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("error", list(AFFECTED))
def test_disk_error(name: str, error: str, scenarios: Scenarios, forks: Forks, tally: Tally) -> None:
    scenario = scenarios.all[name]
    attempt = scenario.attempt()
    points = [point for point in forks.run(attempt.module, attempt.options, points=True).points if point.kind in AFFECTED[error]]
    # What Ansible itself does with its own temporary directory is not the product's.
    for place, point in tally.chosen([(place, point) for place, point in enumerate(points) if "ansible" not in point.what]):
        attempt = scenario.attempt()
        run = forks.run(attempt.module, attempt.options, at=place, action=error, of=AFFECTED[error])
        tally.point(error, point, unheeded(run) + judged(attempt, run, forks))


@pytest.mark.parametrize("name", ["snapshot", "rollback", "migrate"])
def test_files_may_not_grow(name: str, scenarios: Scenarios, forks: Forks, tally: Tally) -> None:
    """RLIMIT_FSIZE: the kernel itself says EFBIG, in the middle of a write of the largest file that the run makes."""
    attempt = scenarios.all[name].attempt()
    before = sizes(attempt)
    assert not forks.run(attempt.module, attempt.options).failed
    largest = max(size for path, size in sizes(attempt).items() if size != before.get(path))
    for size in tally.chosen([largest * percent // 100 for percent in (3, 15, 30, 50, 75, 98)]):
        attempt = scenarios.all[name].attempt()
        run = forks.run(attempt.module, attempt.options, largest_file=size)
        found = judged(attempt, run, forks)
        if not run.failed:
            found.append("it succeeded")
        tally.point("EFBIG", "%d bytes" % size, found)


def test_the_notes_of_a_migration_may_not_grow(source: RawChroma, target: RawChroma, forks: Forks, tmp_path: Path, tally: Tally) -> None:
    """So many records that SQLite writes them in the middle of the pass, and at its end."""
    fill(source, {"many": (records(0, 3000, seed=9), None)})
    expected = source.contents()

    def attempt(name: str) -> Attempt:
        store, state = tmp_path / name / "store", tmp_path / name / "state"
        for path in (store, state):
            path.mkdir(mode=0o700, parents=True)
        place = RawChroma(target.url).fresh_database("fault")
        options = {"source": source.endpoint, "target": place.endpoint, "state_directory": str(state), "batch_size": 500}
        return Attempt(store, state, place, "migrate", options, {}, expected, False)

    whole = attempt("whole")
    assert not forks.run(whole.module, whole.options).failed
    largest = max(sizes(whole).values())
    for size in tally.chosen([largest * percent // 100 for percent in (15, 50, 98)]):
        one = attempt("of-%d" % size)
        run = forks.run(one.module, one.options, largest_file=size)
        tally.point("EFBIG", "%d bytes" % size, judged(one, run, forks) + ([] if run.failed else ["it succeeded"]))


def sizes(attempt: Attempt) -> dict[Path, int]:
    return {path: path.stat().st_size for place in (attempt.store, attempt.state) for path in place.rglob("*") if path.is_file()}


def allowed(*command: object) -> None:
    """Run it; where this machine does not let us, the test is left out, and says so."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("%s: %s" % (" ".join(map(str, command)), done.stderr.strip()))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "small"
    place.mkdir(mode=0o700)
    allowed("mount", "-t", "tmpfs", "-o", "size=48k,mode=0700", "tmpfs", place)
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_disk_that_is_really_full(small_disk: Path, scenarios: Scenarios, forks: Forks, tally: Tally) -> None:
    attempt = scenarios.all["snapshot"].attempt()
    attempt.store = small_disk
    options = {**attempt.options, "directory": str(small_disk)}
    (small_disk / "ballast").write_bytes(b"x" * (20 << 10))
    (small_disk / "ballast").chmod(0o600)
    run = forks.run("snapshot", options)
    found = oracle.store_violations(small_disk) + oracle.leftovers(small_disk)
    if not run.failed or run.failure_class != "disk":
        found.append("not refused as disk: %s %s" % (run.failure_class, run.message))
    tally.point("full", "48 KiB", found)
    (small_disk / "ballast").unlink()
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    assert not forks.run("snapshot", options).failed
    tally.point("full", "after room was made", attempt.converged())


@pytest.mark.parametrize("name", ["snapshot", "rollback", "migrate"])
def test_a_read_only_disk(name: str, scenarios: Scenarios, forks: Forks, tally: Tally) -> None:
    """EROFS from the first step that changes anything on."""
    attempt = scenarios.all[name].attempt()
    run = forks.run(attempt.module, attempt.options, points=True)
    first = next(point.number for point in run.points if point.kind in (MKDIR, WRITE) and "ansible" not in point.what)
    attempt = scenarios.all[name].attempt()
    run = forks.run(attempt.module, attempt.options, at=first, action="EROFS")
    found = [] if run.failed and run.failure_class == "disk" else ["not refused as disk: %s" % run.message]
    found += oracle.equality_violations(attempt.old, attempt.contents())
    tally.point("EROFS", name, found + judged(attempt, run, forks))


@contextmanager
def mounted_read_only(directory: Path) -> Iterator[None]:
    """The kernel itself says EROFS, to root too."""
    allowed("mount", "--bind", directory, directory)
    try:
        allowed("mount", "-o", "remount,bind,ro", directory)
        yield
    finally:
        subprocess.run(["umount", str(directory)], check=True)


@contextmanager
def immutable(directory: Path) -> Iterator[None]:
    """The kernel itself says EPERM, to root too."""
    allowed("chattr", "-R", "+i", directory)
    try:
        yield
    finally:
        subprocess.run(["chattr", "-R", "-i", str(directory)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount, and set attributes")
@pytest.mark.parametrize("refusing", [mounted_read_only, immutable], ids=lambda value: value.__name__)
@pytest.mark.parametrize("name", ["snapshot", "rollback", "swap", "migrate", "catch-up", "prune"])
def test_a_directory_that_refuses_root(
    name: str, refusing: Callable[[Path], AbstractContextManager[None]], scenarios: Scenarios, forks: Forks, tally: Tally
) -> None:
    attempt = scenarios.all[name].attempt()
    with refusing(attempt.store if attempt.writes_store else attempt.state):
        run = forks.run(attempt.module, attempt.options)
    found = [] if run.failed and run.failure_class == "disk" else ["not refused as disk: %s %s" % (run.failure_class, run.message)]
    found += oracle.equality_violations(attempt.old, attempt.contents())
    tally.point(refusing.__name__, name, found + judged(attempt, run, forks))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("name", ["snapshot", "rollback", "migrate"])
def test_a_denied_directory(name: str, scenarios: Scenarios, forks: Forks, tally: Tally) -> None:
    """Another user, who may neither read nor write it; modes bind them, unlike root."""
    assert CHECKOUT.exists()
    attempt = scenarios.all[name].attempt()
    run = forks.run(attempt.module, attempt.options, uid=NOBODY)
    found = [] if run.failed and run.failure_class == "disk" else ["not refused as disk: %s %s" % (run.failure_class, run.message)]
    found += oracle.equality_violations(attempt.old, attempt.contents())
    tally.point("denied", name, found + judged(attempt, run, forks))
