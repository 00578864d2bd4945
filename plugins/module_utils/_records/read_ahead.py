# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Let the next items be made in threads while the present one is worked on."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Callable, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

POLL_SECONDS = 0.1
# One request is answered by the server while the answer to the one before is decoded.
REQUESTS_AT_ONCE = 2
# A thread without memory for its first line dies without a word (and may keep Thread.start waiting for ever: python/cpython#140746).
NEVER_BEGAN = "too little of it to begin a thread"


class _End:
    """Put behind the last item, with the exception that ended the iteration, if one did."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def read_ahead(items: Iterable[Item], depth: int = 1) -> Iterator[Item]:
    """The same items in the same order, at most `depth` of them made in advance.

    An exception of `items` is raised here, behind the items that came before it. A consumer that stops early ends the thread.
    """
    waiting: queue.Queue[Item | _End] = queue.Queue(maxsize=depth)
    stopped = threading.Event()

    def put(item: Item | _End) -> bool:
        while not stopped.is_set():
            try:
                waiting.put(item, timeout=POLL_SECONDS)
                return True
            except queue.Full:
                continue
        return False

    def produce() -> None:
        try:
            for item in items:
                if not put(item):
                    return
            put(_End(None))
        except BaseException as error:  # handed over to the consumer, whatever it is
            put(_End(error))

    worker = threading.Thread(target=produce, name="read-ahead", daemon=True)
    worker.start()
    try:
        while True:
            try:
                item = waiting.get(timeout=POLL_SECONDS)
            except queue.Empty:
                if worker.is_alive() or not waiting.empty():
                    continue
                raise MemoryError(NEVER_BEGAN) from None
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item
    finally:
        stopped.set()
        worker.join()


def map_ahead(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """`function` of each item, in the order of the items, at most two of them at work or waiting to be taken.

    What `function` raises is raised here, behind the results that came before it. Items are taken in the caller's thread.
    """
    with ThreadPoolExecutor(max_workers=REQUESTS_AT_ONCE, thread_name_prefix="map-ahead") as threads:
        coming: deque[Future[Result]] = deque()
        try:
            for item in items:
                coming.append(threads.submit(function, item))
                if len(coming) >= REQUESTS_AT_ONCE:
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()
        finally:
            for future in coming:
                future.cancel()
