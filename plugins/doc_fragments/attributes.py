# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""What every module says about itself: check mode, diff mode, idempotence, the action group."""

from __future__ import annotations


class ModuleDocFragment:

    DOCUMENTATION = r"""
options: {}
requirements:
  - Python 3.9 or later
  - numpy, requests and fastjsonschema in the Python that runs the module; with orjson, vectors are read faster
attributes:
  check_mode:
    description: Can run in C(check_mode) and return the changed status prediction without modifying anything.
    support: full
  idempotent:
    description:
      - When run twice in a row outside check mode, with the same arguments, the second invocation indicates no change.
      - This assumes that the data did not change in between.
    support: full
"""

    ACTIONGROUP = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/infrafabric.chromadb.chromadb) in C(module_defaults) to set defaults for this module.
    support: full
    membership:
      - infrafabric.chromadb.chromadb
"""

    CHANGES = r"""
options: {}
attributes:
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in C(check_mode)), when in diff mode.
    support: full
"""

    READS = r"""
options: {}
attributes:
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in C(check_mode)), when in diff mode.
    support: N/A
    details: This module changes neither a database nor a store.
"""
