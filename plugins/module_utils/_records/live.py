# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""A collection on a server, read so that every record arrives exactly once, or is named."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from .._errors import DriftError, IntegrityError
from .._libraries import np
from .._server.http import StatusError
from .._server.server import Server, StoredCollection
from .answered_vectors import complete, vectors_of
from .collection_spec import CollectionSpec
from .id_listing import IdListing
from .id_sets import IdSets
from .read_ahead import map_ahead
from .record_batch import RecordBatch, concatenate, empty_batch
from .spec_translation import read_spec

# An id is small: listing takes large pages, so that a collection of usual size is listed by one request, at one moment.
LISTED_AT_ONCE = 100_000
READ_AT_ONCE = 1000
# A page of vectors is at most about this many numbers (11 bytes each as JSON).
NUMBERS_AT_ONCE = 200_000
LISTING_ATTEMPTS = 5
REREAD_ROUNDS = 3
# Skipping rows costs the server time: above this, records are asked for by id.
PAGED_UP_TO = 100_000
SAMPLE_IDS = 100
# So many records that cannot be read are named at once; where there are more, the server itself is in trouble.
NAMED_RECORDS = 10
MOST_UNREADABLE = 1000


class DuplicateIdsError(IntegrityError):
    """A collection holds several records under one id; `ids` in the details."""


@dataclass
class Movement:
    """What changed in a collection while it was read. `unsettled` counts ids that still moved after the last round."""

    appeared: int = 0
    vanished: int = 0
    unsettled: int = 0
    ids: list[str] = field(default_factory=list)

    def note(self, ids: Sequence[str]) -> None:
        self.ids.extend(ids[: max(0, SAMPLE_IDS - len(self.ids))])


class Throttle:
    """Holds a reader down to so many records a second."""

    def __init__(self, records_per_second: float | None) -> None:
        self._rate = records_per_second
        # What is asked for at once is what one second allows, so that the server is never asked for a burst.
        self.burst = None if records_per_second is None else max(1, int(records_per_second))
        self._next = time.monotonic()

    def wait(self, records: int) -> None:
        if self._rate is None:
            return
        now = time.monotonic()
        if self._next > now:
            time.sleep(self._next - now)
        self._next = max(now, self._next) + records / self._rate


class LiveCollection:
    """A record set that is a collection on a server. `fetch` may be called from several threads.

    `page` is the largest number of records in one read request, where the default is not wanted. A record that cannot be read
    is an IntegrityError, unless `unreadable` is a dictionary: then it is left out, and noted there by its id, with the reason.
    """

    def __init__(self, server: Server, stored: StoredCollection, throttle: Throttle | None = None, page: int | None = None) -> None:
        self.server = server
        self.stored = stored
        self.movement = Movement()
        self.unreadable: dict[str, str] | None = None
        self._page = page or READ_AT_ONCE
        self._throttle = throttle or Throttle(None)
        self._spec: CollectionSpec | None = None

    @property
    def name(self) -> str:
        return self.stored.name

    @property
    def spec(self) -> CollectionSpec:
        if self._spec is None:
            self._spec = read_spec(self.server, self.stored)
        return self._spec

    @property
    def page_size(self) -> int:
        """Records in one read request, by the size of a vector."""
        by_vector = NUMBERS_AT_ONCE // max(1, self.stored.dimension or 384)
        return max(1, min(self._page, by_vector, self.server.capabilities.max_page, self._throttle.burst or self._page))

    def count(self) -> int:
        return self.server.count(self.stored.id)

    def id_pages(self) -> Iterator[list[str]]:
        """Every id, asked for now. Each page begins with the last id of the one before: where it does not, rows moved and the
        listing begins again. So it does where fewer ids come than the server counts before and after: IntegrityError when the
        same ids come each time, and DriftError when clients keep them moving."""
        short: set[int | None] = set()
        shortage = ""
        for _attempt in range(LISTING_ATTEMPTS):
            counted = self.count()
            with IdListing(self._ids(LISTED_AT_ONCE, 0) if self.server.capabilities.tenants else self._ids(None, None)) as listing:
                if not self._list_to_the_end(listing, counted):
                    short.add(None)
                    continue
                # Clients may have deleted some meanwhile.
                if listing.count >= counted or listing.count >= (counted := min(counted, self.count())):
                    yield from listing.pages()
                    return
            short.add(listing.fingerprint)
            shortage = f"lists {listing.count} ids of collection {self.name!r}, and counts {counted} records"
        if len(short) == 1 and shortage:
            raise IntegrityError(
                f"{self.server.endpoint.url} {shortage}: some would be left out. See whether something before the server shortens its answers.",
                collection=self.name,
            )
        raise DriftError(
            f"The ids of collection {self.name!r} on {self.server.endpoint.url} moved during {LISTING_ATTEMPTS} listings"
            + (f", and it {shortage}" if shortage else "")
            + "; freeze its writers and try again.",
            collection=self.name,
        )

    def _list_to_the_end(self, listing: IdListing, counted: int) -> bool:
        """Ask for the pages after the first; False when rows moved meanwhile."""
        while listing.count and self.server.capabilities.tenants:
            full = listing.last >= LISTED_AT_ONCE - 1
            # A page that is not full ends the listing, unless there must be more: then something may allow smaller ones only.
            if not full and listing.count >= counted:
                break
            page = self._ids(LISTED_AT_ONCE, listing.count - 1)
            if not page or page[0] != listing.last_id:
                return not full
            if len(page) == 1:
                break
            listing.append(page[1:])
        return True

    def _ids(self, limit: int | None, offset: int | None) -> list[str]:
        answer = self.server.get(self.stored.id, (), limit=limit, offset=offset)
        return list(answer["ids"])

    def batches(self) -> Iterator[RecordBatch]:
        """Every record once, as of about now: what appears meanwhile is read too, what vanishes is noted in `movement`.

        IntegrityError names a record that is listed and cannot be read.
        """
        if not self.server.capabilities.tenants:
            yield from _parts(self._whole(vectors=True), self.page_size)
            return
        ids = IdSets()
        try:
            total = ids.load("listed", self.id_pages())
            yield from self._listed_batches(ids, total)
            yield from self._late_batches(ids)
        finally:
            ids.close()

    def batches_without_vectors(self) -> Iterator[RecordBatch]:
        """Every record once, as `batches`, but without vectors (dimension 0) and without a second look at the ids."""
        if not self.server.capabilities.tenants:
            yield from _parts(self._whole(vectors=False), self.page_size)
            return
        size = min(READ_AT_ONCE, self._throttle.burst or READ_AT_ONCE)
        yield from map_ahead(self.read_without_vectors, smaller_pages(self.id_pages(), size))

    def _whole(self, vectors: bool) -> RecordBatch:
        """Everything by one request: 0.3 has no order to page by, does not find every id by its name, and holds ids twice."""
        try:
            answer = self.server.get(self.stored.id, self._include() if vectors else self._include()[1:])
        except StatusError as error:
            # One record is enough for that. By their ids, those at fault are found; what is found beside them may not be all.
            batch = self._read_ids(self._ids(None, None), vectors)
            if not self.unreadable:
                raise error from None
            return batch
        if vectors and not complete(answer):
            raise IntegrityError(
                f"Collection {self.name!r} on {self.server.endpoint.url} does not give one vector for each of its {len(answer['ids'])} records.",
                collection=self.name,
            )
        twice = [record_id for record_id, times in Counter(answer["ids"]).items() if times > 1]
        if twice:
            raise DuplicateIdsError(
                f"Collection {self.name!r} on {self.server.endpoint.url} holds the id {twice[0]!r} more than once; only one record of an id can be kept. "
                "Delete or rename the others there first.",
                collection=self.name,
                ids=twice[:SAMPLE_IDS],
            )
        self._throttle.wait(len(answer["ids"]))
        return self._decoded(answer, vectors=vectors)

    def _listed_batches(self, ids: IdSets, total: int) -> Iterator[RecordBatch]:
        paging = total <= PAGED_UP_TO

        def read(listed: tuple[int, list[str]]) -> tuple[list[str], RecordBatch]:
            nonlocal paging
            offset, asked = listed
            # A page proves itself: it holds the listed ids, or the collection moved and is read by id from there on.
            batch = self._read_page(offset, asked) if paging else None
            if batch is None:
                paging = False
                batch = self._read_ids(asked)
            return asked, batch

        for asked, batch in map_ahead(read, self._with_offsets(ids.pages("listed", self.page_size))):
            self._note_absent(ids, asked, batch)
            yield _in_order(batch, asked)

    def _with_offsets(self, pages: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
        """Each page when its time has come, with the number of ids before it."""
        offset = 0
        for page in pages:
            self._throttle.wait(len(page))
            yield offset, page
            offset += len(page)

    def _late_batches(self, ids: IdSets) -> Iterator[RecordBatch]:
        for _round in range(REREAD_ROUNDS):
            ids.load("relisted", self.id_pages())
            yield from self._second_chance(ids)
            appeared = 0
            for asked in ids.only_in("relisted", "listed", self.page_size):
                appeared += len(asked)
                self.movement.appeared += len(asked)
                self.movement.note(asked)
                ids.add("listed", asked)
                batch = self.fetch(asked)
                self._note_absent(ids, asked, batch)
                yield batch
            if not appeared:
                for gone in ids.only_in("listed", "relisted"):
                    self.movement.vanished += len(gone)
                    self.movement.note(gone)
                return
        self.movement.unsettled += appeared

    def _second_chance(self, ids: IdSets) -> Iterator[RecordBatch]:
        """Ids that were listed, did not arrive, and are listed again have not vanished: they must be readable now."""
        for page in ids.pages("absent", self.page_size):
            back = ids.present("relisted", page)
            batch = self.fetch(back)
            missing = set(back) - set(batch.ids)
            if missing:
                self._require_gone(missing, self.id_pages())
            if len(batch):
                yield batch
        ids.clear("absent")

    def _require_gone(self, absent: set[str], pages: Iterable[list[str]]) -> None:
        """IntegrityError where an id whose record did not arrive is still in what the server lists."""
        still = [record_id for page in pages for record_id in page if record_id in absent]
        if still:
            raise IntegrityError(
                f"{self.server.endpoint.url} lists the id {still[0]!r} in collection {self.name!r}, but does not give its record.",
                collection=self.name,
                ids=still[:SAMPLE_IDS],
            )

    def _note_absent(self, ids: IdSets, asked: list[str], batch: RecordBatch) -> None:
        if len(batch) != len(asked):
            found = set(batch.ids)
            absent = [record_id for record_id in asked if record_id not in found and record_id not in (self.unreadable or ())]
            ids.add("absent", absent)
            self.movement.note(absent)

    def read_without_vectors(self, ids: Sequence[str]) -> RecordBatch:
        """Documents, uris and metadata of the given ids; the batch has no vectors (dimension 0)."""
        self._throttle.wait(len(ids))
        return _in_order(self._read_ids(list(ids), vectors=False), ids)

    def fetch(self, ids: Sequence[str]) -> RecordBatch:
        """The records of these ids that exist, in the order asked for."""
        if not ids:
            return empty_batch(self.stored.dimension or 0)
        size = self.page_size
        pages = [list(ids[start : start + size]) for start in range(0, len(ids), size)]
        parts = list(map_ahead(self._read_ids, pages)) if len(pages) > 1 else [self._read_ids(pages[0])]
        return _in_order(concatenate(parts), ids)

    def _read_page(self, offset: int, asked: list[str]) -> RecordBatch | None:
        try:
            answer = self.server.get(self.stored.id, self._include(), limit=len(asked), offset=offset)
        except StatusError:
            return None
        if answer["ids"] != asked or not complete(answer):
            return None
        return self._decoded(answer)

    def _read_ids(self, ids: list[str], vectors: bool = True) -> RecordBatch:
        """Read by id; halves are asked for where the server fails or leaves vectors out, until the record is found."""
        lost: dict[str, str] = {}
        batch = self._try_ids(ids, vectors, lost) if ids else empty_batch()
        if not lost:
            return batch
        if self.unreadable is not None:
            self.unreadable.update(lost)
        if self.unreadable is None or len(self.unreadable) > MOST_UNREADABLE:
            names = list(lost)[:NAMED_RECORDS]
            raise IntegrityError(
                f"{'Record' if len(names) == 1 else 'Records'} {', '.join(map(repr, names))} of collection {self.name!r} on {self.server.endpoint.url} "
                f"cannot be read: {lost[names[0]]}",
                ids=names,
                collection=self.name,
            )
        return batch

    def _try_ids(self, ids: list[str], vectors: bool, lost: dict[str, str]) -> RecordBatch:
        """Those of the records that can be read; `lost` takes why the others cannot, at least as many of them as are named."""
        try:
            answer = self.server.get(self.stored.id, self._include() if vectors else self._include()[1:], ids=ids)
        except (StatusError, IntegrityError) as error:
            if len(ids) > 1:
                return self._try_halves(ids, vectors, lost)
            lost[ids[0]] = error.message
            return empty_batch(self.stored.dimension or 0 if vectors else 0)
        if not vectors or complete(answer):
            return self._decoded(answer, vectors)
        if len(answer["ids"]) > 1:
            return self._try_halves(ids, vectors, lost)
        answer["embeddings"] = [None] * len(answer["ids"])
        return self._decoded(answer)

    def _try_halves(self, ids: list[str], vectors: bool, lost: dict[str, str]) -> RecordBatch:
        middle = len(ids) // 2
        first = self._try_ids(ids[:middle], vectors, lost)
        if len(lost) >= (NAMED_RECORDS if self.unreadable is None else MOST_UNREADABLE):
            return first
        return concatenate([first, self._try_ids(ids[middle:], vectors, lost)])

    def _include(self) -> tuple[str, ...]:
        return ("embeddings", "documents", "metadatas", "uris") if self.server.capabilities.uris else ("embeddings", "documents", "metadatas")

    def _decoded(self, answer: dict[str, Any], vectors: bool = True) -> RecordBatch:
        ids = list(answer["ids"])
        columns = {}
        for name in ("documents", "uris", "metadatas"):
            values = answer.get(name)
            if values is not None and len(values) != len(ids):
                raise IntegrityError(f"{self.server.endpoint.url} answers {len(values)} {name} for {len(ids)} ids of collection {self.name!r}.")
            columns[name] = list(values) if values is not None else [None] * len(ids)
        if vectors:
            try:
                embeddings, embedded = vectors_of(answer.get("embeddings"), self.stored.dimension or 0)
            except (TypeError, ValueError):
                raise IntegrityError(f"{self.server.endpoint.url} answers vectors of collection {self.name!r} that are not numbers.") from None
        else:
            embeddings, embedded = np.zeros((len(ids), 0), dtype="<f4"), None
        return RecordBatch(ids, embeddings, columns["documents"], columns["uris"], columns["metadatas"], embedded)


def smaller_pages(pages: Iterable[list[str]], size: int) -> Iterator[list[str]]:
    """The same ids, at most `size` at once."""
    return (page[start : start + size] for page in pages for start in range(0, len(page), size))


def _parts(batch: RecordBatch, size: int) -> Iterator[RecordBatch]:
    for start in range(0, len(batch), size):
        yield batch.select(range(start, min(start + size, len(batch))))


def _in_order(batch: RecordBatch, ids: Sequence[str]) -> RecordBatch:
    if len(batch) == len(ids) and batch.ids == list(ids):
        return batch
    places = batch.positions()
    return batch.select([places[record_id] for record_id in ids if record_id in places])
