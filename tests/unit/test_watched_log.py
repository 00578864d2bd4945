# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A log that is read while a server writes and rotates it: no line is missed, none comes twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils._errors import DiskError
from ansible_collections.infrafabric.chromadb.plugins.module_utils._watched_log import LONGEST_LINE_BYTES, WatchedLog


def add(path: Path, text: str) -> None:
    with open(path, "a", encoding="utf-8") as file:
        file.write(text)


def test_only_what_is_written_from_now_on_is_told(tmp_path: Path) -> None:
    path = tmp_path / "chroma.log"
    add(path, "before\n")
    log = WatchedLog(str(path))
    assert list(log.new_lines()) == []
    add(path, "one\ntwo\nhal")
    assert list(log.new_lines()) == ["one", "two"]
    add(path, "f\n")
    assert list(log.new_lines()) == ["half"]
    log.close()
    log.close()


def test_a_log_that_is_rotated_or_cut_off_loses_no_line(tmp_path: Path) -> None:
    path = tmp_path / "chroma.log"
    add(path, "before\n")
    log = WatchedLog(str(path))
    add(path, "last of the old\nwithout an end")
    path.rename(tmp_path / "chroma.log.1")
    assert list(log.new_lines()) == ["last of the old"]
    assert not log.is_there
    add(path, "first of the new\n")
    assert list(log.new_lines()) == ["without an end", "first of the new"]
    path.write_text("anew\n")
    assert list(log.new_lines()) == ["anew"]
    log.close()


def test_a_line_that_never_ends_is_told_in_pieces(tmp_path: Path) -> None:
    """Or it would be kept in memory for as long as a server writes it."""
    path = tmp_path / "chroma.log"
    path.touch()
    log = WatchedLog(str(path))
    add(path, "x" * LONGEST_LINE_BYTES)
    assert list(log.new_lines()) == []
    add(path, "y")
    assert list(log.new_lines()) == ["x" * LONGEST_LINE_BYTES + "y"]
    add(path, "z\n")
    assert list(log.new_lines()) == ["z"]
    log.close()


@pytest.mark.parametrize("thing", ["missing", "directory"])
def test_a_log_that_cannot_be_read_proves_nothing(tmp_path: Path, thing: str) -> None:
    path = tmp_path / thing
    if thing == "directory":
        path.mkdir()
    with pytest.raises(Exception, match=thing) as caught:
        WatchedLog(str(path))
    assert isinstance(caught.value, DiskError) is (thing == "missing")
