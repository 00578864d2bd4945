# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The file of a running server, read beside it: what changed since a number, and when the file cannot tell."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils import _server_file
from ansible_collections.infrafabric.chromadb.plugins.module_utils._server_file import CollectionNumbers, ServerFile, UnusableFileError

TABLES = """
CREATE TABLE databases (id, name, tenant_id);
CREATE TABLE collections (id, name, database_id);
CREATE TABLE segments (id, collection, scope, type);
CREATE TABLE max_seq_id (segment_id, seq_id);
CREATE TABLE embeddings (id INTEGER PRIMARY KEY, segment_id, embedding_id, seq_id);
INSERT INTO databases VALUES ('d', 'database', 'tenant');
INSERT INTO collections VALUES ('c', 'things', 'd');
"""
SEGMENT = "INSERT INTO segments VALUES ('s', 'c', 'METADATA', 'urn:chroma:segment/metadata/sqlite')"
THINGS = CollectionNumbers("c", "things", "s", 20)


def write(directory: Path, statements: str) -> None:
    with closing(sqlite3.connect(directory / "chroma.sqlite3")) as database:
        database.executescript(statements)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[ServerFile]:
    write(tmp_path, TABLES)
    with ServerFile(str(tmp_path)) as opened:
        yield opened


def test_a_collection_without_a_segment_for_its_records_cannot_be_relied_on(file: ServerFile, tmp_path: Path) -> None:
    with pytest.raises(UnusableFileError, match="names no segment for the records of collection 'things'"):
        file.collections("tenant", "database")
    assert file.collections("tenant", "other") == []
    write(tmp_path, SEGMENT)
    assert file.collections("tenant", "database") == [CollectionNumbers("c", "things", "s", 0)]


@pytest.mark.parametrize("stored", [lambda number: number, lambda number: number.to_bytes(8, "big")], ids=["integer", "bytes"])
def test_what_was_written_since_a_number_is_found_beyond_pages_without_any(
    file: ServerFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stored: Any
) -> None:
    monkeypatch.setattr(_server_file, "ROWS_AT_ONCE", 3)
    with closing(sqlite3.connect(tmp_path / "chroma.sqlite3")) as database, database:
        # Nine of this collection, of which the third page alone is new, and a newer one of another collection.
        rows = [(row, "s", f"r{row}", stored(100 + row if row > 6 else row)) for row in range(1, 10)]
        database.executemany("INSERT INTO embeddings VALUES (?, ?, ?, ?)", [*rows, (10, "other", "theirs", stored(500))])
    assert list(file.written_after(THINGS, 50)) == [["r7", "r8", "r9"]]
    assert list(file.written_after(THINGS, 108)) == [["r9"]]
    assert list(file.written_after(THINGS, 109)) == []


def test_list_values_are_left_over_only_where_their_record_went(file: ServerFile, tmp_path: Path) -> None:
    """Releases without lists have no table of them."""
    assert file.ghosts() == 0
    write(tmp_path, "CREATE TABLE embedding_metadata_array (id, value); INSERT INTO embeddings VALUES (1, 's', 'r1', 1);")
    write(tmp_path, "INSERT INTO embedding_metadata_array VALUES (1, 'a'), (2, 'b'), (2, 'c'), (3, 'd')")
    assert file.ghosts() == 2


def test_a_file_that_is_missing_or_none_of_a_server_cannot_be_relied_on(tmp_path: Path) -> None:
    with pytest.raises(UnusableFileError, match="does not exist"):
        ServerFile(str(tmp_path))
    (tmp_path / "chroma.sqlite3").write_bytes(b"x" * 5000)
    with ServerFile(str(tmp_path)) as file, pytest.raises(UnusableFileError, match="cannot be read"):
        file.require_known_schema()
