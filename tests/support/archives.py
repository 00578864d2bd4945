# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a snapshot holds, read without any code of the product, as docs/docsite/rst/snapshot_format.rst says: an archive that agrees with its own
manifest may still lack what the server held. Nothing is checked here; what cannot be read raises whatever comes."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from .raw import Contents, Record


def manifest_of(store: Path, snapshot_id: str) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((store / "manifests" / (snapshot_id + ".json")).read_bytes())
    return values


def contents_of(store: Path, snapshot_id: str) -> dict[str, Contents]:
    """The collections, as `RawChroma.contents` gives those of a server; index settings beside the space are left out."""
    return {name: _collection(store, snapshot_id, name) for name in manifest_of(store, snapshot_id)["collections"]}


def tree_of_archive(store: Path, snapshot_id: str) -> dict[str, str]:
    """The files of a stopped server: permissions, and the checksum of each file's content, by path."""
    tree, entries = manifest_of(store, snapshot_id)["tree"], _entries(_archive(store, snapshot_id))
    found = {folder["path"]: "%04o folder" % folder["mode"] for folder in tree["directories"]}
    for number, file in enumerate(tree["files"], start=1):
        content = b"".join(entries["f%04d/part_%06d.bin" % (number, part)] for part in range(file["parts"]))
        found[file["path"]] = "%04o %s" % (file["mode"], hashlib.sha256(content).hexdigest())
    return found


def _collection(store: Path, snapshot_id: str, name: str) -> Contents:
    spec = manifest_of(store, snapshot_id)["collections"][name]["spec"]
    found = Contents(spec["name"], spec["metadata"], {"hnsw": {"space": spec["space"]}}, spec["dimension"])
    decided: set[str] = set()
    wanted: str | None = snapshot_id
    while wanted is not None:
        manifest = manifest_of(store, wanted)
        part = manifest["collections"].get(name)
        if part is None:
            break
        entries = _entries(_archive(store, wanted))
        for batch in part["batches"]:
            vectors = np.load(io.BytesIO(entries["%s/%s.npy" % (part["directory"], batch)]))
            lines = _lines(entries["%s/%s.jsonl" % (part["directory"], batch)])
            for line, vector in zip(lines, vectors, strict=True):
                if line["id"] not in decided:
                    embedding = vector if line.get("embedded", True) else None
                    found.records[line["id"]] = Record(line["id"], embedding, line["document"], line["metadata"], line["uri"])
        decided.update(found.records)
        for gone in part["deleted"]:
            decided.update(_lines(entries["%s/%s.jsonl" % (part["directory"], gone)]))
        wanted = manifest["base"] and manifest["base"]["snapshot_id"]
    return found


def _archive(store: Path, snapshot_id: str) -> bytes:
    return (store / "snapshots" / (snapshot_id + ".tar.gz")).read_bytes()


@lru_cache(maxsize=8)
def _entries(archive: bytes) -> dict[str, bytes]:
    found = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            file = tar.extractfile(member)
            assert file is not None
            found[member.name] = file.read()
    return found


def _lines(data: bytes) -> list[Any]:
    return [json.loads(line) for line in data.split(b"\n")[:-1]]
