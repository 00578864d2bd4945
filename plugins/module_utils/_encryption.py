# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Encryption by a key file, done by age or GnuPG: programs of the host, called with lists of words, never through a shell.

What the key file holds says which of them is meant: an age identity (AGE-SECRET-KEY-1...) is for age, a passphrase for GnuPG.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from typing import IO, cast

from ._errors import DiskError, IntegrityError, UsageError
from ._files import disk_errors, read_regular_file

AGE, GPG = "age", "gpg"
PACKAGES = {AGE: "age", GPG: "gnupg"}
MAX_KEY_FILE = 64 << 10
SHORTEST_PASSPHRASE = 16
SHOWN_CHARACTERS = 200


@dataclass(frozen=True)
class EncryptionKey:
    """A key file that can be used, and the program that it is for."""

    path: str
    tool: str


def read_key(path: str) -> EncryptionKey:
    """UsageError when the file is no key, others may read it, or its program is not installed."""
    try:
        status = os.stat(path)
        content = read_regular_file(os.path.realpath(path), MAX_KEY_FILE).strip()
    except OSError as error:
        raise UsageError(f"encryption_key_file: {path} cannot be read: {error.strerror}. It must be on the host that runs the module.") from None
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UsageError(f"encryption_key_file: others may read {path} (mode {stat.S_IMODE(status.st_mode):04o}). Take that right away with chmod go=.")
    if b"AGE-SECRET-KEY-1" in content:
        tool = AGE
    elif content.startswith((b"age1", b"# public key: age1", b"-----BEGIN PGP")):
        raise UsageError(
            f"encryption_key_file: {path} must hold an age identity (AGE-SECRET-KEY-1...), or a passphrase for GnuPG: what is written is read back."
        )
    elif b"\n" in content or len(content) < SHORTEST_PASSPHRASE:
        raise UsageError(
            f"encryption_key_file: {path} holds neither an age identity (age-keygen makes one) nor a passphrase of one line of at least "
            f"{SHORTEST_PASSPHRASE} characters for GnuPG."
        )
    else:
        tool = GPG
    if shutil.which(tool) is None:
        raise UsageError(f"encryption_key_file: {path} is for {tool}, which is not installed on this host. Install the package {PACKAGES[tool]}.")
    return EncryptionKey(path, tool)


class Encryptor:
    """What is written to `pipe` arrives encrypted in a file. `finish` or `abort` ends it. DiskError when the program cannot be started."""

    def __init__(self, key: EncryptionKey, output: int) -> None:
        self._key = key
        with disk_errors(tempfile.gettempdir(), "write a temporary file to"):
            self._errors = tempfile.TemporaryFile()  # noqa: SIM115 it lives as long as the program
            try:
                self._home = _home(key)
            except OSError:
                self._errors.close()
                raise
        command = [AGE, "--encrypt", "--identity", key.path] if key.tool == AGE else [*_gpg(key, self._home), "--symmetric"]
        try:
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, stderr=self._errors, env=_environment(), close_fds=True)
        except OSError as error:
            self._clear()
            raise DiskError(f"{key.tool} could not be started: {error.strerror}. Look whether the package {PACKAGES[key.tool]} is still installed.") from None
        self._stdin = cast(IO[bytes], self._process.stdin)  # a pipe was asked for
        self.pipe = self._stdin.fileno()

    def finish(self) -> None:
        """DiskError when the program failed; what it said is in the message."""
        self._stdin.close()
        code = self._process.wait()
        complaint = self.complaint()
        self._clear()
        if code != 0:
            raise DiskError(f"{self._key.tool} could not encrypt the archive: {complaint}.")

    def complaint(self) -> str:
        """What the program has complained about."""
        self._errors.seek(0)
        return _line(self._errors.read(4096))

    def abort(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        try:
            self._stdin.close()
        except OSError:
            pass  # what was left in the pipe is of no use
        self._clear()

    def _clear(self) -> None:
        self._errors.close()
        _remove(self._home)


def decrypt(key: EncryptionKey, path: str, limit: int) -> int:
    """A descriptor of the decrypted content, in a temporary file that has no name: it is gone with the process, however that ends.

    UsageError when the key does not fit, IntegrityError when more comes out than `limit` bytes.
    """
    home = _home(key)
    try:
        with disk_errors(tempfile.gettempdir(), "write a temporary file to"), tempfile.TemporaryFile() as plain, tempfile.TemporaryFile() as errors:
            with open(path, "rb") as file:
                command = [AGE, "--decrypt", "--identity", key.path] if key.tool == AGE else [*_gpg(key, home), "--decrypt"]
                process = subprocess.Popen(command, stdin=file, stdout=subprocess.PIPE, stderr=errors, env=_environment(), close_fds=True)
            output = cast(IO[bytes], process.stdout)  # a pipe was asked for
            try:
                length = 0
                while True:
                    piece = output.read(1 << 20)
                    if not piece:
                        break
                    length += len(piece)
                    if length > limit:
                        raise IntegrityError(f"More comes out of {path} than its manifest says.")
                    plain.write(piece)
                code = process.wait()
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()
                output.close()
            if code != 0:
                errors.seek(0)
                raise UsageError(f"encryption_key_file: {key.path} does not open {path}: {_line(errors.read(4096))}.")
            plain.flush()
            return os.dup(plain.fileno())
    finally:
        _remove(home)


def _gpg(key: EncryptionKey, home: str | None) -> list[str]:
    return [
        GPG, "--batch", "--quiet", "--no-tty", "--no-options", "--no-autostart", "--homedir", str(home), "--pinentry-mode", "loopback",
        "--passphrase-file", key.path, "--cipher-algo", "AES256", "--s2k-digest-algo", "SHA512", "--s2k-count", "65011712", "--compress-algo", "none",
    ]  # fmt: skip


def _home(key: EncryptionKey) -> str | None:
    """GnuPG wants a directory of its own; the user's is left alone."""
    return tempfile.mkdtemp(prefix="chromadb-gpg-") if key.tool == GPG else None


def _remove(home: str | None) -> None:
    if home is not None:
        shutil.rmtree(home, ignore_errors=True)


def _environment() -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C"}


def _line(text: bytes) -> str:
    return " ".join(text.decode("utf-8", "replace").split())[:SHOWN_CHARACTERS].rstrip(".") or "it said nothing"
