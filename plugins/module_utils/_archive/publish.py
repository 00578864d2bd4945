# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""The step that makes a snapshot visible: the archive gets its name, and then the manifest is written."""

from __future__ import annotations

import os

from .._errors import DiskError
from .._files import atomic_write, disk_errors, fsync_directory
from .manifest import Manifest, render_manifest
from .store import SnapshotStore


def publish(store: SnapshotStore, manifest: Manifest, partial_path: str) -> None:
    """DiskError when it cannot be; then nothing is visible."""
    final_path = store.new_archive_path(manifest.snapshot_id)
    manifest_path = store.manifest_path(manifest.snapshot_id)
    with disk_errors(final_path, "write"):
        if os.path.lexists(final_path):
            raise DiskError(f"{final_path} appeared while the snapshot was written. Two runs use one store without its lock.")
        os.rename(partial_path, final_path)
        fsync_directory(store.snapshots)
    try:
        atomic_write(manifest_path, render_manifest(manifest.values))
    except DiskError:
        if not os.path.lexists(manifest_path):
            os.unlink(final_path)
        raise
