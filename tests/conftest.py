# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The subjects that tests can be chosen by, such as `make test PYTEST_ARGS="-m audit"`: a marker given by the file that a test is
in, and by its name."""

from __future__ import annotations

import re

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
