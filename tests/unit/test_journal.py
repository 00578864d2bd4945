# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The journal: what was appended is there, whatever tore the last line."""

from __future__ import annotations

import json
import os
import resource
import signal
import stat

import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils._errors import DiskError
from ansible_collections.infrafabric.chromadb.plugins.module_utils._journal import Journal

ENTRIES = [{"step": 1, "collection": "é\n"}, {"step": 2, "nested": {"a": [1, 2.5, None]}}, {"step": 3}]


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "journal.jsonl")


def read_journal(path):
    """The entries, oldest first; a torn last line is left out."""
    with open(path, "rb") as file:
        return [json.loads(line) for line in file if line.endswith(b"\n")]


def test_entries_come_back_in_order(path):
    with Journal(path) as journal:
        for entry in ENTRIES[:2]:
            journal.append(entry)
    with Journal(path) as journal:
        journal.append(ENTRIES[2])
    assert read_journal(path) == ENTRIES
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    with pytest.raises(ValueError, match="closed"):
        journal.append({})


def test_a_line_torn_at_any_place_is_left_out_and_cut_off(path):
    with Journal(path) as journal:
        for entry in ENTRIES:
            journal.append(entry)
    with open(path, "rb") as file:
        data = file.read()
    second = len(data.split(b"\n")[2]) + 1
    for length in range(len(data) - second, len(data)):
        with open(path, "wb") as file:
            file.write(data[:length])
        assert read_journal(path) == ENTRIES[:2]
        with Journal(path) as journal:
            journal.append({"after": length})
        assert read_journal(path) == [*ENTRIES[:2], {"after": length}]


def test_a_torn_line_longer_than_one_read(path):
    with open(path, "wb") as file:
        file.write(b'{"a":1}\n' + b"x" * 200_000)
    with Journal(path) as journal:
        journal.append({"b": 2})
    assert read_journal(path) == [{"a": 1}, {"b": 2}]
    with open(path, "wb") as file:
        file.write(b"y" * 200_000)
    Journal(path).close()
    assert os.path.getsize(path) == 0


def test_a_full_disk_is_said_and_leaves_whole_lines(path):
    with Journal(path) as journal:
        journal.append({"a": 1})
        old = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (20, old[1]))
            with pytest.raises(DiskError, match="journal"):
                journal.append({"text": "x" * 100})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, old)
            signal.signal(signal.SIGXFSZ, handler)
        journal.append({"b": 2})
    assert read_journal(path) == [{"a": 1}, {"b": 2}]


def test_a_journal_is_not_written_through_a_link(path, tmp_path):
    os.symlink(tmp_path / "victim", path)
    with pytest.raises(DiskError, match="journal"):
        Journal(path)
    assert not (tmp_path / "victim").exists()


def test_a_missing_directory_is_named(tmp_path):
    with pytest.raises(DiskError, match="missing"):
        Journal(str(tmp_path / "missing" / "journal"))


def test_lines_are_plain_json(path):
    with Journal(path) as journal:
        journal.append(ENTRIES[0])
    with open(path, encoding="ascii") as file:
        assert [json.loads(line) for line in file] == ENTRIES[:1]
