# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Numbers in sentences for people."""

from __future__ import annotations


def number(count: int, one: str, many: str = "") -> str:
    """ "1 record", "9,832 records"."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
