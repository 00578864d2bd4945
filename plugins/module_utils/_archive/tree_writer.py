# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Writes a directory into a snapshot: complete, checked and unchanged meanwhile, or never visible.

The files are stored, not compressed: while this goes on, a server is down.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Callable

from .._errors import DriftError
from .._files import disk_error, disk_errors
from .encrypted import new_container
from .layout import FORMAT_ENTRY, format_content, part_name
from .manifest import Consistency, Manifest, ServerIdentity
from .new_manifest import build_values, seal
from .publish import publish
from .server_directory import directory_contents
from .store import SnapshotStore
from .tree import PART_BYTES, scan_tree
from .verify import archive_problems, raise_for

STORED = 0


def write_tree(
    store: SnapshotStore,
    snapshot_id: str,
    directory: str,
    server: ServerIdentity,
    *,
    name: str | None,
    retention_days: int,
    verify: bool,
    require_unused: Callable[[], None],
) -> Manifest:
    """Copy a directory into a new snapshot. The caller holds the store's lock, and knows that nobody uses the directory.

    `require_unused` is asked again when everything was read, before the snapshot becomes visible.
    DriftError when a file changed while it was read.
    """
    started = datetime.now(timezone.utc)
    path = store.partial_path(snapshot_id)
    tree = scan_tree(directory)
    contents = directory_contents(directory)
    container = new_container(path, store.key)
    try:
        container.add(FORMAT_ENTRY, format_content())
        for position, file in enumerate(tree.files, start=1):
            for part, data in enumerate(_parts(os.path.join(directory, file.path), file.size)):
                container.add(part_name(position, part), data, STORED)
        checksum = container.finish()
        require_unused()
        again = scan_tree(directory)
        if (again.signature, again.directories) != (tree.signature, tree.directories):
            moved = sorted(path for path in {*tree.signature, *again.signature} if tree.signature.get(path) != again.signature.get(path))
            raise DriftError(
                f"{directory} changed while it was read ({', '.join(moved[:3]) or 'a directory'}). Stop what works there, and run this again. "
                "No snapshot was made.", files=moved[:10],
            )
        manifest = seal(
            build_values(
                snapshot_id=snapshot_id,
                name=name,
                started=started,
                finished=datetime.now(timezone.utc),
                verified=verify,
                server=server,
                api="none",
                version=None,
                consistency=Consistency(),
                base=None,
                collections={},
                entries=container.entries,
                archive_bytes=container.file_bytes,
                checksum=checksum,
                encryption=container.encryption,
                retention_days=retention_days,
                tree={**tree.as_dict(), "databases": contents.databases, "migrations": contents.migrations},
            )
        )
        if verify:
            raise_for(snapshot_id, archive_problems([(path, manifest)], "full", store.key))
        publish(store, manifest, path)
    except BaseException as error:
        container.close()
        if os.path.lexists(path):
            with disk_errors(path, "remove"):
                os.unlink(path)
        if isinstance(error, OSError):
            raise disk_error(directory, error, "read") from error
        raise
    return manifest


def _parts(path: str, size: int) -> Iterator[bytes]:
    """The content of a file that must be as long as it was when it was found."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        while size > 0:
            data = file.read(min(PART_BYTES, size))
            if len(data) < min(PART_BYTES, size):
                raise DriftError(f"{path} became shorter while it was read. Stop what works there, and run this again. No snapshot was made.")
            size -= len(data)
            yield data
