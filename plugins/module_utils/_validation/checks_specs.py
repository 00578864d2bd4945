# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Is every collection what it should be, apart from its records?"""

from __future__ import annotations

from typing import Iterable

from .._records.spec_translation import spec_differences
from .._server.capabilities import Capabilities
from .check import FAILED, NOT_RUN, PASSED, SPECS, Check, Examples, number
from .subject import Subject

WORDS = {"space": "distance", "metadata": "collection metadata", "embedding_function": "embedding function"}


def check_specs(subjects: Iterable[Subject], capabilities: Capabilities) -> Check:
    """Distance, index settings, embedding function, collection metadata and dimension. The figure is the number of differences.

    capabilities  of the target's server: what it cannot hold is not asked of it
    """
    examples = Examples(limit=50)
    count = 0
    for subject in subjects:
        count += 1
        if subject.actual is None:
            examples.add(collection=subject.target, setting="collection", expected=subject.target, actual=None)
            continue
        for part, (expected, actual) in spec_differences(subject.expected, subject.actual, capabilities).items():
            examples.add(collection=subject.target, setting=part, expected=expected, actual=actual)
    details = {"collections": count, "differences": examples.kept, "examples": examples.kept[:10]}
    if not count:
        return Check(SPECS, NOT_RUN, None, 0.0, "differences", "There is no collection to compare.", details)
    if examples.total:
        first = examples.kept[0]
        part = first["setting"]
        words = "is not in the target" if part == "collection" else f"has another {WORDS.get(part, part.replace('index.', 'index setting '))}"
        more = "" if examples.total == 1 else f" ({number(examples.total - 1, 'more difference')})"
        return Check(SPECS, FAILED, float(examples.total), 0.0, "differences", f"Collection {first['collection']} {words}{more}.", details)
    summary = f"{number(count, 'collection')} with the expected distance, index settings, embedding function, metadata and dimension."
    return Check(SPECS, PASSED, 0.0, 0.0, "differences", summary, details)
