# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Snapshots at a second place: another host over ssh (an sshd of the test's own), and a bucket (a server that speaks S3)."""

from __future__ import annotations

import getpass
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support import trap_data
from tests.support.case import Case
from tests.support.chroma_server import free_port
from tests.support.raw import Record
from tests.support.run_module import ansible_playbook, run_module
from tests.support.trap_data import CollectionData

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/bin")


class Away:
    """A store on this machine, a second place, and the role between them."""

    def __init__(self, case: Case, directory: Path, variables: Mapping[str, Any]) -> None:
        self.case, self.directory, self.variables = case, directory, variables
        self.inventory = directory / "hosts.json"
        self.inventory.write_text(json.dumps({"all": {
            "vars": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "chromadb_target_url": case.target.url},
            "children": {"chromadb_target": {"hosts": {"here": {}}}},
        }}))  # fmt: skip

    def play(self, tasks_from: str, *arguments: str, fails: bool = False, **variables: Any) -> str:
        playbook = self.directory / f"{tasks_from}.yml"
        role = {"name": "infrafabric.chromadb.snapshot", "tasks_from": tasks_from}
        everything = {"snapshot_directory": str(self.case.store), **self.variables, **variables}
        tasks = [{"name": tasks_from, "ansible.builtin.include_role": role, "vars": everything}]
        playbook.write_text(json.dumps([{"name": "Test", "hosts": "chromadb_target", "gather_facts": False, "tasks": tasks}]))
        done = ansible_playbook(str(playbook), "-i", str(self.inventory), *arguments)
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return " ".join(done.stdout.split())

    def chain(self, length: int) -> list[str]:
        """So many snapshots, each based on the one before."""
        trap_data.write(self.case.target, CollectionData("things", [Record(f"r{n}", row) for n, row in enumerate(trap_data.vectors(5))]))
        ids = [str(self.case.snapshot(base="latest")["snapshot"]["snapshot_id"])]
        for n in range(length - 1):
            self.case.target.delete(self.case.target.collection("things")["id"], [f"r{n}"])
            ids.append(str(self.case.snapshot(base="latest")["snapshot"]["snapshot_id"]))
        return ids

    def here(self) -> list[str]:
        found = run_module("snapshot_info", {"directory": str(self.case.store), "verify": "full"})["snapshots"]
        assert all(snapshot["problems"] == [] for snapshot in found)
        return sorted(snapshot["snapshot_id"] for snapshot in found)

    def lose(self) -> None:
        shutil.rmtree(self.case.store)


@pytest.fixture
def ssh(case: Case, tmp_path: Path) -> Iterator[tuple[Away, Path]]:
    if SSHD is None or os.geteuid() != 0:
        pytest.skip("needs sshd, and root to start one")
    there, keys = tmp_path / "the other host's" / "store", tmp_path / "keys"
    keys.mkdir(mode=0o700)
    for name in ("host", "client"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(keys / name)], check=True)
    (keys / "authorized").write_text((keys / "client.pub").read_text())
    port = free_port()
    (keys / "known").write_text("".join(f"[{host}]:{port} {(keys / 'host.pub').read_text()}" for host in ("127.0.0.1", "::1")))
    (keys / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nListenAddress ::1\nHostKey {keys}/host\nAuthorizedKeysFile {keys}/authorized\nPidFile none\nStrictModes no\n"
        "UsePAM no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\nSubsystem sftp internal-sftp\n"
    )
    Path("/run/sshd").mkdir(exist_ok=True)
    with open(keys / "log", "w") as log, subprocess.Popen([SSHD, "-D", "-e", "-f", str(keys / "config")], stderr=log) as sshd:
        try:
            wait_for(port, sshd)
            place = {
                "host": "127.0.0.1", "port": port, "user": getpass.getuser(), "key_file": f"{keys}/client", "known_hosts_file": f"{keys}/known",
                "directory": str(there),
            }  # fmt: skip
            yield Away(case, tmp_path, {"snapshot_offsite": "ssh", "snapshot_offsite_ssh": place}), there
        finally:
            sshd.terminate()


def wait_for(port: int, process: subprocess.Popen[Any]) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"nothing answers on port {port}")


def test_over_ssh(ssh: tuple[Away, Path]) -> None:
    away, there = ssh
    ids = away.chain(3)
    away.play("push")
    assert sorted(path.name for path in there.rglob("snapshot_*") if path.is_file()) == sorted(
        [f"{name}.json" for name in ids] + [f"{name}.tar.gz" for name in ids]
    )
    assert {path.stat().st_mode & 0o777 for path in there.rglob("snapshot_*")} == {0o600}
    # It is a store: the modules work there as they do here.
    assert len(run_module("snapshot_info", {"directory": str(there), "verify": "full"})["snapshots"]) == 3

    away.lose()
    # Half of a snapshot, and what was being written, are no snapshots.
    (there / "manifests" / "snapshot_20990101_000000.json").write_text("{}")
    (there / "manifests" / ".snapshot_20990102_000000.json.partial").write_text("{}")
    (there / "snapshots" / "snapshot_20990103_000000.tar.gz").write_text("")
    refused = away.play("fetch", fails=True, snapshot_fetch_id="snapshot_20990101_000000")
    assert f"It has {', '.join(ids)}" in refused
    # Nor is what a rollback saved before it began the latest.
    for folder, suffix in (("manifests", ".json"), ("snapshots", ".tar.gz")):
        (there / folder / f"snapshot_20990104_000000_before_rollback{suffix}").write_text("{}")
    away.play("fetch")
    assert away.here() == ids

    # The newest is gone here, and the oldest, which it needs, is damaged; what is between them is whole.
    store = away.case.store
    for path in (store / "manifests" / f"{ids[2]}.json", store / "snapshots" / f"{ids[2]}.tar.gz"):
        path.unlink()
    with open(store / "snapshots" / f"{ids[0]}.tar.gz", "r+b") as file:
        file.seek(100)
        file.write(b"\xff\xfe\xfd")
    away.play("fetch")
    assert away.here() == ids

    away.lose()
    archive = there / "snapshots" / f"{ids[0]}.tar.gz"
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 1
    archive.write_bytes(content)
    assert "another SHA-256" in away.play("fetch", fails=True)
    assert away.here() == []

    # Whoever can write there can say that the oldest is based on the newest.
    manifest = there / "manifests" / f"{ids[0]}.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "base": {"snapshot_id": ids[2], "manifest_sha256": "0" * 64}}))
    assert "is based on itself" in away.play("fetch", fails=True)
    assert away.here() == []


def test_a_look_at_the_other_host_changes_nothing_there(ssh: tuple[Away, Path]) -> None:
    away, there = ssh
    assert "It has none." in away.play("fetch", fails=True)
    assert not there.parent.exists()
    (first,) = away.chain(1)
    away.play("push", "--check")
    assert not there.parent.exists()
    assert "changed=0" not in away.play("push")
    assert "changed=0" in away.play("push")
    away.lose()
    away.play("fetch", "--check")
    assert not away.case.store.exists()
    assert f"It has {first}." in away.play("fetch", "--check", fails=True, snapshot_fetch_id="snapshot_20990101_000000")


def test_a_host_whose_address_has_colons(ssh: tuple[Away, Path]) -> None:
    away, _there = ssh
    place = {**away.variables["snapshot_offsite_ssh"], "host": "::1"}
    with socket.socket(socket.AF_INET6) as probe:
        if probe.connect_ex(("::1", place["port"])) != 0:
            pytest.skip("this machine has no IPv6")
    ids = away.chain(1)
    away.play("push", snapshot_offsite_ssh=place)
    away.lose()
    away.play("fetch", snapshot_offsite_ssh=place)
    assert away.here() == ids


@pytest.mark.skipif(importlib.util.find_spec("moto") is None or importlib.util.find_spec("boto3") is None, reason="moto and boto3 are not installed")
def test_in_a_bucket(case: Case, tmp_path: Path) -> None:
    import boto3

    port = free_port()
    with subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as moto:
        try:
            wait_for(port, moto)
            keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing", "region_name": "us-east-1"}
            bucket = boto3.resource("s3", endpoint_url=f"http://127.0.0.1:{port}", **keys).create_bucket(Bucket="away")
            place = {
                "bucket": "away", "prefix": "chroma/db", "endpoint_url": f"http://127.0.0.1:{port}", "region": "us-east-1", "access_key": "testing",
                "secret_key": "testing",
            }  # fmt: skip
            away = Away(case, tmp_path, {"snapshot_offsite": "s3", "snapshot_offsite_s3": place})
            ids = away.chain(2)
            away.play("push")
            names = {f"chroma/db/{folder}/{name}{suffix}" for name in ids for folder, suffix in (("manifests", ".json"), ("snapshots", ".tar.gz"))}
            assert {found.key for found in bucket.objects.all()} == names
            assert not list(case.store.rglob("*.partial"))
            away.lose()
            bucket.put_object(Key="chroma/db/manifests/snapshot_20990101_000000.json", Body=b"{}")
            away.play("fetch")
            assert away.here() == ids
            away.lose()
            bucket.put_object(Key=f"chroma/db/snapshots/{ids[0]}.tar.gz", Body=b"not what it was")
            assert "another SHA-256" in away.play("fetch", fails=True)
            assert away.here() == []
        finally:
            moto.terminate()
