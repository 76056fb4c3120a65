"""The report as one self-contained HTML file, with styles and plotly.js."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from plotly.offline import get_plotlyjs

from raysweep.launch_command import Command
from raysweep.report.figure import Figure
from raysweep.report.report import Report
from raysweep.report.sections import BARS, REASON, Section, sections

STYLE = """
:root { --ink: #1d2429; --dim: #5f6b74; --ground: #fbfbfa; --card: #fff; --line: #e3e6e8; --accent: #1f6fb2;
  --problem: #c62f3b; --advice: #b26a00; --note: #1f6fb2; }
@media (prefers-color-scheme: dark) { :root { --ink: #e2e6e9; --dim: #97a3ac; --ground: #14181b;
  --card: #1b2024;
  --line: #2d353b; --accent: #6fb3ea; --problem: #ff7b84; --advice: #f0b354; --note: #6fb3ea; } }
* { box-sizing: border-box; }
html { scroll-behavior: smooth; }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", sans-serif; }
main { max-width: 1060px; margin: 0 auto; padding: 20px 20px 80px; }
h1 { font-size: 26px; margin: 12px 0 2px; } h2 { font-size: 19px; margin: 0 0 10px; }
h3 { font-size: 15px; margin: 26px 0 2px; }
p.dim, figcaption { color: var(--dim); margin: 0 0 6px; } figcaption { font-size: 13.5px; max-width: 75ch; }
nav { position: sticky; top: 0; z-index: 9; background: var(--ground); border-bottom: 1px solid var(--line);
  white-space: nowrap; overflow-x: auto; padding: 9px 0; margin-bottom: 16px; }
nav a { color: var(--accent); text-decoration: none; margin-right: 16px; font-size: 14px; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 18px 20px;
  margin: 0 0 16px; scroll-margin-top: 52px; }
figure { margin: 0; overflow-x: auto; overflow-y: hidden; position: relative; } .plot { width: 100%; }
.panels { display: grid; gap: 4px 12px;
  grid-template-columns: repeat(auto-fit, minmax(min(300px, 100%), 1fr)); }
.panels.pairs { grid-template-columns: repeat(auto-fit, minmax(min(400px, 100%), 1fr)); }
button { font: inherit; color: var(--dim); background: none; border: 1px solid var(--line); cursor: pointer;
  border-radius: 6px; padding: 1px 8px; font-size: 13px; }
figure button { position: absolute; right: 0; top: 0; } button:hover { color: var(--accent); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 3px 18px; margin: 0; }
dt { color: var(--dim); } dd { margin: 0; overflow-wrap: anywhere; }
.scroll { overflow: auto; max-height: 560px; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 14px; }
th { text-align: left; color: var(--dim); font-weight: 500; position: sticky; top: 0;
  background: var(--card); } th button { border: 0; padding: 0; color: inherit; font-weight: inherit; }
th[aria-sort=ascending] button::after { content: " \\2191"; } th[aria-sort=descending] button::after {
  content: " \\2193"; } td.why { min-width: 32ch; color: var(--dim); } th, td { padding: 4px 16px 4px 0;
  border-bottom: 1px solid var(--line); vertical-align: top; } td.bar { color: var(--accent);
  letter-spacing: -1px; }
code { font: 13px ui-monospace, Menlo, Consolas, monospace; background: var(--ground); padding: 2px 6px;
  border-radius: 5px; overflow-wrap: anywhere; }
.finding { border-left: 4px solid var(--line); padding: 2px 0 2px 14px; margin: 12px 0; }
.finding b { text-transform: capitalize; }
.problem { border-color: var(--problem); } .problem b { color: var(--problem); }
.advice { border-color: var(--advice); } .advice b { color: var(--advice); }
.note { border-color: var(--note); } .note b { color: var(--note); }
@media (max-width: 640px) { main { padding: 10px 8px 60px; } section { padding: 14px 12px; }
  dl { grid-template-columns: 1fr; } dt { margin-top: 6px; } }
@media print { :root { --ink: #000; --dim: #444; --ground: #fff; --card: #fff; --line: #ccc; }
  nav, figure button, .modebar-container { display: none; } main { max-width: none; padding: 0; }
  section { border: 0; padding: 0; } figure, tr, .finding { break-inside: avoid; }
  .scroll { max-height: none; overflow: visible; }
  .panels, .panels.pairs { grid-template-columns: 1fr 1fr; } }
"""
# A "<", as plotly writes it into JSON, that does not begin one of the tags in our figures.
FOREIGN_TAG = re.compile(r"\\u003c(?!(?:\\u002f)?(?:b|br|i|sub|sup|extra)\\u003e)")
SHOW = """
const waiting = new Map();
for (const holder of document.querySelectorAll("div.plot")) {
  const plot = JSON.parse(document.getElementById(holder.id + "-data").textContent);
  const seen = new IntersectionObserver((all) => { if (all.some((one) => one.isIntersecting)) draw(); },
    {rootMargin: "600px"});
  const draw = () => { seen.disconnect(); waiting.delete(holder);
    return Plotly.newPlot(holder, plot.data, plot.layout, {responsive: true, displaylogo: false}); };
  waiting.set(holder, draw);
  seen.observe(holder);
}
addEventListener("beforeprint", () => {
  for (const draw of [...waiting.values()]) draw();
  for (const holder of document.querySelectorAll("div.plot"))
    Plotly.relayout(holder, {width: holder.closest(".panels") ? 330 : 680}); });
addEventListener("afterprint", () => { for (const holder of document.querySelectorAll("div.plot"))
  Plotly.relayout(holder, {width: null, autosize: true}); });
for (const button of document.querySelectorAll("button[data-axis]"))
  button.addEventListener("click", () => { const axis = button.dataset.axis + "axis.type";
    for (const holder of button.parentElement.querySelectorAll("div.plot")) {
      if (waiting.has(holder)) continue;
      const log = holder.layout[button.dataset.axis + "axis"].type === "log";
      Plotly.relayout(holder, {[axis]: log ? "linear" : "log"}); } });
const key = (row, place) => { const text = row.cells[place].textContent;
  return [text === "" || text === "-" ? 2 : isNaN(text) ? 1 : 0, isNaN(text) ? text : Number(text)]; };
for (const head of document.querySelectorAll("th[aria-sort]"))
  head.firstChild.addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending" ? -1 : 1, place = head.cellIndex;
    for (const other of head.parentElement.cells) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", down > 0 ? "ascending" : "descending");
    const body = head.closest("table").tBodies[0];
    body.append(...[...body.rows].sort((one, other) => { const a = key(one, place), b = key(other, place);
      return a[0] - b[0] || down * (a[1] < b[1] ? -1 : a[1] > b[1] ? 1 : 0); })); });
"""


def as_page(report: Report, figures: Sequence[Figure]) -> str:
    """The report as one self-contained HTML text."""
    return page(
        report.subject.name,
        " and ".join(_goal(report)),
        sections(report),
        figures,
        {"findings": _findings(report)},
    )


def page(
    title: str,
    goal: str,
    parts: Sequence[Section],
    figures: Sequence[Figure],
    drawn: Mapping[str, str] | None = None,
) -> str:
    """One self-contained HTML text.

    Args:
        title: its heading.
        goal: the line under it.
        parts: from top to bottom; those without lines, rows and figures are left out.
        figures: each in its section.
        drawn: section -> HTML that replaces its lines.
    """
    shown = [
        section
        for section in parts
        if section.lines or section.rows or any(figure.section == section.name for figure in figures)
    ]
    links = "".join(f'<a href="#{section.name}">{html.escape(section.title)}</a>' for section in shown)
    body = "".join("".join(_section(section, figures, (drawn or {}).get(section.name))) for section in shown)
    name = html.escape(title)
    plotly = get_plotlyjs()
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{name}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{_policy(plotly, SHOW)}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f'<link rel="icon" href="data:,"><style>{STYLE}</style></head>'
        f"<body><main><h1>{name}</h1><p class=dim>{html.escape(goal)}</p><nav>{links}</nav>{body}</main>"
        f"<script>{plotly}</script><script>{SHOW}</script></body></html>\n"
    )


def _policy(*scripts: str) -> str:
    """A Content-Security-Policy that allows only these scripts, and no requests.

    Plotly sets styles and draws images for download; its parallel coordinates compile shaders.
    """
    digests = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed} 'unsafe-eval'; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _goal(report: Report) -> Iterator[str]:
    for metric in report.subject.metrics:
        yield f"{metric.direction} {metric.name}"


def _section(section: Section, figures: Sequence[Figure], drawn: str | None) -> Iterator[str]:
    yield f'<section id="{section.name}"><h2>{html.escape(section.title)}</h2>'
    if drawn:
        yield drawn
    else:
        yield from _lines(section)
    if section.head:
        head = "".join(_heading(cell, section.sortable) for cell in section.head)
        rows = "".join(f"<tr>{''.join(map(_cell, row, section.head))}</tr>" for row in section.rows)
        title = html.escape(section.title)
        yield (
            f'<div class="scroll" tabindex="0" role="region" aria-label="{title}"><table>'
            f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
        )
    for figure in figures:
        if figure.section == section.name:
            yield from _figure(figure)
    yield "</section>"


def _heading(text: str, sortable: bool) -> str:
    if not sortable:
        return f"<th>{html.escape(text)}</th>"
    return f'<th aria-sort="none"><button type="button">{html.escape(text)}</button></th>'


def _cell(cell: str, heading: str) -> str:
    kind = {BARS: " class=bar", REASON: " class=why"}.get(heading, "")
    return f"<td{kind}>{html.escape(cell)}</td>"


def _lines(section: Section) -> Iterator[str]:
    labelled = [(line.label, line.text) for line in section.lines if line.label is not None]
    yield from (f"<p>{html.escape(line.text)}</p>" for line in section.lines if line.label is None)
    if labelled:
        inner = "".join(f"<dt>{html.escape(label)}</dt><dd>{_text(text)}</dd>" for label, text in labelled)
        yield f"<dl>{inner}</dl>"


def _findings(report: Report) -> str:
    return "".join(
        f'<div class="finding {finding.severity}"><b>{html.escape(finding.name.replace("_", " "))}</b> '
        f"<span class=dim>({finding.severity})</span><br>{html.escape(finding.evidence)}.<br>"
        f"{html.escape(finding.reading)}<br>{_text(finding.fix)}</div>"
        for finding in report.findings
    )


def _text(text: str) -> str:
    """A command as code, any other text escaped."""
    escaped = html.escape(text)
    return f"<code>{escaped}</code>" if isinstance(text, Command) else escaped


def _figure(figure: Figure) -> Iterator[str]:
    title, caption = html.escape(figure.title), html.escape(figure.caption)
    yield f"<figure><h3>{title}</h3><figcaption>{caption}</figcaption>"
    if figure.scale:
        yield f'<button type="button" data-axis="{figure.scale}">log / linear</button>'
    kind = "panels pairs" if len(figure.plots) in (2, 4) else "panels"
    yield f'<div class="{kind}" id="{figure.name}">' if len(figure.plots) > 1 else "<div>"
    for number, plot in enumerate(figure.plots, start=1):
        name = figure.name if len(figure.plots) == 1 else f"{figure.name}-{number}"
        height = int(plot.layout.height or 450)
        # Plotly interprets tags in labels: a name or a reason must not become a link.
        data = FOREIGN_TAG.sub("&lt;", plot.to_json())
        yield (
            f'<div><div class="plot" id="{name}" style="height:{height}px" role="img" '
            f'aria-label="{html.escape(_alternative(figure, plot))}"></div>'
            f'<script type="application/json" id="{name}-data">{data}</script></div>'
        )
    yield "</div></figure>"


def _alternative(figure: Figure, plot: Any) -> str:
    """The alternative text of a plot."""
    axes = [axis.title.text for axis in (plot.layout.yaxis, plot.layout.xaxis)]
    of = " against ".join(text for text in axes if text)
    return f"{figure.title}{f': {of}' if of else ''}. {figure.caption}"
