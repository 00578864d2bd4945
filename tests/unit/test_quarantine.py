# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The file of the records that are left out: all of it, or none, and a disk that is full is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils._operations.quarantine import Quarantine
from ansible_collections.infrafabric.chromadb.plugins.module_utils._schema.transformation import Invalid
from tests.support.forked import failure_with_files_of


def left_out(path: Path, records: int) -> None:
    quarantine = Quarantine(str(path))
    try:
        for number in range(records):
            quarantine.add([Invalid("things", f"id-{number}", ["wrong"])])
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
