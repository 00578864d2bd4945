# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The samples of what modules return have the form that the modules give: of ids and moments, as far as code has one place that makes them."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.infrafabric.chromadb.plugins.module_utils import _argument_spec
from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.store import SAFETY_NAME
from ansible_collections.infrafabric.chromadb.plugins.module_utils._checkpoint import short_digest

COLLECTION = "ansible_collections.infrafabric.chromadb.plugins"
MODULES = sorted(path.stem for path in (Path(_argument_spec.__file__).parents[1] / "modules").glob("*.py") if path.stem != "__init__")
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT")
MIGRATION_ID = re.compile("migration_[0-9a-f]{%d}" % len(short_digest("")))


def samples(documented: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Each value of each sample, at any depth, with the name that it has."""
    for name, described in documented.items():
        yield from named(name, described.get("sample"))
        yield from samples(described.get("contains") or {})


def named(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    yield name, value
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from named(str(key), inner)


def samples_of(module: str) -> list[tuple[str, Any]]:
    return list(samples(yaml.safe_load(importlib.import_module(f"{COLLECTION}.modules.{module}").RETURN)))


@pytest.mark.parametrize("module", MODULES)
def test_moments_are_written_as_modules_write_them(module: str) -> None:
    for name, value in samples_of(module):
        if isinstance(value, str) and MOMENT.match(value):
            precision = "milliseconds" if "." in value else "seconds"
            assert datetime.fromisoformat(value.replace("Z", "+00:00")).astimezone(timezone.utc).isoformat(timespec=precision) == value, name


@pytest.mark.parametrize("module", MODULES)
def test_ids_have_the_form_of_real_ones(module: str) -> None:
    for name, value in samples_of(module):
        if name == "safety_snapshot_id":
            assert value.endswith(f"_{SAFETY_NAME}")
        if name == "migration_id":
            assert MIGRATION_ID.fullmatch(value)
