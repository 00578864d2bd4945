#!/usr/bin/python

# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rollback
short_description: Bring a Chroma database back to the state of a snapshot
version_added: 1.0.0
author: InfraFabric (@infrafabric)
description:
  - Verifies a snapshot, compares the database with it, writes the difference, and verifies the result record by record.
  - Records that are as they should be are not written again.
  - It refuses to lose what was written to the database after a cutover, see O(discard_new_writes).
extends_documentation_fragment:
  - infrafabric.chromadb.endpoint
  - infrafabric.chromadb.store
  - infrafabric.chromadb.progress
  - infrafabric.chromadb.attributes
  - infrafabric.chromadb.attributes.actiongroup
  - infrafabric.chromadb.attributes.changes
options:
  snapshot_id:
    description:
      - The id of the snapshot, or V(latest).
      - V(latest) is the newest verified snapshot of this server, tenant and database. If the store holds only those of
        one other server, it is the newest of these.
      - Neither V(latest) nor O(point_in_time) means a snapshot that a rollback took before it began. Such a one has an id.
    type: str
  point_in_time:
    description:
      - The newest verified snapshot that was begun then or before. A time in ISO 8601 with its offset from UTC.
      - A warning says when that snapshot was not finished by then, so that it may hold what was written after the moment.
    type: str
  collections:
    description: The names of the collections to bring back. Without it, all of the snapshot.
    type: list
    elements: str
  strategy:
    description:
      - V(in_place) writes the difference into the collections as they are.
      - V(swap) builds each collection beside the old one, and then exchanges their names.
      - V(files) puts the directory of a stopped server back, from a snapshot that was made with C(method=files). It builds the
        directory beside the one that is there, reads it back, and exchanges the two in one step. Everything in it comes back together, so it goes
        with neither O(collections) nor O(remove_extra_collections=false).
      - V(auto) is V(files) for a snapshot of files. For one of records it is V(in_place), and V(swap) for a
        collection that differs in what Chroma cannot change, such as its distance or its dimension. RV(strategy_reason) says it.
    type: str
    choices:
      - auto
      - in_place
      - swap
      - files
    default: auto
  data_directory:
    description:
      - The directory of the stopped server, for O(strategy=files).
      - With it and O(strategy=auto), V(latest) and O(point_in_time) mean the newest snapshot of either kind; without it, of records.
      - The files will belong to whom the directory belongs to now.
    type: path
  remove_extra_collections:
    description:
      - Whether to delete collections that the snapshot does not have.
      - Without it, they are deleted when the whole snapshot is brought back, and are left alone when O(collections) names some.
      - A snapshot that was taken of some collections does not know which others there were. Without this option, it leaves them alone.
    type: bool
  safety_snapshot:
    description:
      - Whether to take a snapshot of the database as it is, before anything is changed.
      - It is taken in any case where O(discard_new_writes) takes away what clients wrote.
    type: bool
    default: true
  discard_new_writes:
    description:
      - Whether records that the database accepted after a cutover may be taken out of it.
      - Without it, the module refuses when there are any. They are saved in a snapshot first in any case.
    type: bool
    default: false
  trigger:
    description: What made the rollback necessary, for the audit log.
    type: str
    choices:
      - manual
      - automatic
      - time_based
    default: manual
  reason:
    description: Why it is done, in a sentence for the audit log.
    type: str
  expected_manifest_sha256:
    description:
      - The checksum that the manifest of the snapshot must have, kept elsewhere since the snapshot was taken.
      - It proves that nobody replaced the archive and its manifest together.
    type: str
  encryption_key_file:
    description:
      - The key of an encrypted snapshot. A safety snapshot is encrypted with it, too.
      - A file with an age identity (C(AGE-SECRET-KEY-1...), as C(age-keygen) makes it), or with a passphrase of one line for GnuPG, on the host
        that runs the module. Only its owner may read it.
    type: path
seealso:
  - module: infrafabric.chromadb.snapshot
  - module: infrafabric.chromadb.audit_info
"""

EXAMPLES = r"""
- name: Go back to the newest snapshot
  infrafabric.chromadb.rollback:
    url: http://localhost:8000
    snapshot_id: latest
    reason: The validation said no_go

- name: See what would be brought back in one collection
  infrafabric.chromadb.rollback:
    url: http://localhost:8000
    snapshot_id: snapshot_20260102_030405_before_upgrade
    collections:
      - sergio_corpus
  check_mode: true
  diff: true

- name: Put the directory of the stopped server back
  infrafabric.chromadb.rollback:
    url: http://localhost:8000
    snapshot_id: latest
    strategy: files
    data_directory: /var/lib/chromadb/data

- name: Go back to how it was before the night's work
  infrafabric.chromadb.rollback:
    url: https://192.0.2.20:8000
    token: "{{ chromadb_target_token }}"
    point_in_time: "2026-01-02T03:00:00+00:00"
"""

RETURN = r"""
snapshot_id:
  description: The snapshot that was used.
  type: str
  returned: success
  sample: snapshot_20260102_030405_before_upgrade
rollback_type:
  description: V(full), V(partial) (of single collections, or of a snapshot that holds only some) or V(point_in_time).
  type: str
  returned: success
  sample: full
strategy:
  description: The strategy that was used.
  type: str
  returned: success
  sample: in_place
strategy_reason:
  description: Why it was this one, in a sentence. With O(strategy=auto), what differs that Chroma cannot change in a collection that exists.
  type: str
  returned: success
  sample: All that differs can be written into the collections as they are.
collections:
  description: The collections that were compared with the snapshot. Empty with V(files), which compares files.
  type: list
  elements: dict
  returned: success
  contains:
    name:
      description: The name of the collection.
      type: str
      returned: success
      sample: sergio_corpus
    added:
      description: Records that were missing and are back.
      type: int
      returned: success
      sample: 12
    changed:
      description: Records that were different and are as in the snapshot.
      type: int
      returned: success
      sample: 40
    deleted:
      description: Records that the snapshot does not have and that are gone.
      type: int
      returned: success
      sample: 3
    unchanged:
      description: Records that were as in the snapshot already.
      type: int
      returned: success
      sample: 6480
verified:
  description:
    - Whether the database is as the snapshot. Every record was compared, each that was written was read back, and ids, documents, URIs and metadata of all
      were read once more at the end.
    - Always false in check mode.
  type: bool
  returned: success
  sample: true
safety_snapshot_id:
  description:
    - The snapshot that was taken of the database as it was before.
    - None if nothing had to be changed, in check mode, and with O(safety_snapshot=false), unless new writes were discarded
      (O(discard_new_writes)), which are always saved first.
  type: str
  returned: success
  sample: snapshot_20260102_040506_before_rollback
phases:
  description: What the time was spent on.
  type: list
  elements: dict
  returned: success
  contains:
    name:
      description: The name of the phase.
      type: str
      returned: success
      sample: compare
    seconds:
      description: How long was worked on it.
      type: float
      returned: success
      sample: 2.713
    records:
      description: How many records it handled.
      type: int
      returned: success
      sample: 6535
seconds:
  description: How long it took.
  type: float
  returned: success
  sample: 5.127
failure_class:
  description: What kind of failure it was.
  type: str
  returned: failure
  sample: integrity
"""

from ansible_collections.infrafabric.chromadb.plugins.module_utils._argument_spec import ArgumentSpec, endpoint, progress, store
from ansible_collections.infrafabric.chromadb.plugins.module_utils._module import run_module
from ansible_collections.infrafabric.chromadb.plugins.module_utils._operations.rollback import rollback


def main() -> None:
    options: ArgumentSpec = {
        "snapshot_id": {"type": "str"},
        "point_in_time": {"type": "str"},
        "collections": {"type": "list", "elements": "str"},
        "strategy": {"type": "str", "choices": ["auto", "in_place", "swap", "files"], "default": "auto"},
        "data_directory": {"type": "path"},
        "remove_extra_collections": {"type": "bool"},
        "safety_snapshot": {"type": "bool", "default": True},
        "discard_new_writes": {"type": "bool", "default": False},
        "trigger": {"type": "str", "choices": ["manual", "automatic", "time_based"], "default": "manual"},
        "reason": {"type": "str"},
        "expected_manifest_sha256": {"type": "str"},
        "encryption_key_file": {"type": "path", "no_log": False},
    }
    run_module(
        rollback,
        {**endpoint(), **store(), **options, **progress()},
        required_one_of=[("snapshot_id", "point_in_time")],
        mutually_exclusive=[("snapshot_id", "point_in_time")],
        required_if=[("strategy", "files", ("data_directory",))],
    )


if __name__ == "__main__":
    main()
