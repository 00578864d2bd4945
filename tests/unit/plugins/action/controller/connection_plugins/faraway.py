# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.connection.local import Connection as LocalConnection

DOCUMENTATION = r"""
name: faraway
short_description: This machine, looking like another host whose network can be cut
description: As long as the file that the environment variable E(FARAWAY_CUT) names is there, no command gets through.
author: InfraFabric (@infrafabric)
extends_documentation_fragment:
  - connection_pipelining
options: {}
"""


class Connection(LocalConnection):
    transport = "faraway"

    def exec_command(self, cmd: str, in_data: Any = None, sudoable: bool = True) -> Any:
        if os.path.exists(os.environ.get("FARAWAY_CUT", "")):
            raise AnsibleConnectionFailure("the network is cut")
        return super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
