# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""One database on one Chroma server, in the words that all versions share."""

from __future__ import annotations

import base64
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from .._bounded_json import MAX_NESTING, MAX_VALUES, MAX_VALUES_OF_A_WHOLE, TOO_DEEP, bounded_json, is_shallow
from .._endpoint import Endpoint
from .._errors import DriftError, IntegrityError, InvalidDataError, OperationError, TimeoutExceededError, UnreachableError
from .answers import decode_records
from .capabilities import Capabilities
from .http import MAX_RECORDS_BYTES, HttpClient, StatusError
from .stuck_batch import write_narrowed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# How servers say that they have no such collection; the second is that of releases before 0.5.
GONE = re.compile(r"Collection \S+ does not exist|coroutine raised StopIteration")
# The server takes 40 MiB; one MiB is left for what a proxy may add.
MAX_BODY_BYTES = 39 * 1024 * 1024
COLLECTIONS_PAGE = 500
# Parts of a batch that is stuck are not waited for as long as the batch was.
NARROWING_ATTEMPTS = 2
RECORD_TYPES: dict[str, set[type]] = {
    "documents": {str, type(None)},
    "uris": {str, type(None)},
    "metadatas": {dict, type(None)},
}


@dataclass(frozen=True)
class StoredCollection:
    """A collection as the server lists it."""

    id: str
    name: str
    metadata: dict[str, Any] | None = None
    configuration: dict[str, Any] | None = None
    schema: dict[str, Any] | None = None
    dimension: int | None = None


@dataclass
class RecordColumns:
    """Records to be written: parallel columns, `n` rows; `embeddings` has shape (n, dimension), float32.

    A metadata value of None asks the server to drop that key. `embedded` says which rows have a vector; None means all.
    """

    ids: Sequence[str]
    embeddings: NDArray[np.float32]
    documents: Sequence[str | None]
    uris: Sequence[str | None]
    metadatas: Sequence[dict[str, Any] | None]
    embedded: NDArray[np.bool_] | None = None

    @property
    def without_vectors(self) -> bool:
        return self.embedded is not None and not self.embedded.any()

    def select(self, rows: Sequence[int]) -> RecordColumns:
        """The given rows, in the given order."""
        return RecordColumns(
            [self.ids[row] for row in rows],
            self.embeddings[list(rows)],
            [self.documents[row] for row in rows],
            [self.uris[row] for row in rows],
            [self.metadatas[row] for row in rows],
            None if self.embedded is None else self.embedded[list(rows)],
        )


class Server(ABC):
    """One tenant and database of a server. Collections are addressed by the id that the server gave them."""

    api: str = ""

    def __init__(self, http: HttpClient, version: str, capabilities: Capabilities) -> None:
        self.http = http
        self.version = version
        self.capabilities = capabilities
        self._names: dict[str, str] = {}

    @property
    def endpoint(self) -> Endpoint:
        return self.http.endpoint

    def close(self) -> None:
        self.http.close()

    @abstractmethod
    def _collections_path(self) -> str:
        """The path of the collections of this database, below the endpoint's URL."""

    @abstractmethod
    def _scope(self) -> str:
        """What follows the path of a request about collections, to name tenant and database; may be empty."""

    @abstractmethod
    def _items_path(self) -> str:
        """The path below which one collection is found by its id."""

    @abstractmethod
    def _creation(self, name: str, metadata: dict[str, Any] | None, configuration: dict[str, Any] | None, schema: dict[str, Any] | None) -> dict[str, Any]:
        """The body of a create request."""

    def list_collections(self) -> list[StoredCollection]:
        """All collections, by name."""
        found: dict[str, StoredCollection] = {}
        scope = self._scope()
        joint = "&" if scope else "?"
        offset = 0
        while True:
            page = self.http.call("GET", f"{self._collections_path()}{scope}{joint}limit={COLLECTIONS_PAGE}&offset={offset}", decode=bounded_json)
            if not isinstance(page, list):
                raise self._nonsense("a list of collections", page)
            known = len(found)
            for entry in page:
                collection = self._stored(entry)
                found[collection.name] = collection
            # It ends where nothing new comes, not with a page that is not full: something may allow only smaller ones. Before 0.4 each holds everything.
            if len(found) == known:
                break
            offset += len(page)
        return [found[name] for name in sorted(found)]

    def find_collection(self, name: str) -> StoredCollection | None:
        return next((collection for collection in self.list_collections() if collection.name == name), None)

    def create_collection(
        self,
        name: str,
        metadata: dict[str, Any] | None = None,
        configuration: dict[str, Any] | None = None,
        schema: dict[str, Any] | None = None,
    ) -> StoredCollection:
        """Create a collection; one of that name must not exist."""
        body = self._creation(name, metadata, configuration, schema)
        try:
            return self._stored(self.http.call("POST", self._collections_path() + self._scope(), body, write=True, decode=bounded_json))
        except StatusError as error:
            if error.status in (400, 422):
                raise InvalidDataError(f"{self.endpoint.url} refuses the collection {name!r}: {error.reason}") from None
            raise

    @abstractmethod
    def delete_collection(self, collection: StoredCollection) -> None:
        """Delete a collection. On 1.5 delete its records first: list values would come back as ghosts."""

    def modify_collection(
        self, collection_id: str, name: str | None = None, metadata: dict[str, Any] | None = None, configuration: dict[str, Any] | None = None
    ) -> None:
        """Rename, replace the whole metadata, or change index settings (1.x; never the distance)."""
        body: dict[str, Any] = {}
        if name is not None:
            body["new_name"] = name
        if metadata is not None:
            body["new_metadata"] = metadata
        if configuration is not None:
            body["new_configuration"] = configuration
        self.http.call("PUT", f"{self._items_path()}/{collection_id}", body, write=True)

    def count(self, collection_id: str) -> int:
        answer = self._ask(collection_id, "GET", "count")
        if not isinstance(answer, int) or isinstance(answer, bool) or answer < 0:
            raise self._nonsense("a number of records", answer)
        return answer

    def get(
        self,
        collection_id: str,
        include: Sequence[str] = (),
        ids: Sequence[str] | None = None,
        limit: int | None = None,
        offset: int | None = None,
        where_document: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """The server's own answer: parallel lists, None for what was not included; `embeddings` as `decode_records` gives them.

        With `ids`, the records come in storage order and unknown ids are left out.
        """
        body: dict[str, Any] = {"include": list(include)}
        if ids is not None:
            body["ids"] = list(ids)
        if limit is not None:
            body["limit"] = limit
            body["offset"] = offset or 0
        if where_document is not None:
            body["where_document"] = where_document
        values = MAX_VALUES_OF_A_WHOLE if ids is None and limit is None else MAX_VALUES
        answer = self._ask(collection_id, "POST", "get", body, decode=partial(decode_records, values=values), largest=MAX_RECORDS_BYTES)
        if not isinstance(answer, dict) or not _consists_of(answer.get("ids"), {str}):
            raise self._nonsense("records", answer)
        for name, types in RECORD_TYPES.items():
            if answer.get(name) is not None and not _consists_of(answer[name], types):
                raise self._nonsense(f"{name} of records", answer[name])
        if not is_shallow(answer.get("metadatas"), MAX_NESTING + 1):
            deep = next((record_id for record_id, metadata in zip(answer["ids"], answer["metadatas"]) if not is_shallow(metadata)), None)
            raise self._too_deep(f"the metadata of the record {deep!r}")
        vectors = answer.get("embeddings")
        if isinstance(vectors, (str, dict, int, float)) or (isinstance(vectors, list) and not _consists_of(vectors, {list, type(None)})):
            raise self._nonsense("embeddings of records", vectors)
        return answer

    def upsert(self, collection_id: str, records: RecordColumns) -> None:
        """Write records; metadata is merged into what is there, and a null never clears a uri."""
        self._write(collection_id, "upsert", records)

    def add(self, collection_id: str, records: RecordColumns) -> None:
        """Write new records; those whose id exists are silently left as they are."""
        self._write(collection_id, "add", records)

    def _write(self, collection_id: str, verb: str, records: RecordColumns) -> None:
        if records.embedded is not None and records.embedded.any() and not records.embedded.all():
            # The vectors of one request are all there, or none is.
            for rows in (records.embedded.nonzero()[0], (~records.embedded).nonzero()[0]):
                self._write(collection_id, verb, records.select(rows.tolist()))
            return
        body = self._encoded(records)
        if len(body) > MAX_BODY_BYTES and len(records.ids) > 1:
            self._write_halves(collection_id, verb, records)
            return
        path = f"{self._items_path()}/{collection_id}/{verb}"

        def send(rows: range) -> None:
            self.http.call("POST", path, self._encoded(records.select(rows)), write=True, attempts=NARROWING_ATTEMPTS)

        try:
            self.http.call("POST", path, body, write=True)
        except StatusError as error:
            if error.status == 413 and len(records.ids) > 1:
                self._write_halves(collection_id, verb, records)
            elif error.status == 404:
                raise
            else:
                write_narrowed(records.ids, error, send, self._answer_again, self.endpoint.url)
        except (UnreachableError, TimeoutExceededError) as error:
            try:
                self._answer_again()
            except OperationError:
                raise error from None
            write_narrowed(records.ids, error, send, self._answer_again, self.endpoint.url)

    def _answer_again(self) -> None:
        """Return when the server answers a small question, as soon as it does; or raise what calling it raises."""
        scope = self._scope()
        self.http.call("GET", f"{self._collections_path()}{scope}{'&' if scope else '?'}limit=1&offset=0")

    def _write_halves(self, collection_id: str, verb: str, records: RecordColumns) -> None:
        middle = len(records.ids) // 2
        for part in (range(middle), range(middle, len(records.ids))):
            self._write(collection_id, verb, records.select(part))

    def _encoded(self, records: RecordColumns) -> bytes:
        vectors: list[Any] | None
        if records.without_vectors:
            vectors = None
        elif self.capabilities.base64_vectors:
            vectors = [base64.b64encode(row.tobytes()).decode("ascii") for row in records.embeddings]
        else:
            vectors = records.embeddings.tolist()
        body: dict[str, Any] = {"ids": list(records.ids), "embeddings": vectors, "documents": list(records.documents), "metadatas": list(records.metadatas)}
        if any(uri is not None for uri in records.uris):
            body["uris"] = list(records.uris)
        return json.dumps(body, separators=(",", ":")).encode("ascii")

    def _stored(self, entry: Any) -> StoredCollection:
        if not isinstance(entry, dict) or not isinstance(entry.get("id"), str) or not isinstance(entry.get("name"), str):
            raise self._nonsense("a collection", entry)
        configuration = entry.get("configuration_json") or entry.get("configuration")
        for what, value in (("metadata", entry.get("metadata")), ("configuration", configuration), ("schema", entry.get("schema"))):
            if not isinstance(value, (dict, type(None))):
                raise self._nonsense("a collection", entry)
            if not is_shallow(value):
                raise self._too_deep(f"the {what} of the collection {entry['name']!r}")
        if not isinstance(entry.get("dimension"), (int, type(None))):
            raise self._nonsense("a collection", entry)
        self._names[entry["id"]] = entry["name"]
        return StoredCollection(entry["id"], entry["name"], entry.get("metadata"), configuration, entry.get("schema"), entry.get("dimension"))

    def _nonsense(self, what: str, answer: Any) -> IntegrityError:
        shown = json.dumps(answer, default=str)[:100] if is_shallow(answer) else f"what {TOO_DEEP}"
        return IntegrityError(
            f"{self.endpoint.url} was asked for {what}, and answered {shown}, which cannot be that. Look at the server and at what is in front of it."
        )

    def _too_deep(self, what: str) -> IntegrityError:
        return IntegrityError(
            f"{self.endpoint.url}: {what} {TOO_DEEP}, and could not be saved and brought back. Change it there, or look at what is in front of the server."
        )

    def delete(self, collection_id: str, ids: Sequence[str]) -> None:
        """Delete records by id; unknown ids are not an error."""
        self.http.call("POST", f"{self._items_path()}/{collection_id}/delete", {"ids": list(ids)}, write=True)

    def query(self, collection_id: str, vectors: NDArray[np.floating[Any]], results: int, include: Sequence[str] = ("distances",)) -> dict[str, Any]:
        """The nearest records of each vector: `ids` and, if included, `distances`, one list a vector."""
        body = {"query_embeddings": vectors.tolist(), "n_results": results, "include": list(include)}
        answer: dict[str, Any] = self._ask(collection_id, "POST", "query", body)
        return answer

    def _ask(self, collection_id: str, method: str, question: str, body: Any = None, **how: Any) -> Any:
        """A question to one collection. DriftError when the collection is there no longer, which says nothing of its records."""
        try:
            return self.http.call(method, f"{self._items_path()}/{collection_id}/{question}", body, **how)
        except StatusError as error:
            if not GONE.search(error.reason):
                raise
            name = self._names.get(collection_id, collection_id)
            raise DriftError(
                f"Collection {name!r} on {self.endpoint.url} was there, and is not any more: it was deleted, or another one took its place. "
                "See who did that, and run the same task again, which looks at what is there then.",
                collection=name,
            ) from None


def _consists_of(values: Any, types: set[type]) -> bool:
    """Whether it is a list with nothing but values of these types."""
    return isinstance(values, list) and set(map(type, values)) <= types
