# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Prometheus' text format knows three escapes, and a file with another one is refused as a whole."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils._errors import DiskError
from ansible_collections.infrafabric.chromadb.plugins.module_utils._prometheus import Metric, check_textfile, write_textfile


def test_whatever_stands_in_a_label_is_escaped_or_replaced(tmp_path: Path) -> None:
    metric = Metric("chromadb_records", "Records\\of a\ncollection.").add(3.0, collection='a"b\\c\nd\ud800é').add(None, collection="left out")
    write_textfile(str(tmp_path / "figures.prom"), [metric])
    assert (tmp_path / "figures.prom").read_text(encoding="utf-8").split("\n") == [
        "# HELP chromadb_records Records\\\\of a\\ncollection.",
        "# TYPE chromadb_records gauge",
        'chromadb_records{collection="a\\"b\\\\c\\nd?é"} 3',
        "",
    ]
    assert set(re.findall(r"\\(.)", (tmp_path / "figures.prom").read_text(encoding="utf-8"))) <= set('\\"n')


def test_a_directory_that_takes_no_file_is_known_before_the_long_work(unwritable_directory: Path) -> None:
    with pytest.raises(DiskError, match=r"cannot be written by this user. Change its owner or mode") as caught:
        check_textfile(str(unwritable_directory / "figures.prom"))
    assert caught.value.details["path"] == str(unwritable_directory / "figures.prom")
