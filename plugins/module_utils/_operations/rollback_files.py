# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Put the directory of a stopped server back."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

from .._archive.catalogue import of_another_server
from .._archive.encrypted import open_container
from .._archive.manifest import FILES, RECORDS, Manifest, identity_of, load_manifest
from .._archive.server_directory import directory_contents, require_server_directory
from .._archive.store import SAFETY_NAME, SAFETY_RETENTION_DAYS, SnapshotStore
from .._archive.tree import TreeDifference, compare_tree
from .._archive.tree_restoration import TreeRestoration
from .._archive.verify import require_sound
from .._audit import audited, read_audit, unfinished_rollbacks
from .._endpoint import Endpoint
from .._errors import DriftError, LockedError, UsageError
from .._open_files import require_unused
from .._server.stopped import require_stopped
from .keys import require_key
from .new_writes import DISCARDED, cutover_since
from .outcome import Context, Outcome
from .snapshot_files import require_apart, require_idle, write_files_snapshot

NAMED_AT_MOST = 20


def wanted_method(strategy: str, data_directory: str | None) -> str | None:
    """Which kind of snapshot `latest` and a moment mean; None for either."""
    if strategy == "files":
        return FILES
    if strategy != "auto" and data_directory is not None:
        raise UsageError(f"data_directory belongs to strategy: files, and strategy is {strategy}. Leave one of them out.")
    return RECORDS if data_directory is None else None


def holds_files(store: SnapshotStore, snapshot_id: str, strategy: str) -> bool:
    """Whether a snapshot is put back as files; UsageError when the strategy does not go with it."""
    method = load_manifest(store, snapshot_id).method
    if strategy != "auto" and (method == FILES) != (strategy == "files"):
        raise UsageError(
            f"{snapshot_id} was made with method: {method}, so strategy: {strategy} cannot bring it back. Leave strategy out, or use another snapshot."
        )
    return method == FILES


def rollback_files(
    endpoint: Endpoint,
    store: SnapshotStore,
    snapshot_id: str,
    *,
    data_directory: str | None,
    whole: bool,
    asked: bool,
    to_a_moment: bool,
    safety_snapshot: bool,
    discard_new_writes: bool,
    trigger: str,
    reason: str | None,
    expected_manifest_sha256: str | None,
    context: Context,
) -> Outcome:
    """Make a directory what the snapshot says; in check mode, say what that would change.

    It is built beside the one that is there, read back, and exchanged with it. The one that was there goes when nobody has begun to use it meanwhile.
    The caller holds the locks.
    """
    if data_directory is None:
        raise UsageError(f"{snapshot_id} holds the files of a server: give data_directory, and stop the server.")
    if not whole:
        raise UsageError(f"{snapshot_id} holds the files of a whole server, and they come back together: leave collections and remove_extra_collections out.")
    directory = _target(data_directory)
    require_apart(store, directory)
    progress, check_mode = context.progress, context.check_mode
    warnings = _require_idle(endpoint, directory, context)
    with progress.phase("verify_snapshot"):
        manifest = require_sound(store, snapshot_id, expected_manifest_sha256=expected_manifest_sha256)
        require_key(store, [manifest])
    restoration = TreeRestoration(manifest, directory)
    restoration.require_possible()
    if not check_mode:
        restoration.clean()
    with progress.phase("compare"):
        difference = compare_tree(manifest.tree, [[entry.sha256 for entry in parts] for parts in manifest.part_entries()], directory)
    changed = not difference.empty
    guard = cutover_since(store, manifest, endpoint.identity, whole_server=True) if changed else None
    if guard and not discard_new_writes:
        words = guard.words(snapshot_id)
        if not check_mode:
            raise DriftError(words)
        warnings.append(words)
    warnings += read_audit(store.directory, 0).problems[:1]
    if changed:
        warnings += of_another_server(manifest, identity_of(endpoint)) + _other_release(manifest, directory)
    safety_snapshot_id = None
    rollback_type = "point_in_time" if to_a_moment else "full"
    told: dict[str, Any] = {"server": endpoint.identity, "collections": None, "data_directory": directory, **endpoint.remarks}
    if guard:
        told[DISCARDED] = list(guard.servers)
    begin = partial(
        audited, store.directory, "rollback", snapshot_id=snapshot_id, trigger=trigger, rollback_type=rollback_type, reason=reason, details=told
    )
    if changed and not check_mode:
        with begin() as entry:
            if (safety_snapshot or guard) and os.path.lexists(directory):
                with progress.phase("safety_snapshot"):
                    safety_snapshot_id = write_files_snapshot(
                        endpoint, store, directory, name=SAFETY_NAME, retention_days=SAFETY_RETENTION_DAYS, verify=True, context=Context()
                    ).snapshot_id
                entry.details["safety_snapshot_id"] = safety_snapshot_id
            with progress.phase("restore", records=manifest.total_chunks):
                _restore(endpoint, store, restoration)
            entry.rollback_success = True
    elif not check_mode and snapshot_id in dict(unfinished_rollbacks(store.directory, endpoint.identity)):
        # A run that was killed after the exchange had reached the snapshot; nobody has said so yet.
        with begin() as entry:
            entry.rollback_success = True
    returns = {
        "snapshot_id": snapshot_id,
        "rollback_type": rollback_type,
        "strategy": "files",
        "strategy_reason": "It was asked for." if asked else f"{snapshot_id} holds files.",
        "collections": [],
        "verified": not check_mode,
        "safety_snapshot_id": safety_snapshot_id,
        "phases": [phase.as_dict() for phase in progress.phases],
    }
    return Outcome(changed, progress.seconds, returns, [_diff(directory, difference)] if changed else [], warnings)


def _target(data_directory: str) -> str:
    """The directory that is brought back: one that a server has written to, an empty one, or one that is gone."""
    if not os.path.lexists(data_directory) or (os.path.isdir(data_directory) and not os.listdir(data_directory)):
        return os.path.realpath(data_directory)
    return require_server_directory(data_directory)


def _require_idle(endpoint: Endpoint, directory: str, context: Context) -> list[str]:
    try:
        if os.path.lexists(directory):
            require_idle(endpoint, directory)
        else:
            require_stopped(endpoint)
    except LockedError as error:
        if not context.check_mode:
            raise
        return [error.message]
    return []


def _restore(endpoint: Endpoint, store: SnapshotStore, restoration: TreeRestoration) -> None:
    manifest = restoration.manifest
    container = open_container(store.archive_path(manifest.snapshot_id), manifest, store.key)
    try:
        restoration.build(container)
        _require_idle(endpoint, restoration.target, Context())
        restoration.exchange()
        try:
            # Whoever came between the question and the exchange has the old files open, and would write to them for nothing.
            require_unused(restoration.aside, restoration.old_files())
        except BaseException:
            restoration.undo()
            raise
        restoration.discard()
    except BaseException:
        restoration.abandon()
        raise
    finally:
        container.close()


def _other_release(manifest: Manifest, directory: str) -> list[str]:
    """A warning when the tables there have another form than those of the snapshot: then another release wrote them."""
    now, then = directory_contents(directory).migrations, manifest.values["tree"]["migrations"]
    if not now or not then or now == then:
        return []
    return [
        f"{manifest.snapshot_id} was written by another release of Chroma than what is in {directory} now. Start the release that the server had "
        "then: another one changes the files for ever, and may fail on them."
    ]


def _diff(directory: str, difference: TreeDifference) -> dict[str, str]:
    """Ansible's diff: the files that would go and come."""
    before = [*difference.deleted, *difference.changed]
    after = [*difference.added, *difference.changed]
    header = f"{directory}: +{len(difference.added)} ~{len(difference.changed)} -{len(difference.deleted)} files"
    lines = {
        name: "".join(f"{path}{mark if path in difference.changed else ''}\n" for path in sorted(paths)[:NAMED_AT_MOST])
        for name, paths, mark in (("before", before, " (as it is)"), ("after", after, " (as in the snapshot)"))
    }
    return {"before_header": header, "after_header": header, **lines}
