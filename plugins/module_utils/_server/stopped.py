# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Is there no server at an endpoint? Asked before the directory of a server that must be stopped is touched."""

from __future__ import annotations

from dataclasses import replace

from .._endpoint import Endpoint
from .._errors import AuthError, LockedError, OperationError, TimeoutExceededError, UnreachableError
from .http import HttpClient, StatusError

PATIENCE_SECONDS = 10.0


def require_stopped(endpoint: Endpoint) -> None:
    """LockedError when something answers there as a server does, wants to be let in first, has too much to do (429), or takes the connection
    and keeps silent.

    A proxy that says that its server is away counts as silence of the server; so does whatever else is no Chroma.
    """
    http = HttpClient(replace(endpoint, timeout=min(endpoint.timeout, PATIENCE_SECONDS), retries=0))
    try:
        for path in ("/api/v2/heartbeat", "/api/v1/heartbeat"):
            try:
                # As if it were a write: otherwise a server that has too much to do counts as one that is away.
                http.call("GET", path, write=True)
            except UnreachableError:
                return
            except StatusError:
                continue
            except (AuthError, LockedError, TimeoutExceededError):
                pass
            except OperationError:
                continue
            raise LockedError(f"{endpoint.url} answers: the server runs. Stop it first, or give the url of the server whose directory this is.")
    finally:
        http.close()
