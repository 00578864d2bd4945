# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Let the next items be made in a thread while the present one is worked on."""

from __future__ import annotations

import queue
import threading
from typing import Iterable, Iterator, TypeVar, Union

Item = TypeVar("Item")

POLL_SECONDS = 0.1


class _End:
    """Put behind the last item, with the exception that ended the iteration, if one did."""

    def __init__(self, error: Union[BaseException, None]) -> None:
        self.error = error


def read_ahead(items: Iterable[Item], depth: int = 1) -> Iterator[Item]:
    """The same items in the same order, at most `depth` of them made in advance.

    An exception of `items` is raised here, behind the items that came before it. A consumer that stops early ends the thread.
    """
    waiting: queue.Queue[Union[Item, _End]] = queue.Queue(maxsize=depth)
    stopped = threading.Event()

    def put(item: Union[Item, _End]) -> bool:
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
            item = waiting.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item
    finally:
        stopped.set()
        worker.join()
