# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""The report as JUnit XML: one test case a check, for CI systems."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .plain_text import for_html as text

_KINDS = {"failed": "failure", "not_run": "error", "not_applicable": "skipped"}


def render_junit(report: Mapping[str, Any]) -> str:
    """A warning is a passed case that says so; what was not run is an error."""
    cases = [_case(check) for check in report["checks"]]
    counts = {kind: sum(1 for check in report["checks"] if _KINDS.get(check["status"]) == kind) for kind in ("failure", "error", "skipped")}
    seconds = sum(step["seconds"] for step in report["timeline"])
    name = text(f"validation of {report['target']['database']}")
    figures = f'tests="{len(cases)}" failures="{counts["failure"]}" errors="{counts["error"]}" skipped="{counts["skipped"]}" time="{seconds:.3f}"'
    properties = "".join(
        f'      <property name="{key}" value="{text(value)}"/>\n'
        for key, value in (
            ("decision", report["decision"]),
            ("rollback_required", str(report["rollback_required"]).lower()),
            ("source", report["source"]["database"]),
            ("target", report["target"]["database"]),
            ("data_loss_percent", report["data_loss_percent"]),
            ("divergence_percent", report["divergence_percent"]),
            *_sample_properties(report),
        )
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<testsuites name="infrafabric.chromadb.validate" {figures}>\n'
        f'  <testsuite name="{name}" timestamp="{text(report["created"])}" {figures}>\n'
        f"    <properties>\n{properties}    </properties>\n"
        f"{''.join(cases)}"
        "  </testsuite>\n</testsuites>\n"
    )


def _sample_properties(report: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """What a green suite must not hide: that only a sample was compared, and what it leaves possible."""
    sample = next((check["details"]["sample"] for check in report["checks"] if check["details"].get("sample")), None)
    return [] if sample is None else [(f"sample_{key}", sample[key]) for key in ("compared", "of", "may_differ_percent")]


def _case(check: Mapping[str, Any]) -> str:
    summary = text(check["details"]["summary"], 1000)
    kind = _KINDS.get(check["status"])
    head = f'    <testcase classname="infrafabric.chromadb.validate" name="{text(check["name"])}"'
    if kind is None:
        return f"{head}>\n      <system-out>{text(check['status'])}: {summary}</system-out>\n    </testcase>\n"
    if kind == "skipped":
        return f'{head}>\n      <skipped message="{summary}"/>\n    </testcase>\n'
    lines = "\n".join(text(", ".join(f"{key} {value!r}" for key, value in case.items()), 1000) for case in check["details"].get("examples") or [])
    return f'{head}>\n      <{kind} message="{summary}" type="{text(check["status"])}">{lines}</{kind}>\n    </testcase>\n'
