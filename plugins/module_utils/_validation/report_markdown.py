# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""The report as Markdown, for tickets and pull requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .plain_text import code_for_markdown as code
from .plain_text import for_markdown as text

WORDS = {"go": "GO", "marginal": "MARGINAL", "no_go": "NO-GO"}
MARKS = {"passed": "passed", "warning": "**warning**", "failed": "**FAILED**", "not_run": "**NOT RUN**", "not_applicable": "not applicable"}


def render_markdown(report: Mapping[str, Any]) -> str:
    """The whole report; whatever comes from the data is escaped."""
    totals = report["totals"]
    lines = [
        f"# Validation: {WORDS[report['decision']]}",
        "",
        *(["**Roll the target back.**", ""] if report["rollback_required"] else []),
        *[f"- {text(reason, 1000)}" for reason in report["reasons"]],
        "",
        f"{code(report['source']['database'])} to {code(report['target']['database'])}, {report['created']}",
        "",
        *_table(
            ("", "records"),
            [
                ("expected in the target", f"{totals['expected']:,}"),
                ("as they should be", f"{totals['unchanged']:,}"),
                ("changed", f"{totals['changed']:,}"),
                ("lost", f"{totals['lost']:,}"),
                ("only in the target", f"{totals['extra']:,}"),
                ("somebody else's", f"{totals['foreign']:,}"),
                ("invalid in the source", f"{totals['invalid']:,}"),
            ],
        ),
        f"Data loss {report['data_loss_percent']:.2f} %, divergence of searches {_percent(report['divergence_percent'])}.",
        "",
    ]
    if report["sample"] is not None:
        lines += [sample_sentence(report["sample"]), ""]
    lines += ["## Checks", ""]
    lines += _table(
        ("check", "verdict", "figure", "allowed", ""),
        [
            (
                check["name"],
                MARKS[check["status"]],
                figure(check["figure"], check["details"]["unit"]),
                figure(check["threshold"], check["details"]["unit"]),
                text(check["details"]["summary"], 1000),
            )
            for check in report["checks"]
        ],
    )
    lines += ["## Collections", ""]
    lines += _table(
        ("source collection", "records", "valid", "invalid", "found in the target"),
        [
            (code(row["name"]), row["count"], row["valid"], row["invalid"], "" if row["found_in_target"] is None else row["found_in_target"])
            for row in report["source_collections"]
        ],
    )
    lines += _table(
        ("target collection", "records", "expected", "equal", "changed", "lost", "extra", "foreign"),
        [
            (
                code(row["name"]),
                "absent" if row["count"] is None else row["count"],
                *(row[key] for key in ("expected", "unchanged", "changed", "lost", "extra", "foreign")),
            )
            for row in report["target_collections"]
        ],
    )
    lines += _examples(report)
    lines += ["## What to do next", ""]
    for entry in report["troubleshooting"]:
        lines += [f"**{text(entry['title'])}.** {text(entry['cause'])}", "", *[f"1. {text(step)}" for step in entry["steps"]], ""]
    return "\n".join(lines).rstrip() + "\n"


def figure(value: Any, unit: str) -> str:
    """A figure with its unit, as people write it; empty for none."""
    if value is None:
        return ""
    shown = f"{value:,.0f}" if value == int(value) else f"{value:,.2f}"
    return f"{shown} {unit[:-1] if shown == '1' and unit.endswith('s') and unit != 'ms' else unit}"


def sample_sentence(sample: Mapping[str, Any]) -> str:
    """What a sample proves and what it does not."""
    return (
        f"Only a sample was looked at: {sample['compared']:,} of {sample['of']:,} records (seed {sample['seed']}), of which {sample['differing']:,} differ. "
        f"With {sample['confidence_percent']} % confidence, at most {sample['may_differ_percent']:.3g} % of all records differ."
    )


def _percent(value: Any) -> str:
    return "not measured" if value is None else f"{value:.2f} %"


def _examples(report: Mapping[str, Any]) -> list[str]:
    lines: list[str] = []
    for check in report["checks"]:
        cases = check["details"].get("examples") or []
        if cases and check["status"] in ("failed", "warning"):
            lines += [f"### Examples: {check['name']}", ""]
            lines += [f"- {', '.join(f'{text(key)} {code(value)}' for key, value in case.items() if value is not None and value != '')}" for case in cases]
            lines.append("")
    if report["invalid"]:
        lines += ["### Invalid records of the source", ""]
        lines += [f"- {code(case['collection'])} {code(case['id'])}: {text('; '.join(case['reasons']), 1000)}" for case in report["invalid"]]
        lines.append("")
    return lines


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    if not rows:
        return []
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    lines += [f"| {' | '.join(f'{cell:,}' if isinstance(cell, int) else str(cell) for cell in row)} |" for row in rows]
    return [*lines, ""]
