# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The directory of a migration's state: its owner's alone, and not needed to say what would be done."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from unittest import mock

import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils._checkpoint import CheckpointFile, begin_checkpoint
from ansible_collections.infrafabric.chromadb.plugins.module_utils._errors import DiskError, UsageError
from ansible_collections.infrafabric.chromadb.plugins.module_utils._operations.quarantine import Quarantine
from ansible_collections.infrafabric.chromadb.plugins.module_utils._records.reasons import Reason
from ansible_collections.infrafabric.chromadb.plugins.module_utils._schema.transformation import Invalid
from tests.support.forked import forked


def begin(directory: Path, write: bool = True, target: str = "target", shard: str | None = None) -> CheckpointFile:
    return begin_checkpoint(str(directory), "source", target, "rules", shard, write)


def killed_in_its_first_save(directory: Path, target: str = "target", shard: str | None = None) -> None:
    """With records that it had left out so far."""

    def run() -> None:
        checkpoint = begin(directory, target=target, shard=shard)
        Quarantine(str(directory / "quarantine.jsonl"), checkpoint.checkpoint.owner).add([Invalid("things", "id-0", (Reason("field", "pattern", "wrong"),))])
        with mock.patch.object(os, "replace", side_effect=lambda *_paths: signal.raise_signal(signal.SIGKILL)):
            checkpoint.save("import")

    forked(run)


def partials(directory: Path) -> int:
    return len(list(directory.glob(".*.partial")))


@pytest.mark.parametrize("write", [True, False])
@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770])
def test_a_directory_that_others_can_change_is_refused(mode: int, write: bool, tmp_path: Path) -> None:
    directory = tmp_path / "state"
    directory.mkdir()
    directory.chmod(mode)
    with pytest.raises(UsageError, match="chmod go-w"):
        begin(directory, write)
    directory.chmod(0o755)
    assert not begin(directory, write).resumed


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_another_user_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    directory.mkdir(mode=0o700)
    os.chown(directory, 65534, 65534)
    with pytest.raises(UsageError, match="belongs to another user"):
        begin(directory)
    # A link that somebody trusted made is a way there; what counts is where it leads.
    (tmp_path / "link").symlink_to(directory)
    with pytest.raises(UsageError, match="belongs to another user"):
        begin(tmp_path / "link")
    os.chown(directory, 0, 0)
    assert not begin(tmp_path / "link").resumed


def test_a_directory_that_is_missing_is_missed_only_where_something_is_written(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="does not exist"):
        begin(tmp_path / "missing")
    checkpoint = begin(tmp_path / "missing", write=False)
    checkpoint.save("import")
    assert list(tmp_path.iterdir()) == []


def test_what_killed_runs_left_is_cleared(tmp_path: Path) -> None:
    killed_in_its_first_save(tmp_path)
    left = sorted(path.name for path in tmp_path.iterdir())
    assert len(left) == 2
    mine = tmp_path / ".notes.partial"
    mine.touch()
    begin(tmp_path, write=False)
    assert partials(tmp_path) == 3, "check mode changes nothing"
    begin(tmp_path).save("import")
    assert [path.name.startswith("checkpoint_") for path in tmp_path.iterdir() if path != mine] == [True]
    assert mine.exists(), "only what the collection makes"


def test_what_others_have_under_way_stays(tmp_path: Path) -> None:
    """The lock of a run is on its target and shard; a run without shards has it on all of them."""
    killed_in_its_first_save(tmp_path, target="other")
    for shard in ("0/2", "1/2", "1/20"):
        killed_in_its_first_save(tmp_path, shard=shard)
    assert partials(tmp_path) == 8
    begin(tmp_path, shard="1/2")
    assert partials(tmp_path) == 6
    begin(tmp_path)
    assert partials(tmp_path) == 2
    begin(tmp_path, target="other")
    assert partials(tmp_path) == 0


def test_check_mode_leaves_a_run_by_other_rules_to_be_forgotten_by_the_next(tmp_path: Path) -> None:
    begin(tmp_path).save("import")
    (unfinished,) = tmp_path.iterdir()

    def by_other_rules(write: bool) -> CheckpointFile:
        return begin_checkpoint(str(tmp_path), "source", "target", "corrected rules", None, write)

    assert not by_other_rules(write=False).resumed
    assert list(tmp_path.iterdir()) == [unfinished], "check mode changes nothing"
    assert not by_other_rules(write=True).resumed
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_this_user_cannot_write_is_named(unwritable_directory: Path) -> None:
    with pytest.raises(DiskError, match="cannot be written by this user"):
        begin(unwritable_directory)
