# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""What a server's directory says of itself: which databases, which collections, how many records, and which form its tables have.

Read from a stopped server's SQLite file without changing anything in it. Nothing depends on it but what people are told: a
release before 0.4 has no such file, and a damaged one is copied as it is.
"""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from .._errors import UsageError
from .._server_file import MIGRATIONS, SQLITE_FILE

# One of these is in every directory that a server has written to.
MARKS = (SQLITE_FILE, "chroma-collections.parquet", "chroma.db")

COUNTS = """
SELECT d.tenant_id, d.name, c.name, (SELECT count(*) FROM embeddings e JOIN segments s ON s.id = e.segment_id WHERE s.collection = c.id)
FROM collections c JOIN databases d ON d.id = c.database_id ORDER BY 1, 2, 3
"""


@dataclass(frozen=True)
class DirectoryContents:
    """`databases`: `{tenant, database, collections: {name: records}}`; `migrations`: the newest of each group that was applied to the tables."""

    databases: list[dict[str, Any]] = field(default_factory=list)
    migrations: dict[str, int] = field(default_factory=dict)

    @property
    def collections(self) -> int:
        return sum(len(database["collections"]) for database in self.databases)

    @property
    def records(self) -> int:
        return sum(sum(database["collections"].values()) for database in self.databases)


def require_server_directory(directory: str) -> str:
    """The directory's real path; UsageError when no Chroma server has ever written there."""
    path = os.path.realpath(directory)
    if not os.path.isdir(path):
        raise UsageError(f"data_directory: {directory} is not there, or is no directory. Give the one that the server keeps its data in.")
    if not any(os.path.lexists(os.path.join(path, mark)) for mark in MARKS):
        raise UsageError(f"data_directory: {directory} holds no {SQLITE_FILE}, so it is not where a Chroma server keeps its data.")
    return path


def directory_contents(directory: str) -> DirectoryContents:
    """What can be read; nothing where there is nothing to be read."""
    path = os.path.join(directory, SQLITE_FILE)
    # A journal that a killed server left would have to be played back first, and that would change the file.
    if not os.path.isfile(path) or os.path.lexists(f"{path}-journal") or os.path.lexists(f"{path}-wal"):
        return DirectoryContents()
    try:
        connection = sqlite3.connect(f"file:{quote(path)}?mode=ro&immutable=1", uri=True)
    except sqlite3.Error:
        return DirectoryContents()
    try:
        migrations = {str(group): int(version) for group, version in connection.execute(MIGRATIONS)}
        databases: dict[tuple[str, str], dict[str, int]] = {}
        for tenant, database, name, records in connection.execute(COUNTS):
            databases.setdefault((str(tenant), str(database)), {})[str(name)] = int(records)
    except (sqlite3.Error, ValueError):
        return DirectoryContents()
    finally:
        connection.close()
    return DirectoryContents([{"tenant": key[0], "database": key[1], "collections": found} for key, found in databases.items()], migrations)
