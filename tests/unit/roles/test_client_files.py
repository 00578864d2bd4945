# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The pattern with which the cutover finds a setting in a client's file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

VARIABLES = yaml.safe_load((Path(__file__).resolve().parents[3] / "roles/cutover/vars/main.yml").read_text(encoding="utf-8"))
NEW = "http://192.0.2.20:8000"


def switched(text: str, key: str = "CHROMADB_URL") -> str:
    """As ansible.builtin.replace does it."""
    pattern = VARIABLES["cutover_key_before"] + re.escape(key) + VARIABLES["cutover_key_after"]
    return re.sub(pattern, rf"\g<1>{NEW}", text, flags=re.MULTILINE)


@pytest.mark.parametrize(("before", "after"), [
    ("CHROMADB_URL=http://old:1", f"CHROMADB_URL={NEW}"),
    ("export CHROMADB_URL=http://old:1", f"export CHROMADB_URL={NEW}"),
    ('CHROMADB_URL="http://old:1"', f'CHROMADB_URL="{NEW}"'),
    ("CHROMADB_URL='http://old:1'  # the database", f"CHROMADB_URL='{NEW}'  # the database"),
    ("CHROMADB_URL=", f"CHROMADB_URL={NEW}"),
    ("      CHROMADB_URL: http://old:1", f"      CHROMADB_URL: {NEW}"),
    ("      - CHROMADB_URL=http://old:1", f"      - CHROMADB_URL={NEW}"),
    ('      - "CHROMADB_URL=http://old:1"', f'      - "CHROMADB_URL={NEW}"'),
    ("A=1\nCHROMADB_URL=http://old:1\r\nB=2\n", f"A=1\nCHROMADB_URL={NEW}\r\nB=2\n"),
])
def test_the_value_is_replaced_and_nothing_else(before: str, after: str) -> None:
    assert switched(before) == after
    assert switched(after) == after


@pytest.mark.parametrize("text", [
    "# CHROMADB_URL=http://old:1",
    "OTHER_CHROMADB_URL=http://old:1",
    "CHROMADB_URL_OLD=http://old:1",
    "The setting CHROMADB_URL=http://old:1 is described here",
])
def test_what_is_no_such_setting_stays(text: str) -> None:
    assert switched(text) == text


def test_an_empty_value_does_not_take_the_next_line() -> None:
    assert switched("CHROMADB_URL=\nLOG_LEVEL=info\n") == f"CHROMADB_URL={NEW}\nLOG_LEVEL=info\n"
