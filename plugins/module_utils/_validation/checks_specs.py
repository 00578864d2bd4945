# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Is every collection what it should be, apart from its records?"""

from __future__ import annotations

from collections.abc import Container, Mapping

from .._numbers import number
from .._records.collection_spec import CollectionSpec
from .._records.spec_translation import spec_differences
from .._server.capabilities import Capabilities
from .check import FAILED, NOT_RUN, PASSED, SPECS, WARNING, Check, Examples

WORDS = {"space": "distance", "metadata": "collection metadata", "embedding_function": "embedding function"}


def check_specs(
    expected: Mapping[str, CollectionSpec], actual: Mapping[str, CollectionSpec | None], capabilities: Capabilities, merged: Container[str] = ()
) -> Check:
    """Distance, index settings, embedding function, collection metadata and dimension. The figure is the number of differences.

    actual        None: the collection is not there
    capabilities  of the target's server: what it cannot hold is not asked of it
    merged        targets of several collections; their metadata is what those agreed on when it was created, so another one only warns
    """
    examples = Examples(limit=50)
    doubtful = Examples(limit=50)
    for target, spec in expected.items():
        held = actual.get(target)
        if held is None:
            examples.add(collection=target, setting="collection", expected=target, actual=None)
            continue
        for part, (wanted, found) in spec_differences(spec, held, capabilities).items():
            kept = doubtful if part == "metadata" and target in merged else examples
            kept.add(collection=target, setting=part, expected=wanted, actual=found)
    count = len(expected)
    details = {"collections": count, "differences": examples.kept + doubtful.kept, "examples": (examples.kept + doubtful.kept)[:10]}
    if not count:
        return Check(SPECS, NOT_RUN, None, 0.0, "differences", "There is no collection to compare.", details)
    if examples.total:
        first = examples.kept[0]
        part = first["setting"]
        words = "is not in the target" if part == "collection" else f"has another {WORDS.get(part, part.replace('index.', 'index setting '))}"
        more = "" if examples.total == 1 else f" ({number(examples.total - 1, 'more difference')})"
        return Check(SPECS, FAILED, float(examples.total), 0.0, "differences", f"Collection {first['collection']} {words}{more}.", details)
    if doubtful.total:
        first = doubtful.kept[0]
        summary = f"The metadata of the merged collection {first['collection']} is not what its source collections agree on now."
        return Check(SPECS, WARNING, float(doubtful.total), 0.0, "differences", summary, details)
    summary = f"{number(count, 'collection')} with the expected distance, index settings, embedding function, metadata and dimension."
    return Check(SPECS, PASSED, 0.0, 0.0, "differences", summary, details)
