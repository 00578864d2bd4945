#!/usr/bin/python

# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: source_changes_info
short_description: Find out on a Chroma server's host which records were written since an earlier look
version_added: 1.0.0
author: InfraFabric (@infrafabric)
description:
  - Reads the numbers that a Chroma server gives its writes from the server's own SQLite file, beside the running server. Nothing else is read from the
    file, and nothing is ever written to it.
  - With its answer, M(infrafabric.chromadb.migrate) catches up without reading every record again.
  - It runs on the server's host, as a user who may read the file and see the server's process, such as C(root).
  - It never guesses. Where the file cannot tell for certain what changed, the answer is not complete and says why, and the module does not fail. That
    is so when no running process has the file open, when the server was restarted or a collection deleted since the earlier look, when the server's log
    was purged, when the file's tables are newer than those known (Chroma 0.4 to 1.5), and when more than 20,000 records were written.
extends_documentation_fragment:
  - infrafabric.chromadb.attributes
  - infrafabric.chromadb.attributes.actiongroup
  - infrafabric.chromadb.attributes.reads
options:
  data_directory:
    description: The directory of the server's data, which holds C(chroma.sqlite3).
    type: path
    required: true
  tenant:
    description: The tenant that the database belongs to.
    type: str
    default: default_tenant
  database:
    description: The database to look at.
    type: str
    default: default_database
  since:
    description: The RV(mark) of the earlier look. Without it there is only a new mark, and the changes are not complete.
    type: dict
seealso:
  - module: infrafabric.chromadb.migrate
"""

EXAMPLES = r"""
- name: Note where the source is
  infrafabric.chromadb.source_changes_info:
    data_directory: /var/lib/chromadb/data
  delegate_to: source.example.com
  register: before

- name: Copy everything
  infrafabric.chromadb.migrate:
    source:
      url: http://192.0.2.10:8000
    target:
      url: http://localhost:8000

- name: See what was written meanwhile
  infrafabric.chromadb.source_changes_info:
    data_directory: /var/lib/chromadb/data
    since: "{{ before.mark }}"
  delegate_to: source.example.com
  register: since_then

- name: Catch up with that alone
  infrafabric.chromadb.migrate:
    source:
      url: http://192.0.2.10:8000
    target:
      url: http://localhost:8000
    prune: true
    changes: "{{ since_then.changes }}"
"""

RETURN = r"""
mark:
  description: Where the source is now, for O(since) of the next look. Empty where the file cannot be followed.
  type: dict
  returned: success
  sample:
    path: /var/lib/chromadb/data/chroma.sqlite3
    owner: 812@4711
    tenant: default_tenant
    database: default_database
    collections:
      0f3cbf80-25b8-4b5c-92a3-3b1a0f9e5d11:
        name: openwebui_docs
        last: 9832
changes:
  description: What was written since O(since), for the option C(changes) of M(infrafabric.chromadb.migrate).
  type: dict
  returned: success
  contains:
    complete:
      description: Whether that is all of it.
      type: bool
      returned: success
      sample: true
    reason:
      description: Why it is not.
      type: str
      returned: success
      sample: the server was restarted since the earlier look
    moved:
      description: Whether anything was written or deleted at all. None where that is not known.
      type: bool
      returned: success
      sample: true
    collections:
      description: The collections of the database.
      type: list
      elements: dict
      returned: success
      contains:
        name:
          description: The name of the collection.
          type: str
          returned: success
          sample: openwebui_docs
        id:
          description: Its id.
          type: str
          returned: success
          sample: 0f3cbf80-25b8-4b5c-92a3-3b1a0f9e5d11
        changed:
          description: The ids of its records that were added or changed. Deleted records are seen from the ids that are left.
          type: list
          elements: str
          returned: success
          sample:
            - chunk-0017
seconds:
  description: How long it took.
  type: float
  returned: success
  sample: 0.009
failure_class:
  description: What kind of failure it was.
  type: str
  returned: failure
  sample: usage
"""

from ansible_collections.infrafabric.chromadb.plugins.module_utils._argument_spec import ArgumentSpec
from ansible_collections.infrafabric.chromadb.plugins.module_utils._module import run_module
from ansible_collections.infrafabric.chromadb.plugins.module_utils._operations.source_changes import source_changes_info


def main() -> None:
    options: ArgumentSpec = {
        "data_directory": {"type": "path", "required": True},
        "tenant": {"type": "str", "default": "default_tenant"},
        "database": {"type": "str", "default": "default_database"},
        "since": {"type": "dict"},
    }
    run_module(source_changes_info, options)


if __name__ == "__main__":
    main()
