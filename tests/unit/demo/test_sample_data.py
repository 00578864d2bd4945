# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The demonstration's data: real text, always the same, near where it is similar."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("requests")
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "playbooks" / "files" / "demo"))

import sample_data


def test_the_six_collections_hold_9832_records() -> None:
    assert len(sample_data.COLLECTION_SIZES) == 6
    assert sum(sample_data.COLLECTION_SIZES.values()) == 9832


def test_records_are_always_the_same_and_all_different() -> None:
    first, second = list(sample_data.sample_records(300)), list(sample_data.sample_records(300))
    assert [(r.id, r.document, r.metadata, r.embedding.tobytes()) for r in first] == [(r.id, r.document, r.metadata, r.embedding.tobytes()) for r in second]
    assert len({r.id for r in first}) == len({r.document for r in first}) == 300


def test_the_text_is_about_500_characters_of_words() -> None:
    texts = [text for _file, _number, text in itertools.islice(sample_data.sample_texts(), 300)]
    assert 400 < sum(map(len, texts)) / len(texts) <= 500
    assert all(sum(map(len, sample_data.LETTERS.findall(text))) >= 0.6 * len(text) for text in texts)


def test_metadata_is_what_a_server_takes_and_names_every_type() -> None:
    metadata = [record.metadata for record in sample_data.sample_records(300)]
    assert {type(value) for one in metadata for value in one.values()} <= {str, int, float, bool}
    assert {one.get("collection_type") for one in metadata} == {None, "personality", "rhetorical", "humor", "corpus"}
    assert any(not str(one.get("title", "")).isascii() for one in metadata)


def test_a_vector_has_384_numbers_and_length_one() -> None:
    for text in ("The server answers.", "", "日本語", "ab"):
        vector = sample_data.embed(text)
        assert vector.shape == (384,)
        assert vector.dtype == np.float32
        assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-6)


def test_similar_texts_are_near_each_other() -> None:
    base = sample_data.embed("Connect to the database with a token and read all records.")
    similar = sample_data.embed("connecting to the database with tokens, and reading all the records")
    other = sample_data.embed("Bake the cake at moderate heat until golden brown.")
    assert float(base @ similar) > float(base @ other) + 0.3
