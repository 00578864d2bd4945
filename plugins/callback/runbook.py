# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: runbook
type: notification
short_description: Print the timeline of a migration, and its decision
version_added: 1.0.0
author: InfraFabric (@infrafabric)
description:
  - At the end of a playbook, prints how long each phase took beside how long it should have taken, with a chart,
    and then the decision, its reasons, and where the reports lie.
  - It prints nothing when no phase ran.
  - A phase is named by the variable C(chromadb_runbook_phase) of a task, of a block, of a task that includes or imports, or of a play.
    The innermost one counts, and an empty one takes a task out. The name is a plain text, it is not templated.
    Tasks without it belong to the phase V(snapshot), V(migrate), V(validate) or V(rollback) if they run the module of this name.
  - The time of a phase is the time during which at least one host worked on it. Skipped tasks do not count.
  - The decision is what the tasks with the module M(infrafabric.chromadb.validate) returned for each host. A playbook that knows more says so in a fact named
    C(chromadb_runbook_outcome), a dictionary with any of C(decision), C(reasons) (a list), C(report) (a path or a list of paths) and C(freeze_seconds).
  - The estimates come from the run before with the same inventory, at its rate where the records were counted, or else from the plan of the runbook.
requirements:
  - to be enabled, with C(callbacks_enabled = infrafabric.chromadb.runbook) in C(ansible.cfg)
options:
  state_file:
    description: The file in which the times of the last run are kept, on the control node.
    type: path
    default: ~/.ansible/infrafabric.chromadb/runbook.json
    env:
      - name: CHROMADB_RUNBOOK_STATE_FILE
    ini:
      - section: callback_runbook
        key: state_file
"""

EXAMPLES = r"""
# In ansible.cfg:
# [defaults]
# callbacks_enabled = infrafabric.chromadb.runbook

- name: Migrate
  hosts: chromadb_target
  tasks:
    - name: Copy while the source is still written to
      vars:
        chromadb_runbook_phase: migrate
      block:
        - name: Copy the records
          infrafabric.chromadb.migrate:
            source:
              url: http://192.0.2.10:8000
            target:
              url: http://localhost:8000

    - name: Tell the outcome
      ansible.builtin.set_fact:
        chromadb_runbook_outcome:
          decision: postponed
          reasons:
            - The postpone file is there
"""

import json
import os
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from ansible import constants, context
from ansible.plugins.callback import CallbackBase

from ansible_collections.infrafabric.chromadb.plugins.plugin_utils._progress_lines import duration
from ansible_collections.infrafabric.chromadb.plugins.plugin_utils._timeline import Phase, render

PHASE_VARIABLE = "chromadb_runbook_phase"
OUTCOME_FACT = "chromadb_runbook_outcome"
COLLECTION = "infrafabric.chromadb."
NO_HOST = (
    "Nothing was done: no host that was named has a part in this playbook. Those of this collection work on the groups chromadb_source and "
    "chromadb_target, some on chromadb_gateway and chromadb_client, too."
)
MODULE_PHASES = ("snapshot", "migrate", "validate", "rollback")


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """Listens to the tasks, and prints at the end of each playbook."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "infrafabric.chromadb.runbook"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, display: Any = None, options: Any = None) -> None:
        super().__init__(display=display, options=options)
        self._forget()

    def _forget(self) -> None:
        self._phases: dict[str, Phase] = {}
        self._running: dict[tuple[str, str], float] = {}
        self._play_phase: str | None = None
        self._check_mode = False
        self._verdicts: dict[str, Mapping[str, Any]] = {}
        self._outcome: dict[str, Any] = {}

    # What happens

    def v2_playbook_on_play_start(self, play: Any) -> None:
        self._play_phase = play.get_vars().get(PHASE_VARIABLE)

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        self._running[(host.get_name(), task._uuid)] = time.monotonic()

    def v2_runner_on_ok(self, result: Any) -> None:
        self._task_ended(result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._task_ended(result, failed=not ignore_errors)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._task_ended(result, failed=True)

    def v2_runner_on_skipped(self, result: Any) -> None:
        self._running.pop((result.host.get_name(), result.task._uuid), None)

    def _task_ended(self, result: Any, failed: bool = False) -> None:
        host, task = result.host.get_name(), result.task
        end = time.monotonic()
        start = self._running.pop((host, task._uuid), end)
        module = str(task.action).removeprefix(COLLECTION) if str(task.action).startswith(COLLECTION) else ""
        items = [item for item in result.result.get("results") or [result.result] if isinstance(item, Mapping)]
        for item in items:
            self._learn(host, module, item)
        name = task.get_vars().get(PHASE_VARIABLE, self._play_phase)
        if name is None and module in MODULE_PHASES:
            name = module
        if not name or task.action in constants._ACTION_ALL_INCLUDES:
            return
        phase = self._phases.setdefault(str(name), Phase(str(name)))
        phase.add(start, end)
        phase.failed = phase.failed or failed
        if module in MODULE_PHASES:
            phase.records += sum(handled_records(item) for item in items)
            # Where nothing had to be done, the time says nothing about the next run that has something to do.
            phase.idle = module != "validate" and not any(item.get("changed") for item in items)
        self._check_mode = self._check_mode or bool(task.check_mode)

    def _learn(self, host: str, module: str, result: Mapping[str, Any]) -> None:
        if module == "validate" and "decision" in result:
            self._verdicts[host] = result
        facts = result.get("ansible_facts")
        outcome = facts.get(OUTCOME_FACT) if isinstance(facts, Mapping) else None
        if isinstance(outcome, Mapping):
            self._outcome.update(outcome)

    # What is printed

    def v2_playbook_on_stats(self, stats: Any) -> None:
        if not stats.processed:
            # Ansible ends with 0 all the same.
            self._display.warning(NO_HOST)
        phases = list(self._phases.values())
        if phases and "json" not in str(constants.config.get_config_value("DEFAULT_STDOUT_CALLBACK")):
            inventory = inventory_name()
            state = self._read_state()
            recorded = state.get(inventory)
            self._display.banner("RUNBOOK")
            for line in [*render(phases, recorded if isinstance(recorded, dict) else {}), *conclusion(self._verdicts, self._outcome)]:
                self._display.display(line)
            if not self._check_mode:
                self._write_state(state, inventory, phases)
        self._forget()

    def _read_state(self) -> dict[str, Any]:
        try:
            with open(self.get_option("state_file"), encoding="utf-8") as file:
                state = json.load(file)
        except (OSError, ValueError):  # the first run, or a file that is no good: the plan will do
            return {}
        return state if isinstance(state, dict) else {}

    def _write_state(self, state: dict[str, Any], inventory: str, phases: list[Phase]) -> None:
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        figures = {p.name: {"seconds": round(p.seconds, 3), "records": p.records, "recorded": now} for p in phases if not (p.failed or p.idle)}
        before = state.get(inventory)
        state[inventory] = {**(before if isinstance(before, dict) else {}), **figures}
        path = self.get_option("state_file")
        temporary = f"{path}.{os.getpid()}"
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(temporary, "w", encoding="utf-8") as file:
                json.dump(state, file, indent=1, sort_keys=True)
            os.replace(temporary, path)
        except OSError as error:
            self._display.warning(f"The times of this run could not be kept for the next one's estimates: {error}")


def inventory_name() -> str:
    """Names the inventory in the recorded runs."""
    sources = context.CLIARGS.get("inventory") or constants.config.get_config_value("DEFAULT_HOST_LIST")
    return ",".join(source if "," in source else os.path.abspath(source) for source in sources)


def handled_records(result: Mapping[str, Any]) -> int:
    """How many records a task of this collection handled, 0 where it does not say."""
    records = result.get("records")
    if isinstance(records, Mapping):
        records = records.get("read")
    if isinstance(records, int):
        return records
    collections = result.get("collections")
    kinds = ("added", "changed", "deleted", "unchanged")
    return sum(int(each.get(kind) or 0) for each in collections if isinstance(each, Mapping) for kind in kinds) if isinstance(collections, list) else 0


def conclusion(verdicts: Mapping[str, Mapping[str, Any]], outcome: Mapping[str, Any]) -> list[str]:
    """The decision, the reasons, the freeze and the reports. What the playbook says comes before what single hosts say."""
    lines = []
    if "decision" in outcome:
        lines += statement(str(outcome["decision"]), outcome.get("reasons"))
    else:
        for host, verdict in sorted(verdicts.items()):
            lines += statement(f"{verdict['decision']} ({host})", verdict.get("reasons"))
    if outcome.get("freeze_seconds") is not None:
        lines.append(f"frozen    {duration(float(outcome['freeze_seconds']))}")
    reports = outcome.get("report") or [f"{host}:{path}" for host, verdict in sorted(verdicts.items()) for path in report_files(verdict)]
    lines += [f"report    {path}" for path in ([reports] if isinstance(reports, str) else reports)]
    return ["", *lines] if lines else []


def statement(decision: str, reasons: Any) -> list[str]:
    verdict, of_host, host = decision.partition(" (")
    shown = verdict.upper().replace("_", "-") + of_host + host
    return [f"decision  {shown}", *(f"          {reason}" for reason in (reasons or []))]


def report_files(verdict: Mapping[str, Any]) -> list[str]:
    """The report that people read first, of those that were written."""
    report = verdict.get("report")
    if not isinstance(report, Mapping):
        return []
    return [str(report[kind]) for kind in ("html", "markdown", "json") if report.get(kind)][:1]
