# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The whole runbook between real hosts while clients read and write through the gateway, one to one: with the 9,832 records of the case, and
with 50,000 of the same kind, whose freeze is to be no longer, since what was written is read from the source's own file.

The larger one takes about ten minutes; `-k 9832` leaves it out. Both have vectors of 384 numbers: smaller ones would save a few minutes and let
the larger database be larger in its number of records alone. In the hosts' memory it takes half a gigabyte.
"""

from __future__ import annotations

import copy
import os
import re
import time
from dataclasses import dataclass

import pytest

from tests.benchmark.data import CASE, six_collections
from tests.support.equality import contents_differences
from tests.support.raw import Contents, RawChroma, Record

from .gateway import play
from .load import Known, Load, Tally

if "LAB_DIR" not in os.environ:
    pytest.skip("needs the hosts of the lab", allow_module_level=True)

from .stage import GATEWAY, INVENTORY, SOURCE, TARGET, clear, install

LARGE = 50_000
WRITTEN = "openwebui_core"
LONGEST_FREEZE = float(os.environ.get("LAB_LONGEST_FREEZE", "5"))
# How much longer the freeze may be with the larger database. A freeze is a chain of tasks over ssh, any of which may be a few tenths of a second
# late on a machine that does something else, and the clients see its ends at their next write: below a second, ratios say nothing.
MOST = float(os.environ.get("LAB_FREEZE_GROWTH", "1.5"))
RESOLUTION = 1.0
# The playbook's clock runs from before the freeze until after the switch; a client may be late to note an answer.
LATE = 0.5


@dataclass
class Freeze:
    """In seconds: from the first write that was refused to the last one, and what the playbook says."""

    seen: float
    told: float


FREEZES: dict[int, Freeze] = {}


def fill(source: RawChroma, records: int) -> None:
    for name, sample in six_collections(records):
        progress("%d records for %s" % (len(sample), name))
        collection = source.create(name, configuration={"hnsw": {"space": "cosine"}})
        source.add(collection, [Record(record.id, record.embedding, record.document, record.metadata) for record in sample])
    assert sum(source.count(str(collection["id"])) for collection in source.collections()) == records


def progress(what: str) -> None:
    print("%s %s" % (time.strftime("%H:%M:%S"), what), flush=True)


@pytest.mark.parametrize("records", [CASE, LARGE])
def test_no_reader_notices_the_migration_and_no_write_is_lost(records: int) -> None:
    install()
    clear()
    source, target = RawChroma(SOURCE), RawChroma(TARGET)
    fill(source, records)
    held = str(source.collection(WRITTEN)["id"])
    before = source.contents()
    known = Known.of(source, held)

    with Load(GATEWAY, held, known, pause=0.05, limit=3000) as load:
        progress("execute")
        play("infrafabric.chromadb.execute", *INVENTORY)
        before_cutover = len(load.tally.refused)
        progress("cutover")
        output = play("infrafabric.chromadb.cutover", *INVENTORY)
        done = time.monotonic()
        while not any(moment > done + 1 for moment in load.tally.acknowledged.values()):
            assert time.monotonic() - done < 30
            time.sleep(0.1)
    tally = load.tally
    told = re.search(r"^frozen +([0-9.]+) s$", output, re.MULTILINE)
    assert told, output
    freeze = FREEZES[records] = Freeze(tally.refused_seconds, float(told[1]))
    progress("%d records: %s" % (records, tally))
    progress("frozen for %.1f s as the playbook says, and for %.1f s as the clients saw it" % (freeze.told, freeze.seen))
    assert tally.failed_reads == []
    assert tally.failed_writes == []
    assert before_cutover == 0
    assert tally.requests_per_second >= 50
    progress("all contents")
    nothing_is_lost(before, known, tally, source.contents(), target.contents())
    assert freeze.seen <= freeze.told + LATE
    if records == CASE:
        assert freeze.seen <= LONGEST_FREEZE
    # The gateway's map is made before the freeze, and not again under it.
    assert output.count(": List the collections of the source]") == 1
    # And the pass under it reads what was written, not everything.
    assert "not written since" in output


def nothing_is_lost(before: dict[str, Contents], known: Known, tally: Tally, source: dict[str, Contents], target: dict[str, Contents]) -> None:
    """The source holds what it held and the writes until the freeze, the target the same and the writes since, all as they were written."""
    until = {name for name, moment in tally.acknowledged.items() if moment < min(tally.refused)}
    since = {name for name, moment in tally.acknowledged.items() if moment > max(tally.refused)}
    # One of several writers may come between the first refusal of another and its own.
    between = tally.acknowledged.keys() - until - since
    until |= between & source[WRITTEN].records.keys()
    since |= between - until
    assert until
    assert since
    expected = copy.copy(before[WRITTEN])
    expected.records = {**expected.records, **{name: known.written(name) for name in until}}
    assert contents_differences({**before, WRITTEN: expected}, source) == []
    expected.records.update({name: known.written(name) for name in since})
    assert contents_differences({**before, WRITTEN: expected}, target) == []


def test_the_freeze_does_not_grow_with_the_database() -> None:
    if not {CASE, LARGE} <= FREEZES.keys():
        pytest.skip("needs both runs of the test before")
    small, large = FREEZES[CASE], FREEZES[LARGE]
    progress("%d records: %s, %d records: %s" % (CASE, small, LARGE, large))
    assert large.seen <= MOST * max(small.seen, RESOLUTION)
    assert large.told <= MOST * max(small.told, RESOLUTION)
