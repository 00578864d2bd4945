# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""The one exception family of the engine. Each class is one `failure_class` of the public interface.

A message names the thing that is wrong and says what to do next. `details` is returned beside it.
"""

from __future__ import annotations

from typing import Any, ClassVar


class OperationError(Exception):
    """Base of every expected failure; raised deep, caught once, in a module's main()."""

    failure_class: ClassVar[str] = "partial"

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = details


class UsageError(OperationError):
    """An option, or a combination of options, that cannot work."""

    failure_class = "usage"


class AuthError(OperationError):
    """The server refused the credentials, or wants some."""

    failure_class = "auth"


class TlsError(OperationError):
    """The TLS connection could not be trusted or made."""

    failure_class = "tls"


class UnreachableError(OperationError):
    """Nothing answered, or the connection broke and did not come back."""

    failure_class = "unreachable"


class TimeoutExceededError(OperationError):
    """A request, or the whole operation (its deadline), took longer than allowed."""

    failure_class = "timeout"


class VersionError(OperationError):
    """Something answered that is no supported Chroma, or it lacks what is needed."""

    failure_class = "version"


class DiskError(OperationError):
    """A directory or file is missing, not writable, or full."""

    failure_class = "disk"


class IntegrityError(OperationError):
    """Stored or received data is damaged, incomplete, or not what was written."""

    failure_class = "integrity"


class DriftError(OperationError):
    """The data moved while it was read, or is not what the operation was told to expect."""

    failure_class = "drift"


class LockedError(OperationError):
    """Another operation holds the lock, or the server is held read-only."""

    failure_class = "lock"


class PartialError(OperationError):
    """The operation stopped half-way; the same task again continues it."""

    failure_class = "partial"


class UnsafeArchiveError(OperationError):
    """An archive that was made to do harm; nothing of it was used."""

    failure_class = "unsafe_archive"


class InvalidDataError(OperationError):
    """Records that the target or the schema does not accept; they are named."""

    failure_class = "invalid_data"


FAILURE_CLASSES = (
    "auth", "tls", "unreachable", "timeout", "version", "disk", "integrity", "drift",
    "lock", "partial", "unsafe_archive", "invalid_data", "usage",
)
