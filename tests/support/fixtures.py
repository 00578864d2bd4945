# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures for every suite that works with real servers; a conftest.py imports what it uses.

`source` and `target` are empty places on two servers of the current release. Each test gets a tenant and a database of
its own there, so that tests share the servers and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .case import Case
from .chroma_server import ChromaServer
from .counting_proxy import CountingProxy
from .raw import RawChroma
from .run_module import make_importable

make_importable()

__all__ = ["case", "source", "source_proxy", "source_server", "spare_server", "target", "target_proxy", "target_server"]


@pytest.fixture(scope="session")
def source_server() -> Iterator[ChromaServer]:
    with ChromaServer() as server:
        yield server


@pytest.fixture(scope="session")
def target_server() -> Iterator[ChromaServer]:
    with ChromaServer() as server:
        yield server


@pytest.fixture
def spare_server() -> Iterator[ChromaServer]:
    """A server for one test alone, which may damage, stop or reset it."""
    with ChromaServer(settings={"allow_reset": True}) as server:
        yield server


@pytest.fixture
def source(source_server: ChromaServer) -> RawChroma:
    return RawChroma(source_server.url).fresh_database("source")


@pytest.fixture
def target(target_server: ChromaServer) -> RawChroma:
    return RawChroma(target_server.url).fresh_database("target")


@pytest.fixture(scope="session")
def _shared_source_proxy(source_server: ChromaServer) -> Iterator[CountingProxy]:
    with CountingProxy(source_server.url) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def _shared_target_proxy(target_server: ChromaServer) -> Iterator[CountingProxy]:
    with CountingProxy(target_server.url) as proxy:
        yield proxy


@pytest.fixture
def source_proxy(_shared_source_proxy: CountingProxy) -> CountingProxy:
    """Before the source's server; counts from zero in each test."""
    _shared_source_proxy.reset()
    return _shared_source_proxy


@pytest.fixture
def target_proxy(_shared_target_proxy: CountingProxy) -> CountingProxy:
    _shared_target_proxy.reset()
    return _shared_target_proxy


@pytest.fixture
def case(source: RawChroma, target: RawChroma, tmp_path: Path) -> Case:
    """Two empty places of this test's own, with a store and a state directory."""
    return Case(source, target, tmp_path)
