# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sets of ids keep the order in which they came, and each id once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils._records.id_sets import VALUES_AT_ONCE, IdSets


@pytest.mark.parametrize("number", [0, 1, VALUES_AT_ONCE - 1, VALUES_AT_ONCE, VALUES_AT_ONCE + 1, 3 * VALUES_AT_ONCE + 7])
def test_ids_keep_their_order_and_come_once(number: int) -> None:
    ids = IdSets()
    first = ["%d" % (n * 7919 % 100_003) for n in range(number)]
    assert ids.add("some", [*first, *first]) == number
    assert ids.add("some", [*reversed(first), "ä\udc80", "\0", ""]) == 3
    expected = [*first, "ä\udc80", "\0", ""]
    assert [record_id for page in ids.pages("some", 400) for record_id in page] == expected
    assert ids.present("some", ["", "no", *first]) == ["", *first]
    assert ids.load("others", [first[:3], ["ä\udc80"]]) == len(first[:3]) + 1
    assert [record_id for page in ids.only_in("some", "others") for record_id in page] == [*first[3:], "\0", ""]
    ids.close()


def test_ids_that_cannot_be_had_leave_the_set_usable() -> None:
    def broken() -> Iterator[str]:
        yield from map(str, range(2 * VALUES_AT_ONCE))
        raise OSError("The server went away.")

    ids = IdSets()
    with pytest.raises(OSError, match="went away"):
        ids.add("some", broken())
    assert ids.count("some") == 0
    assert ids.add("some", ["one"]) == 1
