# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A role says the same thing in its defaults, its argument specs and its README, and so does the example inventory."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

CHECKOUT = Path(__file__).resolve().parents[3]
ROLES = ("preflight", "snapshot", "migrate", "validate", "cutover", "rollback", "monitor")


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def options_of(role: str, entry: str = "main") -> dict[str, Any]:
    options: dict[str, Any] = load(CHECKOUT / "roles" / role / "meta" / "argument_specs.yml")["argument_specs"][entry].get("options", {})
    return options


@pytest.mark.parametrize("role", ROLES)
def test_every_default_is_an_option_and_every_option_has_a_default(role: str) -> None:
    assert set(options_of(role)) == set(load(CHECKOUT / "roles" / role / "defaults" / "main.yml"))


@pytest.mark.parametrize("role", [*ROLES, "settings"])
def test_every_option_is_typed_described_and_in_the_readme(role: str) -> None:
    readme = (CHECKOUT / "roles" / role / "README.md").read_text(encoding="utf-8")
    for name, option in options_of(role).items():
        assert option["type"]
        assert option["description"]
        assert f"| `{name}` |" in readme, f"{name} is not in the README's table"


@pytest.mark.parametrize("role", [*ROLES, "settings"])
def test_every_described_entry_point_is_there(role: str) -> None:
    tasks = {path.stem for path in (CHECKOUT / "roles" / role / "tasks").glob("*.yml")}
    described = set(load(CHECKOUT / "roles" / role / "meta" / "argument_specs.yml")["argument_specs"])
    assert described - tasks <= {"main"} if role == "settings" else described <= tasks


def names_behind(role: str, entry: str) -> set[str]:
    """Every variable that the tasks of an entry point read, by those that they include and by other variables of the role as well."""
    place = CHECKOUT / "roles" / role
    files, text = [f"{entry}.yml"], ""
    for name in files:
        tasks = (place / "tasks" / name).read_text(encoding="utf-8")
        text += tasks
        files += [found for found in re.findall(r"(?:include|import)_tasks: ([a-z_]+[.]yml)", tasks) if found not in files]
    meanings = {key: value for kind in ("defaults", "vars") if (path := place / kind / "main.yml").exists() for key, value in load(path).items()}
    names = set(re.findall(r"\w+", text))
    while behind := {name for known in names & set(meanings) for name in re.findall(r"\w+", str(meanings[known]))} - names:
        names |= behind
    return names


@pytest.mark.parametrize(("role", "entry"), [("cutover", "undo"), ("proxmox_guest", "rollback"), ("proxmox_guest", "remove")])
def test_every_option_of_a_way_back_has_an_effect_there(role: str, entry: str) -> None:
    assert set(options_of(role, entry)) - names_behind(role, entry) == set()


def used_inventory_variables() -> set[str]:
    """The chromadb_* variables that roles and playbooks read."""
    found: set[str] = set()
    places = [CHECKOUT / "playbooks", *(CHECKOUT / "roles" / role for role in (*ROLES, "settings", "notify", "proxmox_guest"))]
    for place in places:
        for path in place.rglob("*.yml"):
            if path.parts[-2:] != ("meta", "argument_specs.yml"):
                found |= set(re.findall(r"\bchromadb_[a-z_]+", path.read_text(encoding="utf-8")))
    not_of_the_inventory = {name for name in found if name.startswith("chromadb_runbook_")} | {"chromadb_url"}
    return found - set(load(CHECKOUT / "inventories/example/hosts.yml")["all"]["children"]) - not_of_the_inventory


def test_every_inventory_variable_that_is_read_is_described_and_the_other_way_round() -> None:
    assert used_inventory_variables() == set(options_of("settings"))


def test_the_example_inventory_shows_every_inventory_variable() -> None:
    shown = "".join(path.read_text(encoding="utf-8") for path in (CHECKOUT / "inventories/example/group_vars").glob("*.yml"))
    hidden = {name for name in options_of("settings") if name not in shown and name.replace("chromadb_target_", "chromadb_source_") not in shown}
    assert not hidden


def test_what_a_rollback_finds_out_is_not_taken_for_a_misspelled_option() -> None:
    role = CHECKOUT / "roles" / "rollback"
    texts = [path.read_text(encoding="utf-8") for path in [*(role / "tasks").glob("*.yml"), *(CHECKOUT / "playbooks").glob("*rollback.yml")]]
    used = set(re.findall(r"\brollback_[a-z0-9_]+", "".join(texts))) - {"rollback_rto_"}  # the beginning of several
    found = {"rollback_" + name for name in load(role / "vars" / "main.yml")["__rollback_found"]}
    assert used - set(options_of("rollback")) == found
