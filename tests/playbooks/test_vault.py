# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A token that lies encrypted in the inventory opens a server that asks for it, and is seen nowhere."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.support.chroma_server import ChromaServer
from tests.support.raw import RawChroma, Record
from tests.support.run_module import ansible_playbook, command, run_command

TOKEN = "correct-horse-battery-staple"
AUTHENTICATION = {
    "CHROMA_SERVER_AUTH_PROVIDER": "chromadb.auth.token.TokenAuthServerProvider",
    "CHROMA_SERVER_AUTH_CREDENTIALS_PROVIDER": "chromadb.auth.token.TokenConfigServerAuthCredentialsProvider",
    "CHROMA_SERVER_AUTH_CREDENTIALS": TOKEN,
    "CHROMA_SERVER_AUTH_TOKEN_TRANSPORT_HEADER": "X_CHROMA_TOKEN",
}


def test_a_vaulted_token_opens_the_server_and_is_seen_nowhere(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("of the vault\n")
    vaulted = run_command([command("ansible-vault"), "encrypt_string", "--vault-password-file", str(password), "--name", "chromadb_target_token", TOKEN])
    assert vaulted.returncode == 0, vaulted.stderr
    with ChromaServer("0.4.24", extra_env=AUTHENTICATION) as server:
        with_token = RawChroma(server.url, headers={"X-Chroma-Token": TOKEN})
        uuid = with_token.create("papers")
        with_token.add(uuid, [Record("a", [1.0, 2.0, 3.0], "text", {"n": 1})])

        def written(token: str) -> Path:
            inventory = tmp_path / "inventory.yml"
            lines = [
                "ansible_connection: local",
                f"ansible_python_interpreter: {sys.executable}",
                f"chromadb_target_url: {server.url}",
                "chromadb_target_token_header: x-chroma-token",
                *(f"chromadb_{kind}_dir: {tmp_path / kind}" for kind in ("snapshot", "state", "report")),
                *token.splitlines(),
            ]
            inventory.write_text("all:\n  vars:\n" + "".join(f"    {line}\n" for line in lines) + "  children: {chromadb_target: {hosts: {the_target: }}}\n")
            return inventory

        inventory = written(vaulted.stdout)
        assert TOKEN not in inventory.read_text()
        outputs = []
        for playbook in ("health", "snapshot", "status"):
            done = ansible_playbook(f"infrafabric.chromadb.{playbook}", "-i", str(inventory), "--vault-password-file", str(password), "-vvv", "--diff")
            assert done.returncode == 0, done.stdout + done.stderr
            outputs.append(done.stdout + done.stderr)
        assert "papers" in outputs[0]

        with_token.delete(uuid, ["a"])
        back = ansible_playbook("infrafabric.chromadb.rollback", "-i", str(inventory), "--vault-password-file", str(password), "-vvv", "--diff")
        assert back.returncode == 0, back.stdout + back.stderr
        outputs.append(back.stdout + back.stderr)
        assert set(with_token.records(uuid)) == {"a"}

        # Refused: the server does ask for it. Nor is a wrong one shown.
        wrong = ansible_playbook("infrafabric.chromadb.health", "-i", str(written(f"chromadb_target_token: {TOKEN[::-1]}")), "-vvv")
        assert wrong.returncode != 0
        assert TOKEN[::-1] not in wrong.stdout + wrong.stderr
    for output in outputs:
        assert TOKEN not in output
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or TOKEN.encode() not in path.read_bytes(), path
