# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""How the HTML page looks: light and dark, on a screen, on a phone and on paper."""

from __future__ import annotations

# Widths in percent, since no element carries a style of its own.
_PARTS = " ".join(f".part{share} {{ flex: {share}; }}" for share in range(1, 101))

STYLE = f"""
{_PARTS}
""" + """
:root { --paper: #f6f7f9; --card: #ffffff; --ink: #1b2430; --soft: #5b6675; --line: #dde2e9; --track: #edf0f4;
  --ok: #2f9e63; --warn: #d98a00; --bad: #d03b3b; --lost: #8d1f3f; --info: #3f7fd0; --go: #17794a; --marginal: #9a6200; --no_go: #b02a2a; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #12161c; --card: #1b212a; --ink: #e8ecf1; --soft: #9aa6b5; --line: #2e3743; --track: #262e39;
    --ok: #4cc38a; --warn: #f0b040; --bad: #f07070; --lost: #e0668c; --info: #6aa5f0; --go: #17794a; --marginal: #8a5a00; --no_go: #a32a2a; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1040px; margin: 0 auto; padding: 24px 20px 48px; }
h1, h2, h3, p { margin: 0; }
h2 { font-size: 1.25rem; margin-bottom: 12px; }
h3 { font-size: 1rem; }
code { font: 0.88em/1.4 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; background: var(--track); padding: 1px 5px; border-radius: 4px;
  overflow-wrap: anywhere; }
section, .card, footer { background: var(--card); border: 1px solid var(--line); border-radius: 12px; }
section { padding: 20px 22px; margin-top: 18px; }
section > p { color: var(--soft); margin-bottom: 12px; }
section > h3 { margin: 16px 0 8px; color: var(--soft); font-weight: 600; }
.verdict { color: #fff; border-radius: 14px; padding: 26px 28px; }
.go .verdict { background: var(--go); } .marginal .verdict { background: var(--marginal); } .no_go .verdict { background: var(--no_go); }
.verdict .kind { opacity: 0.85; letter-spacing: 0.02em; }
.verdict h1 { font-size: 3rem; line-height: 1.1; letter-spacing: -0.01em; margin: 2px 0 10px; }
.verdict .order { font-size: 1.2rem; font-weight: 700; margin-bottom: 8px; }
.verdict .reasons { margin: 0; padding-left: 1.2em; } .verdict .reasons li { margin: 4px 0; overflow-wrap: anywhere; }
.verdict .where { margin-top: 16px; font-size: 0.9rem; opacity: 0.9; overflow-wrap: anywhere; }
.verdict .note { margin-top: 10px; padding: 8px 12px; border-radius: 8px; background: rgba(0, 0, 0, 0.22); color: #fff; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(170px, 1fr)); gap: 12px; margin: 18px 0 0; }
.card { padding: 12px 16px; } .card dt { color: var(--soft); font-size: 0.85rem; } .card dd { margin: 2px 0 0; font-size: 1.5rem; font-weight: 650;
  font-variant-numeric: tabular-nums; }
.card.bad dd { color: var(--bad); } .card.warn dd { color: var(--warn); }
.check { display: grid; grid-template-columns: 230px 130px 1fr; gap: 2px 14px; align-items: baseline; padding: 12px 0; border-top: 1px solid var(--line); }
.check:first-child { border-top: 0; padding-top: 0; }
.check p, .check details { grid-column: 1 / -1; color: var(--soft); overflow-wrap: anywhere; }
.check.failed p, .check.not_run p { color: var(--ink); }
.measured { text-align: right; font-variant-numeric: tabular-nums; } .measured small { color: var(--soft); margin-left: 6px; }
.pill { justify-self: start; white-space: nowrap; font-size: 0.82rem; font-weight: 650; padding: 1px 10px; border-radius: 99px;
  border: 1.5px solid currentColor; }
.passed .pill { color: var(--ok); } .warning .pill { color: var(--warn); } .failed .pill, .not_run .pill { color: var(--bad); }
  .not_applicable .pill { color: var(--soft); }
.check .wide, .check details { grid-column: 1 / -1; margin-top: 6px; }
table.cases { width: auto; font-size: 0.86rem; } .cases th, .cases td { text-align: left; padding: 3px 16px 3px 0; border-top: 0; vertical-align: top; }
  .cases th { color: var(--soft); white-space: nowrap; } .cases td { overflow-wrap: break-word; min-width: 5em; }
  .cases td:has(code) { min-width: 12em; } .cases td small { display: none; }
summary { cursor: pointer; font-size: 0.9rem; }
.examples { margin: 6px 0 0; padding-left: 1.2em; color: var(--ink); font-size: 0.92rem; } .examples li { margin: 3px 0; overflow-wrap: anywhere; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; font-size: 0.85rem; }
.legend i { display: inline-block; width: 12px; height: 12px; border-radius: 3px; margin-right: 6px; vertical-align: -1px; }
.legend .ok { background: var(--ok); } .legend .warn { background: var(--warn); } .legend .bad { background: var(--bad); }
.legend .lost { background: var(--lost); } .legend .info { background: var(--info); }
.row { display: grid; grid-template-columns: minmax(120px, 220px) 1fr minmax(90px, 210px); gap: 4px 14px; align-items: center; padding: 6px 0; }
.row .label { overflow-wrap: anywhere; font-size: 0.94rem; } .row .figures { color: var(--soft); font-size: 0.85rem; line-height: 1.35;
  font-variant-numeric: tabular-nums; }
.pair .row { grid-template-columns: 138px 1fr 56px; } .pair .figures { text-align: right; }
.bars { display: grid; gap: 4px; }
svg { display: block; width: 100%; } .bar { height: 12px; border-radius: 4px; } .columns { height: 130px; border-radius: 6px; }
.chart { display: grid; grid-template-columns: auto minmax(0, 1fr); gap: 4px 8px; margin-bottom: 16px; font-size: 0.78rem; color: var(--soft); }
.scale { display: flex; flex-direction: column; justify-content: space-between; text-align: right; white-space: nowrap; }
.under { grid-column: 2; display: flex; } .under span { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; min-width: 0; padding: 0 4px;
  border-left: 2px solid var(--line); }
.track { fill: var(--track); } rect.ok { fill: var(--ok); } rect.warn { fill: var(--warn); } rect.bad { fill: var(--bad); } rect.lost { fill: var(--lost);
  } rect.info { fill: var(--info); }
line { stroke-width: 1.5px; stroke-dasharray: 6 5; vector-effect: non-scaling-stroke; } .warnline { stroke: var(--warn); } .badline { stroke: var(--bad); }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(420px, 100%), 1fr)); gap: 0 18px; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 0.92rem; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 5px 10px; border-top: 1px solid var(--line); font-weight: 400; } th:first-child { text-align: left;
  overflow-wrap: anywhere; min-width: 10em; } .wide td { white-space: nowrap; } .wide .cases td { white-space: normal; }
.wide .cases th:first-child { min-width: 0; }
tr:first-child > th { border-top: 0; color: var(--soft); } tr.sum > * { font-weight: 650; }
section > .note { margin: 12px 0 0; font-size: 0.88rem; }
.advice { list-style: none; margin: 0; padding: 0; columns: 2 400px; column-gap: 36px; } .advice > li { padding: 0 0 16px; break-inside: avoid; }

.advice p { color: var(--soft); } .advice ol { margin: 6px 0 0; padding-left: 1.4em; } .advice ol li { margin: 3px 0; overflow-wrap: anywhere; }
.levels { display: grid; grid-template-columns: minmax(170px, auto) 1fr; gap: 4px 16px; margin: 0; font-size: 0.92rem; } .levels dt { font-weight: 600; }
  .levels dd { margin: 0; color: var(--soft); }
footer { padding: 12px 22px; margin-top: 18px; color: var(--soft); } footer p { margin: 8px 0; }
@media (max-width: 640px) {
  main { padding: 12px 12px 32px; } section { padding: 16px; } .verdict { padding: 20px; } .verdict h1 { font-size: 2.4rem; }
  .cards { grid-template-columns: 1fr 1fr; gap: 8px; } .card { padding: 10px 12px; } .card dd { font-size: 1.2rem; }
  .check { grid-template-columns: 1fr auto; } .measured { grid-column: 1 / -1; text-align: left; }
  .row { grid-template-columns: 1fr; } .pair .row { grid-template-columns: 104px 1fr 44px; } .levels { grid-template-columns: 1fr; }
  .levels dd { margin-bottom: 6px; } .wide th, .wide td { padding: 4px 3px; font-size: 0.8rem; } .wide th:first-child { min-width: 6em; }
  table.cases, .cases tbody, .cases tr, .cases td { display: block; } .wide .cases td { padding: 1px 0; min-width: 0; font-size: 0.86rem; }
  .cases tr:first-child, .cases td:empty { display: none; } .cases tr { padding: 5px 0; border-top: 1px dashed var(--line); }
  .cases td small { display: inline-block; min-width: 6.5em; margin-right: 8px; color: var(--soft); }
  .wide table:not(.cases) tr > :nth-child(2) { display: none; } }
@media print {
  :root { --paper: #fff; --card: #fff; --ink: #000; --soft: #444; --line: #bbb; --track: #eee; --ok: #2f9e63; --warn: #c47f00; --bad: #c03030;
  --lost: #7a1a36; --info: #3f7fd0; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  body { font-size: 9.5pt; } main { max-width: none; padding: 0; } .verdict { padding: 14px 18px; } .verdict h1 { font-size: 2rem; }
  section { padding: 10px 14px; margin-top: 10px; } .cards { grid-template-columns: repeat(5, 1fr); gap: 6px; }
  .card { padding: 6px 10px; } .card dd { font-size: 1.1rem; }
  .advice { columns: 2; } .check { padding: 6px 0; } .row { padding: 2px 0; } details:not([open]), footer:not(:has(details[open])) { display: none; }
  section, .card, footer { border-color: #bbb; } .check, .row, .card, .advice > li, svg, tr { break-inside: avoid; } h2, h3 { break-after: avoid; } }
"""
