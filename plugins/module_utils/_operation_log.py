# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""One plain log an operation, for people: `logs/<operation>.log` of a snapshot directory, rotated."""

from __future__ import annotations

import json
import os
import re
from datetime import datetime, timezone
from typing import Any

from ._files import PRIVATE_FILE, disk_errors, make_private_directory

LOGS = "logs"
MAX_BYTES = 5_000_000
KEPT = 3
UNFIT_FOR_FILES = re.compile(r"[^A-Za-z0-9_-]")


def logs_directory(directory: str) -> str:
    """The folder for logs of a snapshot directory, created where it is missing."""
    folder = os.path.join(os.path.realpath(directory), LOGS)
    make_private_directory(folder)
    return folder


class OperationLog:
    """Appends lines of `time process message key=value …`; whatever comes from a server is JSON, so one event stays one line."""

    def __init__(self, directory: str, operation: str) -> None:
        self.path = os.path.join(logs_directory(directory), f"{UNFIT_FOR_FILES.sub('_', operation)}.log")

    def write(self, message: str, **fields: Any) -> None:
        """DiskError when it cannot be written."""
        moment = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        text = " ".join([moment, f"[{os.getpid()}]", json.dumps(message)[1:-1], *(f"{key}={json.dumps(value, default=str)}" for key, value in fields.items())])
        with disk_errors(self.path, "write the log"):
            self._rotate()
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, PRIVATE_FILE)
            try:
                os.write(descriptor, text.encode("utf-8") + b"\n")
            finally:
                os.close(descriptor)

    def _rotate(self) -> None:
        try:
            if os.lstat(self.path).st_size < MAX_BYTES:
                return
        except FileNotFoundError:
            return
        for number in range(KEPT - 1, 0, -1):
            if os.path.lexists(f"{self.path}.{number}"):
                os.replace(f"{self.path}.{number}", f"{self.path}.{number + 1}")
        os.replace(self.path, f"{self.path}.1")
