# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""The option of a snapshot store."""

from __future__ import annotations


class ModuleDocFragment:

    DOCUMENTATION = r"""
options:
  directory:
    description:
      - The store of the snapshots, a directory on the host that runs the module. It holds C(snapshots/), C(manifests/) and C(logs/).
        An absolute path.
      - If it is not given, the environment variable E(SNAPSHOT_DIR) of that host is used.
    type: path
    default: /var/lib/chromadb/snapshots
"""
