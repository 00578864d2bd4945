# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Searches by words of documents (`where_document`): a server keeps an index of its own for them, which may be damaged while every record is right."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .._errors import OperationError
from .._records.live import LiveCollection
from .._schema.plan import MigrationPlan
from .check import Examples
from .searches import MIN_PER_COLLECTION, sample_ids

# Words that every server can look for: its index knows no shorter ones, and signs mean something to some.
WORD = re.compile(r"[^\W_]{3,40}")


@dataclass(frozen=True)
class TextSearch:
    """A record, in the source and in the target, and a word of its document."""

    source: LiveCollection
    source_id: str
    target: str
    target_id: str
    word: str


@dataclass(frozen=True)
class TextSearches:
    """How many searches the target was asked, and those that did not find the record although its document there holds the word."""

    asked: int
    missed: int
    examples: Sequence[Mapping[str, object]] = ()


def choose_text_searches(plan: MigrationPlan, seed: int) -> list[TextSearch]:
    """A few records of each source collection, the same ones in every run with the same seed."""
    chosen: list[TextSearch] = []
    for source in plan.sources:
        ids = sample_ids((record_id for page in source.id_pages() for record_id in page), MIN_PER_COLLECTION, seed)
        batch = source.read_without_vectors(ids)
        for row, record_id in enumerate(batch.ids):
            words = WORD.findall(batch.documents[row] or "")
            if words:
                place = plan.transformation.place(source.name, record_id, batch.metadatas[row])
                chosen.append(TextSearch(source, record_id, place.target, place.id, max(words, key=len)))
    return chosen


def search_texts(stored: Mapping[str, LiveCollection], searches: Sequence[TextSearch]) -> TextSearches:
    """Ask the target. A record that it does not hold, or holds with another document, is left to the comparison of records."""
    examples = Examples()
    asked = 0
    for search in searches:
        target = stored.get(search.target)
        documents = [] if target is None else target.read_without_vectors([search.target_id]).documents
        if target is None or not documents or search.word not in (documents[0] or ""):
            continue
        asked += 1
        # What the source does not find either, such as where its index of documents is switched off, is no damage.
        if not _finds(target, search.target_id, search.word) and _finds(search.source, search.source_id, search.word):
            examples.add(collection=search.target, id=search.target_id, word=search.word)
    return TextSearches(asked, examples.total, examples.kept)


def _finds(collection: LiveCollection, record_id: str, word: str) -> bool:
    try:
        answer = collection.server.get(collection.stored.id, (), ids=[record_id], where_document={"$contains": word})
    except OperationError:
        return False
    return record_id in answer["ids"]
