# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A request to delete that names another record when it arrives: nothing that it did is called a success, and the same task again mends it."""

from __future__ import annotations

import json

import pytest

from tests.support import trap_data
from tests.support.case import Case
from tests.support.counting_proxy import CountingProxy, Fault, Seen
from tests.support.raw import RawChroma, Record

VECTORS = trap_data.vectors(3)
# The last digit of the request arrives as a 7.
NAMED, ARRIVES = "r41", "r47"
OTHERS = [Record("r50", VECTORS[2], "unchanged", {"n": 2}), Record(ARRIVES, VECTORS[1], "unchanged", {"n": 1})]


def deletes(seen: Seen) -> bool:
    return seen.path.endswith("/delete") and json.loads(seen.body)["ids"] == [NAMED]


def seen_of(place: RawChroma) -> set[tuple[str, str | None, str | None]]:
    return {(record.id, record.document, record.uri) for record in place.contents()["things"].records.values()}


@pytest.mark.parametrize("verb", ["migrate", "rollback"])
@pytest.mark.parametrize(("surplus", "others"), [(True, 2), (True, 1), (False, 2)], ids=["another surplus", "nobody", "another, before an upsert"])
def test_a_deletion_of_another_record(surplus: bool, others: int, verb: str, case: Case, target_proxy: CountingProxy) -> None:
    named = Record(NAMED, VECTORS[0], "text", {"n": 3})
    wanted = OTHERS[:others] + ([] if surplus else [named])
    # Only deleting clears a uri.
    damaged = named._replace(uri="file:///x")
    case.target.add(case.target.create("things"), wanted)
    if verb == "migrate":
        case.source.add(case.source.create("things"), wanted)
    else:
        taken = case.snapshot()["snapshot"]["snapshot_id"]
    expected = seen_of(case.target)
    case.target.upsert(str(case.target.collection("things")["id"]), [damaged])

    def run(fails: bool = False) -> dict[str, object]:
        return case.migrate(prune=True, fails=fails) if verb == "migrate" else case.rollback(snapshot_id=taken, fails=fails)

    fault = Fault("corrupted-request", when=deletes)
    target_proxy.faults.append(fault)
    case.through(target=target_proxy)
    result = run(fails=True)
    assert fault.acted
    assert (result["failure_class"], NAMED in str(result["msg"])) == ("integrity", True), result["msg"]
    target_proxy.faults.clear()
    run()
    assert seen_of(case.target) == expected
