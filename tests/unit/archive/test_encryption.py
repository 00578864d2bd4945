# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Archives that are encrypted by age or GnuPG: what is on the disk, who can read it, and what is left behind."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils import _encryption
from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.encrypted import new_container, open_container
from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.manifest import load_manifest
from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.reader import open_snapshot
from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.retention import prune
from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.tree_writer import write_tree
from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.verify import find_orphans, verify_snapshot
from ansible_collections.infrafabric.chromadb.plugins.module_utils._audit import read_audit
from ansible_collections.infrafabric.chromadb.plugins.module_utils._encryption import read_key
from ansible_collections.infrafabric.chromadb.plugins.module_utils._endpoint import Endpoint
from ansible_collections.infrafabric.chromadb.plugins.module_utils._errors import DiskError, IntegrityError, UsageError
from ansible_collections.infrafabric.chromadb.plugins.module_utils._operations.outcome import Context
from ansible_collections.infrafabric.chromadb.plugins.module_utils._operations.rollback_files import rollback_files
from ansible_collections.infrafabric.chromadb.plugins.module_utils._operations.snapshot_info import snapshot_info

from .conftest import SERVER, as_dict, make_records

PASSPHRASE = "correct horse battery staple"


def key_file(directory, tool, name="key"):
    path = Path(directory) / f"{name}.{tool}"
    if tool == "gpg":
        path.write_text(f"{PASSPHRASE} {name}\n")
    elif shutil.which("age-keygen"):
        subprocess.run(["age-keygen", "-o", str(path)], check=True, capture_output=True)
    path.chmod(0o600)
    return str(path)


@pytest.fixture(params=["age", "gpg"])
def tool(request):
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    return request.param


@pytest.fixture
def locked(store, tool, tmp_path, monkeypatch):
    """The store with a key, and a directory for temporary files in which nothing may stay."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    yield replace(store, key=read_key(key_file(tmp_path, tool)))
    assert list(scratch.iterdir()) == []


def archive_of(store, manifest):
    return Path(store.archive_path(manifest.snapshot_id))


def test_only_the_key_opens_it(store, locked, write, tool, tmp_path):
    records = make_records(300)
    records.documents[7] = "a secret that nobody may find"
    manifest = write({"c": [records]}, store=locked)
    archive = archive_of(store, manifest)
    assert archive.name == f"{manifest.snapshot_id}.tar.gz.{tool}"
    assert archive.stat().st_mode & 0o777 == 0o600
    assert len(archive.read_bytes()) == manifest.values["archive_bytes"] != manifest.plain_bytes
    assert not any(b"secret that nobody" in path.read_bytes() for path in Path(store.directory).rglob("*") if path.is_file())
    with open_snapshot(locked, manifest.snapshot_id) as opened:
        assert as_dict(opened.record_set("c").batches()) == as_dict([records])
    with pytest.raises(UsageError, match="give encryption_key_file"):
        open_snapshot(store, manifest.snapshot_id)
    other = replace(store, key=read_key(key_file(tmp_path, tool, "other")))
    with pytest.raises(UsageError, match="does not open"):
        open_snapshot(other, manifest.snapshot_id)
    assert find_orphans(store) == []


def test_a_stranger_with_the_key_needs_no_module(store, locked, write, tool, tmp_path):
    manifest = write({"c": [make_records(20)]}, store=locked)
    key = locked.key.path
    words = {
        "age": ["age", "--decrypt", "--identity", key],
        "gpg": ["gpg", "--homedir", str(tmp_path), "--no-autostart", "--decrypt", "--batch", "--pinentry-mode", "loopback", "--passphrase-file", key],
    }[tool]
    tmp_path.chmod(0o700)
    with open(archive_of(store, manifest), "rb") as file, open(tmp_path / "plain.tar.gz", "wb") as plain:
        subprocess.run(words, stdin=file, stdout=plain, check=True, stderr=subprocess.DEVNULL)
    with tarfile.open(tmp_path / "plain.tar.gz") as archive:
        assert archive.getnames() == [entry.name for entry in manifest.entries]


def test_damage_is_noticed_without_the_key(store, locked, write):
    manifest = write({"c": [make_records(20)]}, store=locked)
    assert verify_snapshot(locked, manifest.snapshot_id) == verify_snapshot(store, manifest.snapshot_id) == []
    archive = archive_of(store, manifest)
    content = archive.read_bytes()
    chance = random.Random(11)
    for _flip in range(20):
        bit = chance.randrange(8 * len(content))
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        archive.write_bytes(damaged)
        assert [problem.failure_class for problem in verify_snapshot(store, manifest.snapshot_id)] == ["integrity"]
    archive.write_bytes(content[:-1])
    assert verify_snapshot(store, manifest.snapshot_id, "manifest")
    archive.write_bytes(damaged)
    assert verify_snapshot(locked, manifest.snapshot_id)


def test_what_is_inside_is_verified_with_the_key(store, locked, write, rewrite_manifest, tmp_path):
    manifest = write({"c": [make_records(20)]}, store=locked)
    rewrite_manifest(manifest.snapshot_id, lambda values: values["entries"][2].update(sha256="0" * 64))
    assert verify_snapshot(store, manifest.snapshot_id) == []
    assert "SHA-256" in verify_snapshot(locked, manifest.snapshot_id)[0].message

    def info(key):
        return snapshot_info(
            directory=store.directory, snapshot_id=None, verify="full", expected_manifest_sha256=None, encryption_key_file=key, context=Context()
        )

    without = info(None)
    assert (without.returns["snapshots"][0]["status"], "only the file was verified" in without.warnings[0]) == ("verified", True)
    assert info(locked.key.path).returns["snapshots"][0]["status"] == "failed"


def test_another_key_hides_no_snapshot(store, locked, write, tool, tmp_path):
    """Neither from somebody who verifies all of them, nor from retention, which needs no key."""
    old = write({"c": [make_records(3)]}, store=locked, now=datetime.now(timezone.utc) - timedelta(days=30))
    newer = write({"c": [make_records(3)]}, store=locked, now=datetime.now(timezone.utc) - timedelta(days=20))
    other = key_file(tmp_path, tool, "other")
    with pytest.raises(UsageError, match="does not open"):
        snapshot_info(directory=store.directory, snapshot_id=None, verify="full", expected_manifest_sha256=None, encryption_key_file=other, context=Context())
    result = prune(replace(store, key=read_key(other)), check_mode=True)
    assert (result.deleted, [kept["snapshot_id"] for kept in result.kept]) == ([old.snapshot_id], [newer.snapshot_id])


def test_chains_files_and_retention(store, locked, write, tmp_path):
    old = write({"c": [make_records(3)]}, store=locked, now=datetime.now(timezone.utc) - timedelta(days=30))
    data = tmp_path / "data"
    data.mkdir()
    (data / "chroma.sqlite3").write_bytes(b"x" * 5000)
    files = write_tree(
        locked, "snapshot_20260102_030405", str(data), SERVER, name=None, retention_days=7, verify=True, require_unused=lambda: None
    )
    assert verify_snapshot(locked, files.snapshot_id) == []
    newer = write({"c": [make_records(3)]}, store=locked)
    assert prune(store).deleted == [old.snapshot_id]
    assert {path.name.partition(".")[0] for path in Path(store.snapshots).iterdir()} == {files.snapshot_id, newer.snapshot_id}


def test_files_that_are_encrypted_are_not_brought_back_without_the_key(store, locked, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (data / "chroma.sqlite3").write_bytes(b"x" * 5000)
    snapshot_id = "snapshot_20260102_030405"
    write_tree(locked, snapshot_id, str(data), SERVER, name=None, retention_days=7, verify=True, require_unused=lambda: None)
    (data / "chroma.sqlite3").write_bytes(b"y" * 7)

    def roll_back(store, check_mode=False):
        return rollback_files(
            Endpoint("http://127.0.0.1:9", timeout=1.0, retries=0), store, snapshot_id,
            data_directory=str(data), whole=True, asked=True, to_a_moment=False, safety_snapshot=False, discard_new_writes=False, trigger="manual",
            reason=None, expected_manifest_sha256=None, context=Context(check_mode=check_mode),
        )  # fmt: skip

    for check_mode in (True, False):
        with pytest.raises(UsageError, match=f"The snapshot {snapshot_id} is encrypted by {locked.key.tool}: give encryption_key_file"):
            roll_back(store, check_mode)
    assert read_audit(store.directory).entries == [], "refused before anything was begun"
    assert (data / "chroma.sqlite3").read_bytes() == b"y" * 7
    assert roll_back(locked).changed
    assert (data / "chroma.sqlite3").read_bytes() == b"x" * 5000


def test_a_run_that_fails_leaves_nothing(store, locked, write, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        write({"c": [make_records(20), _Interrupting()]}, store=locked)
    monkeypatch.setattr(_encryption, "AGE", "false")
    monkeypatch.setattr(_encryption, "GPG", "false")
    broken = replace(locked, key=replace(locked.key, tool="false" if locked.key.tool == "age" else locked.key.tool))
    with pytest.raises(DiskError, match="could not encrypt"):
        write({"c": [make_records(5000)]}, store=broken)
    assert os.listdir(store.snapshots) == os.listdir(store.manifests) == []


class _Interrupting:
    """A batch at which somebody presses Ctrl-C."""

    dimension = 8

    def __len__(self):
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [
        ("short", 0o600, "neither"),
        ("two long lines of text\nand another line", 0o600, "neither"),
        ("age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq", 0o600, "read back"),
        ("-----BEGIN PGP PUBLIC KEY BLOCK-----", 0o600, "read back"),
        (PASSPHRASE, 0o644, "others may read"),
        (None, 0o600, "cannot be read"),
    ],
)
def test_files_that_are_no_keys(tmp_path, content, mode, words):
    path = tmp_path / "key"
    if content is not None:
        path.write_text(content)
        path.chmod(mode)
    with pytest.raises(UsageError, match=words):
        read_key(str(path))


def test_a_program_that_is_missing_is_named_with_its_package(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="Install the package gnupg"):
        read_key(key_file(tmp_path, "gpg"))


@pytest.fixture
def age_that_fails(store, tmp_path, monkeypatch):
    """A store with a key for a program that reads everything, and then finds the disk full."""
    program, key = tmp_path / "bin" / "age", tmp_path / "key"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\ncat > /dev/null\necho 'write failed: no space left' >&2\nexit 1\n")
    program.chmod(0o755)
    key.touch(mode=0o600)
    key.write_text("AGE-SECRET-KEY-1QQQQ\n")
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return replace(store, key=read_key(str(key)))


def test_a_program_that_fails_at_the_very_end_leaves_no_snapshot(store, write, age_that_fails):
    with pytest.raises(DiskError, match=r"age could not encrypt the archive: write failed: no space left\."):
        write({"c": [make_records(3)]}, store=age_that_fails)
    assert os.listdir(store.snapshots) == os.listdir(store.manifests) == []


def test_a_program_that_cannot_be_started_leaves_nothing(store, write, locked, monkeypatch):
    """It was there when the key was read, and is gone now."""
    monkeypatch.setenv("PATH", "/nowhere")
    before = os.listdir("/proc/self/fd")
    with pytest.raises(DiskError, match=f"{locked.key.tool} could not be started: No such file or directory"):
        write({"c": [make_records(3)]}, store=locked)
    assert len(os.listdir("/proc/self/fd")) == len(before)
    assert os.listdir(store.snapshots) == os.listdir(store.manifests) == os.listdir(tempfile.gettempdir()) == []


def test_a_container_that_is_given_up_twice_is_given_up_once(tmp_path, locked):
    container = new_container(str(tmp_path / "archive"), locked.key)
    container.close()
    container.close()
    with pytest.raises(ValueError, match="is closed"):
        container.add("format.json", b"{}")


def test_no_more_is_decrypted_than_the_manifest_says(store, locked, write, rewrite_manifest):
    """Or a small archive could fill the disk with temporary files."""
    manifest = write({"c": [make_records(3000, dimension=256)]}, store=locked)
    rewrite_manifest(manifest.snapshot_id, lambda values: values["encryption"].update(plain_bytes=1 << 20))
    with pytest.raises(IntegrityError, match=r"More comes out of .* than its manifest says"):
        open_container(str(archive_of(store, manifest)), load_manifest(store, manifest.snapshot_id), locked.key)


@pytest.mark.parametrize(("thing", "words"), [("directory", "Is a directory"), ("pipe", "not a regular file"), ("large", "larger than 65536 bytes")])
def test_what_is_no_file_of_a_key_is_not_read(tmp_path, thing, words):
    path = tmp_path / "key"
    {"directory": path.mkdir, "pipe": lambda: os.mkfifo(path), "large": lambda: path.write_bytes(b"x" * 65537)}[thing]()
    with pytest.raises(UsageError, match=f"key cannot be read: {words}"):
        read_key(str(path))
