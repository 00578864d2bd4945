# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""A batch that a server does not take: what of it can be written is written, and the records at fault are named.

A server says no, or the connection breaks each time, or no answer comes. The last two also happen when the server is in
trouble as a whole; it is the batch that is stuck only if the server answers other requests, and takes a part of the batch.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Callable, Union

from .._errors import InvalidDataError, PartialError, TimeoutExceededError, UnreachableError
from .http import StatusError

# How many records are named at most, and how many requests and seconds may be spent on finding them.
NAMED_RECORDS = 10
NARROWING_REQUESTS = 100
NARROWING_SECONDS = 900.0
# So many records that got no answer, and none that was taken: it is the server.
CONVINCING = 2
SHOWN_CHARACTERS = 80

Failure = Union[StatusError, UnreachableError, TimeoutExceededError]


def write_narrowed(ids: Sequence[str], error: Failure, send: Callable[[range], None], wait: Callable[[], None], url: str) -> None:
    """Write a batch by halves after `error`; InvalidDataError or PartialError names the records that cannot be written.

    send  writes the records of these rows
    wait  returns as soon as the server answers again, or raises
    """
    waiting, last = [range(len(ids))], error
    refused: list[str] = []
    requests = 0
    taken = False
    until = time.monotonic() + NARROWING_SECONDS
    while waiting and len(refused) < NAMED_RECORDS and requests < NARROWING_REQUESTS and time.monotonic() < until:
        rows = waiting.pop()
        if len(rows) == 1 and (requests or not isinstance(error, StatusError)):
            refused.append(ids[rows[0]])
            if not taken and len(refused) >= CONVINCING and not isinstance(last, StatusError):
                raise error
            continue
        middle = (len(rows) + 1) // 2
        for half in (rows[:middle], rows[middle:]):
            if not half:
                continue
            requests += 1
            try:
                send(half)
                taken = True
            except StatusError as found:
                last = found
                waiting.append(half)
            except (UnreachableError, TimeoutExceededError) as found:
                last = found
                waiting.append(half)
                wait()
    if refused or waiting:
        raise _failure(ids, refused, waiting, last, url)


def _failure(ids: Sequence[str], refused: Sequence[str], waiting: Sequence[range], last: Failure, url: str) -> InvalidDataError | PartialError:
    count = f"{len(refused)}" if not waiting else f"at least {len(refused)}" if refused else "an unknown number"
    reason = last.reason if isinstance(last, StatusError) else last.message
    if refused:
        names = ", ".join(repr(record_id[:SHOWN_CHARACTERS]) for record_id in refused)
        suspects = list(refused)
    else:
        narrowest = min(waiting, key=len)
        names = f"between {ids[narrowest[0]][:SHOWN_CHARACTERS]!r} and {ids[narrowest[-1]][:SHOWN_CHARACTERS]!r}"
        suspects = [ids[row] for row in narrowest[:NAMED_RECORDS]]
    message = f"{url} does not take {count} of a batch of {len(ids)} records: {names}: {reason}"
    if isinstance(last, StatusError) and last.status in (400, 413, 422):
        return InvalidDataError(message, ids=suspects)
    return PartialError(f"{message.rstrip('.')}. Look at the server's log; the same task again continues.", ids=suspects)
