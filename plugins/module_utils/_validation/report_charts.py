# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""The pictures of the HTML page: inline SVG without text, stretched to the width that there is, beside labels that stay readable on a phone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from .plain_text import for_html as text

WIDTH, HEIGHT = 1000, 12
# What is there is seen, however little it is.
LEAST_WIDTH = 4
# Upper ends of the classes of latency in milliseconds.
LATENCY_CLASSES = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 500, 1000, 2000, 5000)


class Part(NamedTuple):
    """A piece of a bar: its size, the CSS class of its colour, and what it says when the pointer rests on it."""

    value: float
    kind: str
    title: str


def bar_of(parts: Sequence[Part], whole: float, start: float = 0.0) -> str:
    """Pieces side by side; `whole` is as wide as the picture."""
    whole = whole or 1.0
    x = WIDTH * start / whole
    drawn = []
    for part in parts:
        if part.value <= 0:
            continue
        width = max(LEAST_WIDTH, WIDTH * part.value / whole)
        x = min(x, WIDTH - LEAST_WIDTH)
        drawn.append(
            f'<rect class="{part.kind}" x="{x:.1f}" y="0" width="{min(width, WIDTH - x):.1f}" height="{HEIGHT}"><title>{text(part.title)}</title></rect>'
        )
        x += width
    label = "; ".join(part.title for part in parts if part.value > 0) or "nothing"
    return (
        f'<svg class="bar" viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" aria-label="{text(label)}">'
        f'<rect class="track" x="0" y="0" width="{WIDTH}" height="{HEIGHT}"/>{"".join(drawn)}</svg>'
    )


def row(label: str, pictures: Iterable[str], figures: str) -> str:
    """A label, its bars below each other, and figures in words. `label` is escaped here; `figures` is markup already."""
    return f'<div class="row"><div class="label">{text(label)}</div><div class="bars">{"".join(pictures)}</div><div class="figures">{figures}</div></div>'


def source_rows(collections: Sequence[Mapping[str, Any]]) -> str:
    """Each source collection: its valid and invalid records, and below what the target holds of them."""
    widest = max((collection["count"] for collection in collections), default=0)
    rows = []
    for collection in collections:
        valid, invalid, found = collection["valid"], collection["invalid"], collection["found_in_target"]
        pictures = [bar_of([Part(valid, "ok", f"{valid:,} valid"), Part(invalid, "warn", f"{invalid:,} invalid")], widest)]
        figures = f"{collection['count']:,} in the source" + (f", {invalid:,} invalid" if invalid else "")
        if found is not None:
            pictures.append(bar_of([Part(found, "info" if found == valid else "bad", f"{found:,} found in the target")], widest))
            figures += f"<br>{found:,} found in the target"
        rows.append(row(collection["name"], pictures, figures))
    return "".join(rows)


TARGET_PARTS = (
    ("unchanged", "ok", "equal"),
    ("changed", "bad", "changed"),
    ("lost", "lost", "lost"),
    ("extra", "warn", "extra"),
    ("foreign", "info", "somebody else's"),
)


def target_rows(collections: Sequence[Mapping[str, Any]]) -> str:
    """Each target collection: what became of the records that it should hold, and what else is there."""
    widest = max((sum(collection[key] for key, _kind, _words in TARGET_PARTS) for collection in collections), default=0)
    rows = []
    for collection in collections:
        parts = [Part(collection[key], kind, f"{collection[key]:,} {words}") for key, kind, words in TARGET_PARTS]
        figures = ", ".join(f"{collection[key]:,} {words}" for key, _kind, words in TARGET_PARTS if collection[key]) or "no records"
        if collection["count"] is None:
            figures = f"<strong>not in the target</strong>, {figures}"
        rows.append(row(collection["name"], [bar_of(parts, widest)], figures))
    return "".join(rows)


def query_columns(queries: Sequence[Mapping[str, Any]], warn: float, limit: float) -> str:
    """One column a search, as high as its divergence, collection by collection; lines at the two thresholds."""
    height, gap = 120, 2.0
    step = WIDTH / max(1, len(queries))
    drawn = []
    for place, query in enumerate(queries):
        value = _divergence(query)
        kind = "bad" if value > limit else "warn" if value > warn else "ok"
        tall = max(3.0, height * value / 100.0)
        title = f"{query['collection']}: {query['query']}: {value:.1f} %"
        x = place * step + gap / 2
        place_and_size = f'x="{x:.1f}" y="{height - tall:.1f}" width="{max(1.0, step - gap):.1f}" height="{tall:.1f}"'
        drawn.append(f'<rect class="{kind}" {place_and_size}><title>{text(title)}</title></rect>')
    lines = "".join(
        f'<line class="{kind}line" x1="0" x2="{WIDTH}" y1="{height - height * min(value, 100) / 100:.1f}" y2="{height - height * min(value, 100) / 100:.1f}"/>'
        for value, kind in ((warn, "warn"), (limit, "bad"))
    )
    label = f"divergence of {len(queries)} searches in percent"
    own = Counter(str(query["collection"]) for query in queries)
    names = "".join(f'<span class="part{max(1, round(100 * count / len(queries)))}" title="{text(name)}">{text(name)}</span>' for name, count in own.items())
    return (
        '<div class="chart"><div class="scale"><span>100 %</span><span>0 %</span></div>'
        f'<svg class="columns" viewBox="0 0 {WIDTH} {height}" preserveAspectRatio="none" role="img" aria-label="{label}">'
        f'<rect class="track" x="0" y="0" width="{WIDTH}" height="{height}"/>{"".join(drawn)}{lines}</svg>'
        f'<div class="under">{names}</div></div>'
    )


def _divergence(query: Mapping[str, Any]) -> float:
    if query["error"]:
        return 100.0
    value = query["true_divergence_percent"]
    value = query["index_divergence_percent"] if value is None else value
    return 100.0 if value is None else float(value)


def histogram(classes: Sequence[tuple[str, int, str]], unit: str) -> str:
    """Rows of (label, count, kind)."""
    most = max((count for _label, count, _kind in classes), default=0)
    return "".join(row(label, [bar_of([Part(count, kind, f"{count:,} {unit}")], most)], f"{count:,}") for label, count, kind in classes)


def error_classes(classes: Sequence[Mapping[str, Any]]) -> list[tuple[str, int, str]]:
    """Classes of relative vector error for `histogram`, the empty ones at both ends left out."""
    rows: list[tuple[str, int, str]] = []
    for entry in classes:
        top: float | None = entry["up_to"]
        label = "bit for bit" if top == 0 else "above 10 %, or NaN" if top is None else f"up to {_share(100 * top)} %"
        rows.append((label, entry["records"], "ok" if top == 0 else "info" if top is not None and top <= 1e-6 else "bad"))
    return _trimmed(rows)


def _share(percents: float) -> str:
    """0.01, 10, and 1e-6 where zeros would have to be counted."""
    return f"{percents:.7g}" if percents >= 0.01 else f"{percents:.0e}".replace("e-0", "e-")


def latency_classes(samples: Sequence[float], limit: float) -> list[tuple[str, int, str]]:
    """Classes of latency for `histogram`."""
    rows: list[tuple[str, int, str]] = []
    bottom = 0.0
    for top in LATENCY_CLASSES:
        count = sum(1 for value in samples if bottom < value <= top)
        rows.append((f"{bottom:g} to {top:g} ms", count, "ok" if top <= limit else "bad"))
        bottom = float(top)
    rows.append((f"more than {bottom:g} ms", sum(1 for value in samples if value > bottom), "bad"))
    return _trimmed(rows)


def _trimmed(rows: list[tuple[str, int, str]]) -> list[tuple[str, int, str]]:
    filled = [place for place, entry in enumerate(rows) if entry[1]]
    return rows[filled[0] : filled[-1] + 1] if filled else []


def timeline(steps: Sequence[Mapping[str, Any]]) -> str:
    """The steps of the run as a Gantt chart."""
    end = max((step["start"] + step["seconds"] for step in steps), default=0.0)
    rows = []
    for step in steps:
        figures = f"{step['seconds']:.1f} s, from {step['start']:.1f} s"
        rows.append(row(step["name"], [bar_of([Part(step["seconds"], "info", figures)], end, step["start"])], figures))
    return "".join(rows)
