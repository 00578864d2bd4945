# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""API v2: Chroma 0.5.16 and later."""

from __future__ import annotations

from typing import Any

from .http import quoted
from .server import Server, StoredCollection


class ServerV2(Server):
    api = "v2"

    def _collections_path(self) -> str:
        return f"/api/v2/tenants/{quoted(self.endpoint.tenant)}/databases/{quoted(self.endpoint.database)}/collections"

    def _scope(self) -> str:
        return ""

    def _items_path(self) -> str:
        return self._collections_path()

    def _creation(
        self, name: str, metadata: dict[str, Any] | None, configuration: dict[str, Any] | None, schema: dict[str, Any] | None
    ) -> dict[str, Any]:
        body: dict[str, Any] = {"name": name, "metadata": metadata}
        if schema is not None and self.capabilities.schemas:
            body["schema"] = schema
        elif configuration is not None and self.capabilities.configuration:
            body["configuration"] = configuration
        return body

    def delete_collection(self, collection: StoredCollection) -> None:
        self.http.call("DELETE", f"{self._collections_path()}/{quoted(collection.name)}", write=True)
