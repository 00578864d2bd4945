# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Choosing tests by a subject chooses some."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

from tests.conftest import SUBJECTS, subjects_of

TESTS = Path(__file__).resolve().parents[1]


def test_each_subject_has_tests_of_its_own() -> None:
    found: Counter[str] = Counter()
    for path in [*TESTS.glob("unit/**/test_*.py"), *TESTS.glob("integration/test_*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                found.update(subjects_of(f"{path.relative_to(TESTS)}::{node.name}"))
    assert set(found) == set(SUBJECTS)
    assert min(found.values()) >= 8, found


def test_a_subject_is_marked() -> None:
    assert subjects_of("unit/test_audit.py::test_x") == ["audit"]
    assert subjects_of("integration/test_snapshots.py::test_x") == ["integration"]
    assert subjects_of("unit/test_lock.py::test_x") == []
