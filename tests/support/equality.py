# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether two servers hold the same, judged without any code of the product.

`differences` returns one line for everything that is not equal; an empty list is equality. The rules: ids, documents,
uris and metadata with the types of their values are exact; vectors are exact to the bit for l2 and ip, and within
1e-6 of each number for cosine, which the server itself rounds. Empty metadata and none count as the same: servers
return one for the other, depending on what else the record holds or held.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from .raw import Contents, RawChroma, Record

COSINE_RELATIVE = 1e-6
# Below this share of a vector's greatest number, a difference is the rounding of the greatest one.
COSINE_FLOOR = 1e-7


def differences(
    left: RawChroma,
    right: RawChroma,
    names: Iterable[str] | None = None,
    renamed: Mapping[str, str] | None = None,
    index_settings: bool = True,
) -> list[str]:
    """What `right` holds otherwise than `left`; `names` are those of the left side, `renamed` maps them to the right."""
    renamed = renamed or {}
    chosen = None if names is None else list(names)
    expected = left.contents(chosen)
    actual = right.contents(None if chosen is None else [renamed.get(name, name) for name in chosen])
    return contents_differences({renamed.get(name, name): found for name, found in expected.items()}, actual, index_settings)


def contents_differences(expected: Mapping[str, Contents], actual: Mapping[str, Contents], index_settings: bool = True) -> list[str]:
    """The same for contents that were read before."""
    found = ["collection %r is missing" % name for name in expected if name not in actual]
    found += ["collection %r should not be there" % name for name in actual if name not in expected]
    for name, collection in expected.items():
        if name in actual:
            found += ["%s: %s" % (name, line) for line in collection_differences(collection, actual[name], index_settings)]
    return found


def collection_differences(expected: Contents, actual: Contents, index_settings: bool = True) -> list[str]:
    found = []
    if typed(expected.metadata or None) != typed(actual.metadata or None):
        found.append("collection metadata %r != %r" % (expected.metadata, actual.metadata))
    if expected.space != actual.space:
        found.append("space %s != %s" % (expected.space, actual.space))
    if index_settings and typed(expected.configuration) != typed(actual.configuration):
        found.append("configuration %r != %r" % (expected.configuration, actual.configuration))
    if index_settings and indexed_values(expected.schema) != indexed_values(actual.schema):
        found.append("schema %r != %r" % (expected.schema, actual.schema))
    # API v1 does not tell it; the vectors themselves are compared below.
    if expected.records and None not in (expected.dimension, actual.dimension) and expected.dimension != actual.dimension:
        found.append("dimension %r != %r" % (expected.dimension, actual.dimension))
    found += records_differences(expected.records, actual.records, expected.space)
    return found


def records_differences(expected: Mapping[str, Record], actual: Mapping[str, Record], space: str) -> list[str]:
    found = ["id %.60r is missing" % record_id for record_id in expected if record_id not in actual]
    found += ["id %.60r should not be there" % record_id for record_id in actual if record_id not in expected]
    for record_id, record in expected.items():
        if record_id in actual:
            found += ["id %.60r: %s" % (record_id, line) for line in record_differences(record, actual[record_id], space)]
    return found


def record_differences(expected: Record, actual: Record, space: str) -> list[str]:
    found = []
    if expected.document != actual.document:
        found.append("document %.80r != %.80r" % (expected.document, actual.document))
    if expected.uri != actual.uri:
        found.append("uri %r != %r" % (expected.uri, actual.uri))
    if typed(expected.metadata or None) != typed(actual.metadata or None):
        found.append("metadata %.300r != %.300r" % (expected.metadata, actual.metadata))
    if not same_vector(expected.embedding, actual.embedding, space):
        found.append("embedding %.120s != %.120s" % (expected.embedding, actual.embedding))
    return found


def search_differences(left: RawChroma, right: RawChroma, names: Iterable[str], renamed: Mapping[str, str] | None = None) -> list[str]:
    """Whether both sides measure distance alike: one query a collection, with twice the vector of a record that is not zero."""
    found = []
    for name in names:
        ids = [place.collection(wanted)["id"] for place, wanted in ((left, name), (right, (renamed or {}).get(name, name)))]
        rows = [record.embedding for record in left.records(ids[0]).values() if record.embedding is not None]
        asked = next((row * 2 for row in rows if 0.01 < np.linalg.norm(row) < 100), None)
        if asked is None:
            continue
        expected, actual = (place.query(one, asked)["distances"][0] for place, one in zip((left, right), ids))
        if len(expected) != len(actual) or not np.allclose(expected, actual, rtol=1e-4, atol=1e-5):
            found.append("%s: distances %.200r != %.200r" % (name, expected, actual))
    return found


def same_vector(expected: Any, actual: Any, space: str) -> bool:
    if expected is None or actual is None:
        return expected is None and actual is None
    if expected.shape != actual.shape:
        return False
    if expected.tobytes() == actual.tobytes():
        return True
    if space != "cosine":
        return False
    left, right = expected.astype("f8"), actual.astype("f8")
    if not (np.isfinite(left).all() and np.isfinite(right).all()):
        return False
    allowed = COSINE_RELATIVE * np.abs(left) + COSINE_FLOOR * np.abs(left).max(initial=0.0)
    return bool((np.abs(left - right) <= allowed).all())


def indexed_values(schema: Mapping[str, Any] | None) -> dict[tuple[str, ...], bool]:
    """What a schema of 1.5 says is indexed: its defaults, and the keys for which it says otherwise (it also names every key ever written)."""
    defaults = {(kind, index): value["enabled"] for kind, indexes in (schema or {}).get("defaults", {}).items() for index, value in indexes.items()}
    found: dict[tuple[str, ...], bool] = dict(defaults)
    for key, kinds in (schema or {}).get("keys", {}).items():
        for kind, indexes in kinds.items():
            found.update({(key, kind, index): value["enabled"] for index, value in indexes.items() if value["enabled"] != defaults[kind, index]})
    return found


def typed(value: Any) -> Any:
    """A form of a JSON value in which 1, 1.0, true and "1" all differ, as do 0.0 and -0.0; key order does not count."""
    if isinstance(value, Mapping):
        return ("object", tuple(sorted((key, typed(item)) for key, item in value.items())))
    if isinstance(value, (list, tuple)):
        return ("array", tuple(typed(item) for item in value))
    if isinstance(value, float):
        return ("float", struct.pack("<d", value).hex())
    return (type(value).__name__, repr(value))
