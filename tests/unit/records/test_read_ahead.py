# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is made ahead arrives in order and whole, and neither a failure nor a consumer that leaves keeps a thread alive."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils._records.read_ahead import REQUESTS_AT_ONCE, map_ahead, read_ahead


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "read-ahead"]


def test_a_failure_comes_behind_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise ConnectionError("the server is away")

    found: list[int] = []
    with pytest.raises(ConnectionError, match="the server is away"):
        found.extend(read_ahead(items()))
    assert found == [1, 2]


def test_a_consumer_that_leaves_ends_the_reading() -> None:
    """The thread waits with an item that nobody takes any more."""
    made: list[int] = []

    def items() -> Iterator[int]:
        for number in range(1000):
            made.append(number)
            yield number

    reading = read_ahead(items())
    assert next(reading) == 0
    until = time.monotonic() + 10
    while len(made) < 3 and time.monotonic() < until:
        time.sleep(0.001)
    assert made == [0, 1, 2], "one waits to be taken, and one to be put there"
    reading.close()  # type: ignore[attr-defined]
    assert readers() == []
    assert made == [0, 1, 2]


def test_a_consumer_that_leaves_drops_what_was_asked_ahead() -> None:
    asked: list[int] = []

    def ask(number: int) -> int:
        asked.append(number)
        return -number

    answers = map_ahead(ask, range(1000))
    assert next(answers) == 0
    assert next(answers) == -1
    answers.close()  # type: ignore[attr-defined]
    assert len(asked) <= 2 + REQUESTS_AT_ONCE


def test_what_is_asked_ahead_comes_in_order_up_to_the_failure() -> None:
    found: list[int] = []
    with pytest.raises(ZeroDivisionError):
        found.extend(map_ahead(lambda number: 12 // number, [1, 2, 3, 0, 4]))
    assert found == [12, 6, 4]
