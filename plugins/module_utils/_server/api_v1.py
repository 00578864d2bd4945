# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""API v1: Chroma 0.3 and 0.4."""

from __future__ import annotations

from typing import Any

from .http import quoted
from .server import Server, StoredCollection

COLLECTIONS = "/api/v1/collections"


class ServerV1(Server):
    api = "v1"

    def _collections_path(self) -> str:
        return COLLECTIONS

    def _scope(self) -> str:
        if not self.capabilities.tenants:
            return ""
        return f"?tenant={quoted(self.endpoint.tenant)}&database={quoted(self.endpoint.database)}"

    def _items_path(self) -> str:
        return COLLECTIONS

    def _creation(
        self, name: str, metadata: dict[str, Any] | None, configuration: dict[str, Any] | None, schema: dict[str, Any] | None
    ) -> dict[str, Any]:
        return {"name": name, "metadata": metadata}

    def delete_collection(self, collection: StoredCollection) -> None:
        self.http.call("DELETE", f"{COLLECTIONS}/{quoted(collection.name)}{self._scope()}", write=True)
