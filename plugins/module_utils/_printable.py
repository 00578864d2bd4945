# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Text of others, which a terminal may show."""

from __future__ import annotations

import re

# Both sets of control characters, but for the line break and the tab: a terminal obeys them.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def printable(text: str) -> str:
    """The text with its control characters written out, such as \\x1b."""
    return _CONTROLS.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
