# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Look at a server without changing anything."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

from .._endpoint import Endpoint
from .._errors import DriftError, LockedError, OperationError, UsageError
from .._records.live import LiveCollection
from .._server.http import StatusError
from .._server.probe import connect
from .._server.server import Server
from .._server_file import ServerFile, UnusableFileError
from .expected_counts import parse_expected_counts
from .outcome import Context, Outcome
from .traps import find_traps

COLLECTIONS, TRAPS = "collections", "traps"
LATENCY_REQUESTS = 5


def server_info(
    endpoint: Endpoint,
    *,
    gather: Sequence[str],
    expected_counts: Mapping[str, int] | None,
    data_directory: str | None,
    context: Context,
) -> Outcome:
    """What the server is, what it holds, and what of that another server would refuse or lose."""
    expected = parse_expected_counts(expected_counts)
    server = connect(endpoint)
    try:
        returns: dict[str, Any] = {
            "server": {
                "version": server.version,
                "generation": server.capabilities.generation,
                "api": server.api,
                "read_only": _read_only(server),
                "max_batch_size": server.capabilities.max_batch,
                "latency_ms": _latency_ms(server),
            }
        }
        live = [LiveCollection(server, stored) for stored in server.list_collections()] if expected or set(gather) & {COLLECTIONS, TRAPS} else []
        counts = {collection.name: collection.count() for collection in live}
        if COLLECTIONS in gather:
            returns["collections"] = [_described(collection, counts[collection.name]) for collection in live]
        if TRAPS in gather:
            context.progress.expect(sum(counts.values()))
            returns["traps"] = [trap.as_dict() for trap in find_traps(live, context.progress)]
        if data_directory is not None:
            returns["ghosts"] = _ghosts(data_directory)
        _require_counts(endpoint, counts, expected)
        return Outcome(False, context.progress.seconds, returns)
    finally:
        server.close()


def _described(collection: LiveCollection, count: int) -> dict[str, Any]:
    return {
        "name": collection.name,
        "id": collection.stored.id,
        "count": count,
        "dimension": collection.stored.dimension,
        "space": collection.spec.space,
        "metadata": collection.stored.metadata,
        "configuration": collection.stored.configuration,
    }


def _ghosts(data_directory: str) -> int:
    try:
        with ServerFile(data_directory) as file:
            return file.ghosts()
    except UnusableFileError as error:
        raise UsageError(f"data_directory: {error.message}. Name the directory where the server keeps its data, on the host where this module runs.") from None


def _latency_ms(server: Server) -> float:
    """The median time of a request that costs the server nothing, in milliseconds."""
    times = []
    for _turn in range(LATENCY_REQUESTS):
        begun = time.perf_counter()
        server.http.call("GET", f"/api/{server.api}/heartbeat")
        times.append(time.perf_counter() - begun)
    return round(1000 * statistics.median(times), 1)


def _read_only(server: Server) -> bool:
    """Whether a write would be refused: asked with one that cannot change anything, a deletion in a collection that cannot exist."""
    try:
        server.delete("00000000-0000-0000-0000-000000000000", ["no record"])
    except LockedError:
        return True
    except StatusError:
        return False
    except OperationError as error:
        return error.failure_class == "auth"
    return False


def _require_counts(endpoint: Endpoint, counts: Mapping[str, int], expected: Mapping[str, int]) -> None:
    wrong = {name: {"expected": number, "found": counts.get(name)} for name, number in expected.items() if counts.get(name) != number}
    if wrong:
        words = "; ".join(
            f"{name!r} should hold {entry['expected']} records and {'does not exist' if entry['found'] is None else 'holds ' + str(entry['found'])}"
            for name, entry in sorted(wrong.items())
        )
        raise DriftError(f"{endpoint.identity}: {words}.", counts=wrong)
