# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""The option through which a running module tells how far it is."""

from __future__ import annotations


class ModuleDocFragment:

    DOCUMENTATION = r"""
options:
  progress_file:
    description:
      - A file that the module replaces while it works with one line of JSON, C(operation), C(phase), C(done), C(total) and C(seconds).
      - The action plugin of this module sets it, to show the progress on the console. A task that sets it is run without that display.
    type: path
notes:
  - While the module works, its action plugin shows lines with a bar, the rate and the remaining time on the console of the control node.
    It shows none in check mode, in a task with C(async), with C(no_log), and when the environment of the control node has E(CHROMADB_SHOW_PROGRESS=false).
  - To show them on a remote host, the module runs there as a job of its own. It goes on when the connection is lost for a while,
    and also when the playbook is interrupted. The next run then waits for nothing, it is told that another operation holds the lock until that job has ended.
"""
