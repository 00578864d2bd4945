# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The notes of a pass excuse what was written since, and nothing once they cannot be relied on."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import numpy as np
import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils._errors import DiskError
from ansible_collections.infrafabric.chromadb.plugins.module_utils._records.digest import CollectionDigest
from ansible_collections.infrafabric.chromadb.plugins.module_utils._records.id_sets import IdSets
from ansible_collections.infrafabric.chromadb.plugins.module_utils._records.record_batch import RecordBatch
from ansible_collections.infrafabric.chromadb.plugins.module_utils._records.seen_records import SeenRecords, seen_records_path
from tests.support.forked import failure_with_files_of


def batch(*ids: str, text: str = "text") -> RecordBatch:
    count = len(ids)
    return RecordBatch(list(ids), np.ones((count, 2), dtype="<f4"), [text] * count, [None] * count, [{"n": 1}] * count, None)


def noted(path: Path, *ids: str, everything: bool = True, complete: bool = True) -> None:
    notes = SeenRecords.begin(str(path))
    notes.note("things", batch(*ids), "l2")
    if complete:
        notes.complete(everything)
    notes.close()


def last(path: Path) -> SeenRecords:
    notes = SeenRecords.of_last_pass(str(path))
    assert notes is not None
    return notes


def test_a_record_that_differs_from_its_note_was_written_since(tmp_path: Path) -> None:
    noted(tmp_path / "seen", "a", "b")
    notes = last(tmp_path / "seen")
    assert notes.rows_written_since("things", batch("a", "b", "new"), [0, 1, 2], "l2") == [2]
    assert notes.rows_written_since("things", batch("a", text="other"), [0], "l2") == [0]
    assert notes.rows_written_since("other", batch("a"), [0], "l2") == [0]
    assert notes.seen("things", ["a", "new"]) == {"a"}


def test_only_a_pass_that_ended_and_saw_everything_counts(tmp_path: Path) -> None:
    path = tmp_path / "seen"
    assert SeenRecords.of_last_pass(str(path)) is None
    noted(path, "a", complete=False)
    assert SeenRecords.of_last_pass(str(path)) is None
    noted(path, "a", everything=False)
    assert SeenRecords.of_last_pass(str(path)) is None
    noted(path, "a", "b")
    noted(path, "c", everything=False)
    assert last(path).seen("things", ["a", "b", "c"]) == {"a", "b", "c"}
    noted(path, "c")
    assert last(path).seen("things", ["a", "b", "c"]) == {"c"}


def test_notes_that_cannot_be_read_excuse_nothing(tmp_path: Path) -> None:
    path = tmp_path / "seen"
    noted(path, "a")
    notes = last(path)
    path.write_bytes(b"this is no database, and longer than the header of one " * 200)
    notes.close()
    assert SeenRecords.of_last_pass(str(path)) is None
    notes = SeenRecords.begin(str(path))
    notes.close()
    # Asked of notes that are closed, or that a new pass has taken away.
    broken = SeenRecords.begin(str(tmp_path / "other"))
    broken._database.execute("DROP TABLE records")
    assert broken.seen("things", ["a"]) == set()
    assert broken.rows_written_since("things", batch("a"), [0], "l2") == []
    broken.close()


@pytest.mark.parametrize("name", ["st#1", "st%41b", "st?mode=rwc", "st 1"])
def test_a_directory_is_called_what_it_likes(name: str, tmp_path: Path) -> None:
    """Notes are read by an address, in which some characters mean something else, and nothing is made beside them."""
    directory = tmp_path / name
    directory.mkdir()
    noted(directory / "seen", "a")
    notes = last(directory / "seen")
    assert notes.seen("things", ["a"]) == {"a"}
    notes.close()
    assert os.listdir(tmp_path) == [name]


def test_notes_that_cannot_be_opened_excuse_nothing(unwritable_directory: Path) -> None:
    path = unwritable_directory / "seen"
    os.chmod(unwritable_directory, 0o700)
    noted(path, "a")
    os.chmod(path, 0)
    assert SeenRecords.of_last_pass(str(path)) is None


def test_notes_that_a_crash_left_unreadable_are_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "seen"
    path.write_bytes(b"torn" * 2000)
    noted(path, "a")
    assert last(path).seen("things", ["a"]) == {"a"}


@pytest.mark.parametrize("thing", ["link", "dangling link", "second name", "pipe"])
def test_what_somebody_planted_in_the_place_of_the_notes_is_not_touched(thing: str, tmp_path: Path) -> None:
    """SQLite would follow a link, and add its tables to whatever is there."""
    path, victim = tmp_path / "seen", tmp_path / "victim"
    if thing != "dangling link":
        noted(victim, "precious")
    before = victim.read_bytes() if victim.exists() else b""
    if thing == "pipe":
        os.mkfifo(path)
    elif thing == "second name":
        os.link(victim, path)
    else:
        path.symlink_to(victim)
    with pytest.raises(DiskError, match="Remove it"):
        SeenRecords.begin(str(path))
    assert (victim.read_bytes() if victim.exists() else b"") == before
    if thing != "second name":
        assert SeenRecords.of_last_pass(str(path)) is None


@pytest.mark.parametrize("kilobytes", [20, 40, 300])
def test_notes_that_may_not_grow_fail_as_disk(kilobytes: int, tmp_path: Path) -> None:
    """EFBIG here, ENOSPC elsewhere: in the middle of a pass, or at its end, when all of it is written."""

    def note() -> None:
        notes = SeenRecords.begin(str(tmp_path / "seen"))
        try:
            for start in range(0, 40_000, 1000):
                notes.note("things", batch(*(f"{n:08}" for n in range(start, start + 1000))), "l2")
            notes.complete(everything=True)
        finally:
            notes.close()

    assert failure_with_files_of(kilobytes << 10, note).startswith(f"disk: {tmp_path}/seen cannot be written")


def test_notes_that_cannot_even_begin_are_given_up(tmp_path: Path) -> None:
    """Unreadable notes are made anew; where nothing can be written, that would go on for ever."""
    path = tmp_path / "seen"
    path.write_bytes(b"torn" * 2000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        with pytest.raises(DiskError, match=f"{path} cannot be written"):
            SeenRecords.begin(str(path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.stat().st_size == 0
    assert SeenRecords.of_last_pass(str(path)) is None
    noted(path, "a")
    assert last(path).seen("things", ["a"]) == {"a"}


@pytest.mark.parametrize("kilobytes", [1, 500])
def test_sets_of_ids_that_may_not_grow_fail_as_disk(kilobytes: int) -> None:
    def fill() -> None:
        sets = IdSets()
        sets.load("ids", ([f"{n:0100}" for n in range(start, start + 1000)] for start in range(0, 200_000, 1000)))
        list(sets.pages("ids", 1000))

    def digest() -> None:
        found = CollectionDigest()
        for start in range(0, 400_000, 10_000):
            found.add(batch(*map(str, range(start, start + 10_000))))
        found.hexdigest()

    for work in (fill, digest):
        assert "Free some space" in failure_with_files_of(kilobytes << 10, work)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="missing/seen cannot be written"):
        SeenRecords.begin(str(tmp_path / "missing" / "seen"))


def test_each_migration_has_notes_of_its_own() -> None:
    paths = {seen_records_path("/state", source, target, rules) for source in ("a", "b") for target in ("c", "d") for rules in ("e", "f")}
    assert len(paths) == 8
    assert all(path.startswith("/state/seen_") for path in paths)
