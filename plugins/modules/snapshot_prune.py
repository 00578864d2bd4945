#!/usr/bin/python

# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: snapshot_prune
short_description: Delete the snapshots of a store that are not needed any more
version_added: 1.0.0
author: InfraFabric (@infrafabric)
description:
  - Deletes snapshots whose days are over.
  - Never deletes the newest verified snapshot, one that another snapshot builds on, one that an unfinished rollback uses, or the one that the
    newest migration into a database would be taken back to. The last two are in the audit log of the store.
  - Deletes no snapshot, and warns, when the audit log was changed or is damaged.
  - It needs no server.
extends_documentation_fragment:
  - infrafabric.chromadb.store
  - infrafabric.chromadb.attributes
  - infrafabric.chromadb.attributes.actiongroup
  - infrafabric.chromadb.attributes.changes
options:
  retention_days:
    description:
      - How many days every snapshot is kept.
      - Without it, each is kept for as long as was said when it was taken, 7 days if nothing was.
    type: int
  keep_min:
    description: How many verified snapshots are kept at least, however old they are.
    type: int
    default: 1
  keep_max:
    description: How many snapshots are kept at most, however young they are. Without it, there is no limit.
    type: int
  pin:
    description: The ids or names of snapshots that are kept in any case.
    type: list
    elements: str
    default: []
seealso:
  - module: infrafabric.chromadb.snapshot
  - module: infrafabric.chromadb.snapshot_info
"""

EXAMPLES = r"""
- name: Keep the snapshots of a week, and three in any case
  infrafabric.chromadb.snapshot_prune:
    directory: /var/lib/chromadb/snapshots
    retention_days: 7
    keep_min: 3
    pin:
      - snapshot_20260102_030405_before_upgrade
"""

RETURN = r"""
deleted:
  description: The ids of the snapshots that were deleted, in check mode would be.
  type: list
  elements: str
  returned: success
  sample:
    - snapshot_20251220_030405
kept:
  description: The snapshots that are left, newest first.
  type: list
  elements: dict
  returned: success
  contains:
    snapshot_id:
      description: The id of the snapshot.
      type: str
      returned: success
      sample: snapshot_20260102_030405_before_upgrade
    reason:
      description: Why it is kept.
      type: str
      returned: success
      sample: pinned
leftovers:
  description: Files of interrupted runs that were deleted as well, in check mode would be.
  type: list
  elements: str
  returned: success
  sample: []
seconds:
  description: How long it took.
  type: float
  returned: success
  sample: 0.052
failure_class:
  description: What kind of failure it was.
  type: str
  returned: failure
  sample: disk
"""

from ansible_collections.infrafabric.chromadb.plugins.module_utils._argument_spec import ArgumentSpec, store
from ansible_collections.infrafabric.chromadb.plugins.module_utils._module import run_module
from ansible_collections.infrafabric.chromadb.plugins.module_utils._operations.snapshot_prune import snapshot_prune


def main() -> None:
    options: ArgumentSpec = {
        "retention_days": {"type": "int"},
        "keep_min": {"type": "int", "default": 1},
        "keep_max": {"type": "int"},
        "pin": {"type": "list", "elements": "str", "default": []},
    }
    run_module(snapshot_prune, {**store(), **options})


if __name__ == "__main__":
    main()
