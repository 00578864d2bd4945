# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The file of the records that are left out: all of it, or none, whatever an earlier run left, and a disk that is full is named."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils._operations.quarantine import Quarantine
from ansible_collections.infrafabric.chromadb.plugins.module_utils._records.reasons import Reason
from ansible_collections.infrafabric.chromadb.plugins.module_utils._schema.transformation import Invalid
from tests.support.forked import failure_with_files_of, forked

WRONG = Reason("field", "pattern", "is wrong")


def left_out(path: Path, records: int) -> None:
    quarantine = Quarantine(str(path), "owner")
    try:
        for number in range(records):
            quarantine.add([Invalid("things", f"id-{number}", (WRONG,))])
        quarantine.finish()
    finally:
        quarantine.close()


def test_each_record_is_a_line(tmp_path: Path) -> None:
    left_out(tmp_path / "quarantine", 3)
    lines = [json.loads(line) for line in (tmp_path / "quarantine").read_text().splitlines()]
    assert [line["id"] for line in lines] == ["id-0", "id-1", "id-2"]
    assert [path.name for path in tmp_path.iterdir()] == ["quarantine"]


@pytest.mark.parametrize("records", [5, 5000], ids=["at its end", "in the middle"])
def test_a_file_that_may_not_grow_fails_as_disk(records: int, tmp_path: Path) -> None:
    """What is in a buffer still finds no place when it is finished, and when it is given up."""
    failure = failure_with_files_of(100, lambda: left_out(tmp_path / "quarantine", records))
    assert failure.startswith("disk: The quarantine file")
    assert "Free some space" in failure
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_is_taken_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In containers, the next run often has the same process id."""
    monkeypatch.setattr(os, "getpid", lambda: 7)

    def killed() -> None:
        Quarantine(str(tmp_path / "quarantine"), "owner").add([Invalid("things", "id-0", (WRONG,))])
        signal.raise_signal(signal.SIGKILL)

    forked(killed)
    assert len(list(tmp_path.iterdir())) == 1
    left_out(tmp_path / "quarantine", 2)
    assert [path.name for path in tmp_path.iterdir()] == ["quarantine"]
    assert len((tmp_path / "quarantine").read_text().splitlines()) == 2
    assert (tmp_path / "quarantine").stat().st_mode & 0o777 == 0o600


def test_runs_into_two_targets_do_not_take_each_others(tmp_path: Path) -> None:
    one, two = (Quarantine(str(tmp_path / "quarantine"), owner) for owner in ("one", "two"))
    for quarantine in (one, two):
        quarantine.add([Invalid("things", "id-0", (WRONG,))])
    for quarantine in (one, two):
        assert quarantine.finish()
    assert [path.name for path in tmp_path.iterdir()] == ["quarantine"]


def test_its_name_is_as_durable_as_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[tuple[str, str]] = []
    fsync = os.fsync

    def seen(descriptor: int) -> None:
        synced.append((os.readlink(f"/proc/self/fd/{descriptor}"), ",".join(sorted(path.name for path in tmp_path.iterdir()))))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", seen)
    left_out(tmp_path / "quarantine", 1)
    assert [Path(path).name for path, _names in synced] == [".quarantine.owner.partial", tmp_path.name]
    assert synced[-1] == (str(tmp_path), "quarantine")
