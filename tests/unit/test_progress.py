# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a watcher of a long operation reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ansible_collections.infrafabric.chromadb.plugins.module_utils._progress import Progress


def published(path: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(path.read_text())
    return result


def test_a_phase_inside_of_another_gives_its_place_back(tmp_path: Path) -> None:
    path = tmp_path / "progress"
    progress = Progress("migrate", str(path))
    with progress.phase("import"):
        with progress.phase("transform"):
            progress.publish(force=True)
            assert published(path)["phase"] == "transform"
        progress.publish(force=True)
        assert published(path)["phase"] == "import"


def test_the_last_record_is_always_published(tmp_path: Path) -> None:
    path = tmp_path / "progress"
    progress = Progress("migrate", str(path))
    progress.expect(10)
    for _record in range(10):
        progress.advance(1)
    assert published(path)["done"] == 10


def test_a_phase_that_ends_after_another_has_begun_takes_nothing_from_it(tmp_path: Path) -> None:
    """Reading and writing overlap: what began later goes on."""
    path = tmp_path / "progress"
    progress = Progress("migrate", str(path))
    reading, writing = progress.phase("export", records=3), progress.phase("import")
    reading.__enter__()
    writing.__enter__()
    reading.__exit__(None, None, None)
    progress.publish(force=True)
    assert published(path)["phase"] == "import"
    assert [(phase.name, phase.records) for phase in progress.phases if phase.name == "export"] == [("export", 3)]
