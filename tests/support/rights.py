# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Work as a user to whom permissions apply, whoever runs the tests."""

from __future__ import annotations

import codecs
import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

NOBODY = 65534
# A Python whose directory only root may enter cannot import them later, and would remember that there are none.
for codec in ("ascii", "latin-1", "utf-8"):
    codecs.lookup(codec)


@contextlib.contextmanager
def without_the_rights_of_root() -> Iterator[None]:
    """In this process and all its threads; whoever is not root stays who they are."""
    if os.geteuid() != 0:
        yield
        return
    os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


@contextlib.contextmanager
def directory_without_the_rights_of_root() -> Iterator[Path]:
    """A new directory of the user that `without_the_rights_of_root` works as; pytest's own are closed to everybody else."""
    with tempfile.TemporaryDirectory(prefix="no-root-") as name:
        if os.geteuid() == 0:
            os.chown(name, NOBODY, -1)
        yield Path(name).resolve()
