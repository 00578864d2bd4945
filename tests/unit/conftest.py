# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes `ansible_collections.infrafabric.chromadb` importable, whatever the checkout is called and with or without Ansible.

What is needed is a directory with the collection's path in it: `make setup` makes one, without it a temporary one serves. Ansible's
loader is given that directory where there is one; elsewhere Python's namespace packages do. Under ansible-test the collection is
importable before this file is read.

Hypothesis has no deadline for an example, which says more about the machine's load than about the code; CI draws the same examples
each time, so that a failure there is the change's and not the draw's.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.rights import directory_without_the_rights_of_root, without_the_rights_of_root

CHECKOUT = Path(__file__).resolve().parents[2]
IN_TREE = Path("ansible_collections", "infrafabric", "chromadb")


def make_collection_importable() -> None:
    try:
        if importlib.util.find_spec("ansible_collections.infrafabric.chromadb.plugins"):
            return
    except ModuleNotFoundError:
        pass
    tree = CHECKOUT / ".collections"
    if not (tree / IN_TREE / "plugins").exists():
        tree = Path(tempfile.mkdtemp(prefix="infrafabric-chromadb-"))
        atexit.register(shutil.rmtree, tree, ignore_errors=True)
        (tree / IN_TREE).parent.mkdir(parents=True)
        (tree / IN_TREE).symlink_to(CHECKOUT, target_is_directory=True)
    try:
        from ansible.plugins.loader import init_plugin_loader
    except ImportError:
        sys.path.insert(0, str(tree))
    else:
        init_plugin_loader([str(tree)])


make_collection_importable()
settings.register_profile(
    "checkout", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=bool(os.environ.get("CI")), print_blob=True
)
settings.load_profile("checkout")


@pytest.fixture
def unwritable_directory() -> Iterator[Path]:
    """A directory that this user, who is not root here, can enter and read, but not write to."""
    with directory_without_the_rights_of_root() as directory:
        os.chmod(directory, 0o555)
        with without_the_rights_of_root():
            yield directory
