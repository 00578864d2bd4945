# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The user's own model: what cannot be right is refused by its name, and so are vectors that do not go together."""

from __future__ import annotations

import sys

import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils._errors import InvalidDataError, UsageError
from ansible_collections.infrafabric.chromadb.plugins.module_utils._validation.embedder import parse_embedder

# As many numbers for each text as there are texts in the question.
ANSWERS = "import json, sys; texts = json.load(sys.stdin)['input']; print(json.dumps({'embeddings': [[1.0] * len(texts) for _text in texts]}))"


@pytest.mark.parametrize(("options", "words"), [
    ({"command": ["embed"], "url": "http://127.0.0.1:9"}, "both command and url are given"),
    ({"url": "https://127.0.0.1:9", "ca_path": "/nowhere/ca.pem"}, "embedder.ca_path: /nowhere/ca.pem does not exist"),
    ({"command": ["embed"], "batch_size": 0}, "embedder.batch_size: must be more than 0, not 0"),
    ({"url": "127.0.0.1:9"}, "embedder.url: "),
])  # fmt: skip
def test_an_embedder_that_cannot_be_right_is_refused(options, words):
    with pytest.raises(UsageError, match=words):
        parse_embedder(options)


@pytest.mark.parametrize("options", [None, {}, {"command": None, "url": None, "timeout": 5}])
def test_without_a_command_or_a_service_there_is_no_embedder(options):
    assert parse_embedder(options) is None


def test_vectors_of_different_lengths_are_no_vectors_of_one_model():
    embedder = parse_embedder({"command": [sys.executable, "-c", ANSWERS], "batch_size": 2})
    assert [list(vector) for vector in embedder.embed(["one", "two", "three", "four"])] == [[1.0, 1.0]] * 4
    with pytest.raises(InvalidDataError, match="gives vectors of different lengths, 1 and 2 numbers"):
        embedder.embed(["one", "two", "three"])
