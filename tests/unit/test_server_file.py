# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the tables of a server's file say of its writes, and tables of which nothing is believed. That servers really write them so is tested on servers."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils import _server_file
from ansible_collections.infrafabric.chromadb.plugins.module_utils._server_file import CollectionNumbers, ServerFile, UnusableFileError

TABLES = """
CREATE TABLE databases (id, name, tenant_id);
CREATE TABLE collections (id, name, database_id);
CREATE TABLE segments (id, type, scope, collection);
CREATE TABLE max_seq_id (segment_id, seq_id);
CREATE TABLE embeddings (id INTEGER PRIMARY KEY, segment_id, embedding_id, seq_id);
INSERT INTO databases VALUES ('d1', 'database', 'tenant'), ('d2', 'another', 'tenant');
INSERT INTO collections VALUES ('c1', 'first', 'd1'), ('c2', 'second', 'd1'), ('c3', 'elsewhere', 'd2');
INSERT INTO segments VALUES ('s1', 'urn:chroma:segment/metadata/sqlite', 'METADATA', 'c1'), ('s2', 'urn:chroma:segment/metadata/sqlite', 'METADATA', 'c2');
INSERT INTO max_seq_id VALUES ('s1', 9), ('s2', X'0000000000000007');
"""


def write(directory: Path, statements: str, *rows: tuple[Any, ...]) -> None:
    with sqlite3.connect(directory / "chroma.sqlite3") as database:
        database.executescript(statements)
        database.executemany("INSERT INTO embeddings (segment_id, embedding_id, seq_id) VALUES (?, ?, ?)", rows)
    database.close()


def test_collections_of_one_database_with_their_last_writes(tmp_path: Path) -> None:
    """Releases before 1.0 keep the numbers as eight bytes."""
    write(tmp_path, TABLES)
    with ServerFile(str(tmp_path)) as file:
        assert file.collections("tenant", "database") == [CollectionNumbers("c1", "first", "s1", 9), CollectionNumbers("c2", "second", "s2", 7)]
        assert file.collections("tenant", "neither") == []


def test_a_collection_whose_records_are_kept_nowhere_makes_the_file_useless(tmp_path: Path) -> None:
    write(tmp_path, TABLES)
    with ServerFile(str(tmp_path)) as file, pytest.raises(UnusableFileError, match="names no segment for the records of collection 'elsewhere'"):
        file.collections("tenant", "another")


def test_what_was_written_comes_in_pages_and_stretches_without_it_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_server_file, "ROWS_AT_ONCE", 2)
    first = [("s1", "old", 3), ("s1", "a", 6), ("s1", "b", 9)]
    others = [("s2", "x", 7), ("s2", "y", 8), ("s2", "z", (11).to_bytes(8, "big"))]
    write(tmp_path, TABLES, first[0], first[1], others[0], others[1], first[2], others[2])
    with ServerFile(str(tmp_path)) as file:
        one, other = file.collections("tenant", "database")
        assert list(file.written_after(one, 3)) == [["a"], ["b"]]
        assert list(file.written_after(one, 9)) == []
        assert list(file.written_after(other, 7)) == [["y"], ["z"]]


def test_list_values_that_outlived_their_records_are_counted_where_there_can_be_any(tmp_path: Path) -> None:
    write(tmp_path, TABLES, ("s1", "a", 6))
    with ServerFile(str(tmp_path)) as file:
        assert file.ghosts() == 0, "releases before 1.5 have no such table"
    write(tmp_path, "CREATE TABLE embedding_metadata_array (id, key); INSERT INTO embedding_metadata_array VALUES (1, 'k'), (7, 'k'), (7, 'l'), (8, 'k');")
    with ServerFile(str(tmp_path)) as file:
        assert file.ghosts() == 2


def test_a_file_that_is_missing_or_none_of_a_server_cannot_be_relied_on(tmp_path: Path) -> None:
    with pytest.raises(UnusableFileError, match="does not exist"):
        ServerFile(str(tmp_path))
    (tmp_path / "chroma.sqlite3").write_bytes(b"x" * 5000)
    with ServerFile(str(tmp_path)) as file, pytest.raises(UnusableFileError, match="cannot be read"):
        file.require_known_schema()
