# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How each release says that a collection is not there any more: its records are not called damaged for it."""

from __future__ import annotations

from typing import Callable

import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils._endpoint import Endpoint
from ansible_collections.infrafabric.chromadb.plugins.module_utils._errors import DriftError
from ansible_collections.infrafabric.chromadb.plugins.module_utils._operations.planning import select_collections
from ansible_collections.infrafabric.chromadb.plugins.module_utils._records.live import LiveCollection
from ansible_collections.infrafabric.chromadb.plugins.module_utils._server.probe import connect
from tests.support import trap_data
from tests.support.chroma_server import ChromaServer
from tests.support.raw import RawChroma, Record
from tests.support.server_versions import VERSIONS

QUESTIONS: list[Callable[[LiveCollection], object]] = [
    lambda collection: collection.count(),
    lambda collection: list(collection.batches()),
    lambda collection: collection.fetch(["r0"]),
]


# 0.3.29 answers as for an empty one: there only the listing at the end, of which a snapshot tells, shows that it is gone.
@pytest.mark.parametrize("version", [version for version in VERSIONS if not version.startswith("0.3.")])
def test_a_collection_that_goes_is_named(version: str) -> None:
    with ChromaServer(version) as chroma:
        place = RawChroma(chroma.url)
        place.add(place.create("things"), [Record(f"r{row}", vector) for row, vector in enumerate(trap_data.vectors(3))])
        server = connect(Endpoint(chroma.url))
        (collection,) = select_collections(server, None)
        assert collection.count() == 3
        place.delete_collection("things")
        for ask in QUESTIONS:
            with pytest.raises(DriftError, match=r"Collection 'things' on .* was there, and is not any more"):
                ask(collection)
        server.close()
