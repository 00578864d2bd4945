# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A plain HTTP client of Chroma for the tests: API v1 and v2, nothing but requests, nothing of the product.

It writes and reads what a server really holds; `contents` is what `equality` compares.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import requests

PAGE = 1000


class Record(NamedTuple):
    """What a server holds under an id; `embedding` is a float32 array, or None where there is none."""

    id: str
    embedding: Any
    document: str | None = None
    metadata: dict[str, Any] | None = None
    uri: str | None = None


@dataclass
class Contents:
    """A whole collection: what the server says about it, and its records by id."""

    name: str
    metadata: dict[str, Any] | None
    configuration: dict[str, Any] | None
    dimension: int | None
    schema: dict[str, Any] | None = None
    records: dict[str, Record] = field(default_factory=dict)
    modern: bool = True

    @property
    def space(self) -> str:
        """The configuration decides from 1.0 on; before, it says l2 whatever the index is, and the metadata decides."""
        from_metadata = (self.metadata or {}).get("hnsw:space")
        configured = ((self.configuration or {}).get("hnsw") or {}).get("space")
        return str((configured or from_metadata if self.modern else from_metadata) or "l2")


class RawError(Exception):
    """An answer that is not 2xx."""

    def __init__(self, response: requests.Response) -> None:
        super().__init__("%s %s -> %d %s" % (response.request.method, response.url, response.status_code, response.text[:500]))
        self.status = response.status_code


class RawChroma:
    """One tenant and database of one server."""

    def __init__(
        self,
        url: str,
        tenant: str = "default_tenant",
        database: str = "default_database",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.url, self.tenant, self.database = url.rstrip("/"), tenant, database
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers.update({"Content-Type": "application/json", **(headers or {})})
        self.v2 = self.session.get(self.url + "/api/v2/heartbeat", timeout=60).status_code == 200
        version = self.session.get("%s/api/%s/version" % (self.url, "v2" if self.v2 else "v1"), timeout=60)
        self.version = str(version.json())
        self.ancient = self.version.startswith("0.3.")
        self.modern = not self.version.startswith("0.")

    @property
    def endpoint(self) -> dict[str, Any]:
        """This place as the options of a module."""
        return {"url": self.url, "tenant": self.tenant, "database": self.database}

    def at(self, url: str) -> RawChroma:
        """The same tenant and database, reached through another address (a proxy)."""
        return RawChroma(url, self.tenant, self.database)

    def fresh_database(self, prefix: str = "t") -> RawChroma:
        """A new tenant with a new database: an empty place on a shared server. Needs API v2."""
        name = "%s-%s" % (prefix, uuid.uuid4().hex[:12])
        self._call("POST", "/api/v2/tenants", {"name": name})
        self._call("POST", "/api/v2/tenants/%s/databases" % name, {"name": "db-" + name})
        return RawChroma(self.url, name, "db-" + name)

    # Collections

    def collections(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while True:
            params = dict(self._place(), limit="500", offset=str(len(found)))
            page = self._call("GET", self._root(), params=None if self.ancient else params)
            found.extend(page)
            if self.ancient or len(page) < 500:
                return found

    def names(self) -> list[str]:
        return sorted(collection["name"] for collection in self.collections())

    def collection(self, name: str) -> dict[str, Any]:
        for collection in self.collections():
            if collection["name"] == name:
                return collection
        raise KeyError(name)

    def create(
        self,
        name: str,
        metadata: Mapping[str, Any] | None = None,
        configuration: Mapping[str, Any] | None = None,
        schema: Mapping[str, Any] | None = None,
    ) -> str:
        """The new collection's id."""
        body: dict[str, Any] = {"name": name, "metadata": metadata}
        if schema is not None:
            body["schema"] = schema
        if configuration is not None:
            body["configuration"] = configuration
        return str(self._call("POST", self._root(), body, params=self._place())["id"])

    def modify(self, collection_id: str, **changes: Any) -> None:
        """new_name, new_metadata (replaces all of it), new_configuration."""
        self._call("PUT", "%s/%s" % (self._root(), collection_id), changes)

    def delete_collection(self, name: str) -> None:
        self._call("DELETE", "%s/%s" % (self._root(), name), params=self._place())

    def count(self, collection_id: str) -> int:
        return int(self._call("GET", "%s/%s/count" % (self._root(), collection_id)))

    # Records

    def add(self, collection_id: str, records: Sequence[Record], batch: int = PAGE) -> None:
        self._write("add", collection_id, records, batch)

    def upsert(self, collection_id: str, records: Sequence[Record], batch: int = PAGE) -> None:
        """As the server does it: metadata merges, null clears neither uri nor (on 1.x) document."""
        self._write("upsert", collection_id, records, batch)

    def update(self, collection_id: str, **columns: Any) -> None:
        """The raw request: ids, and any of embeddings, documents, metadatas, uris."""
        self._call("POST", "%s/%s/update" % (self._root(), collection_id), columns)

    def delete(self, collection_id: str, ids: Sequence[str]) -> None:
        for start in range(0, len(ids), PAGE):
            self._call("POST", "%s/%s/delete" % (self._root(), collection_id), {"ids": list(ids[start : start + PAGE])})

    def replace(self, collection_id: str, records: Sequence[Record]) -> None:
        """Exactly these records under their ids, whatever was there."""
        self.delete(collection_id, [record.id for record in records])
        self.add(collection_id, records)

    def get(self, collection_id: str, ids: Sequence[str] | None = None, limit: int | None = None, offset: int = 0) -> dict[str, Any]:
        include = ["embeddings", "documents", "metadatas"] + ([] if self.ancient else ["uris"])
        body: dict[str, Any] = {"include": include}
        if ids is not None:
            body["ids"] = list(ids)
        if limit is not None:
            body.update(limit=limit, offset=offset)
        answer: dict[str, Any] = self._call("POST", "%s/%s/get" % (self._root(), collection_id), body)
        return answer

    def query(self, collection_id: str, embedding: Sequence[float], n_results: int = 10) -> dict[str, Any]:
        body = {"query_embeddings": [list(map(float, embedding))], "n_results": n_results, "include": ["distances"]}
        answer: dict[str, Any] = self._call("POST", "%s/%s/query" % (self._root(), collection_id), body)
        return answer

    def records(self, collection_id: str) -> dict[str, Record]:
        """Every record by id."""
        if self.ancient:
            return {record.id: record for record in self._records_of(collection_id, self.get(collection_id))}
        found: dict[str, Record] = {}
        offset = 0
        while True:
            try:
                page = self.get(collection_id, limit=PAGE, offset=offset)
            except RawError as error:
                # 1.x after the first write of a collection was cut off: it knows the dimension, and holds nothing.
                if "Nothing found on disk" in str(error) and self.count(collection_id) == 0:
                    return {}
                raise
            for record in self._records_of(collection_id, page):
                found[record.id] = record
            offset += PAGE
            if len(page["ids"]) < PAGE:
                return found

    def contents(self, names: Iterable[str] | None = None) -> dict[str, Contents]:
        """Everything that this database holds, or the named collections."""
        wanted = None if names is None else set(names)
        found = {}
        for collection in self.collections():
            if wanted is None or collection["name"] in wanted:
                found[collection["name"]] = Contents(
                    name=collection["name"],
                    metadata=collection.get("metadata"),
                    configuration=collection.get("configuration_json"),
                    dimension=collection.get("dimension"),
                    schema=collection.get("schema"),
                    records=self.records(collection["id"]),
                    modern=self.modern,
                )
        return found

    def _records_of(self, collection_id: str, page: Mapping[str, Any]) -> list[Record]:
        ids = page["ids"]
        vectors = page["embeddings"] if page["embeddings"] is not None else []
        if len(vectors) != len(ids):
            # Releases 0.4 to 0.6 leave out the vectors of records that have none: ask one by one.
            if len(ids) == 1:
                vectors = [None]
            else:
                return [record for one in ids for record in self._records_of(collection_id, self.get(collection_id, ids=[one]))]
        empty = [None] * len(ids)
        return [
            Record(record_id, None if vector is None else np.asarray(vector, dtype="<f4"), document, metadata, uri)
            for record_id, vector, document, metadata, uri in zip(
                ids, vectors, page.get("documents") or empty, page.get("metadatas") or empty, page.get("uris") or empty
            )
        ]

    def _write(self, verb: str, collection_id: str, records: Sequence[Record], batch: int) -> None:
        for start in range(0, len(records), batch):
            chunk = records[start : start + batch]
            body: dict[str, Any] = {"ids": [record.id for record in chunk], "embeddings": self._vectors(chunk)}
            for name, values in (
                ("documents", [record.document for record in chunk]),
                ("metadatas", [record.metadata for record in chunk]),
                ("uris", [record.uri for record in chunk]),
            ):
                if any(value is not None for value in values):
                    body[name] = values
            self._call("POST", "%s/%s/%s" % (self._root(), collection_id, verb), body)

    def _vectors(self, records: Sequence[Record]) -> Any:
        if all(record.embedding is None for record in records):
            return None
        if self.modern:
            return [base64.b64encode(np.asarray(record.embedding, dtype="<f4").tobytes()).decode() for record in records]
        return [None if record.embedding is None else np.asarray(record.embedding, dtype="<f4").tolist() for record in records]

    # HTTP

    def _root(self) -> str:
        if self.v2:
            return "/api/v2/tenants/%s/databases/%s/collections" % (self.tenant, self.database)
        return "/api/v1/collections"

    def _place(self) -> dict[str, str]:
        return {} if self.v2 or self.ancient else {"tenant": self.tenant, "database": self.database}

    def _call(self, method: str, path: str, body: Any = None, params: Mapping[str, str] | None = None) -> Any:
        for attempt in (1, 2):
            try:
                response = self.session.request(method, self.url + path, json=body, params=params, timeout=300)
                break
            except requests.ConnectionError:
                # An idle kept-alive connection that the server closed; only a request that never arrived is sent again.
                if attempt == 2 or (method not in ("GET",) and not path.endswith(("/get", "/query"))):
                    raise
        if not response.ok:
            raise RawError(response)
        return response.json()
