# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Apply the retention to a store of snapshots without Ansible: what the timer of the role snapshot runs.

It is packed with the collection's own code into one file, so that the rule is that of the module snapshot_prune.
"""

from __future__ import annotations

import argparse
import json
import os
import sys

from module_utils._archive.retention import LOG_NOT_BELIEVED
from module_utils._errors import OperationError
from module_utils._operations.outcome import Context
from module_utils._operations.snapshot_prune import snapshot_prune


def main() -> int:
    """0 when the store is as it should be; otherwise 1, with the reason on standard error. So systemd says that the unit failed, and a monitor sees it."""
    parser = argparse.ArgumentParser(prog="chromadb-snapshot-prune", description="Delete the snapshots of a store that are not needed any more.")
    parser.add_argument("--directory", required=True, help="the store")
    parser.add_argument("--keep-min", type=int, default=1, help="how many verified snapshots are kept at least")
    parser.add_argument("--keep-max", type=int, help="how many are kept at most")
    parser.add_argument("--pin", action="append", default=[], metavar="ID", help="a snapshot that is kept in any case")
    parser.add_argument("--run-file", help="what the runbook remembers; the snapshot that its last run goes back to is kept")
    chosen = parser.parse_args()
    try:
        outcome = snapshot_prune(
            directory=chosen.directory,
            retention_days=None,
            keep_min=chosen.keep_min,
            keep_max=chosen.keep_max,
            pin=[*chosen.pin, *way_back(chosen.run_file)],
            context=Context(),
        )
    except (OperationError, OSError, ValueError) as error:
        print(f"The store was not cleared: {error}", file=sys.stderr)
        return 1
    for warning in outcome.warnings:
        print(warning, file=sys.stderr)
    for snapshot_id in outcome.returns["deleted"]:
        print(f"{snapshot_id}: deleted")
    for kept in outcome.returns["kept"]:
        print(f"{kept['snapshot_id']}: kept, {kept['reason']}")
    return 1 if any(kept["reason"] == LOG_NOT_BELIEVED for kept in outcome.returns["kept"]) else 0


def way_back(run_file: str | None) -> list[str]:
    """The snapshot that the last run of the runbook goes back to. ValueError when the file does not say: then nothing may go."""
    if run_file is None or not os.path.lexists(run_file):
        return []
    with open(run_file, encoding="utf-8") as file:
        run = json.load(file)
    if not isinstance(run, dict):
        raise ValueError(f"{run_file} does not hold what the runbook writes")
    return [str(run["snapshot_id"])] if run.get("snapshot_id") else []


if __name__ == "__main__":
    sys.exit(main())
