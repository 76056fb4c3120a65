"""The report as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from raysweep.formatting import markdown_text
from raysweep.launch_command import Command
from raysweep.report.report import Report
from raysweep.report.sections import Section, sections


def as_markdown(report: Report) -> str:
    """The report as one Markdown text, which refers to the page for the figures."""
    return markdown(report.subject.name, "report.html", sections(report))


def markdown(title: str, page: str, parts: Iterable[Section]) -> str:
    """Sections as one Markdown text; `page` is the name of the file that has the figures."""
    lines = [f"# {markdown_text(title)}", "", f"The figures are in [{page}]({page}).", ""]
    for section in parts:
        lines += _section(section)
    return "\n".join(lines)


def _section(section: Section) -> Iterator[str]:
    if section.sortable or not (section.lines or section.rows):
        return
    yield from (f"## {markdown_text(section.title)}", "")
    for line in section.lines:
        fix = f" → {_code(line.fix)}" if line.fix else ""
        if line.label is None:
            yield from (markdown_text(line.text), "")
        elif line.label:
            yield f"- **{markdown_text(line.label)}**: {_code(line.text)}{fix}"
        else:
            yield f"  - {markdown_text(line.text)}"
    yield ""
    if section.head:
        yield "| " + " | ".join(map(markdown_text, section.head)) + " |"
        yield "|" + "---|" * len(section.head)
        yield from ("| " + " | ".join(map(markdown_text, row)) + " |" for row in section.rows)
        yield ""


def _code(text: str) -> str:
    """A command as code, any other text escaped."""
    return f"`{text}`" if isinstance(text, Command) and "`" not in text else markdown_text(text)
