# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""What the audit log of a snapshot directory says, and whether it can be believed."""

from __future__ import annotations

import time

from .._archive.store import open_store
from .._audit import read_audit
from .._errors import UsageError
from .outcome import Context, Outcome


def audit_info(*, directory: str, limit: int | None, context: Context) -> Outcome:
    """The newest `limit` entries (all without it), newest last. A broken chain is not an error here: it is the answer, and a warning.

    DiskError when the directory is missing.
    """
    begun = time.monotonic()
    if limit is not None and limit < 0:
        raise UsageError(f"limit must not be negative, but is {limit}.")
    trail = read_audit(open_store(directory).directory, limit)
    return Outcome(
        changed=False,
        seconds=time.monotonic() - begun,
        returns={"entries": trail.entries, "chain_intact": trail.chain_intact, "problems": trail.problems},
        warnings=trail.problems,
    )
