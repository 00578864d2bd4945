# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The settings of Ansible that end the wait for a dead host: in the archive, and in the guide as they are."""

from __future__ import annotations

import re
import textwrap
from configparser import ConfigParser
from fnmatch import fnmatch
from pathlib import Path

import yaml

CHECKOUT = Path(__file__).resolve().parents[2]


def test_the_lines_of_the_guide_are_those_of_the_file() -> None:
    (shown,) = re.findall(r"\.\. code-block:: ini\n\n((?: {3}.*\n|\n)+)", (CHECKOUT / "docs/docsite/rst/guide_fleets.rst").read_text(encoding="utf-8"))
    guide, file = ConfigParser(), ConfigParser()
    guide.read_string(textwrap.dedent(shown))
    file.read_string((CHECKOUT / "ansible.cfg").read_text(encoding="utf-8"))
    settings = {(section, key): value for section in guide.sections() for key, value in guide.items(section)}
    assert settings == {place: file.get(*place) for place in settings}
    assert "ServerAliveInterval" in settings["ssh_connection", "ssh_args"]


def test_the_archive_holds_the_file() -> None:
    ignored = yaml.safe_load((CHECKOUT / "galaxy.yml").read_text(encoding="utf-8"))["build_ignore"]
    assert [pattern for pattern in ignored if fnmatch("ansible.cfg", pattern)] == []
