# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""What lies where in an archive: the names and contents of its entries, and whether a manifest's figures for them add up."""

from __future__ import annotations

from .._records.collection_spec import CollectionSpec
from .container import GZIP_HEADER
from .encoding import encode_line
from .manifest import FILES, FORMAT_NAME, FORMAT_VERSION, Manifest, reduction, size_mb

FORMAT_ENTRY = "format.json"


def format_content() -> bytes:
    """The first entry of every archive: what this is, for somebody who has lost the manifest."""
    return encode_line({"format": FORMAT_NAME, "format_version": FORMAT_VERSION})


def spec_content(spec: CollectionSpec) -> bytes:
    """The first entry of every collection."""
    return encode_line(spec.as_dict())


def part_name(position: int, part: int) -> str:
    """The entry of a part of a file: what the file is called is in the manifest, so that no name in an archive becomes a path."""
    return f"f{position:04d}/part_{part:06d}.bin"


def expected_names(manifest: Manifest) -> list[str]:
    """The entries that the archive must hold, in order, and no others."""
    names = [FORMAT_ENTRY]
    if manifest.method == FILES:
        names += [part_name(position, part) for position, file in enumerate(manifest.tree.files, start=1) for part in range(file.parts)]
    for name in manifest.names():
        collection = manifest.collection(name)
        directory = collection["directory"]
        names.append(f"{directory}/collection.json")
        for batch in collection["batches"]:
            names += [f"{directory}/{batch}.jsonl", f"{directory}/{batch}.npy"]
        names += [f"{directory}/{part}.jsonl" for part in collection["deleted"]]
    return names


def layout_problems(manifest: Manifest) -> list[str]:
    """Where the manifest's figures contradict each other, in sentences."""
    values, collections = manifest.values, manifest.values["collections"]
    problems = []
    if (manifest.method == FILES) != ("tree" in values):
        return [f"It is said to hold {manifest.method}, and does not."]
    if manifest.base_id == manifest.snapshot_id:
        problems.append("It is said to be based on itself.")
    entries = manifest.entries
    rows = {entry.name: entry.rows for entry in entries}
    if [entry.name for entry in entries] != expected_names(manifest):
        problems.append("Its entries are not those of its collections.")
    offset = len(GZIP_HEADER)
    for entry in entries:
        if entry.offset != offset:
            problems.append(f"The entry {entry.name} does not follow the one before.")
        offset = entry.offset + entry.compressed_size
    if offset >= manifest.plain_bytes:
        problems.append("Its entries reach beyond the archive.")
    for position, name in enumerate(manifest.names(), start=1):
        collection = collections[name]
        directory = collection["directory"]
        texts = [rows.get(f"{directory}/{batch}.jsonl") for batch in collection["batches"]]
        vectors = [rows.get(f"{directory}/{batch}.npy") for batch in collection["batches"]]
        deleted = [rows.get(f"{directory}/{part}.jsonl") for part in collection["deleted"]]
        if directory != f"c{position:04d}" or collection["spec"]["name"] != name:
            problems.append(f"The collection {name!r} is not in the place of its own.")
        if texts != vectors or None in texts or sum(filter(None, texts)) != collection["stored_documents"]:
            problems.append(f"The rows of the collection {name!r} do not add up.")
        if None in deleted or sum(filter(None, deleted)) != collection["deleted_documents"]:
            problems.append(f"The deleted ids of the collection {name!r} do not add up.")
        if values["base"] is None and (collection["total_documents"] != collection["stored_documents"] or deleted):
            problems.append(f"The collection {name!r} stores a part only, but the snapshot has no base.")
        if values["batch_metadata"].get(name) != collection["batches"]:
            problems.append(f"batch_metadata is wrong for the collection {name!r}.")
    content = sum(entry.size for entry in entries)
    if manifest.method == FILES and not problems:
        problems += _tree_problems(manifest)
    databases = [database["collections"] for database in values["tree"]["databases"]] if manifest.method == FILES else []
    figures = {
        "total_chunks": sum(collection["total_documents"] for collection in collections.values()) + sum(sum(found.values()) for found in databases),
        "total_collections": len(collections) + sum(map(len, databases)),
        "content_bytes": content,
        "snapshot_size_mb": size_mb(values["archive_bytes"]),
        "compression_ratio": reduction(values["archive_bytes"], content),
        "chromadb_url": values["server"]["url"],
    }
    problems += [f"{key} is {values[key]}, not {figure}." for key, figure in figures.items() if values[key] != figure]
    if set(values["batch_metadata"]) != set(collections):
        problems.append("batch_metadata does not name its collections.")
    return problems


def _tree_problems(manifest: Manifest) -> list[str]:
    problems = []
    if manifest.values["collections"] or manifest.values["base"] is not None:
        problems.append("A snapshot of files holds no collections of its own, and has no base.")
    for file, parts in zip(manifest.tree.files, manifest.part_entries()):
        if sum(entry.size for entry in parts) != file.size:
            problems.append(f"The parts of the file {file.path!r} do not add up.")
    return problems
