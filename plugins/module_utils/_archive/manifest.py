# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""The manifest: what a snapshot is, and every figure that its archive is checked against."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import lru_cache
from typing import Any, Callable

from .._bounded_json import MAX_NESTING, shallow_json
from .._endpoint import Endpoint
from .._errors import IntegrityError, UsageError
from .._files import read_regular_file
from .._libraries import fastjsonschema
from .._records.collection_spec import CollectionSpec, spec_from_dict
from .._records.digest import canonical_json
from .container import Entry
from .manifest_schema import MANIFEST_SCHEMA
from .store import SnapshotStore
from .tree import Tree, tree_from_dict

FORMAT_VERSION = 1
FORMAT_NAME = "infrafabric.chromadb snapshot"
RECORDS, FILES = "records", "files"
MAX_MANIFEST = 256 << 20
NAMED_IDS = 10
# What a server may say of a collection is four levels below.
MAX_LEVELS = MAX_NESTING + 4

# JSON has two spellings for these; only the one that is written is accepted, so that no flipped bit goes unseen.
UPPER_CASE_ESCAPE = re.compile(r"(?<!\\)(?:\\\\)*\\u(?![0-9a-f]{4})")


@dataclass(frozen=True)
class ServerIdentity:
    """The database that a snapshot is of, without any secret."""

    url: str
    tenant: str
    database: str

    @property
    def text(self) -> str:
        return Endpoint(self.url, self.tenant, self.database).identity


def identity_of(endpoint: Endpoint) -> ServerIdentity:
    """The database of an endpoint, as its snapshots name it."""
    return ServerIdentity(endpoint.url, endpoint.tenant, endpoint.database)


@dataclass(frozen=True)
class Consistency:
    """Whether the records held still while they were read; if not (`fuzzy`), which ones moved, by collection."""

    state: str = "consistent"
    changed_ids: Mapping[str, list[str]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return {"state": self.state, "changed_ids": {name: ids[:NAMED_IDS] for name, ids in self.changed_ids.items()}}


@dataclass(frozen=True)
class Manifest:
    """A manifest that has the right form; `values` is what the file holds."""

    values: dict[str, Any]

    @property
    def snapshot_id(self) -> str:
        return str(self.values["snapshot_id"])

    @property
    def name(self) -> str | None:
        name: str | None = self.values["name"]
        return name

    @property
    def timestamp(self) -> datetime:
        return parse_moment(self.values["timestamp"])

    @property
    def retention_until(self) -> datetime:
        return parse_moment(self.values["retention_until"])

    @property
    def status(self) -> str:
        return str(self.values["status"])

    @property
    def method(self) -> str:
        return str(self.values["method"])

    @property
    def server(self) -> ServerIdentity:
        server = self.values["server"]
        return ServerIdentity(server["url"], server["tenant"], server["database"])

    @property
    def api(self) -> str:
        return str(self.values["server"]["api"])

    @property
    def version(self) -> str | None:
        version: str | None = self.values["server"]["version"]
        return version

    @property
    def selected(self) -> bool:
        """Whether it was taken of some collections only, so that one that it lacks may have been there."""
        return "selected" in self.values

    @property
    def base_id(self) -> str | None:
        return self.values["base"]["snapshot_id"] if self.values["base"] else None

    @property
    def base_sha256(self) -> str | None:
        return self.values["base"]["manifest_sha256"] if self.values["base"] else None

    @property
    def total_chunks(self) -> int:
        return int(self.values["total_chunks"])

    @property
    def sha256(self) -> str:
        return str(self.values["manifest_sha256"])

    @property
    def plain_bytes(self) -> int:
        """How long the archive is when it is not encrypted any more."""
        return int(self.values["encryption"]["plain_bytes"] if "encryption" in self.values else self.values["archive_bytes"])

    @property
    def plain_sha256(self) -> str:
        return str(self.values["encryption"]["plain_sha256"] if "encryption" in self.values else self.values["checksum_sha256"])

    @property
    def tree(self) -> Tree:
        """The directory that a snapshot of files holds."""
        return tree_from_dict(self.values["tree"])

    @property
    def entries(self) -> list[Entry]:
        return [Entry(**entry) for entry in self.values["entries"]]

    def names(self) -> list[str]:
        """The collections, in the order in which the archive holds them."""
        collections = self.values["collections"]
        return sorted(collections, key=lambda name: int(collections[name]["directory"][1:]))

    def collection(self, name: str) -> dict[str, Any]:
        """UsageError when the snapshot has no such collection."""
        try:
            found: dict[str, Any] = self.values["collections"][name]
        except KeyError:
            raise UsageError(f"The snapshot {self.snapshot_id} has no collection {name!r}. It has: {', '.join(self.names()) or 'none'}.") from None
        return found

    def specs(self) -> list[CollectionSpec]:
        return [spec_from_dict(self.values["collections"][name]["spec"]) for name in self.names()]

    def digest(self, name: str) -> str:
        return str(self.collection(name)["digest"])

    def records(self, name: str) -> int:
        return int(self.collection(name)["total_documents"])

    def summary(self) -> dict[str, Any]:
        """Without the list of entries, which is for machines and grows with the records."""
        return {key: value for key, value in self.values.items() if key != "entries"}

    def part_entries(self) -> list[list[Entry]]:
        """The entries with the parts of each file of the tree, in the tree's order."""
        rest = iter(self.entries[1:])
        return [[next(rest) for _part in range(file.parts)] for file in self.tree.files]


def parse_moment(text: str) -> datetime:
    """ISO 8601 with an offset; ValueError otherwise."""
    moment = datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith("Z") else text)
    if moment.tzinfo is None:
        raise ValueError("it has no offset from UTC")
    return moment.astimezone(timezone.utc)


def own_sha256(values: Mapping[str, Any]) -> str:
    """What `manifest_sha256` must be."""
    return hashlib.sha256(canonical_json({key: value for key, value in values.items() if key != "manifest_sha256"})).hexdigest()


def render_manifest(values: Mapping[str, Any]) -> bytes:
    """The file's bytes: indented for people, UTF-8 (escaped where a text cannot be UTF-8)."""
    try:
        text = json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except UnicodeEncodeError:
        text = json.dumps(values, indent=1, allow_nan=False).encode("ascii")
    return text + b"\n"


def load_manifest(store: SnapshotStore, snapshot_id: str) -> Manifest:
    """The manifest of a snapshot. UsageError when there is none, IntegrityError when it is not what was written."""
    path = store.manifest_path(snapshot_id)
    try:
        data = read_regular_file(path, MAX_MANIFEST)
    except FileNotFoundError:
        raise UsageError(f"There is no snapshot {snapshot_id} in {store.directory}: {path} is missing.") from None
    except OSError as error:
        raise IntegrityError(f"The manifest {path} cannot be read: {error.strerror}.") from None
    return parse_manifest(data, snapshot_id)


def parse_manifest(data: bytes, snapshot_id: str) -> Manifest:
    """A manifest from a file's bytes, every field of the right form and its own hash right; IntegrityError otherwise."""
    try:
        text = data.decode("utf-8")
        if UPPER_CASE_ESCAPE.search(text):
            raise ValueError("an escape is not in lower case")
        values = shallow_json(text, MAX_LEVELS, object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_float=_finite)
        # Before the schema, which would say no more than that the version is not ours.
        if isinstance(values, dict) and isinstance(values.get("format_version"), int) and values["format_version"] > FORMAT_VERSION:
            raise IntegrityError(
                f"The snapshot {snapshot_id} has format version {values['format_version']}; this release reads up to {FORMAT_VERSION}. Use a newer release."
            )
        _validator()(values)
        if own_sha256(values) != values["manifest_sha256"]:
            raise ValueError("its content does not match its own manifest_sha256")
        for name in ("timestamp", "finished", "retention_until"):
            parse_moment(values[name])
    except (ValueError, RecursionError) as error:
        reason = str(error)[:300]
        raise IntegrityError(f"The manifest of {snapshot_id} is damaged or was changed: {reason}. Use another snapshot, or a copy of this one.") from None
    if values["snapshot_id"] != snapshot_id:
        raise IntegrityError(f"The manifest of {snapshot_id} belongs to {values['snapshot_id']}: the files were mixed up.")
    return Manifest(values)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key is there twice")
    return result


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value) or "E" in text:
        raise ValueError(f"{text} is no number that was written")
    return value


@lru_cache(maxsize=1)
def _validator() -> Callable[[Any], Any]:
    # JsonSchemaException is a ValueError.
    validate: Callable[[Any], Any] = fastjsonschema.compile(MANIFEST_SCHEMA)
    return validate


def size_mb(archive_bytes: int) -> float:
    return round(archive_bytes / 1e6, 3)


def reduction(archive_bytes: int, content_bytes: int) -> float:
    """By how many percent the archive is smaller than its content; never below 0."""
    return max(0.0, round(100 * (1 - archive_bytes / content_bytes), 2)) if content_bytes else 0.0


def moment_text(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).isoformat(timespec="seconds")
