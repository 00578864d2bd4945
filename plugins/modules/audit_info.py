#!/usr/bin/python

# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: audit_info
short_description: Read the audit log of a store, and verify its chain
version_added: 1.0.0
author: InfraFabric (@infrafabric)
description:
  - Reads the entries that the other modules left in the audit log, oldest first.
  - Every entry holds the checksum of the one before. The module says whether this chain is whole.
  - It needs no server.
extends_documentation_fragment:
  - infrafabric.chromadb.store
  - infrafabric.chromadb.attributes
  - infrafabric.chromadb.attributes.actiongroup
  - infrafabric.chromadb.attributes.reads
options:
  limit:
    description: How many entries to return, the newest ones. Without it, all of them. The chain is verified as a whole in any case.
    type: int
  known_sha256:
    description:
      - The RV(last_sha256) of an earlier run, kept elsewhere. Some entry must still have it.
      - It shows what the chain alone cannot, that entries at the end were taken away or the whole log was written anew.
    type: str
seealso:
  - module: infrafabric.chromadb.rollback
"""

EXAMPLES = r"""
- name: See the last ten things that were done
  infrafabric.chromadb.audit_info:
    directory: /var/lib/chromadb/snapshots
    limit: 10
  register: audit

- name: Insist on a log that nobody edited
  ansible.builtin.assert:
    that: audit.chain_intact

- name: Insist on a log that still holds what it held yesterday
  infrafabric.chromadb.audit_info:
    directory: /var/lib/chromadb/snapshots
    known_sha256: "{{ audit_sha256_of_yesterday }}"
  register: audit
  failed_when: not audit.chain_intact
"""

RETURN = r"""
entries:
  description: The entries, oldest first. Each operation has one for its begin and one for its end.
  type: list
  elements: dict
  returned: success
  contains:
    timestamp:
      description: When it was written, in UTC.
      type: str
      returned: success
      sample: "2026-01-02T03:04:05.678+00:00"
    action:
      description: What was done.
      type: str
      returned: success
      sample: rollback
    snapshot_id:
      description: The snapshot that was meant.
      type: str
      returned: success
      sample: snapshot_20260102_030405_before_upgrade
    status:
      description: V(initiated), V(completed) or V(failed).
      type: str
      returned: success
      sample: completed
    trigger:
      description: V(manual), V(automatic) or V(time_based).
      type: str
      returned: success
      sample: manual
    reason:
      description: Why it was done, where somebody gave a reason.
      type: str
      returned: success
      sample: The validation said no_go
    user:
      description: Who did it.
      type: str
      returned: success
      sample: maria
    become_user:
      description: The user whose rights were used, if it is another one.
      type: str
      returned: success
      sample: chroma
    controller:
      description: The address that this user came from.
      type: str
      returned: success
      sample: 192.0.2.5
    run_id:
      description: Names the run. The entries of its begin and of its end have the same.
      type: str
      returned: success
      sample: 0f4c1e6a5d7b4f0e9a3c2b1d8e7f6a5c
    dry_run:
      description: Whether it was a run that changes nothing. Always V(false), as such a run writes no entry.
      type: bool
      returned: success
      sample: false
    rollback_type:
      description: V(full), V(partial) or V(point_in_time).
      type: str
      returned: success
      sample: full
    duration_seconds:
      description: How long it took.
      type: float
      returned: success
      sample: 4.61
    collections_affected:
      description: The collections that it touched.
      type: list
      elements: str
      returned: success
      sample:
        - sergio_corpus
    error_message:
      description: Why it failed. None if it did not.
      type: str
      returned: success
      sample: "http://192.0.2.20:8000 does not answer: [Errno 111] Connection refused. Check that the server runs and the address is right."
    prev_sha256:
      description: The checksum of the entry before.
      type: str
      returned: success
      sample: 4d1f6a0c9e8b7a6d5c4b3a2f1e0d9c8b7a6f5e4d3c2b1a0f9e8d7c6b5a4f3e2d
    details:
      description: What else is worth keeping, for example the id of the safety snapshot.
      type: dict
      returned: success
      sample:
        safety_snapshot_id: snapshot_20260102_040506_before_rollback
    rollback_success:
      description: Whether the rollback reached its end, verified.
      type: bool
      returned: success
      sample: true
chain_intact:
  description: Whether no entry was changed, removed or put in.
  type: bool
  returned: success
  sample: true
last_sha256:
  description: The checksum of the newest entry. Keep it elsewhere for O(known_sha256).
  type: str
  returned: success
  sample: 9b1f6a0c9e8b7a6d5c4b3a2f1e0d9c8b7a6f5e4d3c2b1a0f9e8d7c6b5a4f3e2d
problems:
  description: What is wrong with the log, in sentences. They are warnings, too.
  type: list
  elements: str
  returned: success
  sample: []
seconds:
  description: How long it took.
  type: float
  returned: success
  sample: 0.012
failure_class:
  description: What kind of failure it was.
  type: str
  returned: failure
  sample: disk
"""

from ansible_collections.infrafabric.chromadb.plugins.module_utils._argument_spec import store
from ansible_collections.infrafabric.chromadb.plugins.module_utils._module import run_module
from ansible_collections.infrafabric.chromadb.plugins.module_utils._operations.audit_info import audit_info


def main() -> None:
    run_module(audit_info, {**store(), "limit": {"type": "int"}, "known_sha256": {"type": "str"}})


if __name__ == "__main__":
    main()
