# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from tests.support.fixtures import (
    _shared_source_proxy,
    _shared_target_proxy,
    case,
    source,
    source_proxy,
    source_server,
    spare_server,
    target,
    target_proxy,
    target_server,
)

__all__ = [
    "_shared_source_proxy",
    "_shared_target_proxy",
    "case",
    "source",
    "source_proxy",
    "source_server",
    "spare_server",
    "target",
    "target_proxy",
    "target_server",
]
