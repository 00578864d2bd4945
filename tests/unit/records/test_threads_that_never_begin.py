# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where memory is short a thread can end before its first line. Nobody waits for it then, and what it did not do is not called done."""

from __future__ import annotations

import threading

import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive import writer
from ansible_collections.infrafabric.chromadb.plugins.module_utils._records.read_ahead import NEVER_BEGAN, read_ahead


@pytest.fixture(autouse=True)
def threads_that_end_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading.Thread, "run", lambda self: None)


def ended_worker() -> writer._Worker:
    """A worker whose thread is gone: one that is only about to end still takes a job, which `finish` then misses."""
    worker = writer._Worker()
    thread = worker._thread
    assert thread is not None
    thread.join()
    return worker


def test_reading_ahead_fails() -> None:
    with pytest.raises(MemoryError, match=NEVER_BEGAN):
        next(read_ahead([1, 2, 3]))


def test_an_archive_is_not_finished() -> None:
    worker = ended_worker()
    for attempt in (lambda: worker.submit(lambda: None), worker.finish):
        with pytest.raises(MemoryError, match=NEVER_BEGAN):
            attempt()


def test_an_archive_that_its_thread_left_half_written_is_not_finished() -> None:
    worker = ended_worker()
    worker._asked = 1
    with pytest.raises(MemoryError, match=NEVER_BEGAN):
        worker.finish()
