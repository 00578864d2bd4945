# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils._operations.traps import purges_unsaved_vectors


@pytest.mark.parametrize(
    ("version", "suspect"),
    [("0.5.4", False), ("0.5.5", True), ("0.5.12", True), ("0.5.13", False), ("0.4.10", False), ("1.0.0", False), ("0.5", False), ("", False)],
)
def test_releases_that_may_have_lost_vectors(version: str, suspect: bool) -> None:
    assert purges_unsaved_vectors(version) is suspect
