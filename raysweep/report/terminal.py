"""Prints the report in a terminal, laid out for its width; commands are never wrapped."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from raysweep.launch_command import Command
from raysweep.report.findings import Severity
from raysweep.report.report import Report
from raysweep.report.sections import Line, Section, sections

STYLES: dict[Severity, str] = {"problem": "bold red", "advice": "yellow", "note": "cyan"}
LABEL_WIDTH = 11
HIDDEN = ("reasons",)  # too long; they are in the page
LONG = 90  # characters of a cell
UNBOUNDED = 10_000  # columns


def print_report(console: Console, report: Report) -> None:
    """Print the report without its figures and the list of reasons."""
    console.print(Text(f"Study: {report.subject.name}", style="bold"))
    print_sections(console, sections(report))


def print_sections(console: Console, parts: Iterable[Section]) -> None:
    """Print sections, except hidden and sortable ones."""
    for section in parts:
        if section.name not in HIDDEN and not section.sortable and (section.lines or section.rows):
            _print(console, section)


def _print(console: Console, section: Section) -> None:
    if section.name != "summary":
        console.print(Text(f"\n{section.title}", style="bold"))
    for line in section.lines:
        _print_line(console, line)
    if section.head:
        _print_table(console, section)


def _print_line(console: Console, line: Line) -> None:
    """Print a label beside its text, or above it if the label is long, and the fix on its own line."""
    if line.label is None:
        console.print(Text(line.text))
        return
    style = "dim" if line.severity is None else STYLES[line.severity]
    if isinstance(line.text, Command):
        console.print(Text.assemble((f"{line.label:<{LABEL_WIDTH}}  ", style), line.text), soft_wrap=True)
    elif len(line.label) <= LABEL_WIDTH:
        row = Table.grid(padding=(0, 2))
        row.add_column(width=LABEL_WIDTH)
        row.add_column(overflow="fold")
        row.add_row(Text(line.label, style), Text(line.text))
        console.print(row)
    else:
        console.print(Text(line.label, style))
        console.print(Padding(Text(line.text), (0, 0, 0, 2)))
    if line.fix:
        console.print(Text.assemble(("  → ", "dim"), line.fix, "\n"), soft_wrap=True)


def _print_table(console: Console, section: Section) -> None:
    """Print a table, or a paragraph for each row if the table is wider than the terminal."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column, heading in enumerate(section.head):
        numeric = all(_is_number(row[column]) for row in section.rows)
        table.add_column(heading, justify="right" if numeric else "left", no_wrap=True)
    for row in section.rows:
        table.add_row(*(Text(cell[:LONG]) for cell in row))
    wide = console.options.update(max_width=UNBOUNDED)
    if Measurement.get(console, wide, table).maximum <= console.width:
        console.print(table)
        return
    for row in section.rows:
        pairs = zip(section.head[1:], row[1:], strict=True)
        cells = "  ".join(f"{heading} {cell}".strip() for heading, cell in pairs if cell and heading)
        line = Table.grid(padding=(0, 2))
        line.add_column(no_wrap=True)
        line.add_column(overflow="fold")
        line.add_row(Text(row[0], "bold"), Text(cells))
        console.print(line)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
