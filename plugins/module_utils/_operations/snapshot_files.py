# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Copy the directory of a stopped server into an archive."""

from __future__ import annotations

from collections.abc import Sequence

from .._archive.manifest import FILES, Manifest, identity_of
from .._archive.server_directory import directory_contents, require_server_directory
from .._archive.store import RETENTION_DAYS, SnapshotStore, new_snapshot_id
from .._archive.tree import scan_tree
from .._archive.tree_writer import write_tree
from .._audit import audited
from .._endpoint import Endpoint
from .._errors import LockedError, UsageError
from .._files import require_free_space
from .._open_files import require_unused
from .._server.stopped import require_stopped
from .outcome import Context

SPACE_FACTOR = 1.02


def require_files_options(data_directory: str | None, collections: Sequence[str] | None, base: str | None) -> str:
    """The directory that is meant; UsageError for what a copy of a directory cannot do."""
    if data_directory is None:
        raise UsageError("method: files needs data_directory, the directory that the server keeps its data in.")
    if collections is not None:
        raise UsageError("method: files copies the whole directory of the server; leave collections out, or use method: records.")
    if base not in (None, "none"):
        raise UsageError("method: files always copies everything; leave base out, or use method: records.")
    return data_directory


def plan_files_snapshot(endpoint: Endpoint, store: SnapshotStore, data_directory: str, context: Context) -> tuple[str, int, list[str]]:
    """The directory, how many records it holds, and (in check mode) what would keep a run from copying it. Nothing is written."""
    directory = require_server_directory(data_directory)
    require_apart(store, directory)
    warnings = []
    try:
        require_idle(endpoint, directory)
    except LockedError as error:
        if not context.check_mode:
            raise
        warnings.append(error.message)
    require_free_space(store.directory, int(SPACE_FACTOR * scan_tree(directory).size))
    return directory, directory_contents(directory).records, warnings


def write_files_snapshot(
    endpoint: Endpoint,
    store: SnapshotStore,
    directory: str,
    *,
    name: str | None,
    retention_days: int | None,
    verify: bool,
    context: Context,
) -> Manifest:
    """Copy a directory that nobody uses. The caller holds the store's lock."""
    snapshot_id = new_snapshot_id(store, name)
    with audited(store.directory, "snapshot", snapshot_id=snapshot_id) as entry:
        entry.details = {"method": FILES, "data_directory": directory, **endpoint.remarks}
        with context.progress.phase("copy"):
            manifest = write_tree(
                store,
                snapshot_id,
                directory,
                identity_of(endpoint),
                name=name,
                retention_days=RETENTION_DAYS if retention_days is None else retention_days,
                verify=verify,
                require_unused=lambda: require_idle(endpoint, directory),
            )
    return manifest


def require_idle(endpoint: Endpoint, directory: str) -> None:
    """LockedError while the server answers, or while anybody has a file of its directory open."""
    require_stopped(endpoint)
    tree = scan_tree(directory)
    require_unused(directory, [f"{directory}/{file.path}" for file in tree.files])


def require_apart(store: SnapshotStore, directory: str) -> None:
    """UsageError when one of the two directories lies in the other."""
    if f"{store.directory}/".startswith(f"{directory}/") or f"{directory}/".startswith(f"{store.directory}/"):
        raise UsageError(f"{directory} and the snapshot directory {store.directory} lie in one another. Keep the snapshots elsewhere.")
