# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Archives that are encrypted as a whole: written through the program that encrypts, read from a file without a name.

Inside is the same archive as ever. Its plain bytes are never under a name on any disk.
"""

from __future__ import annotations

import hashlib
import os

from .._encryption import EncryptionKey, Encryptor, decrypt
from .._errors import DiskError, IntegrityError, UsageError
from .._files import disk_errors
from .container import READ_AT_ONCE, ContainerReader, ContainerWriter
from .manifest import Manifest


class EncryptedContainerWriter(ContainerWriter):
    """Writes the entries of an archive as its base does; what arrives in the file is encrypted."""

    def __init__(self, path: str, key: EncryptionKey) -> None:
        self._key = key
        self._encryptor: Encryptor | None = None
        super().__init__(path)

    def _opened(self) -> int:
        self._file = super()._opened()
        try:
            self._encryptor = Encryptor(self._key, self._file)
        except BaseException:
            # Nobody has this writer yet who could close it.
            os.close(self._file)
            os.unlink(self.path)
            raise
        return self._encryptor.pipe

    def _write(self, data: bytes) -> None:
        try:
            super()._write(data)
        except DiskError:
            # The pipe breaks when the program has ended; it knows why.
            complaint = "" if self._encryptor is None else self._encryptor.complaint()
            raise DiskError(f"{self._key.tool} could not encrypt {self.path}: {complaint}.", path=self.path) from None

    def _settle(self, descriptor: int) -> None:
        if self._encryptor is not None:
            encryptor, self._encryptor = self._encryptor, None
            encryptor.finish()
        os.fsync(self._file)
        self.encryption = {"tool": self._key.tool, "plain_bytes": self.bytes, "plain_sha256": self._sha256.hexdigest()}
        self.file_bytes, self.file_sha256 = _measured(self._file)

    def close(self) -> None:
        if self._descriptor is not None:
            self._descriptor = None
            if self._encryptor is not None:
                self._encryptor.abort()
                self._encryptor = None
            with disk_errors(self.path, "close"):
                os.close(self._file)


def new_container(path: str, key: EncryptionKey | None) -> ContainerWriter:
    return ContainerWriter(path) if key is None else EncryptedContainerWriter(path, key)


def open_container(path: str, manifest: Manifest, key: EncryptionKey | None) -> ContainerReader:
    """The entries of an archive. UsageError when it is encrypted and the key is missing or another one."""
    encryption = manifest.values.get("encryption")
    if encryption is None:
        return ContainerReader(path, manifest.values["archive_bytes"])
    present = present_key(manifest, key)
    if not stored_sha256_is_right(path, manifest):
        raise IntegrityError(wrong_sha256(path))
    return ContainerReader(path, encryption["plain_bytes"], decrypt(present, path, encryption["plain_bytes"]))


def present_key(manifest: Manifest, key: EncryptionKey | None) -> EncryptionKey:
    """The key for an encrypted snapshot; UsageError when there is none."""
    if key is None:
        raise UsageError(f"The snapshot {manifest.snapshot_id} is encrypted by {manifest.values['encryption']['tool']}: give encryption_key_file.")
    return key


def wrong_sha256(path: str) -> str:
    """The sentence about an archive that is not the one which was written."""
    return f"The archive {path} does not have the SHA-256 that its manifest says."


def stored_sha256_is_right(path: str, manifest: Manifest) -> bool:
    """Whether the file, as it lies there, has the length (otherwise IntegrityError) and the SHA-256 that the manifest says."""
    stored = ContainerReader(path, manifest.values["archive_bytes"])
    try:
        return stored.has_sha256(manifest.values["checksum_sha256"])
    finally:
        stored.close()


def _measured(descriptor: int) -> tuple[int, str]:
    total, offset = hashlib.sha256(), 0
    while True:
        piece = os.pread(descriptor, READ_AT_ONCE, offset)
        if not piece:
            return offset, total.hexdigest()
        total.update(piece)
        offset += len(piece)
