#!/usr/bin/python

# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: snapshot
short_description: Take a snapshot of a Chroma database, or remove one
version_added: 1.0.0
author: InfraFabric (@infrafabric)
description:
  - Reads the records of a database, embeddings included, and writes them into a verified archive with a manifest.
  - A snapshot is complete or invisible. An interrupted run leaves none behind.
extends_documentation_fragment:
  - infrafabric.chromadb.endpoint
  - infrafabric.chromadb.store
  - infrafabric.chromadb.progress
  - infrafabric.chromadb.attributes
  - infrafabric.chromadb.attributes.actiongroup
  - infrafabric.chromadb.attributes.changes
attributes:
  idempotent:
    support: partial
    details:
      - With O(name), a snapshot of that name that exists and verifies is left as it is.
      - Without O(name), every run takes another snapshot.
options:
  state:
    description:
      - V(present) takes the snapshot.
      - V(absent) removes the snapshot that O(name) names. It needs no server.
    type: str
    choices:
      - present
      - absent
    default: present
  name:
    description:
      - A name for the snapshot, letters, digits, C(_) and C(-). It becomes the end of its id.
      - With O(state=absent), the name or the whole id.
    type: str
  collections:
    description:
      - The names of the collections to save. Without it, all of them.
      - A rollback to a snapshot of some collections leaves the others alone, whichever the database has by then.
    type: list
    elements: str
  method:
    description:
      - V(records) reads the records through the server, and can be restored into every supported version.
      - V(files) copies the directory of a stopped server, with all its tenants and databases, and can be restored into the same version only.
      - V(files) refuses while the server answers at O(url), and while any process has a file of the directory open. It needs to run on the
        server's host, as root or as the owner of the directory.
    type: str
    choices:
      - records
      - files
    default: records
  data_directory:
    description:
      - The directory of the stopped server, for O(method=files). The one that its C(persist_path), C(--path) or C(PERSIST_DIRECTORY) names.
      - What is in it must be directories and regular files.
    type: path
  base:
    description:
      - The snapshot that this one only stores the difference to, V(latest) or an id. V(none) stores everything.
    type: str
    default: none
  batch_size:
    description: How many records are read at once. Without it, what suits the server.
    type: int
  retention_days:
    description:
      - How many days this snapshot is kept.
      - Taking one deletes those whose own days are over, with O(prune).
    type: int
    default: 7
  prune:
    description:
      - Whether to delete the snapshots whose own days are over after this one was taken, as M(infrafabric.chromadb.snapshot_prune) does.
      - Without it, nothing is deleted, and O(keep_min) and O(pin) mean nothing.
    type: bool
    default: true
  keep_min:
    description: How many verified snapshots are kept at least, however old they are.
    type: int
    default: 1
  pin:
    description: The ids or names of snapshots that are kept in any case.
    type: list
    elements: str
    default: []
  require_consistent:
    description:
      - Whether to fail, with RV(failure_class=drift), when records still change, or collections come or go, while they are read.
        Everything is read a second time for that, after all was read once, so that what it holds was all there at one moment.
      - Otherwise a snapshot is called fuzzy, with the ids, when records or collections came or went;
        an update of a record that stays leaves no trace in the ids.
    type: bool
    default: false
  verify:
    description: Whether to read the archive again and compare every checksum before it becomes visible.
    type: bool
    default: true
  encryption_key_file:
    description:
      - The key to encrypt the archive with. Without it, nothing is encrypted.
      - A file with an age identity (C(AGE-SECRET-KEY-1...), as C(age-keygen) makes it), or with a passphrase of one line for GnuPG, on the host
        that runs the module. Only its owner may read it.
      - It needs the program C(age) or C(gpg) there, which encrypts while the archive is written. What is read back is decrypted into a temporary
        file that has no name. The manifest is not encrypted. It holds the names and settings of the collections, and no records.
      - Keep a copy of the key elsewhere. Without it nothing comes back.
    type: path
seealso:
  - module: infrafabric.chromadb.snapshot_info
  - module: infrafabric.chromadb.snapshot_prune
  - module: infrafabric.chromadb.rollback
"""

EXAMPLES = r"""
- name: Save the database before something is done to it
  infrafabric.chromadb.snapshot:
    url: http://localhost:8000
    name: before_upgrade
    directory: /var/lib/chromadb/snapshots

- name: Save two collections of a server that wants a token
  infrafabric.chromadb.snapshot:
    url: https://192.0.2.10:8000
    token: "{{ chromadb_source_token }}"
    collections:
      - openwebui_core
      - openwebui_docs
    require_consistent: true

- name: Copy the directory of the server, which is stopped
  infrafabric.chromadb.snapshot:
    url: http://localhost:8000
    method: files
    data_directory: /var/lib/chromadb/data

- name: Save it encrypted
  infrafabric.chromadb.snapshot:
    url: http://localhost:8000
    encryption_key_file: /etc/chromadb/snapshot.age

- name: Remove a snapshot
  infrafabric.chromadb.snapshot:
    name: before_upgrade
    state: absent
"""

RETURN = r"""
snapshot:
  description:
    - The manifest of the snapshot, without its list of archive entries.
    - None in check mode when the snapshot would be taken, and with O(state=absent) when there is none.
  type: dict
  returned: success
  contains:
    snapshot_id:
      description: The id of the snapshot.
      type: str
      returned: success
      sample: snapshot_20260102_030405_before_upgrade
    timestamp:
      description: When it was taken, in UTC.
      type: str
      returned: success
      sample: "2026-01-02T03:04:05+00:00"
    chromadb_url:
      description: The server that it was taken from.
      type: str
      returned: success
      sample: http://localhost:8000
    chromadb_version:
      description: The version that this server gave.
      type: str
      returned: success
      sample: 1.0.0
    collections:
      description: For each collection the number of its records, its batches, its settings and its digest.
      type: dict
      returned: success
      sample:
        openwebui_core:
          total_documents: 3000
          batches:
            - batch_000000
            - batch_000001
    total_collections:
      description: How many collections it holds.
      type: int
      returned: success
      sample: 6
    total_chunks:
      description: How many records it holds.
      type: int
      returned: success
      sample: 9832
    snapshot_size_mb:
      description: The size of the archive in megabytes.
      type: float
      returned: success
      sample: 16.4
    compression_ratio:
      description: By how many percent the archive is smaller than the data.
      type: float
      returned: success
      sample: 31.5
    checksum_sha256:
      description: The SHA-256 of the archive.
      type: str
      returned: success
      sample: 0d6c2a7f3f4b2f0d8a3c1f5f7e9b8d6a4c2e0f1a3b5c7d9e8f6a4b2c0d1e3f5a
    status:
      description: V(verified), or V(created) if it was taken without O(verify).
      type: str
      returned: success
      sample: verified
    method:
      description: V(records) or V(files).
      type: str
      returned: success
      sample: records
    tree:
      description:
        - Of a snapshot of files, what the directory holds, its files and directories.
        - Its C(databases) are the tenants, databases and collections with their numbers of records.
      type: dict
      returned: O(method=files)
      sample:
        databases:
          - tenant: default_tenant
            database: default_database
            collections:
              openwebui_core: 3000
    consistency:
      description: Whether the records stood still while they were read.
      type: dict
      returned: success
      contains:
        state:
          description: V(consistent), or V(fuzzy) when records or collections came or went while they were read.
          type: str
          returned: success
          sample: consistent
        changed_ids:
          description: The first ids that moved, by collection; of a collection that came, went or was replaced, a sentence that says so.
          type: dict
          returned: success
          sample: {}
    manifest_sha256:
      description: The checksum of the manifest. Kept elsewhere, it proves later that nobody replaced the snapshot.
      type: str
      returned: success
      sample: 5b0e4d7c9a2f6813be70d5c4a1f39e8276d0c5b4a3f2e1d09c8b7a6f5e4d3c2b
    retention_until:
      description: Until when it is kept at least.
      type: str
      returned: success
      sample: "2026-01-09T03:04:05+00:00"
path:
  description: The archive. None when RV(snapshot) is.
  type: str
  returned: success
  sample: /var/lib/chromadb/snapshots/snapshots/snapshot_20260102_030405_before_upgrade.tar.gz
records:
  description: How many records the snapshot holds, in check mode would hold.
  type: int
  returned: success
  sample: 9832
seconds:
  description: How long it took.
  type: float
  returned: success
  sample: 3.872
failure_class:
  description: What kind of failure it was.
  type: str
  returned: failure
  sample: disk
"""

from ansible_collections.infrafabric.chromadb.plugins.module_utils._argument_spec import ArgumentSpec, endpoint, progress, store
from ansible_collections.infrafabric.chromadb.plugins.module_utils._module import run_module
from ansible_collections.infrafabric.chromadb.plugins.module_utils._operations.snapshot import snapshot


def main() -> None:
    options: ArgumentSpec = {
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "name": {"type": "str"},
        "collections": {"type": "list", "elements": "str"},
        "method": {"type": "str", "choices": ["records", "files"], "default": "records"},
        "data_directory": {"type": "path"},
        "base": {"type": "str", "default": "none"},
        "batch_size": {"type": "int"},
        "retention_days": {"type": "int", "default": 7},
        "prune": {"type": "bool", "default": True},
        "keep_min": {"type": "int", "default": 1},
        "pin": {"type": "list", "elements": "str", "default": []},
        "require_consistent": {"type": "bool", "default": False},
        "verify": {"type": "bool", "default": True},
        "encryption_key_file": {"type": "path", "no_log": False},
    }
    run_module(
        snapshot,
        {**endpoint(), **store(), **options, **progress()},
        required_if=[("state", "absent", ("name",)), ("method", "files", ("data_directory",))],
    )


if __name__ == "__main__":
    main()
