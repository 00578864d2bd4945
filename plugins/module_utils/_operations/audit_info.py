# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""What the audit log of a snapshot directory says, and whether it can be believed."""

from __future__ import annotations

import re
import time

from .._archive.store import open_store
from .._audit import read_audit
from .._errors import UsageError
from .outcome import Context, Outcome


def audit_info(*, directory: str, limit: int | None, known_sha256: str | None, context: Context) -> Outcome:
    """The newest `limit` entries (all without it), newest last. A broken chain is not an error here: it is the answer, and a warning.

    DiskError when the directory is missing.
    """
    begun = time.monotonic()
    if limit is not None and limit < 0:
        raise UsageError(f"limit must not be negative, but is {limit}.")
    if known_sha256 is not None and re.fullmatch(r"[0-9a-f]{64}", known_sha256, re.ASCII) is None:
        raise UsageError(f"known_sha256 is the last_sha256 of an earlier run, 64 hexadecimal digits, not {known_sha256!r}.")
    trail = read_audit(open_store(directory).directory, limit, known_sha256)
    return Outcome(
        changed=False,
        seconds=time.monotonic() - begun,
        returns={"entries": trail.entries, "chain_intact": trail.chain_intact, "problems": trail.problems, "last_sha256": trail.last_sha256},
        warnings=trail.problems,
    )
