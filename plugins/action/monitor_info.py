# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.infrafabric.chromadb.plugins.plugin_utils._watched_module import WatchedModule


class ActionModule(WatchedModule):
    """Shows on the console how far the module monitor_info is."""
