#!/usr/bin/python

# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: monitor_info
short_description: Watch a Chroma server that is in use, and say whether it does well
version_added: 1.0.0
author: InfraFabric (@infrafabric)
description:
  - Measures at once and then every O(interval) seconds until O(duration) has passed. Each time it counts the records, searches, and reads what is new
    in the named log files.
  - Ends in a decision. A bad decision does not fail the module. It writes to no database.
extends_documentation_fragment:
  - infrafabric.chromadb.endpoint
  - infrafabric.chromadb.progress
  - infrafabric.chromadb.attributes
  - infrafabric.chromadb.attributes.actiongroup
  - infrafabric.chromadb.attributes.reads
attributes:
  check_mode:
    details: In check mode it measures once, and writes no O(textfile).
options:
  duration:
    description: How many seconds to watch. V(0) measures once.
    type: float
    default: 0
  interval:
    description: Seconds from the beginning of one round to the beginning of the next.
    type: float
    default: 60
  searches:
    description: How many searches are made and timed in each round. Records of the collections are searched for, in turn.
    type: int
    default: 20
  collections:
    description: The collections to watch. Without it, all that are there at the beginning.
    type: list
    elements: str
  expected_counts:
    description:
      - How many records collections must have at least, a dictionary from the name of a collection to a number.
      - For a collection that is not named, it is the number at the beginning.
    type: dict
  log_files:
    description:
      - Log files on the host that runs the module, such as the server's. Only lines that are written during the watch count.
      - Rotated and truncated files are followed. A file that cannot be read when the watch begins is an error.
    type: list
    elements: path
  log_pattern:
    description:
      - A regular expression (of Python). A new line in which it is found is an error.
      - The default knows the levels of Python's logging, of nginx and of C(level=...), answers of 500 and above in access logs, and crashes.
    type: str
    default: '\b(ERROR|CRITICAL|FATAL|PANIC)\b|\[(error|crit|alert|emerg)\]|level=(error|fatal)|^error:|HTTP/\S+" 5\d\d |Traceback \(most recent|panicked at'
  log_ignore:
    description: A regular expression for lines that are no error although O(log_pattern) is found in them.
    type: str
  max_latency_ms:
    description: The time that 95 of 100 searches may take at most, in milliseconds.
    type: float
    default: 500
  min_queries_per_second:
    description: The number of searches that the server must answer in a second, one after the other.
    type: float
    default: 10
  max_lost_records:
    description: By how many records a collection may fall below what it had. Raise it where the clients delete records.
    type: int
    default: 0
  max_new_records:
    description: By how many records a collection may grow. Without it, by any number.
    type: int
  stop_early:
    description:
      - Whether to end as soon as the decision cannot become V(go) any more, which is when records are lost, a log has an error,
        or three rounds after each other got no answer.
    type: bool
    default: true
  textfile:
    description:
      - A file for the textfile collector of Prometheus' node_exporter. It is replaced as a whole after each round.
      - Its name must end in C(.prom), and its directory must exist.
    type: path
seealso:
  - module: infrafabric.chromadb.server_info
  - module: infrafabric.chromadb.validate
"""

EXAMPLES = r"""
- name: Watch the new server for an hour
  infrafabric.chromadb.monitor_info:
    url: http://localhost:8000
    duration: 3600
    interval: 60
    log_files:
      - /var/log/chromadb/chroma.log
    textfile: /var/lib/prometheus/node-exporter/chromadb.prom
  register: watch

- name: Insist that it does well
  ansible.builtin.assert:
    that: watch.decision == 'go'
    fail_msg: "{{ watch.reasons | join(' ') }}"

- name: Measure once
  infrafabric.chromadb.monitor_info:
    url: http://localhost:8000
    searches: 100
"""

RETURN = r"""
decision:
  description: V(go) when every check passed, otherwise V(no_go). What could not be measured is V(no_go).
  type: str
  returned: success
  sample: go
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
      description: One of V(answers), V(latency), V(counts) and V(logs).
      type: str
      returned: success
      sample: latency
    status:
      description: One of V(passed), V(failed), V(not_run) and V(not_applicable).
      type: str
      returned: success
      sample: passed
    figure:
      description: What was measured, over the whole watch.
      type: float
      returned: success
      sample: 3.1
    threshold:
      description: Its limit.
      type: float
      returned: success
      sample: 500.0
    details:
      description: A C(summary) for people, the C(unit) of the figure, and what is particular to the check.
      type: dict
      returned: success
      sample:
        summary: "Searches take 1.8 ms (median), 3.1 ms (95th percentile): 480 a second for one client."
        unit: ms
planned_rounds:
  description: How many rounds there are in the whole duration.
  type: int
  returned: success
  sample: 61
rounds:
  description: The last 120 rounds.
  type: list
  elements: dict
  returned: success
  contains:
    started:
      description: Seconds since the beginning of the watch.
      type: float
      returned: success
      sample: 60.0
    searches:
      description: How many searches were timed.
      type: int
      returned: success
      sample: 20
    slowest_ms:
      description: The slowest of them.
      type: float
      returned: success
      sample: 4.2
    records:
      description: How many records there were. None if the server did not say.
      type: int
      returned: success
      sample: 9832
    log_errors:
      description: How many new lines in the log files are errors.
      type: int
      returned: success
      sample: 0
    error:
      description: What went wrong between the module and the server. Empty if nothing did.
      type: str
      returned: success
      sample: ""
textfile:
  description: The file with the figures. None in check mode and without O(textfile).
  type: str
  returned: success
  sample: /var/lib/prometheus/node-exporter/chromadb.prom
seconds:
  description: How long it took.
  type: float
  returned: success
  sample: 3600.214
failure_class:
  description: What kind of failure it was.
  type: str
  returned: failure
  sample: unreachable
"""

from ansible_collections.infrafabric.chromadb.plugins.module_utils._argument_spec import ArgumentSpec, endpoint, progress
from ansible_collections.infrafabric.chromadb.plugins.module_utils._module import run_module
from ansible_collections.infrafabric.chromadb.plugins.module_utils._operations.monitor_info import monitor_info

LOG_PATTERN = r'\b(ERROR|CRITICAL|FATAL|PANIC)\b|\[(error|crit|alert|emerg)\]|level=(error|fatal)|^error:|HTTP/\S+" 5\d\d |Traceback \(most recent|panicked at'


def main() -> None:
    options: ArgumentSpec = {
        "duration": {"type": "float", "default": 0},
        "interval": {"type": "float", "default": 60},
        "searches": {"type": "int", "default": 20},
        "collections": {"type": "list", "elements": "str"},
        "expected_counts": {"type": "dict"},
        "log_files": {"type": "list", "elements": "path"},
        "log_pattern": {"type": "str", "default": LOG_PATTERN},
        "log_ignore": {"type": "str"},
        "max_latency_ms": {"type": "float", "default": 500},
        "min_queries_per_second": {"type": "float", "default": 10},
        "max_lost_records": {"type": "int", "default": 0},
        "max_new_records": {"type": "int"},
        "stop_early": {"type": "bool", "default": True},
        "textfile": {"type": "path"},
    }
    run_module(monitor_info, {**endpoint(), **options, **progress()})


if __name__ == "__main__":
    main()
