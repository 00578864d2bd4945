#!/usr/bin/python

# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: validate
short_description: Prove that a Chroma database holds what it should after a migration, and decide
version_added: 1.0.0
author: InfraFabric (@infrafabric)
description:
  - Compares the target with the source, as seen through O(routes), O(schema) and O(corrections), record by record, and runs further checks.
  - Decides whether the target may be used. A bad decision does not fail the module. It writes to neither server.
extends_documentation_fragment:
  - infrafabric.chromadb.endpoints
  - infrafabric.chromadb.transformation
  - infrafabric.chromadb.progress
  - infrafabric.chromadb.attributes
  - infrafabric.chromadb.attributes.actiongroup
  - infrafabric.chromadb.attributes.reads
attributes:
  check_mode:
    details: In check mode no report is written.
options:
  queries:
    description:
      - Searches that are sent to both servers, to compare their answers.
      - Without it, records of the source are searched for, the same ones in every run. So are they in collections that these searches leave out,
        that no index is overlooked.
    type: list
    elements: dict
    suboptions:
      text:
        description:
          - The text to search for.
          - It has to be turned into a vector by the model that made the collection's vectors, which O(embedder) names. Without it a text is
            refused, with RV(failure_class=usage).
        type: str
      embedding:
        description: The vector to search for.
        type: list
        elements: float
      collection:
        description: The target collection to search in. Without it, all whose vectors are as long.
        type: str
  embedder:
    description:
      - What turns the texts of O(queries) into vectors. Exactly one of O(embedder.command) and O(embedder.url) is needed.
      - 'Both are asked with JSON, C({"model": NAME, "input": [TEXT, ...]}), and answer with C({"embeddings": [[NUMBER, ...], ...]}), one vector for
        each text in the same order, or with C({"data": [{"index": 0, "embedding": [NUMBER, ...]}, ...]}). Many services speak this, such as
        those with OpenAI''s interface for embeddings.'
      - A vector of another length than those of the collection is refused.
    type: dict
    suboptions:
      command:
        description:
          - A program on the host that runs the module, and its arguments. It is run once for each batch, without a shell.
          - It reads the question from its standard input until the end, and writes the answer to its standard output. It ends with 0.
        type: list
        elements: str
      url:
        description: The address that the question is posted to. Redirects are not followed.
        type: str
      model:
        description: The name of the model. Without it the question does not name one.
        type: str
      batch_size:
        description: How many texts are asked for at once.
        type: int
        default: 32
      timeout:
        description: How many seconds one batch may take.
        type: float
        default: 60
      headers:
        description: Headers for O(embedder.url), such as one with a key. They are kept secret.
        type: dict
      validate_certs:
        description: Whether the certificate of O(embedder.url) must be valid.
        type: bool
        default: true
      ca_path:
        description: A file with the authorities to trust for O(embedder.url).
        type: path
  expected_counts:
    description:
      - How many records collections must have, a dictionary from the name of a source or target collection to a number.
      - With it, two empty databases are no success.
      - They are exact. Where O(state_directory) holds the notes of a migration, so that the source may be in use, they are the least that there must be,
        since clients may have added records.
    type: dict
  sample:
    description:
      - Compare a random sample instead of all records. It is for a quick look, the report says how much it proves.
      - Without it, every record is compared.
    type: dict
    suboptions:
      size:
        description: How many records are compared. Without it, all.
        type: int
      seed:
        description: Another number chooses other records.
        type: int
        default: 0
  thresholds:
    description: The limits of the checks. A figure fails when it is strictly beyond its limit.
    type: dict
    suboptions:
      min_valid_ratio:
        description: The part of the source's records that must be valid.
        type: float
        default: 0.95
      max_data_loss_percent:
        description: Lost records, in percent of those that should be there, as RV(data_loss_percent) counts them.
        type: float
        default: 5
      max_lost_records:
        description: How many of these records may be lost.
        type: int
        default: 100
      max_missing_embeddings_percent:
        description: Records without an embedding, in percent.
        type: float
        default: 5
      warn_divergence_percent:
        description: The mean divergence of search results that is worth a warning, in percent.
        type: float
        default: 10
      max_divergence_percent:
        description: The mean divergence of search results that fails, in percent.
        type: float
        default: 20
      max_query_divergence_percent:
        description: The divergence of a single search that fails, in percent.
        type: float
        default: 30
      max_latency_ms:
        description: The time that 95 of 100 searches may take at most, in milliseconds.
        type: float
        default: 500
      min_queries_per_second:
        description: The number of searches that the target must answer in a second, one after the other.
        type: float
        default: 10
      max_mean_difference:
        description: The greatest difference between the means of all embeddings, in any dimension.
        type: float
        default: 0.01
      max_type_mismatch_percent:
        description: Metadata fields of a wrong type, in percent.
        type: float
        default: 5
      max_invalid_citation_percent:
        description: Values that do not have the form that the schema's C(pattern) asks for, in percent of those that are not empty.
        type: float
        default: 10
  report_directory:
    description:
      - A directory on the host that runs the module for the report, as JSON, Markdown, HTML and JUnit XML. An absolute path. Without it, no report is written.
      - It must exist. Where others could replace the reports, a warning says so. In check mode it may be missing, and a warning says that.
    type: path
  state_directory:
    description:
      - The O(state_directory) of M(infrafabric.chromadb.migrate), where each of its passes notes what it saw. With it, a source may be validated
        while it is in use, since what was written to it, or deleted from it, after the last pass is counted and not judged.
      - What the last pass saw is judged as ever. A pass that did not end, and one with a C(shard), leaves no notes that count.
      - An absolute path. Without it, every difference is judged.
    type: path
seealso:
  - module: infrafabric.chromadb.migrate
  - module: infrafabric.chromadb.rollback
"""

EXAMPLES = r"""
- name: Prove that a copy is faithful
  infrafabric.chromadb.validate:
    source:
      url: http://192.0.2.10:8000
    target:
      url: http://localhost:8000
    report_directory: /var/lib/chromadb/reports
  register: verdict

- name: Stop here unless it is
  ansible.builtin.assert:
    that: verdict.decision == 'go'
    fail_msg: "{{ verdict.reasons | join('; ') }}"

- name: Compare the answers to texts, turned into vectors by a service
  infrafabric.chromadb.validate:
    source:
      url: http://192.0.2.10:8000
    target:
      url: http://localhost:8000
    queries:
      - text: How do I reset my password?
    embedder:
      url: http://localhost:11434/api/embed
      model: nomic-embed-text

- name: Allow less, and search for what people search for
  infrafabric.chromadb.validate:
    source:
      url: http://192.0.2.10:8000
    target:
      url: http://localhost:8000
    expected_counts:
      openwebui_core: 3000
    queries:
      - embedding: [0.12, -0.31, 0.05]
        collection: openwebui_core
    thresholds:
      max_lost_records: 0
      max_latency_ms: 300
"""

RETURN = r"""
decision:
  description:
    - V(no_go) when a limit was passed, when one of the checks V(counts), V(embeddings), V(records), V(specs) and V(metadata_completeness) failed,
      or when one was not run.
    - V(marginal) with warnings, or with 95 to 99 % valid records.
    - V(go) otherwise.
  type: str
  returned: success
  sample: go
rollback_required:
  description: Whether it is V(no_go) because of the data, so that the target must not stay as it is.
  type: bool
  returned: success
  sample: false
reasons:
  description: Why the decision is not V(go), in sentences.
  type: list
  elements: str
  returned: success
  sample: []
checks:
  description: The checks, in a fixed order.
  type: list
  elements: dict
  returned: success
  contains:
    name:
      description:
        - One of V(counts), V(embeddings), V(metadata_completeness), V(semantic_equivalence), V(distribution), V(duplicates), V(field_types),
          V(citations), V(records), V(specs) and V(latency).
      type: str
      returned: success
      sample: records
    status:
      description: One of V(passed), V(warning), V(failed), V(not_run) and V(not_applicable).
      type: str
      returned: success
      sample: passed
    figure:
      description: What was measured.
      type: float
      returned: success
      sample: 0.0
    threshold:
      description: Its limit.
      type: float
      returned: success
      sample: 0.0
    details:
      description: A C(summary) for people, the C(unit) of the figure, and what is particular to the check, with ids of records where there are any to name.
      type: dict
      returned: success
      sample:
        summary: "All 9,832 compared records equal: ids, documents, uris, typed metadata and vectors."
        unit: records
data_loss_percent:
  description:
    - The records that the target does not hold, in percent of those that it should hold.
    - It should hold the valid records of the source, and what O(expected_counts) names beyond what even the source holds. Those count as lost, too.
  type: float
  returned: success
  sample: 0.0
divergence_percent:
  description: The mean divergence of the search results. None if no search was made.
  type: float
  returned: success
  sample: 0.0
report:
  description: The files of the report. They are None in check mode and without O(report_directory).
  type: dict
  returned: success
  contains:
    json:
      description: The report as JSON.
      type: str
      returned: success
      sample: /var/lib/chromadb/reports/validation_20260102_030405.json
    markdown:
      description: The report as Markdown.
      type: str
      returned: success
      sample: /var/lib/chromadb/reports/validation_20260102_030405.md
    html:
      description: The report as a web page.
      type: str
      returned: success
      sample: /var/lib/chromadb/reports/validation_20260102_030405.html
    junit:
      description: The report as JUnit XML.
      type: str
      returned: success
      sample: /var/lib/chromadb/reports/validation_20260102_030405.xml
seconds:
  description: How long it took.
  type: float
  returned: success
  sample: 6.318
failure_class:
  description: What kind of failure it was.
  type: str
  returned: failure
  sample: unreachable
"""

from ansible_collections.infrafabric.chromadb.plugins.module_utils._argument_spec import ArgumentSpec, endpoints, progress, transformation
from ansible_collections.infrafabric.chromadb.plugins.module_utils._module import run_module
from ansible_collections.infrafabric.chromadb.plugins.module_utils._operations.validate import validate


def main() -> None:
    thresholds = {
        "min_valid_ratio": {"type": "float", "default": 0.95},
        "max_data_loss_percent": {"type": "float", "default": 5},
        "max_lost_records": {"type": "int", "default": 100},
        "max_missing_embeddings_percent": {"type": "float", "default": 5},
        "warn_divergence_percent": {"type": "float", "default": 10},
        "max_divergence_percent": {"type": "float", "default": 20},
        "max_query_divergence_percent": {"type": "float", "default": 30},
        "max_latency_ms": {"type": "float", "default": 500},
        "min_queries_per_second": {"type": "float", "default": 10},
        "max_mean_difference": {"type": "float", "default": 0.01},
        "max_type_mismatch_percent": {"type": "float", "default": 5},
        "max_invalid_citation_percent": {"type": "float", "default": 10},
    }
    query = {"text": {"type": "str"}, "embedding": {"type": "list", "elements": "float"}, "collection": {"type": "str"}}
    sample = {"size": {"type": "int"}, "seed": {"type": "int", "default": 0}}
    embedder = {
        "command": {"type": "list", "elements": "str"},
        "url": {"type": "str"},
        "model": {"type": "str"},
        "batch_size": {"type": "int", "default": 32},
        "timeout": {"type": "float", "default": 60},
        "headers": {"type": "dict", "no_log": True},
        "validate_certs": {"type": "bool", "default": True},
        "ca_path": {"type": "path"},
    }
    options: ArgumentSpec = {
        "queries": {
            "type": "list",
            "elements": "dict",
            "options": query,
            "required_one_of": [("text", "embedding")],
            "mutually_exclusive": [("text", "embedding")],
        },
        "embedder": {"type": "dict", "options": embedder, "required_one_of": [("command", "url")], "mutually_exclusive": [("command", "url")]},
        "expected_counts": {"type": "dict"},
        "sample": {"type": "dict", "options": sample},
        "thresholds": {"type": "dict", "apply_defaults": True, "options": thresholds},
        "report_directory": {"type": "path"},
        "state_directory": {"type": "path"},
    }
    run_module(validate, {**endpoints(), **transformation(), **options, **progress()})


if __name__ == "__main__":
    main()
