# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""The libraries from outside that the engine uses, imported in one place.

A host without them gets one message that names them all (`missing_library` in `_module`),
instead of a traceback from whichever file was imported first.
"""

from __future__ import annotations

import traceback

MISSING: str | None = None
MISSING_TRACEBACK: str | None = None

try:
    import numpy as np
except ImportError as error:
    np = None  # type: ignore[assignment]
    MISSING, MISSING_TRACEBACK = error.name, traceback.format_exc()

try:
    import requests
    from urllib3.util.ssl_ import create_urllib3_context  # what requests itself stands on
except ImportError as error:
    requests = None  # type: ignore[assignment]
    create_urllib3_context = None  # type: ignore[assignment]
    MISSING, MISSING_TRACEBACK = error.name, traceback.format_exc()

try:
    import fastjsonschema
except ImportError as error:
    fastjsonschema = None  # type: ignore[assignment]
    MISSING, MISSING_TRACEBACK = error.name, traceback.format_exc()

# Not needed, only faster: vectors are read in half the time.
try:
    import orjson
except ImportError:
    orjson = None  # type: ignore[assignment]

__all__ = ["MISSING", "MISSING_TRACEBACK", "create_urllib3_context", "fastjsonschema", "np", "orjson", "requests"]
