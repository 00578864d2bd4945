# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Data of the benchmark: real text in the demonstration's shape, and the large source that is kept between runs."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import itertools
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.support.chroma_server import ChromaServer
from tests.support.raw import RawChroma, Record
from tests.support.run_module import CHECKOUT
from tests.support.server_versions import cache_directory

SMALL, LARGE = 10_000, 100_000
CASE = 9_832


def _sample_data() -> ModuleType:
    """The generator of the demonstration's records, which is a script beside its playbook."""
    path = CHECKOUT / "playbooks/files/demo/sample_data.py"
    spec = importlib.util.spec_from_file_location("sample_data", path)
    if spec is None or spec.loader is None:
        raise RuntimeError("%s cannot be imported" % path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["sample_data"] = module
    spec.loader.exec_module(module)
    return module


def six_collections(records: int = CASE) -> Iterator[tuple[str, list[Any]]]:
    """The 9,832 records of the demonstration, or so many in the same six shares."""
    sample = _sample_data()
    stream = sample.sample_records(records)
    ends = [round(end * records / CASE) for end in itertools.accumulate(sample.COLLECTION_SIZES.values())]
    for name, begin, end in zip(sample.COLLECTION_SIZES, [0, *ends], ends):
        yield name, list(itertools.islice(stream, end - begin))


def kept_source(records: int) -> Path:
    """The data directory of a server of the current release with one collection of so many records; made once."""
    directory = cache_directory() / "benchmark" / ("chromadb-%s-%d" % (importlib.metadata.version("chromadb"), records))
    if not (directory / ".complete").exists():
        shutil.rmtree(directory, ignore_errors=True)
        print("Building a source of %d records in %s; it is kept" % (records, directory), flush=True)
        with ChromaServer(directory=directory) as server:
            place = RawChroma(server.url)
            collection = place.create("benchmark", {"hnsw:space": "cosine"})
            stream = _sample_data().sample_records(records)
            while chunk := [Record(r.id, r.embedding, r.document, r.metadata) for r in itertools.islice(stream, 5000)]:
                place.add(collection, chunk, batch=5000)
        (directory / ".complete").touch()
    return directory
