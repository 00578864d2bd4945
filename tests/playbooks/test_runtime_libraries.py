# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role runtime, on this machine and from its package index: what it installs is known by its hash."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import yaml
from packaging.markers import Marker
from packaging.requirements import Requirement

from tests.support.run_module import CHECKOUT, ansible_playbook

ROLE = CHECKOUT / "roles" / "runtime"
PINNED = ROLE / "files" / "requirements.txt"


def install(directory: Path, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    play = {
        "hosts": "localhost", "connection": "local", "gather_facts": False,
        "tasks": [{"ansible.builtin.include_role": {"name": "infrafabric.chromadb.runtime"}, "vars": {"runtime_venv": str(directory / "runtime"), **options}}],
    }  # fmt: skip
    playbook = directory / "install.yml"
    playbook.write_text(json.dumps([play]))
    return ansible_playbook(str(playbook), *arguments)


def changes(done: subprocess.CompletedProcess[str]) -> int:
    assert done.returncode == 0, done.stdout
    return int(re.findall(r"changed=(\d+)", done.stdout)[0])


def test_installed_once_and_told_beforehand(tmp_path: Path) -> None:
    assert changes(install(tmp_path, "--check")) > 0
    assert not (tmp_path / "runtime").exists()
    assert changes(install(tmp_path)) > 0
    python = tmp_path / "runtime" / "bin" / "python"
    listed = subprocess.run([str(python), "-m", "pip", "freeze"], capture_output=True, text=True, check=True).stdout.split()
    assert set(listed) == {f"{name}=={version}" for name, version in pinned("3.%d" % minor_of(python)).items()}
    assert changes(install(tmp_path, "--check")) == 0
    assert changes(install(tmp_path)) == 0


def test_what_somebody_has_changed_is_not_installed(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.txt"
    wrong.write_text("fastjsonschema==2.21.2 --hash=sha256:%s\n" % ("0" * 64))
    done = install(tmp_path, runtime_requirements=str(wrong))
    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stdout
    assert not list((tmp_path / "runtime").rglob("fastjsonschema"))


def minor_of(python: Path) -> int:
    return int(subprocess.run([str(python), "-c", "import sys; print(sys.version_info[1])"], capture_output=True, text=True, check=True).stdout)


def pinned(version: str) -> dict[str, str]:
    """Package and release that the role's file has for a Python."""
    found = {}
    for name, release, marker in re.findall(r"^([\w-]+)==(\S+)(?: ; (.+?))? \\$", PINNED.read_text(), re.MULTILINE):
        if not marker or Marker(marker).evaluate({"python_full_version": version + ".0", "python_version": version}):
            assert name not in found, "twice for Python %s: %s" % (version, name)
            found[name] = release
    return found


def test_each_python_gets_one_release_of_each_package_within_the_ranges() -> None:
    ranges = [Requirement(text) for text in yaml.safe_load((ROLE / "vars" / "main.yml").read_text())["__runtime_ranges"]]
    for minor in range(9, 15):
        releases = pinned("3.%d" % minor)
        assert all(need.specifier.contains(releases[need.name]) for need in ranges), releases
    asked = [line for line in (CHECKOUT / "requirements" / "runtime.in").read_text().splitlines() if not line.startswith("#")]
    assert [Requirement(line) for line in asked] == ranges
