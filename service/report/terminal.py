"""The report in a terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from service.report.report import Report
from service.report.sections import Section, sections

STYLES = {"problem": "bold red", "advice": "yellow", "note": "cyan"}
LABEL_WIDTH = 11
HIDDEN = ("reasons",)  # long reasons; they are in the page
LONG = 90  # characters of a cell


def print_report(console: Console, found: Report) -> None:
    """Print what fits a terminal: all but the figures and the list of reasons."""
    console.print(Text(f"Study: {found.subject.name}", style="bold"))
    print_sections(console, sections(found))


def print_sections(console: Console, parts: Iterable[Section]) -> None:
    """Print sections, those left out that would not fit."""
    for section in parts:
        if section.name not in HIDDEN and (section.lines or section.rows):
            _print(console, section)


def _print(console: Console, section: Section) -> None:
    if section.name != "summary":
        console.print(Text(f"\n{section.title}", style="bold"))
    for line in section.lines:
        console.print(_line(line), soft_wrap=True)
    if section.head:
        table = Table(box=None, pad_edge=False, header_style="dim")
        for place, heading in enumerate(section.head):
            numeric = all(_is_number(row[place]) for row in section.rows)
            table.add_column(
                heading, justify="right" if numeric else "left", no_wrap=True, overflow="ellipsis"
            )
        for row in section.rows:
            table.add_row(*(Text(cell[:LONG]) for cell in row))
        console.print(table)


def _line(line: str) -> Text:
    label, tab, text = line.partition("\t")
    if not tab:
        return Text(label)
    severity = label.partition(":")[0]
    style = STYLES.get(severity, "dim")
    return Text.assemble((f"{label:<{LABEL_WIDTH}}  ", style), text)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
