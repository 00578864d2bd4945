#!/usr/bin/python

# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: server_info
short_description: Look at a Chroma server, its collections, and what would get lost on the way to another server
version_added: 1.0.0
author: InfraFabric (@infrafabric)
description:
  - Finds out which Chroma a server is, and lists the collections of one database with their counts and settings.
  - Looks for traps, which are contents of the database that another server, or a plain copy, would change or lose.
extends_documentation_fragment:
  - infrafabric.chromadb.endpoint
  - infrafabric.chromadb.attributes
  - infrafabric.chromadb.attributes.actiongroup
  - infrafabric.chromadb.attributes.reads
options:
  gather:
    description:
      - What to look at.
      - V(health) asks the server only for what it is.
      - V(collections) lists the collections.
      - V(traps) reads all records, their vectors included, and takes time accordingly.
    type: list
    elements: str
    choices:
      - health
      - collections
      - traps
    default:
      - health
      - collections
  expected_counts:
    description:
      - How many records each collection must have, a dictionary from a collection's name to a number.
      - The module fails with RV(failure_class=drift) if a collection is missing or has another number of records.
    type: dict
  data_directory:
    description:
      - The directory where the server keeps its data, on the host where the module runs.
      - With it RV(ghosts) says what deleted collections left behind. The server's file is read, never written.
    type: path
seealso:
  - module: infrafabric.chromadb.migrate
  - module: infrafabric.chromadb.validate
"""

EXAMPLES = r"""
- name: See what is there
  infrafabric.chromadb.server_info:
    url: http://localhost:8000
  register: chroma

- name: Look for what a migration would stumble over
  infrafabric.chromadb.server_info:
    url: https://192.0.2.10:8000
    token: "{{ chromadb_source_token }}"
    gather:
      - health
      - collections
      - traps
    expected_counts:
      openwebui_core: 3000
      openwebui_docs: 2100
"""

RETURN = r"""
server:
  description: What answered.
  type: dict
  returned: success
  contains:
    version:
      description: The version that the server gives. Every Chroma 1.x gives 1.0.0.
      type: str
      returned: success
      sample: 1.0.0
    generation:
      description: The oldest release line of Chroma that behaves like it.
      type: str
      returned: success
      sample: "1.5"
    api:
      description: The API that is used to talk to it.
      type: str
      returned: success
      sample: v2
    read_only:
      description:
        - Whether the server is known to refuse writes at the moment.
        - Triggers in the server's file, one of the ways in which the role P(infrafabric.chromadb.cutover#role) freezes a server,
          are not seen here; only a write that changes something meets them.
      type: bool
      returned: success
      sample: false
    max_batch_size:
      description: How many records the server takes in one request.
      type: int
      returned: success
      sample: 5461
    latency_ms:
      description: How long it took to answer a request that costs nothing, the median of five, in milliseconds.
      type: float
      returned: success
      sample: 1.2
ghosts:
  description:
    - How many of the server's row numbers carry list values of records whose collection was deleted.
    - New records that get these numbers are born with the values. M(infrafabric.chromadb.migrate) and M(infrafabric.chromadb.rollback) find that
      by reading back what they wrote, and mend it; other writers do not.
  type: int
  returned: when O(data_directory) is given
  sample: 0
collections:
  description: The collections of the database, by name.
  type: list
  elements: dict
  returned: when O(gather) has V(collections)
  contains:
    name:
      description: The name of the collection.
      type: str
      returned: success
      sample: openwebui_core
    id:
      description: Its UUID.
      type: str
      returned: success
      sample: 5f0c2c35-5e2c-4d5c-9b52-6f3b0a4d6c11
    count:
      description: How many records it has.
      type: int
      returned: success
      sample: 3000
    dimension:
      description: How many numbers an embedding has. None if the collection never had a record.
      type: int
      returned: success
      sample: 384
    space:
      description: Its distance, one of V(l2), V(cosine) and V(ip).
      type: str
      returned: success
      sample: cosine
    metadata:
      description: The metadata of the collection itself.
      type: dict
      returned: success
      sample:
        owner: openwebui
    configuration:
      description: Its index settings and embedding function, as the server gives them.
      type: dict
      returned: success
      sample:
        hnsw:
          space: cosine
          ef_construction: 100
traps:
  description: What another server, or a plain copy, would change or lose.
  type: list
  elements: dict
  returned: when O(gather) has V(traps)
  contains:
    trap:
      description: The name of the trap.
      type: str
      returned: success
      sample: canonical_metadata
    collection:
      description: The collection that has it.
      type: str
      returned: success
      sample: openwebui_core
    ids:
      description: The ids of the first records that have it.
      type: list
      elements: str
      returned: success
      sample:
        - chunk-0017
    count:
      description: How many records have it. 0 where it is the collection as a whole.
      type: int
      returned: success
      sample: 1
    severity:
      description:
        - V(error) if another server would refuse it or could not get it.
        - V(warning) if it would be kept in another form, or if somebody should look at it first. RV(traps[].advice) says which.
      type: str
      returned: success
      sample: warning
    advice:
      description: What to do.
      type: str
      returned: success
      sample: Chroma 1.x keeps these values in another form (-0.0 as 0.0, {} as null); they are compared in that form.
seconds:
  description: How long it took.
  type: float
  returned: success
  sample: 0.214
failure_class:
  description: What kind of failure it was.
  type: str
  returned: failure
  sample: unreachable
"""

from ansible_collections.infrafabric.chromadb.plugins.module_utils._argument_spec import endpoint
from ansible_collections.infrafabric.chromadb.plugins.module_utils._module import run_module
from ansible_collections.infrafabric.chromadb.plugins.module_utils._operations.server_info import server_info


def main() -> None:
    gather = {"type": "list", "elements": "str", "choices": ["health", "collections", "traps"], "default": ["health", "collections"]}
    run_module(server_info, {**endpoint(), "gather": gather, "expected_counts": {"type": "dict"}, "data_directory": {"type": "path"}})


if __name__ == "__main__":
    main()
