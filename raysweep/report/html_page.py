"""The report as one HTML file that needs nothing else: styles and plotly.js are in it."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Iterator, Mapping, Sequence

from plotly.offline import get_plotlyjs

from raysweep.report.figures import Figure
from raysweep.report.report import Report
from raysweep.report.sections import Section, sections

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
figure { margin: 0; overflow-x: auto; overflow-y: hidden; } .plot { width: 100%; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 3px 18px; margin: 0; }
dt { color: var(--dim); } dd { margin: 0; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 14px; }
th { text-align: left; color: var(--dim); font-weight: 500; } th, td { padding: 4px 16px 4px 0;
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
"""
# A "<", as plotly writes it into JSON, that begins none of the tags which our figures have.
FOREIGN_TAG = re.compile(r"\\u003c(?!(?:\\u002f)?(?:b|br|i|sub|sup|extra)\\u003e)")
SHOW = """
for (const holder of document.querySelectorAll("div.plot")) {
  const plot = JSON.parse(document.getElementById(holder.id + "-data").textContent);
  const draw = () => Plotly.newPlot(holder, plot.data, plot.layout, {responsive: true, displaylogo: false});
  const seen = new IntersectionObserver((all) => { if (all.some((one) => one.isIntersecting)) {
    seen.disconnect(); draw(); } }, {rootMargin: "600px"});
  seen.observe(holder);
}
"""


def as_page(found: Report, figures: Sequence[Figure]) -> str:
    """The report as one HTML text without a reference to anything outside itself."""
    return page(
        found.subject.name,
        " and ".join(_goal(found)),
        sections(found),
        figures,
        {"findings": _findings(found)},
    )


def page(
    title: str,
    goal: str,
    parts: Sequence[Section],
    figures: Sequence[Figure],
    drawn: Mapping[str, str] | None = None,
) -> str:
    """One HTML text without a reference to anything outside itself.

    Args:
        title: its heading.
        goal: the line under it.
        parts: from top to bottom; one without lines, rows and figures is left out.
        figures: each in its section.
        drawn: section -> HTML that stands for its lines.
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
    """A Content-Security-Policy: these scripts run and no other, and nothing is fetched from anywhere.

    Plotly sets styles and draws pictures for download; its parallel coordinates compile shaders.
    """
    digests = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed} 'unsafe-eval'; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _goal(found: Report) -> Iterator[str]:
    for metric in found.subject.metrics:
        yield f"{metric.direction} {metric.name}"


def _section(section: Section, figures: Sequence[Figure], drawn: str | None) -> Iterator[str]:
    yield f'<section id="{section.name}"><h2>{html.escape(section.title)}</h2>'
    if drawn:
        yield drawn
    else:
        yield from _lines(section)
    if section.head:
        head = "".join(f"<th>{html.escape(cell)}</th>" for cell in section.head)
        rows = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in section.rows)
        yield f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    for figure in figures:
        if figure.section == section.name:
            yield from _figure(figure)
    yield "</section>"


def _cell(cell: str) -> str:
    kind = " class=bar" if cell.startswith("█") else ""
    return f"<td{kind}>{html.escape(cell)}</td>"


def _lines(section: Section) -> Iterator[str]:
    pairs = [line.split("\t", 1) for line in section.lines if "\t" in line]
    yield from (f"<p>{html.escape(line)}</p>" for line in section.lines if "\t" not in line)
    if pairs:
        inner = "".join(f"<dt>{html.escape(label)}</dt><dd>{_words(text)}</dd>" for label, text in pairs)
        yield f"<dl>{inner}</dl>"


def _findings(found: Report) -> str:
    return "".join(
        f'<div class="finding {finding.severity}"><b>{html.escape(finding.name.replace("_", " "))}</b> '
        f"<span class=dim>({finding.severity})</span><br>{html.escape(finding.evidence)}.<br>"
        f"{html.escape(finding.reading)}<br>{_words(finding.mend)}</div>"
        for finding in found.findings
    )


def _words(text: str) -> str:
    """A command as code, anything else as words."""
    return f"<code>{html.escape(text)}</code>" if text.startswith("python ") else html.escape(text)


def _figure(figure: Figure) -> Iterator[str]:
    height = int(figure.plot.layout.height or 450)
    # Plotly reads tags in labels: a name or a reason must not be a link there.
    data = FOREIGN_TAG.sub("&lt;", figure.plot.to_json())
    yield (
        f"<figure><h3>{html.escape(figure.title)}</h3><figcaption>{html.escape(figure.caption)}</figcaption>"
        f'<div class="plot" id="{figure.name}" style="height:{height}px"></div>'
        f'<script type="application/json" id="{figure.name}-data">{data}</script></figure>'
    )
