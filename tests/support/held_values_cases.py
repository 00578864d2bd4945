# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Records that some server refuses, loses or alters, and a way to ask a real server what becomes of each.

The answer is compared with what the product says before it writes: `problems` and `canonical_metadata`.
"""

from __future__ import annotations

import json
import math
import random
from dataclasses import dataclass
from typing import Any, Callable

import requests

from .raw import RawChroma
from .run_module import make_importable

VALUES: tuple[Any, ...] = (
    True, False, 0, 1, 1.0, 0.1, "", "a\0b", "\u2028", "e\u0301", "\U0001f98a", "y" * 100_000,
    2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63), 2**63, 2**64 - 1, 2**64, -(2**63) - 1, 10**30,
    0.0, -0.0, 5e-324, 1.7976931348623157e308, 1e15, 1e22, math.nan, math.inf, -math.inf, None, "\ud800",
    ["a"], ["", "a", "a"], [1, 2], [2**53 + 1], [2**63 - 1, -(2**63)], [2**63], [1.5], [1.0], [-0.0], [0.0, -0.0, 5e-324], [True, False],
    [1, 2.5], [1.0, 2], [-0.0, 1], [2**53 + 1, 0.5], [2**53, 0.5], [2**63, 0.5], [True, 1], [True, 1.5], ["a", 1], [], [[1]], [[]], [None], ["a", None],
    [{}], [{"a": 1}], ["a\0"], ["\ud800"], [math.nan], [1.0, math.inf], list(range(3000)), {}, {"a": 1}, {"a": {"b": [math.nan]}}, {"a": "\ud800"},
)  # fmt: skip
KEYS = (
    "", "#", "#x", "k#", "$and", "k$", "chroma:document", "chroma:uri", "chroma:foo", "chroma", "xchroma:", "a b", "a\0b", "\u00e9", "y" * 10_000,
    "\ud800", "#document", "c", " ",
)  # fmt: skip
TEXTS = ("", "a", "\0", "a\nb", " ", "\U0001f98a", "e\u0301", "\ud800", "y" * 100_000)


@dataclass(frozen=True)
class Candidate:
    """A record that is to be written, without its vector."""

    id: str
    document: str | None
    metadata: dict[str, Any] | None
    uri: str | None = None


def candidates() -> list[Candidate]:
    """Everything above, one at a time, alone and beside a harmless key."""
    found = [Candidate("record", "d", {"k": value, "z": 1}) for value in VALUES]
    found += [Candidate("record", "d", {"k": value}) for value in ([], None, {}, [[]])]
    found += [Candidate("record", "d", {key: value, "z": 1}) for key in KEYS for value in ("v", 7)]
    found += [Candidate("record", "d", {"chroma:document": "v"}), Candidate("record", "d", {}), Candidate("record", "d", None)]
    found += [Candidate("record", text, {"z": 1}) for text in (*TEXTS, None)]
    found += [Candidate("record", "d", {"z": 1}, text) for text in TEXTS]
    # Escaped as a client sends it, each of these characters takes six bytes: more than 40 MiB, which 1.x refuses.
    found.append(Candidate("record", "\u00e9" * (7 * 1024 * 1024), {"z": 1}))
    return found + [Candidate(text or "", "d", {"z": 1}) for text in TEXTS]


def random_candidates(seed: int, count: int) -> list[Candidate]:
    """Combinations of the same."""
    chance = random.Random(seed)
    plain = [value for value in VALUES if not isinstance(value, (list, dict)) or len(json.dumps(value)) < 1000]
    found = []
    for _record in range(count):
        keys = [chance.choice(KEYS if chance.random() < 0.1 else ("k", "l", "m", "n")) for _key in range(3)]
        found.append(Candidate("record", chance.choice(("d", "")), {key: chance.choice(plain) for key in keys}))
    return found


def outcome(server: RawChroma, collection_id: str, candidate: Candidate, number: int) -> tuple[str, str | None, Any, str | None] | None:
    """Write the record under an id of its own and read it back: id, document, metadata, uri; None if the server refuses or cannot give it back."""
    record_id = candidate.id if candidate.id != "record" else "record %d" % number
    body: dict[str, Any] = {"ids": [record_id], "embeddings": [[1.0, 2.0, float(number)]], "documents": [candidate.document], "metadatas": [candidate.metadata]}
    if candidate.uri is not None:
        body["uris"] = [candidate.uri]
    if not _call(server, collection_id, "upsert", body).ok:
        return None
    include = ["documents", "metadatas"] + ([] if server.ancient else ["uris"])
    answer = _call(server, collection_id, "get", {"ids": [record_id], "include": include})
    if not answer.ok or not answer.json()["ids"]:
        return None
    found = answer.json()
    return ("record" if candidate.id == "record" else found["ids"][0], found["documents"][0], found["metadatas"][0], (found.get("uris") or [None])[0])


def _call(server: RawChroma, collection_id: str, verb: str, body: dict[str, Any]) -> requests.Response:
    place = "/api/v2/tenants/%s/databases/%s/collections" % (server.tenant, server.database) if server.v2 else "/api/v1/collections"
    response = server.session.post("%s%s/%s/%s" % (server.url, place, collection_id, verb), data=json.dumps(body), timeout=120)
    if not response.ok:
        # After a 413 the server closes the connection, and says so too late for the next request.
        server.session.close()
    return response


def exactly(left: Any, right: Any) -> bool:
    """Equal in value and in every type, down to the sign of zero."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(exactly(left[key], right[key]) for key in left)
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(exactly, left, right))
    if isinstance(left, float):
        return left == right and math.copysign(1.0, left) == math.copysign(1.0, right)
    return bool(left == right)


def held_values() -> tuple[Any, Callable[[RawChroma], Any]]:
    """The product's part, and how it learns what a server can hold."""
    make_importable()
    from ansible_collections.infrafabric.chromadb.plugins.module_utils._endpoint import parse_endpoint
    from ansible_collections.infrafabric.chromadb.plugins.module_utils._records import held_values as module
    from ansible_collections.infrafabric.chromadb.plugins.module_utils._server.probe import connect

    return module, lambda raw: connect(parse_endpoint(raw.endpoint)).capabilities


def wrong_predictions(raw: RawChroma, records: list[Candidate]) -> list[str]:
    """Records that were called good and came back different, and records that were called bad and came back as they were."""
    product, capabilities_of = held_values()
    capabilities = capabilities_of(raw)
    collection = raw.create("held")
    wrong = []
    for number, record in enumerate(records):
        predicted = product.problems(record.id, record.document, record.metadata, capabilities, record.uri)
        expected = (record.id, record.document, product.canonical_metadata(record.metadata, capabilities), record.uri)
        found = outcome(raw, collection, record, number)
        if exactly(found, expected) == bool(predicted):
            wrong.append(f"{str(record)[:120]} predicted {predicted or 'good'}, found {str(found)[:120]}")
    return wrong
