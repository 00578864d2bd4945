# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Several workers share one migration into an empty target, by shards."""

from __future__ import annotations

import random

from tests.support.case import Case
from tests.support.changing_source import fill
from tests.support.counting_proxy import CountingProxy, Fault, Seen


def test_a_collection_that_another_worker_created_a_moment_before(case: Case, target_proxy: CountingProxy) -> None:
    fill(case.source, random.Random(1), {"things": 40})

    def is_forestalled(seen: Seen) -> bool:
        """When this worker is about to create it, another one is faster."""
        if seen.method == "POST" and seen.path.split("?")[0].endswith("/collections") and not case.target.names():
            case.migrate(shard={"index": 1, "count": 2}, state_directory=str(case.state))
        return False

    target_proxy.faults.append(Fault("latency", when=is_forestalled, times=None))
    other = Case(case.source, case.target, case.store.parent)
    shares = [other.through(target=target_proxy).migrate(shard={"index": 0, "count": 2})["records"]["added"]]
    assert 0 < shares[0] < 40
    assert case.differences() == []
    assert case.migrate()["changed"] is False
