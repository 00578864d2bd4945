# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which snapshot is meant by latest, by a moment, by a name."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.catalogue import choose_snapshot, find_named, find_snapshots
from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.manifest import ServerIdentity
from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.store import SAFETY_NAME
from ansible_collections.infrafabric.chromadb.plugins.module_utils._errors import UsageError

from .conftest import SERVER, make_records

NOON = datetime(2025, 1, 31, 12, tzinfo=timezone.utc)
OTHER = ServerIdentity("http://192.0.2.2:8000", "default_tenant", "default_database")
THIRD = ServerIdentity("http://192.0.2.3:8000", "default_tenant", "default_database")


@pytest.fixture
def at(write):
    def make(hour, **options):
        return write({"c": [make_records(2)]}, now=NOON + timedelta(hours=hour), **options).snapshot_id

    return make


def test_latest_is_the_newest_verified_one_of_the_same_server(store, at):
    at(0)
    newest = at(1)
    at(2, server=OTHER)
    at(3, verify=False)
    at(4, name=SAFETY_NAME)
    for asked in ("latest", None):
        assert choose_snapshot(store.directory, asked, server=SERVER) == newest


def test_latest_is_that_of_the_only_other_server(store, at):
    at(0)
    newest = at(1)
    assert choose_snapshot(store, "latest", server=OTHER) == newest
    assert choose_snapshot(store, "latest", server=None) == newest


def test_latest_of_none_of_several_servers_names_the_choices(store, at):
    ids = [at(0), at(1, server=OTHER)]
    for server in (THIRD, None):
        with pytest.raises(UsageError) as caught:
            choose_snapshot(store, "latest", server=server)
        assert all(name in caught.value.message for name in (*ids, SERVER.text, OTHER.text))


def test_an_empty_store(store):
    for options in ({}, {"point_in_time": "2025-01-31T12:00:00Z"}):
        with pytest.raises(UsageError, match="no snapshot at all"):
            choose_snapshot(store, None, server=SERVER, **options)


def test_an_id_must_be_there(store, at):
    snapshot_id = at(0)
    assert choose_snapshot(store, snapshot_id, server=OTHER) == snapshot_id
    with pytest.raises(UsageError, match=snapshot_id):
        choose_snapshot(store, "snapshot_20200101_000000", server=SERVER)
    with pytest.raises(UsageError, match="no snapshot id"):
        choose_snapshot(store, "../../etc/passwd", server=SERVER)
    with pytest.raises(UsageError, match="Both"):
        choose_snapshot(store, snapshot_id, point_in_time="2025-01-31T12:00:00Z", server=SERVER)


def test_a_point_in_time_is_the_newest_at_or_before(store, at):
    first, second = at(0), at(1)
    at(1, server=OTHER)
    for moment, expected in (
        ("2025-01-31T12:00:00+00:00", first),
        ("2025-01-31T12:59:59Z", first),
        ("2025-01-31T14:00:00+01:00", second),
        ("2030-01-01T00:00:00+00:00", second),
    ):
        assert choose_snapshot(store, None, point_in_time=moment, server=SERVER) == expected
    with pytest.raises(UsageError, match=r"from 2025-01-31T11:59:59Z or before.*" + first):
        choose_snapshot(store, "latest", point_in_time="2025-01-31T11:59:59Z", server=SERVER)


@pytest.mark.parametrize("moment", ["2025-01-31T12:00:00", "yesterday", "", "2025-02-30T00:00:00Z"])
def test_a_moment_needs_an_offset(store, moment):
    with pytest.raises(UsageError, match="is no moment"):
        choose_snapshot(store, None, point_in_time=moment, server=SERVER)


def test_names(store, at):
    at(0, name="nightly")
    newest = at(1, name="nightly")
    at(2, name="nightly", server=OTHER)
    assert find_named(store, "nightly", SERVER).snapshot_id == newest
    assert find_named(store, "nightly", THIRD) is None
    assert find_named(store, "other") is None
    with pytest.raises(UsageError, match="letters"):
        find_named(store, "../x")


def test_all_are_listed_newest_first_and_damaged_ones_too(store, at):
    first, second = at(0), at(1)
    with open(store.manifest_path(first), "w") as file:
        file.write("{}")
    found = find_snapshots(store)
    assert [snapshot.snapshot_id for snapshot in found] == [second, first]
    assert found[0].manifest.snapshot_id == second
    assert found[1].manifest is None
    assert "damaged" in found[1].problem
