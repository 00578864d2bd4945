# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""The report as one HTML page for people: it needs no network, no script, and no other file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from .check import mean
from .plain_text import for_html as text
from .report_charts import error_classes, histogram, latency_classes, query_columns, source_rows, target_rows, timeline
from .report_markdown import WORDS, figure, sample_sentence
from .report_style import STYLE
from .troubleshooting import ESCALATION

VERDICTS = {"passed": "passed", "warning": "warning", "failed": "failed", "not_run": "not run", "not_applicable": "not applicable"}
NAMES = {
    "counts": "Counts",
    "embeddings": "Embeddings",
    "metadata_completeness": "Metadata completeness",
    "semantic_equivalence": "Semantic equivalence",
    "distribution": "Distribution",
    "duplicates": "Duplicates",
    "field_types": "Field types",
    "citations": "Citations",
    "records": "Records",
    "specs": "Collection settings",
    "latency": "Latency",
}
LONG = 1000
# Of these the figure must not be smaller than the threshold.
AT_LEAST = ("metadata_completeness",)
SHOWN_CASES = 4
# What of an example is somebody's data, or a name that is typed.
CODE = ("id", "value", "collection", "query", "field", "expected", "actual")


def render_html(report: Mapping[str, Any]) -> str:
    """The whole page. Everything that comes from the data is escaped, and nothing may be loaded or run (Content-Security-Policy)."""
    word = WORDS[report["decision"]]
    parts = [_verdict(report, word), _figures(report)]
    if report["decision"] == "go":
        parts += [_collections(report), _checks(report), _searches(report), _distributions(report), _next(report)]
    else:
        parts += [_next(report), _collections(report), _checks(report), _searches(report), _distributions(report)]
    parts += [_invalid(report), _timeline(report), _small_print(report)]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<meta name="color-scheme" content="light dark">\n'
        f"<title>{word}: validation of {text(report['target']['database'])}</title>\n<style>\n{STYLE}</style>\n</head>\n"
        f'<body class="{text(report["decision"])}">\n<main>\n{"".join(parts)}</main>\n</body>\n</html>\n'
    )


def _verdict(report: Mapping[str, Any], word: str) -> str:
    totals = report["totals"]
    if report["decision"] == "go":
        words = f"All {totals['expected']:,} records are in the target as they should be, and every check passed."
        if report["sample"] is not None:
            words = "The sample of records is in the target as it should be, and every check passed."
        reasons = f"<p>{words}</p>"
    else:
        items = "".join(f"<li>{_reason(reason)}</li>" for reason in report["reasons"])
        reasons = f'<ul class="reasons">{items}</ul>'
    rollback = '<p class="order">Roll the target back.</p>' if report["rollback_required"] else ""
    sample = f'<p class="note">{text(sample_sentence(report["sample"]), LONG)}</p>' if report["sample"] is not None else ""
    warnings = "".join(f'<p class="note">{text(warning, LONG)}</p>' for warning in report["warnings"])
    return (
        f'<header class="verdict"><p class="kind">Validation of a migration</p><h1>{word}</h1>{rollback}{reasons}{sample}{warnings}'
        f'<p class="where"><span>{text(report["source"]["database"])}</span> <span aria-label="to">&rarr;</span> '
        f"<span>{text(report['target']['database'])}</span><br>{text(report['created'])}</p></header>\n"
    )


def _reason(reason: str) -> str:
    """The name of the check stands out from what it says."""
    name, colon, words = reason.partition(": ")
    if not colon or len(name) > 40:
        return text(reason, LONG)
    return f"<strong>{text(NAMES.get(name, name[:1].upper() + name[1:]))}:</strong> {text(words, LONG)}"


def _figures(report: Mapping[str, Any]) -> str:
    totals = report["totals"]
    speed = next((check for check in report["checks"] if check["name"] == "latency"), None)
    latency = None if speed is None else speed["figure"]
    rate = None if speed is None else speed["details"].get("queries_per_second")
    divergence = report["divergence_percent"]
    cards = [
        ("expected", f"{totals['expected']:,}", ""),
        ("equal", f"{totals['unchanged']:,}", ""),
        ("changed", f"{totals['changed']:,}", "bad" if totals["changed"] else ""),
        ("lost", f"{totals['lost'] + totals['missing']:,}", "bad" if totals["lost"] + totals["missing"] else ""),
        ("extra", f"{totals['extra']:,}", "bad" if totals["extra"] else ""),
        ("invalid in the source", f"{totals['invalid']:,}", "warn" if totals["invalid"] else ""),
        ("data loss", f"{report['data_loss_percent']:.2f} %", "bad" if report["data_loss_percent"] else ""),
        ("search divergence", "none made" if divergence is None else f"{divergence:.1f} %", ""),
        ("searches a second", "none made" if rate is None else f"{rate:,.0f}", ""),
        ("latency, 95 %", "none made" if latency is None else f"{latency:.0f} ms" if latency >= 10 else f"{latency:.1f} ms", ""),
    ]
    items = "".join(f'<div class="card {kind}"><dt>{label}</dt><dd>{value}</dd></div>' for label, value, kind in cards)
    return f'<dl class="cards">{items}</dl>\n'


def _checks(report: Mapping[str, Any]) -> str:
    rows = "".join(_check(check) for check in report["checks"])
    return f'<section><h2>Checks</h2><div class="checks">{rows}</div></section>\n'


def _check(check: Mapping[str, Any]) -> str:
    details, status = check["details"], check["status"]
    measured = figure(check["figure"], details["unit"])
    allowed = figure(check["threshold"], details["unit"].split(" ")[0] if details["unit"].startswith("%") else details["unit"])
    word = "at least" if check["name"] in AT_LEAST else "allowed"
    figures = f"{text(measured)}" + (f" <small>{word} {text(allowed)}</small>" if allowed else "") if measured else ""
    cases = _varied(details.get("examples") or [])
    examples = ""
    if cases and status in ("failed", "warning"):
        examples = _cases(cases[:SHOWN_CASES])
        if len(cases) > SHOWN_CASES:
            examples += f"<details><summary>{len(cases) - SHOWN_CASES} more examples</summary>{_cases(cases[SHOWN_CASES:])}</details>"
    return (
        f'<article class="check {status}"><h3>{NAMES.get(check["name"], text(check["name"]))}</h3><span class="pill">{VERDICTS[status]}</span>'
        f'<span class="measured">{figures}</span><p>{text(details["summary"], LONG)}</p>{examples}</article>'
    )


def _varied(cases: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """One of each kind first: the few that are seen at once are to show everything that was found."""
    seen: Counter[str] = Counter()
    ranked = []
    for case in cases:
        kind = str(case.get("difference") or case.get("problem") or case.get("field"))
        seen[kind] += 1
        ranked.append((seen[kind], case))
    return [case for _rank, case in sorted(ranked, key=lambda entry: entry[0])]


def _cases(cases: Sequence[Mapping[str, Any]]) -> str:
    """A table with a column for everything that one of the cases tells; on a narrow screen each cell is a line with its name."""
    columns = [key for key in dict.fromkeys(key for case in cases for key in case) if any(case.get(key) not in (None, "") for case in cases)]
    head = "".join(f"<th>{text(key.replace('_', ' '))}</th>" for key in columns)
    rows = "".join("<tr>" + "".join(_cell(key, case.get(key)) for key in columns) + "</tr>" for case in cases)
    return f'<div class="wide"><table class="cases"><tr>{head}</tr>{rows}</table></div>'


def _cell(key: str, value: Any) -> str:
    if value is None or value == "":
        return "<td></td>"
    shown = text(_value(value))
    return f"<td><small>{text(key.replace('_', ' '))}</small>{f'<code>{shown}</code>' if key in CODE else shown}</td>"


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}" if value != int(value) else f"{value:.1f}"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)


def _collections(report: Mapping[str, Any]) -> str:
    if not report["source_collections"] and not report["target_collections"]:
        return ""
    legend = _legend((("ok", "valid, equal"), ("info", "found in the target"), ("warn", "invalid, extra"), ("bad", "changed"), ("lost", "lost")))
    return (
        f'<section><h2>Collections</h2>{legend}<h3>Source</h3><div class="rows">{source_rows(report["source_collections"])}</div>'
        f'<h3>Target</h3><div class="rows">{target_rows(report["target_collections"])}</div></section>\n'
    )


def _legend(entries: Sequence[tuple[str, str]]) -> str:
    return f'<p class="legend">{"".join(f"<span><i class={kind!r}></i>{words}</span>" for kind, words in entries)}</p>'


def _searches(report: Mapping[str, Any]) -> str:
    queries = report["queries"]
    if not queries:
        return ""
    limits = report["thresholds"]
    check = next(check for check in report["checks"] if check["name"] == "semantic_equivalence")
    queries = sorted(queries, key=lambda query: str(query["collection"]))
    columns = query_columns(queries, limits["warn_divergence_percent"], limits["max_query_divergence_percent"])
    recall = check["details"]["recall_at_10"]
    exact = (
        "the true nearest records, found by looking at every record"
        if check["details"]["exact"]
        else "what the source answers and the target holds, because only a sample was read"
    )
    head = "<tr><th>collection</th><th>searches</th><th>divergence</th><th>worst</th><th>recall, source</th><th>recall, target</th></tr>"
    return (
        f"<section><h2>Searches</h2><p>{len(queries)} searches on both sides. A column is the divergence of one search (0 to 100 %) in {exact}. "
        f"The lines are at {limits['warn_divergence_percent']:g} % and {limits['max_query_divergence_percent']:g} %.</p>{columns}"
        f'<div class="wide"><table>{head}{"".join(_search_rows(queries, check["details"]["collections"]))}'
        f'<tr class="sum"><th>all</th><td>{len(queries)}</td><td>{_number(check["figure"], " %")}</td>'
        f"<td>{_number(check['details']['worst_query_percent'], ' %')}</td>"
        f"<td>{_share(recall['source'])}</td><td>{_share(recall['target'])}</td></tr></table></div>"
        '<p class="note">Recall: how many of the ten records that are truly nearest the server&rsquo;s index answers. '
        "It tells the approximation of an index from damage of the data.</p>"
        "</section>\n"
    )


def _search_rows(queries: Sequence[Mapping[str, Any]], averages: Mapping[str, float]) -> list[str]:
    rows = []
    for name, average in averages.items():
        own = [query for query in queries if query["collection"] == name]
        values = [query["true_divergence_percent"] if query["true_divergence_percent"] is not None else query["index_divergence_percent"] for query in own]
        worst = max((100.0 if value is None else value for value in values), default=0.0)
        recalls = [mean([query[key] for query in own]) for key in ("recall_source", "recall_target")]
        cells = f"<td>{len(own)}</td><td>{_number(average, ' %')}</td><td>{_number(worst, ' %')}</td><td>{_share(recalls[0])}</td><td>{_share(recalls[1])}</td>"
        rows.append(f"<tr><th>{text(name)}</th>{cells}</tr>")
    return rows


def _share(value: Any) -> str:
    return "unknown" if value is None else f"{100 * value:.1f} %"


def _number(value: Any, unit: str) -> str:
    return "none" if value is None else f"{value:.1f}{unit}"


def _distributions(report: Mapping[str, Any]) -> str:
    errors = error_classes(report["vector_errors"])
    latencies = latency_classes(report["latency_ms"], report["thresholds"]["max_latency_ms"])
    parts = []
    if errors:
        rules = ", ".join(sorted(set(report["comparison_rules"].values())))
        parts.append(
            f"<section><h2>Vector error</h2><p>The greatest difference of a number, in relation to the length of its vector. "
            f"Rule of equality: {text(rules, LONG)}.</p>"
            f'<div class="rows">{histogram(errors, "vectors")}</div></section>'
        )
    if latencies:
        details = next(check["details"] for check in report["checks"] if check["name"] == "latency")
        parts.append(
            f"<section><h2>Search latency</h2><p>{details['searches']} searches of the target, one after the other: median {details['p50_ms']:.1f} ms, "
            f"95th percentile {details['p95_ms']:.1f} ms, 99th percentile {details['p99_ms']:.1f} ms; {details['queries_per_second']:,.0f} a second.</p>"
            f'<div class="rows">{histogram(latencies, "searches")}</div></section>'
        )
    return f'<div class="pair">{"".join(parts)}</div>\n' if parts else ""


def _next(report: Mapping[str, Any]) -> str:
    entries = "".join(
        f"<li><h3>{text(entry['title'])}</h3><p>{text(entry['cause'], LONG)}</p>"
        f"<ol>{''.join(f'<li>{text(step, LONG)}</li>' for step in entry['steps'])}</ol></li>"
        for entry in report["troubleshooting"]
    )
    escalation = ""
    if report["decision"] != "go":
        levels = "".join(f"<dt>{text(level)}</dt><dd>{text(what, LONG)}</dd>" for level, what in ESCALATION)
        escalation = f'<h3>Whom to ask</h3><dl class="levels">{levels}</dl>'
    return f'<section class="next"><h2>What to do next</h2><ul class="advice">{entries}</ul>{escalation}</section>\n'


def _invalid(report: Mapping[str, Any]) -> str:
    if not report["invalid"]:
        return ""
    rows = "".join(
        f"<li><code>{text(case['collection'])}</code> <code>{text(case['id'])}</code>: {text('; '.join(case['reasons']), LONG)}</li>"
        for case in report["invalid"]
    )
    return f'<section><h2>Invalid records of the source</h2><p>The first of {report["totals"]["invalid"]:,}.</p><ul class="examples">{rows}</ul></section>\n'


def _timeline(report: Mapping[str, Any]) -> str:
    if not report["timeline"]:
        return ""
    return f'<section><h2>Timeline</h2><div class="rows">{timeline(report["timeline"])}</div></section>\n'


def _small_print(report: Mapping[str, Any]) -> str:
    limits = "".join(f"<tr><th>{text(name)}</th><td>{value:g}</td></tr>" for name, value in report["thresholds"].items())
    versions = f"Source server {text(report['source']['version'])}, target server {text(report['target']['version'])}, as they name themselves."
    return f"<footer><details><summary>Thresholds and versions</summary><p>{versions}</p><table>{limits}</table></details></footer>\n"
