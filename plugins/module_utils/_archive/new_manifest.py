# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""The manifest of a snapshot that has just been written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from .._errors import IntegrityError
from .container import Entry
from .layout import layout_problems
from .manifest import (
    FILES,
    FORMAT_VERSION,
    RECORDS,
    Consistency,
    Manifest,
    ServerIdentity,
    moment_text,
    own_sha256,
    parse_manifest,
    reduction,
    render_manifest,
    size_mb,
)


def build_values(
    *,
    snapshot_id: str,
    name: str | None,
    started: datetime,
    finished: datetime,
    verified: bool,
    server: ServerIdentity,
    api: str,
    version: str | None,
    consistency: Consistency,
    base: Manifest | None,
    collections: Mapping[str, Mapping[str, Any]],
    entries: list[Entry],
    archive_bytes: int,
    checksum: str,
    encryption: Mapping[str, Any] | None,
    retention_days: int,
    tree: Mapping[str, Any] | None = None,
    selected: bool = False,
) -> dict[str, Any]:
    """Every field of a manifest but its own hash."""
    content = sum(entry.size for entry in entries)
    databases = [database["collections"] for database in tree["databases"]] if tree else []
    return {
        "format_version": FORMAT_VERSION,
        "snapshot_id": snapshot_id,
        "name": name,
        "timestamp": moment_text(started),
        "finished": moment_text(finished),
        "status": "verified" if verified else "created",
        "error_message": None,
        "method": RECORDS if tree is None else FILES,
        "chromadb_url": server.url,
        "chromadb_version": version if version and re.fullmatch(r"\d+(\.\d+)*", version, re.ASCII) else None,
        "server": {"url": server.url, "tenant": server.tenant, "database": server.database, "api": api, "version": version},
        "consistency": consistency.as_dict(),
        "base": None if base is None else {"snapshot_id": base.snapshot_id, "manifest_sha256": base.sha256},
        "total_chunks": sum(collection["total_documents"] for collection in collections.values()) + sum(sum(found.values()) for found in databases),
        "total_collections": len(collections) + sum(map(len, databases)),
        "archive_bytes": archive_bytes,
        "content_bytes": content,
        "snapshot_size_mb": size_mb(archive_bytes),
        "compression_ratio": reduction(archive_bytes, content),
        "checksum_sha256": checksum,
        "retention_until": moment_text(started + timedelta(days=retention_days)),
        "collections": dict(collections),
        "batch_metadata": {key: collection["batches"] for key, collection in collections.items()},
        **({"selected": True} if selected else {}),
        **({} if tree is None else {"tree": dict(tree)}),
        **({} if encryption is None else {"encryption": dict(encryption)}),
        "entries": [entry.as_dict() for entry in entries],
    }


def seal(values: dict[str, Any]) -> Manifest:
    """Add the manifest's own hash and check the whole; IntegrityError if it is not what a reader will accept."""
    values = {**values, "manifest_sha256": own_sha256(values)}
    manifest = parse_manifest(render_manifest(values), values["snapshot_id"])
    problems = layout_problems(manifest)
    if problems:
        raise IntegrityError(f"The manifest of {manifest.snapshot_id} would be wrong: {' '.join(problems)}")
    return manifest
