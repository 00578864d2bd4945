# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""What is validated: one target collection beside what it should hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from .._records.compare import ComparedBatch
from .._records.record_batch import Metadata, RecordBatch
from .._schema.fields import SOURCE_COLLECTION, Field


@dataclass(frozen=True)
class Subject:
    """One target collection.

    target   its name
    sources  the source collections whose records may be in it
    space    what distances are counted in there
    fields   the schema's fields for it, by name; None without a schema
    """

    target: str
    sources: tuple[str, ...]
    space: str = "l2"
    fields: Mapping[str, Field] | None = None

    @property
    def only_source(self) -> str | None:
        """The source collection, where there is but one."""
        return self.sources[0] if len(self.sources) == 1 else None

    @cached_property
    def states_source(self) -> bool:
        """Whether each record says in its metadata which source collection it came from."""
        rule = (self.fields or {}).get(SOURCE_COLLECTION)
        return rule is not None and rule.derive == SOURCE_COLLECTION

    def stated_sources(self, metadatas: Sequence[Metadata | None]) -> Iterator[Any]:
        """What each record says of its source collection; None where it says nothing."""
        return (None if metadata is None else metadata.get(SOURCE_COLLECTION) for metadata in metadatas)


class RecordObserver(Protocol):
    """Something that learns from the one walk through all records, in constant memory."""

    def observe(self, subject: Subject, source: str, batch: ComparedBatch) -> None:
        """Expected records, all from one source collection, beside what the target holds of them."""

    def observe_extra(self, subject: Subject, records: RecordBatch, owned: Sequence[bool]) -> None:
        """Records that only the target has, and of each whether it belongs to this migration."""
