#!/usr/bin/python

# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: snapshot_info
short_description: List and verify the snapshots of a store
version_added: 1.0.0
author: InfraFabric (@infrafabric)
description:
  - Lists the snapshots of a store, newest first, and says of each whether it is whole.
  - It needs no server.
extends_documentation_fragment:
  - infrafabric.chromadb.store
  - infrafabric.chromadb.attributes
  - infrafabric.chromadb.attributes.actiongroup
  - infrafabric.chromadb.attributes.reads
options:
  snapshot_id:
    description: The id of the one snapshot to look at. Without it, all of them. One that is not there is a failure.
    type: str
  verify:
    description:
      - How closely to look. V(none) believes the manifests.
      - V(manifest) verifies the manifests, and that each archive is there with the right size.
      - V(full) reads every archive and compares every checksum.
    type: str
    choices:
      - none
      - manifest
      - full
    default: manifest
  expected_manifest_sha256:
    description:
      - The checksum that the manifest must have, kept elsewhere since the snapshot was taken.
      - It proves that nobody replaced the archive and its manifest together. It needs O(snapshot_id).
    type: str
  encryption_key_file:
    description:
      - The key of encrypted snapshots. Without it, O(verify=full) verifies the files as they are stored, and not what is inside.
      - A file with an age identity (C(AGE-SECRET-KEY-1...), as C(age-keygen) makes it), or with a passphrase of one line for GnuPG, on the host
        that runs the module. Only its owner may read it.
    type: path
seealso:
  - module: infrafabric.chromadb.snapshot
"""

EXAMPLES = r"""
- name: List the snapshots
  infrafabric.chromadb.snapshot_info:
    directory: /var/lib/chromadb/snapshots
  register: store

- name: Read every byte of the newest one
  infrafabric.chromadb.snapshot_info:
    directory: /var/lib/chromadb/snapshots
    snapshot_id: "{{ store.snapshots[0].snapshot_id }}"
    verify: full
"""

RETURN = r"""
snapshots:
  description: The snapshots, newest first. Each has what its manifest says, and what follows here.
  type: list
  elements: dict
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
    total_chunks:
      description: How many records it holds.
      type: int
      returned: success
      sample: 9832
    status:
      description: V(created), V(verified), V(restored) or V(failed). The last one when there are RV(snapshots[].problems).
      type: str
      returned: success
      sample: verified
    path:
      description: Its archive.
      type: str
      returned: success
      sample: /var/lib/chromadb/snapshots/snapshots/snapshot_20260102_030405_before_upgrade.tar.gz
    problems:
      description: What is wrong with it, in sentences. Empty when nothing is.
      type: list
      elements: str
      returned: success
      sample: []
    failure_class:
      description: The failure class that using it would have, V(integrity) or V(unsafe_archive). None when nothing is wrong with it.
      type: str
      returned: success
      sample: integrity
orphans:
  description: Archives and other files in the store that belong to no snapshot, in sentences. They are warnings, too.
  type: list
  elements: str
  returned: success
  sample: []
seconds:
  description: How long it took.
  type: float
  returned: success
  sample: 0.041
failure_class:
  description: What kind of failure it was.
  type: str
  returned: failure
  sample: disk
"""

from ansible_collections.infrafabric.chromadb.plugins.module_utils._argument_spec import ArgumentSpec, store
from ansible_collections.infrafabric.chromadb.plugins.module_utils._module import run_module
from ansible_collections.infrafabric.chromadb.plugins.module_utils._operations.snapshot_info import snapshot_info


def main() -> None:
    options: ArgumentSpec = {
        "snapshot_id": {"type": "str"},
        "verify": {"type": "str", "choices": ["none", "manifest", "full"], "default": "manifest"},
        "expected_manifest_sha256": {"type": "str"},
        "encryption_key_file": {"type": "path", "no_log": False},
    }
    run_module(snapshot_info, {**store(), **options}, required_by={"expected_manifest_sha256": ("snapshot_id",)})


if __name__ == "__main__":
    main()
