# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Is a snapshot what was written? Every problem is found and named, not only the first."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass

from .._encryption import EncryptionKey
from .._errors import IntegrityError, OperationError, UnsafeArchiveError, UsageError
from .._numbers import number
from .._records.digest import CollectionDigest
from .._records.distinct_ids import DistinctIds
from .._records.id_sets import IdSets
from .container import GZIP_HEADER, ContainerReader, Entry
from .encrypted import stored_sha256_is_right, wrong_sha256
from .hostile import hostile_problems
from .layout import FORMAT_ENTRY, format_content, layout_problems, spec_content
from .manifest import Manifest, load_manifest
from .reader import Layer, Snapshot, SnapshotRecordSet, known_chain, open_layers
from .store import MANIFEST_SUFFIX, SNAPSHOT_ID, SnapshotStore, archive_id, list_folder, open_store, partial_files, snapshot_ids
from .tree import unsafe_paths

LEVELS = ("none", "manifest", "full")


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a snapshot, in a sentence, and the failure class that it stands for."""

    message: str
    failure_class: str = "integrity"


def verify_snapshot(
    directory: str | SnapshotStore, snapshot_id: str, level: str = "full", expected_manifest_sha256: str | None = None
) -> list[Problem]:
    """Every problem of a snapshot and of the bases that it needs; an empty list when it can be restored.

    none      the manifest can be read
    manifest  and its figures agree, every archive is there and has the right length
    full      and every byte of every archive is what was written, every record is there once, and the digests are right

    UsageError when there is no such snapshot.
    """
    if level not in LEVELS:
        raise UsageError(f"verify must be one of {', '.join(LEVELS)}, not {level!r}.")
    store = open_store(directory)
    try:
        manifest = load_manifest(store, snapshot_id)
    except IntegrityError as error:
        return [Problem(error.message), *_file_problems(store, snapshot_id, level)]
    problems = []
    if expected_manifest_sha256 is not None and expected_manifest_sha256.strip().lower() != manifest.sha256:
        problems.append(Problem(f"The manifest of {snapshot_id} has the SHA-256 {manifest.sha256}, not the expected {expected_manifest_sha256}."))
    if level == "none":
        return problems
    chain, problem = known_chain(store, snapshot_id)
    if problem is not None:
        problems.append(Problem(problem))
    for link in chain:
        problems += [Problem(f"{link.snapshot_id}: {message}") for message in layout_problems(link)]
        if "tree" in link.values:
            problems += [Problem(f"{link.snapshot_id}: {message}", "unsafe_archive") for message in unsafe_paths(link.values["tree"])]
    archives = [(store.archive_path(link.snapshot_id), link) for link in chain]
    complete = not problems or (expected_manifest_sha256 is not None and len(problems) == 1)
    return problems + archive_problems(archives, level, store.key, complete)


def archive_problems(archives: Sequence[tuple[str, Manifest]], level: str, key: EncryptionKey | None, complete: bool = True) -> list[Problem]:
    """What is wrong with the archives of a chain (newest first). `complete`: all of the chain is here, so records can be merged.

    Of an encrypted archive, length and SHA-256 of the file are checked without the key, and what is inside with it.
    """
    problems = []
    opened = []
    for path, manifest in archives:
        try:
            if "encryption" in manifest.values and (key is None or level != "full"):
                complete = False
                if level == "full" and not stored_sha256_is_right(path, manifest):
                    problems.append(Problem(wrong_sha256(path)))
                elif level != "full":
                    ContainerReader(path, manifest.values["archive_bytes"]).close()
                continue
            opened.append(open_layers([(path, manifest)], key))
        except IntegrityError as error:
            problems += _with_hostility([Problem(error.message)], path)
    try:
        if level == "full":
            layers = [snapshot.layers[0] for snapshot in opened]
            damage = {layer: _damage(layer) for layer in layers}
            # Records are put together first: it reads most entries, and what it read is not read again below.
            of_records = record_problems(Snapshot(layers)) if complete and not problems and not any(damage.values()) else []
            of_content: list[Problem] = []
            for layer in layers:
                of_content += _with_hostility([*damage[layer], *content_problems(layer)], layer.container.path)
            # A disk that gives nothing says so of each entry in the same words.
            problems += list(dict.fromkeys(of_content)) or of_records
    finally:
        for snapshot in opened:
            snapshot.close()
    return problems


def _damage(layer: Layer) -> list[Problem]:
    """Whether the whole file is, to the bit, what was written; its content is looked at apart."""
    try:
        is_right = layer.container.has_sha256(layer.manifest.plain_sha256)
    except IntegrityError as error:
        return [Problem(error.message)]
    return [] if is_right else [Problem(wrong_sha256(layer.container.path))]


def content_problems(layer: Layer) -> list[Problem]:
    """What is wrong with the entries of one archive; those that were read before are not read again."""
    manifest, container = layer.manifest, layer.container
    problems = []
    expected = {FORMAT_ENTRY: format_content()}
    for spec in manifest.specs():
        expected[f"{manifest.collection(spec.name)['directory']}/collection.json"] = spec_content(spec)
    last: Entry | None = None
    for entry in manifest.entries:
        last = entry
        if entry.name in layer.checked:
            continue
        try:
            content = container.read(entry)
            if entry.name in expected and json.loads(content) != json.loads(expected[entry.name]):
                problems.append(Problem(f"The entry {entry.name} of {container.path} contradicts the manifest."))
        except OperationError as error:
            problems.append(Problem(error.message, error.failure_class))
        except (ValueError, RecursionError) as error:
            problems.append(Problem(f"The entry {entry.name} of {container.path} is no JSON: {error}."))
    end = last.offset + last.compressed_size if last else len(GZIP_HEADER)
    if not container.frame_is_right(end):
        problems.append(Problem(f"The archive {container.path} does not begin and end as an archive of this format does."))
    return problems


def record_problems(snapshot: Snapshot) -> list[Problem]:
    """What is wrong with the records of a chain, when they are put together."""
    problems = []
    for spec in snapshot.collections():
        record_set = snapshot.record_set(spec.name)
        digest, distinct = CollectionDigest(), DistinctIds()
        whose = f"the collection {spec.name!r} of {snapshot.manifest.snapshot_id}"
        try:
            for batch in record_set.batches():
                digest.add(batch)
                distinct.add(batch.ids)
            if distinct.count() != digest.records:
                # Almost certainly the same id twice; the slow way makes sure.
                problems += _repeated_ids(record_set, whose)
            if digest.records != record_set.count:
                problems.append(Problem(f"There are {digest.records} records, not {record_set.count}, in {whose}."))
            elif digest.hexdigest() != record_set.digest:
                problems.append(Problem(f"The digest that was taken on the server is not that of {whose}."))
        except (IntegrityError, UnsafeArchiveError) as error:
            problems.append(Problem(error.message, error.failure_class))
        finally:
            distinct.close()
            record_set.close()
    return problems


def _repeated_ids(record_set: SnapshotRecordSet, whose: str) -> list[Problem]:
    ids = IdSets()
    try:
        repeated = sum(map(len, record_set.id_pages())) - ids.load("ids", record_set.id_pages())
    finally:
        ids.close()
    return [Problem(f"{number(repeated, 'id is', 'ids are')} twice in {whose}.")] if repeated else []


def _with_hostility(problems: list[Problem], path: str) -> list[Problem]:
    """The problems of an archive, and beside them whether it looks made to do harm rather than damaged."""
    if problems:
        problems += [Problem(message, "unsafe_archive") for message in hostile_problems(path)]
    return problems


def _file_problems(store: SnapshotStore, snapshot_id: str, level: str) -> list[Problem]:
    """What can be said about the archive when its manifest cannot be read."""
    path = store.archive_path(snapshot_id)
    if level == "none":
        return []
    if not os.path.lexists(path):
        return [Problem(f"The archive {path} is missing.")]
    return [Problem(message, "unsafe_archive") for message in hostile_problems(path)] if level == "full" else []


def require_sound(directory: str | SnapshotStore, snapshot_id: str, expected_manifest_sha256: str | None = None) -> Manifest:
    """The manifest of a snapshot that has no problem; otherwise IntegrityError or UnsafeArchiveError with all of them in `details`."""
    store = open_store(directory)
    problems = verify_snapshot(store, snapshot_id, "full", expected_manifest_sha256)
    raise_for(snapshot_id, problems)
    return load_manifest(store, snapshot_id)


def raise_for(snapshot_id: str, problems: Sequence[Problem]) -> None:
    """Raise the gravest of these problems, naming them all."""
    if not problems:
        return
    unsafe = any(problem.failure_class == "unsafe_archive" for problem in problems)
    messages = [problem.message for problem in problems]
    text = f"The snapshot {snapshot_id} must not be used: {messages[0]}"
    if len(messages) > 1:
        text += f" ({number(len(messages) - 1, 'more problem')}; see problems.)"
    raise (UnsafeArchiveError if unsafe else IntegrityError)(text, problems=messages, snapshot_id=snapshot_id)


def find_orphans(directory: str | SnapshotStore) -> list[Problem]:
    """What lies in a store and belongs to no snapshot: archives without a manifest, unfinished and unknown files."""
    store = open_store(directory)
    ids = set(snapshot_ids(store))
    problems = [Problem(f"{path} is what an interrupted run left behind.") for path in partial_files(store)]
    for name in list_folder(store.snapshots):
        snapshot_id = archive_id(name)
        if snapshot_id is not None:
            if snapshot_id not in ids:
                problems.append(Problem(f"{os.path.join(store.snapshots, name)} has no manifest: its snapshot was never finished, or the manifest was lost."))
        elif not name.startswith("."):
            problems.append(Problem(f"{os.path.join(store.snapshots, name)} is no archive of this store."))
    problems += [
        Problem(f"{os.path.join(store.manifests, name)} is no manifest of this store.")
        for name in list_folder(store.manifests)
        if not name.startswith(".") and not (name.endswith(MANIFEST_SUFFIX) and SNAPSHOT_ID.fullmatch(name[: -len(MANIFEST_SUFFIX)]))
    ]
    return problems
