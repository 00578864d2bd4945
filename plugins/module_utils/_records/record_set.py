# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""The two abilities that comparing needs: to be read through once, and to be asked by id."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from .collection_spec import CollectionSpec
from .record_batch import RecordBatch


class RecordSet(Protocol):
    """A spec and its records, readable in batches: on a server, in a snapshot, or transformed."""

    @property
    def spec(self) -> CollectionSpec: ...

    def id_pages(self) -> Iterator[list[str]]:
        """Every id once, in pages, in the order in which `batches` reads them."""

    def batches(self) -> Iterator[RecordBatch]:
        """Every record once."""


class FetchableRecordSet(RecordSet, Protocol):
    """A record set that can also be asked for records by id."""

    def fetch(self, ids: Sequence[str]) -> RecordBatch:
        """The records of these ids that exist, in the order asked for."""
