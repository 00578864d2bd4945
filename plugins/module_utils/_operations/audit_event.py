# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Write down something that was done by other means than a module: an approval, a freeze, a cutover."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._archive.store import open_store
from .._audit import AuditEntry, audit_path
from .._endpoint import Endpoint
from .outcome import Context, Outcome

RTO_MISSED = "rto_missed"


def audit_event(
    endpoint: Endpoint,
    *,
    directory: str,
    action: str,
    status: str,
    reason: str | None,
    snapshot_id: str | None,
    details: Mapping[str, Any] | None,
    context: Context,
) -> Outcome:
    """Append one entry about this database to the audit log; nothing is asked of the server."""
    store = open_store(directory, for_writing=True, create=not context.check_mode)
    told = {**(details or {}), "server": endpoint.identity}
    if not context.check_mode:
        entry = AuditEntry(audit_path(store.directory, create=True), action, snapshot_id=snapshot_id, reason=reason, details=told)
        entry.write(status)
    diff = {"before_header": action, "after_header": action, "before": "", "after": f"{action} {status}: {endpoint.identity}\n"}
    warnings = [reason] if action == RTO_MISSED and reason else []
    return Outcome(True, context.progress.seconds, {"action": action, "status": status}, [diff], warnings)
