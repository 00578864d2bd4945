# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every command of the README and the guides works, and prints what is shown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.run_module import CHECKOUT

from .document import Console, read_document
from .scenes import Servers
from .story import Story

# What a remark names instead: a file of the checkout.
NAMED = re.compile(r"(?<![\w/])[\w.-]+/[\w./-]*\w")
DOCUMENTS = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs/docsite/rst").glob("*.rst"))]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_what_is_shown_is_what_happens(document: Path, servers: Servers, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    blocks = [step for step in read_document(document) if isinstance(step, Console)]
    if not blocks:
        pytest.skip("No commands in it.")
    story = Story(document, servers, tmp_path / "checkout", update=request.config.getoption("--update-docs"))
    story.checkout.mkdir(mode=0o700)
    story.play()
    print("%s: %d commands run" % (document.name, story.commands))
    print("\n".join("not run: " + line for line in story.not_run))
    assert story.commands


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_what_is_not_run_is_run_by_something_that_is_there(document: Path) -> None:
    for step in read_document(document):
        if isinstance(step, Console) and step.not_run is not None:
            named = NAMED.findall(step.not_run)
            assert named, "line %d says why, and not what runs it: %s" % (step.line + 1, step.not_run)
            assert [name for name in named if not (CHECKOUT / name).exists()] == []
