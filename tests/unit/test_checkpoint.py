# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The directory of a migration's state: its owner's alone, and not needed to say what would be done."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils._checkpoint import CheckpointFile, begin_checkpoint
from ansible_collections.infrafabric.chromadb.plugins.module_utils._errors import DiskError, UsageError


def begin(directory: Path, write: bool = True) -> CheckpointFile:
    return begin_checkpoint(str(directory), "source", "target", "rules", None, write)


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
