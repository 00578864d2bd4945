# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each release with a SQLite file numbers its writes so that catching up by the numbers equals a comparison of every record."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.support.case import Case
from tests.support.changing_source import fill, prove_equal_to_a_full_comparison
from tests.support.chroma_server import ChromaServer
from tests.support.raw import RawChroma
from tests.support.server_versions import CURRENT, PINS, cache_directory

from .conftest import BUDGET

# More than 1,000 writes: then the releases from 0.5 on shorten their log.
SIZES = {"first": 1200, "second": 60}


@pytest.mark.parametrize("version", [version for version in (*PINS, CURRENT) if not version.startswith("0.3.")])
def test_catching_up_by_the_numbers(version: str, tmp_path: Path) -> None:
    if BUDGET and version != CURRENT and not (cache_directory() / "servers" / version / ".complete").exists():
        pytest.skip("installing it takes minutes")
    with ChromaServer(version) as source_server, ChromaServer() as target_server:
        case = Case(RawChroma(source_server.url), RawChroma(target_server.url), tmp_path)
        fill(case.source, random.Random(1), SIZES)
        # 0.4.24 itself cannot read a large collection any more in which a deleted record was added again.
        prove_equal_to_a_full_comparison(case, source_server, rounds=2, seed=2, names=list(SIZES), comes_back=version != "0.4.24")
        # What a release says of its index is worded differently by another one, or not at all.
        assert case.differences(index_settings=version == CURRENT) == []
