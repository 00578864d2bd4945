# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is known of a migration before its first write: which records cannot be read, and whether only the changes need to be looked at."""

from __future__ import annotations

import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils._endpoint import Endpoint
from ansible_collections.infrafabric.chromadb.plugins.module_utils._errors import IntegrityError
from ansible_collections.infrafabric.chromadb.plugins.module_utils._operations.narrowing import narrow
from ansible_collections.infrafabric.chromadb.plugins.module_utils._operations.planning import NAMED_RECORDS, require_readable
from ansible_collections.infrafabric.chromadb.plugins.module_utils._records.live import LiveCollection
from ansible_collections.infrafabric.chromadb.plugins.module_utils._schema.plan import MigrationPlan, Survey
from ansible_collections.infrafabric.chromadb.plugins.module_utils._schema.transformation import FAIL, Transformation
from ansible_collections.infrafabric.chromadb.plugins.module_utils._server.api_v1 import ServerV1
from ansible_collections.infrafabric.chromadb.plugins.module_utils._server.capabilities import CHROMA_0_3, CHROMA_0_4, CHROMA_1_5, Capabilities
from ansible_collections.infrafabric.chromadb.plugins.module_utils._server.http import HttpClient
from ansible_collections.infrafabric.chromadb.plugins.module_utils._server.server import Server, StoredCollection


def test_records_that_the_source_does_not_give_are_counted_and_the_first_are_named() -> None:
    require_readable(Survey(unreadable={"things": {}}))
    lost = {"r%02d" % number: "answered 500" for number in range(NAMED_RECORDS + 3)}
    with pytest.raises(IntegrityError, match=r"14 records cannot be read, such as others: 'x', things: 'r00'.*: broken\. Nothing was written") as caught:
        require_readable(Survey(unreadable={"others": {"x": "broken"}, "things": lost}))
    assert "'r08'" in caught.value.message
    assert "'r09'" not in caught.value.message


def server(capabilities: Capabilities) -> Server:
    return ServerV1(HttpClient(Endpoint("http://192.0.2.1:8000")), "0", capabilities)


def plan_of(capabilities: Capabilities) -> MigrationPlan:
    return MigrationPlan(
        [LiveCollection(server(capabilities), StoredCollection("an-id", "things"))], Transformation(None, (), None, FAIL, ["things"]), CHROMA_1_5
    )


@pytest.mark.parametrize(
    ("capabilities", "changes", "why"),
    [
        (CHROMA_0_4, {"complete": False, "reason": "this is the first look"}, "this is the first look"),
        (CHROMA_0_4, {}, "the changes are not complete"),
        (CHROMA_0_3, {"complete": True, "collections": [{"name": "things", "id": "an-id", "changed": []}]}, "this server has no SQLite file"),
        (CHROMA_0_4, {"complete": True, "collections": [{"name": "things", "id": "another", "changed": []}]}, "knows the collection 'things' as another"),
        (CHROMA_0_4, {"complete": True, "collections": []}, "knows the collection 'things' as None, and the server as an-id"),
    ],
)
def test_changes_that_are_not_to_be_relied_on_are_not_and_nothing_is_asked_of_the_target(
    capabilities: Capabilities, changes: dict[str, object], why: str
) -> None:
    found = narrow(plan_of(capabilities), server(CHROMA_0_4), changes)
    assert isinstance(found, str)
    assert why in found


def test_an_id_that_is_listed_twice_is_settled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = {"an-id": [["1", "2"], ["2", "3", "4"]], "its-id": [["1", "2", "3"]]}
    monkeypatch.setattr(LiveCollection, "id_pages", lambda self: iter(listed[self.stored.id]))
    target = server(CHROMA_0_4)
    monkeypatch.setattr(target, "list_collections", lambda: [StoredCollection("its-id", "things")])
    found = narrow(plan_of(CHROMA_0_4), target, {"complete": True, "collections": [{"name": "things", "id": "an-id", "changed": ["3"]}]})
    assert not isinstance(found, str)
    assert found.settled == {"things": {"things": 2}}
    assert [source.count() for source in found.plan.sources] == [2]
    found.close()
