# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a shown output may differ in, and what not; and what is read from a document."""

from __future__ import annotations

from pathlib import Path

import pytest

from .document import Console, File, Scene, read_document
from .shown import by_host, difference

PRINTED = ["snapshot_20261124_032226_before: 197 records of http://192.0.2.10:8000 in 2.94 s", "ok: [one] =>", "    msg: all is", "        well", "", "end"]


@pytest.mark.parametrize(
    "shown",
    [
        PRINTED,
        ["snapshot_20250101_000000_before: 197 records of http://192.0.2.10:8000 in 0.1 s", "...", "end"],
        ["...", "msg: all is well", "...", "end"],
        ["snapshot_20250101_000000_before: 197 records ... in 12 s", "..."],
        ["..."],
    ],
)
def test_agrees(shown: list[str]) -> None:
    assert difference(shown, PRINTED) is None


@pytest.mark.parametrize(
    "shown",
    [
        PRINTED[:-1],
        PRINTED[1:],
        ["snapshot_20250101_000000_before: 198 records of http://192.0.2.10:8000 in 0.1 s", "..."],
        ["snapshot_20250101_000000_after: 197 records of http://192.0.2.10:8000 in 0.1 s", "..."],
        ["...", "msg: all is bad", "..."],
        ["...", "end", "...", "msg: all is well", "..."],
        ["all is well", "..."],
        ["...", "well"],
        ["something else"],
        ["end"],
    ],
)
def test_differs(shown: list[str]) -> None:
    assert difference(shown, PRINTED) is not None


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("data_loss_percent: 0.0", "data_loss_percent: 97.3"),
        ('"data_loss_percent": 0.0,', '"data_loss_percent": 0.1,'),
        ("valid_ratio: 1.0", "valid_ratio: 0.95"),
        ("go, 0.0 % lost", "go, 0.1 % lost"),
        ("data loss: 73.27 % of the expected records", "data loss: 73.28 % of the expected records"),
        ("98.50% valid", "95.00% valid"),
        ("12 s", "7 days 3 h"),
        ("kept for 7 days", "kept for 8 days"),
        ("1 h 00 min", "2 h 00 min"),
        ("5 MB", "5000 MB"),
        ("5 MB", "5 GB"),
        ("0.12 MB", "1200.5 MB"),
    ],
)
def test_a_result_differs(shown: str, printed: str) -> None:
    assert difference([shown], [printed]) is not None
    assert difference([shown], [shown]) is None


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("size  0.12 MB, 72.78 % smaller than its content", "size  0.13 MB, 71.9 % smaller than its content"),
        ("free space  ok  74419 MB are free.", "free space  ok  812 MB are free."),
        ("0.0 hours old, 75148 MB free.", "0.1 hours old, 975148 MB free."),
        ("migrate    1 h 00 min *   2.7 s", "migrate    1 h 00 min *   1 min 5 s"),
        ("0.7 s, 2,300 records", "12 s, 2,300 records"),
        ("migration  2.7 s", "migration  13.1 s"),
        ("duration: 2.7", "duration: 0.3"),
    ],
)
def test_what_depends_on_the_machine_does_not_differ(shown: str, printed: str) -> None:
    assert difference([shown], [printed]) is None


def test_the_bars_of_a_timeline_are_only_bars() -> None:
    shown = ["...", "copy    10 s  ==...===......", "switch   4 s  .....===...=", "total   14 s"]
    printed = ["PLAY RECAP", "copy    12 s  ==......====", "switch   5 s  ......====..", "total   17 s"]
    assert difference(shown, printed) is None
    assert difference([shown[0], *shown[2:]], printed[:2] + printed[3:]) is not None


def test_where_a_long_text_is_wrapped_does_not_count() -> None:
    shown = ["latency: 'Searches take 3.1 ms (median), 9.7 ms (95th percentile): 258 a second for", "    one client.'"]
    printed = ["latency: 'Searches take 13.8", "    ms (median), 111.7 ms (95th percentile): 19 a", "    second for one client.'"]
    assert difference(shown, printed) is None


def test_both_kinds_of_documents_are_read_alike(tmp_path: Path) -> None:
    markdown, guide = tmp_path / "a.md", tmp_path / "a.rst"
    markdown.write_text(
        "<!-- scene: the target stops -->\nWrite `b/c.yml`:\n\n```yaml\na: 1\n```\n\n<!-- exit code: 2 -->\n```console\n$ one \\\n  two\nshown\n$ three\n```\n"
        "<!-- not run: needs root -->\n```console\n$ four\n```\n"
    )
    guide.write_text(
        ".. scene: the target stops\n\n.. code-block:: yaml\n   :caption: b/c.yml\n\n   a: 1\n\n.. exit code: 2\n\n"
        ".. code-block:: console\n\n   $ one \\\n     two\n   shown\n"
        "   $ three\n\n.. not run: needs root\n\n.. code-block:: console\n\n   $ four\n"
    )
    for path in (markdown, guide):
        scene, file, first, second = read_document(path)
        assert isinstance(scene, Scene)
        assert scene.words == "the target stops"
        assert isinstance(file, File)
        assert (file.name, file.content) == ("b/c.yml", "a: 1\n")
        assert isinstance(first, Console)
        assert isinstance(second, Console)
        assert [(command.text, command.shown) for command in first.commands] == [("one \\\n  two", ["shown"]), ("three", [])]
        assert (first.exit_code, first.not_run, second.exit_code, second.not_run) == (2, None, 0, "needs root")


def test_hosts_come_in_any_order() -> None:
    one, two = ["ok: [one] => ", "    msg: a"], ["ok: [two] => ", "    msg: b"]
    assert by_host(["TASK [x]", *two, *one, "", "PLAY RECAP"]) == ["TASK [x]", *one, *two, "", "PLAY RECAP"]
    assert by_host([*one, "", *two]) == [*one, "", *two]
