# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which lines of a log count as an error when nobody says."""

from __future__ import annotations

import re

import pytest
import yaml

from ansible_collections.infrafabric.chromadb.plugins.modules import monitor_info


@pytest.mark.parametrize("line", [
    "2026-01-02 03:04:05,678 ERROR chromadb: no space left",
    "2026/01/02 03:04:05 [emerg] 17#17: bind() failed",
    "2026/01/02 03:04:05 [error] 17#17: *1 upstream timed out",
    '192.0.2.1 - - [02/Jan/2026:03:04:05 +0000] "POST /api/v2/x/query HTTP/1.1" 502 150 "-"',
    'time=2026-01-02T03:04:05Z level=error msg="no space left"',
    "error: the database is locked",
    "Traceback (most recent call last):",
    "thread 'main' panicked at src/lib.rs:1",
])
def test_an_error(line: str) -> None:
    assert re.search(monitor_info.LOG_PATTERN, line)


@pytest.mark.parametrize("line", [
    "2026-01-02 03:04:05,678 INFO 0 errors so far",
    "2026/01/02 03:04:05 [notice] 17#17: signal process started",
    '192.0.2.1 - - [02/Jan/2026:03:04:05 +0000] "POST /api/v2/x/query HTTP/1.1" 200 5021 "-"',
    "level=info msg=\"no error\"",
])
def test_no_error(line: str) -> None:
    assert not re.search(monitor_info.LOG_PATTERN, line)


def test_the_documented_default_is_the_one_that_is_used() -> None:
    assert yaml.safe_load(monitor_info.DOCUMENTATION)["options"]["log_pattern"]["default"] == monitor_info.LOG_PATTERN
