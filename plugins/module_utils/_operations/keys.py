# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""The key that an operation was given, and whether it needs one."""

from __future__ import annotations

from collections.abc import Iterable

from .._archive.encrypted import present_key
from .._archive.manifest import Manifest
from .._archive.store import SnapshotStore
from .._encryption import EncryptionKey, read_key


def optional_key(path: str | None) -> EncryptionKey | None:
    """UsageError when the file is no key that can be used here."""
    return None if path is None else read_key(path)


def require_key(store: SnapshotStore, manifests: Iterable[Manifest]) -> None:
    """UsageError when one of these cannot be read without a key, and there is none."""
    for manifest in manifests:
        if "encryption" in manifest.values:
            present_key(manifest, store.key)
