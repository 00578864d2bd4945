# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the product says that a server of the current release refuses, loses or alters, against what the server really does."""

from __future__ import annotations

import json

import requests

from tests.support.chroma_server import ChromaServer
from tests.support.held_values_cases import Candidate, candidates, held_values, outcome, random_candidates, wrong_predictions
from tests.support.raw import RawChroma


def test_every_prediction_is_what_the_server_does(source):
    assert wrong_predictions(source, candidates()) == []


def test_combinations_too(source):
    assert wrong_predictions(source, random_candidates(seed=1, count=100)) == []


def test_the_record_that_would_end_all_writing_is_refused_beforehand(spare_server: ChromaServer):
    """The one case that is not asked of a shared server: it answers 500 to every write from then on."""
    product, capabilities_of = held_values()
    raw = RawChroma(spare_server.url)
    deadly = Candidate("record", None, {"chroma:document": 7})
    [reason] = product.problems(deadly.id, deadly.document, deadly.metadata, capabilities_of(raw))
    assert reason.kind == "chroma:document reserved_key"
    collection = raw.create("held")
    assert outcome(raw, collection, Candidate("record", "d", {"z": 1}), 0) is not None
    assert outcome(raw, collection, deadly, 1) is None
    assert outcome(raw, collection, Candidate("record", "d", {"z": 1}), 2) is None


def test_the_limit_of_a_request(source):
    """Where the limit comes from: a body of 40 MiB is taken, one byte more is not. Blanks at its end count, and cost the server nothing."""
    _product, capabilities_of = held_values()
    limit = capabilities_of(source).max_body
    url = f"{source.url}/api/v2/tenants/{source.tenant}/databases/{source.database}/collections/{source.create('held')}/upsert"
    body = json.dumps({"ids": ["a"], "embeddings": [[1.0]]}).encode()
    answers = [requests.post(url, data=body.ljust(size), headers={"Content-Type": "application/json"}, timeout=120) for size in (limit, limit + 1)]
    assert [answer.status_code for answer in answers] == [200, 413]
