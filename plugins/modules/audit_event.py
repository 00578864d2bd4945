#!/usr/bin/python

# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: audit_event
short_description: Write an approval, a freeze or a cutover into the audit log of a store
version_added: 1.0.0
author: InfraFabric (@infrafabric)
description:
  - The modules write what they do into the audit log by themselves. This one is for what is done by other means.
  - A completed V(cutover) of a database makes M(infrafabric.chromadb.rollback) refuse to take away what this database accepted since,
    until a later V(cutover_undone) or a completed rollback of the whole database.
  - The O(snapshot_id) of an initiated V(migrate) is kept by M(infrafabric.chromadb.snapshot_prune) and M(infrafabric.chromadb.snapshot), until a
    V(migration_undone) names it or another migration into this database is initiated with one.
  - A V(rto_missed) says that a rollback took longer than it may. Its O(reason) is also given as a warning, in check mode, too.
  - Nothing is asked of the server. Its options only name the database that the event is about.
extends_documentation_fragment:
  - infrafabric.chromadb.endpoint
  - infrafabric.chromadb.store
  - infrafabric.chromadb.attributes
  - infrafabric.chromadb.attributes.actiongroup
  - infrafabric.chromadb.attributes.changes
attributes:
  check_mode:
    support: full
  idempotent:
    support: none
    details: Each run is an event of its own.
options:
  action:
    description: What happened.
    type: str
    required: true
    choices:
      - approval
      - migrate
      - freeze
      - thaw
      - cutover
      - cutover_undone
      - migration_undone
      - decision
      - sign_off
      - rto_missed
  status:
    description: How it ended.
    type: str
    choices:
      - initiated
      - completed
      - failed
    default: completed
  reason:
    description: Why, in a sentence.
    type: str
  snapshot_id:
    description: The snapshot that belongs to it.
    type: str
  details:
    description: Anything else to remember, such as who approved. No secrets.
    type: dict
seealso:
  - module: infrafabric.chromadb.audit_info
  - module: infrafabric.chromadb.rollback
"""

EXAMPLES = r"""
- name: Remember that the clients use the target from now on
  infrafabric.chromadb.audit_event:
    url: http://localhost:8000
    directory: /var/lib/chromadb/snapshots
    action: cutover
    reason: The validation said go, and all have approved
"""

RETURN = r"""
action:
  description: What was written down.
  type: str
  returned: success
  sample: cutover
status:
  description: How it ended.
  type: str
  returned: success
  sample: completed
seconds:
  description: How long it took.
  type: float
  returned: success
  sample: 0.004
failure_class:
  description: What kind of failure it was.
  type: str
  returned: failure
  sample: disk
"""

from ansible_collections.infrafabric.chromadb.plugins.module_utils._argument_spec import endpoint, store
from ansible_collections.infrafabric.chromadb.plugins.module_utils._module import run_module
from ansible_collections.infrafabric.chromadb.plugins.module_utils._operations.audit_event import audit_event


def main() -> None:
    actions = ["approval", "migrate", "freeze", "thaw", "cutover", "cutover_undone", "migration_undone", "decision", "sign_off", "rto_missed"]
    options = {
        "action": {"type": "str", "required": True, "choices": actions},
        "status": {"type": "str", "choices": ["initiated", "completed", "failed"], "default": "completed"},
        "reason": {"type": "str"},
        "snapshot_id": {"type": "str"},
        "details": {"type": "dict"},
    }
    run_module(audit_event, {**endpoint(), **store(), **options})


if __name__ == "__main__":
    main()
