# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.chroma_server import ChromaServer
from tests.support.fixtures import _shared_target_proxy, source_server, target_server

from .scenes import Servers

__all__ = ["_shared_target_proxy", "source_server", "target_server"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-docs", nargs="?", const="wrong", choices=("wrong", "all"),
        help="instead of comparing, write what was really printed into the documents: where they are wrong, or all of it, so that times and ids are of one run",
    )  # fmt: skip


@pytest.fixture
def servers(source_server: ChromaServer, target_server: ChromaServer) -> Iterator[Servers]:
    """Both empty."""
    both = Servers(source_server, target_server)
    both.empty()
    yield both
    both.close()
