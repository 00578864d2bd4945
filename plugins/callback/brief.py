# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: brief
type: stdout
short_description: Print only what a playbook has to say, as text and tables
version_added: 1.0.0
author: InfraFabric (@infrafabric)
description:
  - Prints the messages of M(ansible.builtin.debug), warnings, and at the end why a host failed. Nothing is printed about the other tasks.
  - A message that is a list of dictionaries becomes a table, a dictionary becomes a list of its keys and values.
  - What C(bin/chromadb-rollback.sh) prints comes from here.
options:
  failures_file:
    description:
      - A file on the control node that gets one line for each host that failed, with the class of its failure.
      - The class is the C(failure_class) that the module returned, else the variable C(failure_class) of the task,
        V(unreachable) for a host that does not answer, and otherwise V(failed). It is V(usage) if the playbook found no host.
    type: path
    env:
      - name: CHROMADB_FAILURES_FILE
requirements:
  - to be set as the standard output, with C(stdout_callback = infrafabric.chromadb.brief) in C(ansible.cfg)
"""

EXAMPLES = r"""
# ANSIBLE_STDOUT_CALLBACK=infrafabric.chromadb.brief ansible-playbook infrafabric.chromadb.snapshot_list -i INVENTORY
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible import constants
from ansible.plugins.callback import CallbackBase

from ansible_collections.infrafabric.chromadb.plugins.plugin_utils._plain_tables import plain_lines, question_marked

DEBUG = ("debug", "ansible.builtin.debug", "ansible.legacy.debug")
OUTPUTS = ("module_stderr", "stderr")
OUTPUT_LINES = 10
NO_HOST = "The inventory has no host for this playbook: it works on the groups chromadb_source and chromadb_target."


@dataclass(frozen=True)
class Failure:
    failure_class: str
    message: str


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """Says what debug tasks say when they say it, and failures at the end, when it is known which ones counted."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "infrafabric.chromadb.brief"

    def __init__(self, display: Any = None, options: Any = None) -> None:
        super().__init__(display=display, options=options)
        self._failures: dict[str, Failure] = {}
        self._speaker = "localhost"

    def v2_runner_on_ok(self, result: Any) -> None:
        self._handle_warnings(result.result)
        if result.task.action in DEBUG and "results" not in result.result:
            self._say(result)

    def v2_runner_item_on_ok(self, result: Any) -> None:
        if result.task.action in DEBUG:
            self._say(result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._handle_warnings(result.result)
        if not ignore_errors:
            self._failures[result.host.get_name()] = failure(result.result, result.task.get_vars())

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._failures[result.host.get_name()] = Failure("unreachable", message_of(result.result))

    def v2_playbook_on_stats(self, stats: Any) -> None:
        if not stats.processed:
            self._report("", Failure("usage", NO_HOST))
        for host in sorted(stats.processed):
            summary = stats.summarize(host)
            if summary["failures"] or summary["unreachable"]:
                self._report(host, self._failures.get(host, Failure("failed", "It failed, and did not say why.")))

    def _say(self, result: Any) -> None:
        host = result.host.get_name()
        if host != self._speaker:
            self._speaker = host
            self._display.display(f"{host}:", color=constants.COLOR_HIGHLIGHT)
        message = result.result.get("msg")
        for line in plain_lines(message):
            self._display.display(line)

    def _report(self, host: str, found: Failure) -> None:
        where = "" if host in ("", "localhost") else f"{host}: "
        self._display.display(f"{where}{question_marked(found.message)}", color=constants.COLOR_ERROR, stderr=True)
        path = self.get_option("failures_file")
        if path:
            with open(path, "a", encoding="utf-8") as file:
                file.write(f"{found.failure_class}\n")


def failure(result: Mapping[str, Any], task_vars: Mapping[str, Any]) -> Failure:
    """What a failed task has to say; of a loop, its first item that failed."""
    items = [item for item in result.get("results") or [] if isinstance(item, Mapping) and item.get("failed")]
    told = items[0] if items else result
    return Failure(str(told.get("failure_class") or task_vars.get("failure_class") or "failed"), message_of(told))


def message_of(result: Mapping[str, Any]) -> str:
    message = result.get("msg") or "It failed, and did not say why."
    text = "\n".join(map(str, message)) if isinstance(message, list) else str(message)
    for name in OUTPUTS:
        output = str(result.get(name) or "").strip().splitlines()
        if output:
            return "\n".join([text, *output[-OUTPUT_LINES:]])
    return text
