# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""The JSON Schema (draft-07) of a snapshot's manifest, as data: modules need it on hosts that have no other file of the collection."""

from __future__ import annotations

from typing import Any

FOLDER, BATCH_NAME, DELETED_NAME = "c[0-9]{4,9}", "batch_[0-9]{6,9}", "deleted_[0-9]{6,9}"

SHA256 = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
COUNT = {"type": "integer", "minimum": 0}
SNAPSHOT_ID = {"type": "string", "pattern": "^snapshot_[0-9]{8}_[0-9]{6}(_[A-Za-z0-9_-]{1,64})?$"}
MOMENT = {
    "type": "string",
    "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,6})?([+-][0-9]{2}:[0-9]{2}|Z)$",
}
BATCH = {"type": "string", "pattern": f"^{BATCH_NAME}$"}
OPTIONAL_TEXT = {"type": ["string", "null"]}
OPTIONAL_OBJECT = {"type": ["object", "null"]}


def _closed(properties: dict[str, Any], optional: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    """An object that has all of these properties but the optional ones, and no other."""
    required = sorted(set(properties) - set(optional))
    return {"type": "object", "required": required, "properties": properties, "additionalProperties": False, **more}


SPEC = _closed(
    {
        "name": {"type": "string", "minLength": 1},
        "metadata": OPTIONAL_OBJECT,
        "space": {"enum": ["l2", "ip", "cosine"]},
        "index": {"type": "object"},
        "embedding_function": OPTIONAL_OBJECT,
        "dimension": {"type": ["integer", "null"], "minimum": 0},
    }
)
SPEC["properties"]["schema"] = {"type": "object", "description": "Chroma's own schema of the collection, only where it is not the usual one."}

COLLECTION = _closed(
    {
        "total_documents": {**COUNT, "description": "Records of the collection as of this snapshot, those of its base included."},
        "batches": {"type": "array", "items": BATCH, "description": "The batches that this archive holds."},
        "directory": {"type": "string", "pattern": f"^{FOLDER}$", "description": "Its folder in the archive; names of collections are no file names."},
        "stored_documents": {**COUNT, "description": "Records in this archive: all of them, or in an incremental snapshot the added and changed ones."},
        "deleted_documents": {**COUNT, "description": "Ids of the base that are gone in this snapshot; 0 without a base."},
        "deleted": {"type": "array", "items": {"type": "string", "pattern": f"^{DELETED_NAME}$"}},
        "digest": {**SHA256, "description": "SHA-256 of the sorted SHA-256 of all records as of this snapshot."},
        "spec": SPEC,
    }
)

ENTRY_NAME = (
    f"^(format[.]json|{FOLDER}/(collection[.]json|{BATCH_NAME}[.](jsonl|npy)|{DELETED_NAME}[.]jsonl)|f[0-9]{{4,9}}/part_[0-9]{{6,9}}[.]bin)$"
)
ENTRY = _closed(
    {
        "name": {"type": "string", "pattern": ENTRY_NAME},
        "offset": COUNT,
        "compressed_size": {"type": "integer", "minimum": 1},
        "size": COUNT,
        "sha256": SHA256,
        "rows": {"type": ["integer", "null"], "minimum": 0},
    }
)

MODE = {"type": "integer", "minimum": 0, "maximum": 0o777}
PATH = {"type": "string", "minLength": 1, "description": "Below the directory, with slashes."}

TREE = _closed(
    {
        "mode": MODE,
        "uid": COUNT,
        "gid": COUNT,
        "directories": {"type": "array", "items": _closed({"path": PATH, "mode": MODE})},
        "files": {
            "type": "array",
            "items": _closed(
                {"path": PATH, "mode": MODE, "size": COUNT, "parts": {**COUNT, "description": "The n-th file is in f000n/part_000000.bin and so on, in a row."}}
            ),
        },
        "databases": {
            "type": "array",
            "items": _closed(
                {
                    "tenant": {"type": "string"},
                    "database": {"type": "string"},
                    "collections": {"type": "object", "additionalProperties": COUNT, "description": "Their records. Of releases before 0.4 nothing is known."},
                }
            ),
        },
        "migrations": {"type": "object", "additionalProperties": COUNT, "description": "The form of the server's tables, which depends on its release."},
    },
    description="The directory of a stopped server, in a snapshot that was made with method files.",
)

MANIFEST_SCHEMA: dict[str, Any] = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "title": "Manifest of an infrafabric.chromadb snapshot",
    "description": "One JSON file a snapshot, written last and never again. Moments are ISO 8601 in UTC, sizes are bytes unless the name says otherwise.",
    **_closed(
        {
            "format_version": {"const": 1},
            "snapshot_id": SNAPSHOT_ID,
            "name": {"type": ["string", "null"], "pattern": "^[A-Za-z0-9_-]{1,64}$"},
            "timestamp": {**MOMENT, "description": "When reading the server began."},
            "finished": {**MOMENT, "description": "When the archive was complete."},
            "status": {"enum": ["created", "verified"], "description": "verified: the archive was read back and compared before it became visible."},
            "error_message": {"type": "null", "description": "A snapshot that failed has no manifest; the audit log has its message."},
            "method": {"enum": ["records", "files"], "description": "files: the archive holds the directory of a stopped server, which tree describes."},
            "chromadb_url": {"type": "string", "pattern": "^https?://[^@]+$"},
            "chromadb_version": {"type": ["string", "null"], "pattern": "^[0-9]+([.][0-9]+)*$"},
            "server": _closed(
                {
                    "url": {"type": "string", "pattern": "^https?://[^@]+$"},
                    "tenant": {"type": "string", "minLength": 1},
                    "database": {"type": "string", "minLength": 1},
                    "api": {"type": "string"},
                    "version": OPTIONAL_TEXT,
                }
            ),
            "consistency": _closed(
                {
                    "state": {"enum": ["consistent", "fuzzy"], "description": "fuzzy: some records still changed while they were read again."},
                    "changed_ids": {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "string"}}},
                }
            ),
            "base": {
                "oneOf": [{"type": "null"}, _closed({"snapshot_id": SNAPSHOT_ID, "manifest_sha256": SHA256})],
                "description": "The snapshot that this one only stores the difference to.",
            },
            "collections": {"type": "object", "additionalProperties": COLLECTION},
            "total_chunks": {**COUNT, "description": "Records of all collections as of this snapshot."},
            "total_collections": COUNT,
            "archive_bytes": {"type": "integer", "minimum": 1},
            "content_bytes": {**COUNT, "description": "The sizes of all entries, added."},
            "snapshot_size_mb": {"type": "number", "minimum": 0, "description": "archive_bytes / 1,000,000."},
            "compression_ratio": {"type": "number", "minimum": 0, "maximum": 100, "description": "How many percent smaller the archive is than its content."},
            "checksum_sha256": {**SHA256, "description": "Of the archive file, as it is stored."},
            "retention_until": MOMENT,
            "batch_metadata": {"type": "object", "additionalProperties": {"type": "array", "items": BATCH}},
            "selected": {
                "const": True,
                "description": "Only there when it was asked for some collections: of others in the database, this snapshot knows nothing.",
            },
            "tree": TREE,
            "encryption": _closed(
                {"tool": {"enum": ["age", "gpg"]}, "plain_bytes": {"type": "integer", "minimum": 1}, "plain_sha256": SHA256},
                description="Only of an encrypted archive: what encrypted it, and length and SHA-256 of what is inside, to which the entries refer.",
            ),
            "entries": {"type": "array", "minItems": 1, "items": ENTRY},
            "manifest_sha256": {**SHA256, "description": "Of this object without this field: keys sorted, no spaces, ASCII only."},
        },
        optional=("selected", "tree", "encryption"),
    ),
}
