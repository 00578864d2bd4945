# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The subjects that tests can be chosen by, such as `make test PYTEST_ARGS="-m audit"`: a marker given by the file that a test is
in, and by its name. And the tests that `make coverage` does not watch."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest

# Subject: a pattern of PATH::NAME, both below tests/.
SUBJECTS = {
    "manifest": r"archive/.*::.*manifest|archive/test_format_documentation|integration/.*::.*manifest",
    "structure": r"archive/test_(store|container|archive_format)",
    "checksum": r"archive/test_verification|archive/.*::.*(digest|sha256|checksum)|integration/.*::.*(digest|checksum)",
    "archive": r"^unit/archive/",
    "audit": r"^unit/test_audit|::.*audit",
    "integration": r"^integration/",
}

# Whole operations, again and again: watched, they take a third longer, and of 18,923 branches they reach 89 that no other test does.
UNWATCHED = re.compile(
    r"integration/test_(faithful_copy|mutations|validate_decisions|mending|catch_up|one_at_a_time|held_values|report_page|command_line|merged_searches"
    r"|official_client|resume|snapshots)\.py"
)


def subjects_of(where: str) -> list[str]:
    """Of a test, by its path and name below tests/."""
    return [subject for subject, pattern in SUBJECTS.items() if re.search(pattern, where)]


def pytest_configure(config: pytest.Config) -> None:
    for subject in SUBJECTS:
        config.addinivalue_line("markers", f"{subject}: the tests of this subject")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for subject in subjects_of(item.nodeid.split("tests/", 1)[-1]):
            item.add_marker(subject)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    watching = _watching() if UNWATCHED.search(item.nodeid) else None
    if watching is None:
        return (yield)
    processes = os.environ.pop("COVERAGE_PROCESS_CONFIG", None)  # by which it watches the processes that a test starts
    watching.stop()
    try:
        return (yield)
    finally:
        watching.start()
        if processes is not None:
            os.environ["COVERAGE_PROCESS_CONFIG"] = processes


def _watching() -> Any:
    """What watches this process, if anything does; coverage is no part of what the tests need."""
    coverage = sys.modules.get("coverage")
    return coverage.Coverage.current() if coverage else None
