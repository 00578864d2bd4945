#!/usr/bin/python

# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Long, because ansible-doc reads options, examples and results from a module's own file; the code is at its end.

from __future__ import annotations

DOCUMENTATION = r"""
module: migrate
short_description: Bring a Chroma database to the state of another one, record by record
version_added: 1.0.0
author: InfraFabric (@infrafabric)
description:
  - Compares the target with the source, as seen through O(routes), O(schema) and O(corrections), and writes the difference to the target.
  - Every batch that is written is read back and compared.
  - The first run copies everything. The same task again catches up with what changed, or continues where a run was interrupted.
extends_documentation_fragment:
  - infrafabric.chromadb.endpoints
  - infrafabric.chromadb.transformation
  - infrafabric.chromadb.progress
  - infrafabric.chromadb.attributes
  - infrafabric.chromadb.attributes.actiongroup
  - infrafabric.chromadb.attributes.changes
options:
  on_collision:
    description:
      - What to do when several source collections go to one target collection, and have ids in common.
      - V(fail) names them and stops, before anything is written.
      - V(prefix) puts the name of the source collection and a colon before every id of such a target collection.
    type: str
    choices:
      - fail
      - prefix
    default: fail
  on_invalid:
    description:
      - What to do with records that O(schema), or the target server, does not accept.
      - V(fail) names them and stops, before anything is written. Only a vector that the target cannot hold is found when its batch is read; what came
        before that batch is written by then.
      - V(skip) leaves them out and writes them to O(quarantine_file), as long as O(min_valid_ratio) is kept.
    type: str
    choices:
      - fail
      - skip
    default: fail
  quarantine_file:
    description:
      - A file for the records that were left out, one line of JSON for each with its reasons. It is written as well when O(min_valid_ratio) is not kept.
        An absolute path. Its directory must exist; where it is missing in check mode, a warning says so.
      - Shards that run on one host need a file each.
      - Without it, a file in O(state_directory).
    type: path
  min_valid_ratio:
    description:
      - The part of all records that must be valid. If it is less because of ids, documents or metadata, of all shards together, nothing is written.
      - A vector is judged when its batch is read. If too few records are valid because of vectors, the run fails at its end, and what was valid is written.
    type: float
    default: 0.95
  prune:
    description:
      - Whether to delete records of the target that are not in the source any more.
      - It deletes only what this migration owns, records whose C(source_collection) belongs to this run and this shard,
        or with one to one routes whose collection does.
      - Such a record that is there at the end all the same, since a request of an interrupted run arrived late or somebody else writes to the target,
        is a failure of the class C(drift).
    type: bool
    default: false
  shard:
    description: The part of the records that this run works on, so that several hosts share one migration.
    type: dict
    suboptions:
      index:
        description: Which part, counted from 0.
        type: int
        required: true
      count:
        description: How many parts there are.
        type: int
        required: true
  max_records_per_second:
    description: The rate at which records are read and written at most. Without it, as fast as the servers allow.
    type: float
  batch_size:
    description: How many records are written at once. Without it, what suits the servers.
    type: int
  state_directory:
    description:
      - A directory for what is needed to continue, on the host that runs the module. An absolute path.
      - It must belong to the user that runs the module, or to root, and nobody else may write there. In check mode it may be missing.
    type: path
    default: /var/lib/chromadb/state
  deadline:
    description:
      - After how many seconds to stop, with RV(failure_class=timeout). Without it, there is no limit.
      - What was written until then stays, and the same task again continues. It also ends the look at all records that comes before the first write.
    type: float
  changes:
    description:
      - What M(infrafabric.chromadb.source_changes_info) returned as RV(infrafabric.chromadb.source_changes_info#module:changes), about everything that
        was written to the source since the target was last level with it. Then only these records are read and compared, besides the ids of all.
      - It is only right after a successful run with the same options that began after the mark was taken from which the changes are counted, and if
        nobody else wrote to the target since. The role P(infrafabric.chromadb.migrate#role) sees to that.
      - Where the changes are not complete, do not fit the source, or with O(shard), every record is compared, and a warning says why.
    type: dict
    suboptions:
      complete:
        description: Whether the changes are all.
        type: bool
        required: true
      reason:
        description: Why they are not.
        type: str
      moved:
        description: Whether anything was written. It is not looked at.
        type: bool
      collections:
        description: The collections of the source.
        type: list
        elements: dict
        suboptions:
          name:
            description: The name of the collection.
            type: str
            required: true
          id:
            description: Its id on the server.
            type: str
            required: true
          changed:
            description: The ids of the records that were written.
            type: list
            elements: str
seealso:
  - module: infrafabric.chromadb.source_changes_info
  - module: infrafabric.chromadb.validate
  - module: infrafabric.chromadb.snapshot
  - module: infrafabric.chromadb.rollback
"""

EXAMPLES = r"""
- name: Copy a database faithfully
  infrafabric.chromadb.migrate:
    source:
      url: http://192.0.2.10:8000
    target:
      url: http://localhost:8000

- name: See what a catch-up would do
  infrafabric.chromadb.migrate:
    source:
      url: http://192.0.2.10:8000
    target:
      url: http://localhost:8000
    prune: true
  check_mode: true
  diff: true

- name: Merge collections, and give their records a schema
  infrafabric.chromadb.migrate:
    source:
      url: https://192.0.2.10:8000
      token: "{{ chromadb_source_token }}"
    target:
      url: http://localhost:8000
    routes:
      - where:
          collection_type: humor
        to: sergio_humor
      - from: "*personality*"
        to: sergio_personality
      - to: sergio_corpus
    schema:
      fields:
        source:
          type: string
          required: true
          default: migrated_{source_collection}
        language:
          type: string
          required: true
          default: en
          enum:
            - en
            - es
            - es_en
        source_collection:
          type: string
          derive: source_collection
    corrections:
      openwebui_docs:
        chunk-0017:
          language: es
    on_collision: prefix
    on_invalid: skip
    quarantine_file: /var/lib/chromadb/state/quarantine.jsonl
    deadline: 3600
"""

RETURN = r"""
migration_id:
  description: Names this migration. It is the same for every run with the same servers and the same transformation.
  type: str
  returned: success
  sample: migration_6f1d0c2b9a7e
phases:
  description: What the time was spent on. Phases overlap, so their sum may be more than RV(seconds).
  type: list
  elements: dict
  returned: success
  contains:
    name:
      description: The name of the phase.
      type: str
      returned: success
      sample: import
    seconds:
      description: How long was worked on it.
      type: float
      returned: success
      sample: 11.207
    records:
      description: How many records it handled.
      type: int
      returned: success
      sample: 9832
records:
  description: How many records there were of each kind.
  type: dict
  returned: success
  contains:
    read:
      description: Records of the source that belong to this run.
      type: int
      returned: success
      sample: 9832
    valid:
      description: Those that the schema and the target accept.
      type: int
      returned: success
      sample: 9832
    invalid:
      description: Those that they do not accept. They were left out.
      type: int
      returned: success
      sample: 0
    added:
      description: Records that the target did not have.
      type: int
      returned: success
      sample: 9832
    changed:
      description: Records that the target had otherwise.
      type: int
      returned: success
      sample: 0
    unchanged:
      description: Records that the target had already.
      type: int
      returned: success
      sample: 0
    deleted:
      description: Records that were deleted from the target, with O(prune).
      type: int
      returned: success
      sample: 0
collections:
  description: The target's collections.
  type: list
  elements: dict
  returned: success
  contains:
    name:
      description: The name of the target collection.
      type: str
      returned: success
      sample: sergio_corpus
    sources:
      description: The source collections whose records go to it.
      type: list
      elements: str
      returned: success
      sample:
        - openwebui_core
        - openwebui_docs
    created:
      description: Whether the collection was created, in check mode would be.
      type: bool
      returned: success
      sample: true
    added:
      description: Records that were added to it.
      type: int
      returned: success
      sample: 6532
    changed:
      description: Records that were changed in it.
      type: int
      returned: success
      sample: 0
    deleted:
      description: Records that were deleted from it.
      type: int
      returned: success
      sample: 0
    unchanged:
      description: Records that it had already.
      type: int
      returned: success
      sample: 0
invalid_sample:
  description: The first records that were not accepted.
  type: list
  elements: dict
  returned: success, and when the module fails because of them
  contains:
    source_collection:
      description: The source collection that the record is in.
      type: str
      returned: success
      sample: openwebui_docs
    id:
      description: Its id there.
      type: str
      returned: success
      sample: chunk-0017
    reasons:
      description: Why it was not accepted, in sentences.
      type: list
      elements: str
      returned: success
      sample:
        - "language: 'fr' is none of en, es, es_en"
invalid_reasons:
  description: How many records were not accepted for each kind of reason, which is the name of a field, C(embedding) or another part, and a word.
  type: dict
  returned: success, and when the module fails because of them
  sample:
    language not_in_enum: 2
quarantine_file:
  description: The file that names the records that were left out. None when there are none, and in check mode.
  type: str
  returned: success, and when the module fails because too few records are valid
  sample: /var/lib/chromadb/state/quarantine.jsonl
compared:
  description: How much was compared.
  type: dict
  returned: success
  contains:
    only_changes:
      description: Whether only what O(changes) names was read, and what was not in its place.
      type: bool
      returned: success
      sample: true
    settled:
      description: How many records were left alone, since nobody wrote to them and they are in their place. They are in none of RV(records).
      type: int
      returned: success
      sample: 9810
    reason:
      description: Why everything was compared although O(changes) was given.
      type: str
      returned: success
      sample: the server was restarted since the earlier look
sources:
  description: The collections of the source that were to be brought over, by name.
  type: list
  elements: str
  returned: success
  sample:
    - openwebui_core
    - openwebui_docs
resumed:
  description: Whether an earlier run had been interrupted, and this one continued it.
  type: bool
  returned: success
  sample: false
seconds:
  description: How long it took.
  type: float
  returned: success
  sample: 13.904
failure_class:
  description: What kind of failure it was.
  type: str
  returned: failure
  sample: invalid_data
"""

from ansible_collections.infrafabric.chromadb.plugins.module_utils._argument_spec import ArgumentSpec, endpoints, progress, transformation
from ansible_collections.infrafabric.chromadb.plugins.module_utils._module import run_module
from ansible_collections.infrafabric.chromadb.plugins.module_utils._operations.migrate import migrate


def main() -> None:
    options: ArgumentSpec = {
        "on_collision": {"type": "str", "choices": ["fail", "prefix"], "default": "fail"},
        "on_invalid": {"type": "str", "choices": ["fail", "skip"], "default": "fail"},
        "quarantine_file": {"type": "path"},
        "min_valid_ratio": {"type": "float", "default": 0.95},
        "prune": {"type": "bool", "default": False},
        "shard": {"type": "dict", "options": {"index": {"type": "int", "required": True}, "count": {"type": "int", "required": True}}},
        "max_records_per_second": {"type": "float"},
        "batch_size": {"type": "int"},
        "state_directory": {"type": "path", "default": "/var/lib/chromadb/state"},
        "deadline": {"type": "float"},
        "changes": {
            "type": "dict",
            "options": {
                "complete": {"type": "bool", "required": True},
                "reason": {"type": "str"},
                "moved": {"type": "bool"},
                "collections": {
                    "type": "list",
                    "elements": "dict",
                    "options": {
                        "name": {"type": "str", "required": True},
                        "id": {"type": "str", "required": True},
                        "changed": {"type": "list", "elements": "str"},
                    },
                },
            },
        },
    }
    run_module(migrate, {**endpoints(), **transformation(), **options, **progress()})


if __name__ == "__main__":
    main()
