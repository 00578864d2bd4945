# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A secret is known again however it is spelled, and what is none is left alone."""

from __future__ import annotations

import html
import itertools
import json
import time
from typing import Callable
from urllib.parse import quote, quote_plus

import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils._secrets import MASK, Secrets

SPELLINGS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "json": lambda text: json.dumps(text)[1:-1],
    "json in utf-8": lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    "json with slashes": lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    "python": lambda text: repr(text)[1:-1],
    "path": quote,
    "segment": lambda text: quote(text, safe="").lower(),
    "form": quote_plus,
    "page": html.escape,
}


@pytest.mark.parametrize("secret", ["canary", 'a/"b+c=', "two words", "back\\slash\\\\es", "é🐤'&<", "-.*[a]"])
@pytest.mark.parametrize(("inner", "outer"), list(itertools.product(["plain", "json", "json in utf-8", "python", "page"], SPELLINGS)))
def test_one_spelling_within_another(secret: str, inner: str, outer: str) -> None:
    if outer in ("path", "segment", "form", "page"):
        inner = "plain"
    spelled = SPELLINGS[outer](SPELLINGS[inner](secret))
    secrets = Secrets([secret])
    assert secrets.hidden_in(f"<{spelled}>") == f"<{MASK}>"
    assert len(spelled) <= secrets.longest


def test_the_bytes_of_a_header_read_as_utf8() -> None:
    assert Secrets(["é-key"]).hidden_in("é-key".encode("latin-1").decode("utf-8", "replace")) == MASK


def test_the_longest_is_taken_first_and_nothing_else_is_touched() -> None:
    assert Secrets(["key", "key-of-all"]).hidden_in("key-of-all and key") == f"{MASK} and {MASK}"
    assert Secrets([]).hidden_in("anything") == "anything"
    assert Secrets([" "]).hidden_in("any thing") == "any thing"


def test_a_text_that_nearly_fits_takes_no_time() -> None:
    """A fraction of a second of the processor's; a pattern that tries all ways would need years."""
    begun = time.process_time()
    Secrets(["\\" * 30 + "a" * 30]).hidden_in("\\" * 2_000 + "a" * 29)
    assert time.process_time() - begun < 5
