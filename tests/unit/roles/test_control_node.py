# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is delegated to the control node runs there as whoever started Ansible, with Ansible's own Python.

`become: false` is not enough: an `ansible_become` in group_vars/all, where it is meant for the hosts, wins over the keyword."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

CHECKOUT = Path(__file__).resolve().parents[3]
ON_THE_CONTROL_NODE = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}", "ansible_become": False}


def delegated(tasks: list[dict[str, Any]], variables: dict[str, Any], host: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and variables of each task that runs on localhost, with those of the blocks around it."""
    for task in tasks:
        own = {**variables, **task.get("vars", {})}
        where = task.get("delegate_to", host)
        parts = [task[part] for part in ("block", "rescue", "always", "pre_tasks", "tasks", "post_tasks", "handlers") if part in task]
        for part in parts:
            yield from delegated(part, own, where)
        if not parts and where in ("localhost", "127.0.0.1"):
            yield task["name"], own


def files() -> list[Path]:
    found = [path for place in ("roles/*/tasks", "roles/*/handlers", "playbooks") for path in CHECKOUT.glob(f"{place}/**/*.yml")]
    return sorted(path for path in found if "localhost" in path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_tasks_of_the_control_node_say_where_how_and_as_whom(path: Path) -> None:
    for name, variables in delegated(yaml.safe_load(path.read_text(encoding="utf-8")) or [], {}):
        assert {key: variables.get(key) for key in ON_THE_CONTROL_NODE} == ON_THE_CONTROL_NODE, name


def test_they_are_found() -> None:
    assert {"main.yml", "reverse.yml", "prepare.yml", "timer_present.yml", "test.yml", "take.yml"} <= {path.name for path in files()}
