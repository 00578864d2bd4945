# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The measure of speed: the least that any client has to do, on the same server, in the same run.

`Prepared` holds requests that are ready to be sent, so that an import costs the client nothing but sending.
`export` asks for everything in pages and does nothing with it but parse it.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterable
from typing import Any

import numpy as np
import requests

from tests.support.raw import RawChroma

PAGE = 1000


class Prepared:
    """Collections as request bodies: what a raw import sends."""

    def __init__(self, modern: bool = True, batch: int = PAGE) -> None:
        self.modern, self.batch = modern, batch
        self.collections: list[tuple[str, list[bytes]]] = []

    def add(self, name: str, records: Iterable[Any]) -> None:
        """Records with id, document, metadata and embedding."""
        bodies, chunk = [], []
        for record in records:
            chunk.append(record)
            if len(chunk) == self.batch:
                bodies.append(self._body(chunk))
                chunk = []
        if chunk:
            bodies.append(self._body(chunk))
        self.collections.append((name, bodies))

    def _body(self, records: list[Any]) -> bytes:
        vectors: list[Any] = [np.asarray(record.embedding, dtype="<f4") for record in records]
        return json.dumps({
            "ids": [record.id for record in records],
            "documents": [record.document for record in records],
            "metadatas": [record.metadata for record in records],
            "embeddings": [base64.b64encode(vector.tobytes()).decode() if self.modern else vector.tolist() for vector in vectors],
        }).encode()  # fmt: skip

    def send(self, place: RawChroma, space: str = "cosine") -> float:
        """Create and fill the collections; seconds."""
        session = requests.Session()
        started = time.perf_counter()
        for name, bodies in self.collections:
            collection_id = place.create(name, {"hnsw:space": space})
            for body in bodies:
                address = "%s%s/%s/add" % (place.url, place._root(), collection_id)
                answer = session.post(address, data=body, headers={"Content-Type": "application/json"}, timeout=600)
                answer.raise_for_status()
        return time.perf_counter() - started


def export(*places: RawChroma) -> float:
    """Read everything of each place; seconds."""
    started = time.perf_counter()
    for place in places:
        for collection in place.collections():
            offset = 0
            while len(place.get(collection["id"], limit=PAGE, offset=offset)["ids"]) == PAGE:
                offset += PAGE
    return time.perf_counter() - started
