# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The collection as it is released: its archive, installed where nothing of the checkout is seen, from execute to rollback.

`make test-lab-newest` does it with the newest ansible-core.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.equality import contents_differences

from .gateway import CHECKOUT, play

if "LAB_DIR" not in os.environ:
    pytest.skip("needs the hosts of the lab", allow_module_level=True)

from .stage import CLIENT_FILE, CLIENT_HOST, DISCARD, GATEWAY, INVENTORY, TARGET, VARIABLES, Stage, Writer, install, on_host, poll

# A service of the client that reads its file when it starts.
READER = "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/cp %s /run/read\n" % CLIENT_FILE


def galaxy(directory: Path, *words: str) -> None:
    """As somebody does it who has no checkout, with whose settings the collection would seem to be installed already."""
    command = [str(Path(sys.executable).with_name("ansible-galaxy")), "collection", *words]
    environment = {name: value for name, value in os.environ.items() if name != "ANSIBLE_CONFIG"}
    done = subprocess.run(command, cwd=directory, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout


def read_by_the_client() -> str:
    return on_host(CLIENT_HOST, "sed -n 's/^CHROMADB_URL=//p' /run/read").strip()


def test_an_installed_archive_migrates_cuts_over_and_goes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    galaxy(tmp_path, "build", str(CHECKOUT), "--output-path", str(tmp_path))
    galaxy(tmp_path, "install", str(next(tmp_path.glob("*.tar.gz"))), "--collections-path", str(tmp_path / "installed"), "--offline", "--no-deps")
    monkeypatch.setenv("ANSIBLE_COLLECTIONS_PATH", str(tmp_path / "installed"))
    install.cache_clear()
    install()
    stage = Stage()
    source_before = {name: stage.source.contents()[name] for name in ("papers", "letters")}

    on_host(CLIENT_HOST, "printf '%s' > /etc/systemd/system/reader.service; systemctl daemon-reload; systemctl restart reader" % READER.replace("\n", "\\n"))

    def run(playbook: str, **variables: object) -> str:
        output = play("infrafabric.chromadb." + playbook, *INVENTORY, "-vv", variables={**VARIABLES, "chromadb_client_services": ["reader"], **variables})
        # Ansible names the files of its tasks: all of ours are those of the archive.
        assert str(tmp_path / "installed") in output
        assert str(CHECKOUT / "roles") not in output
        assert "/.collections/" not in output
        assert "DEPRECATION" not in output, output
        return output

    with Writer(stage.written, "archive") as writer:
        poll(lambda: len(writer.acknowledged) > 3, 30, "writes are acknowledged")
        run("execute")
        run("cutover")
        stage.is_new(writer)
        assert read_by_the_client() == TARGET
        run("rollback", **DISCARD)
        stage.is_old(writer)
        assert read_by_the_client() == GATEWAY
    assert contents_differences(source_before, {name: stage.source.contents()[name] for name in source_before}) == []
