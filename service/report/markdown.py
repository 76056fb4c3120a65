"""The report as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from service.report.report import Report
from service.report.sections import Section, sections
from service.spec.problem import printable

SIGNS = re.compile(r"[\\`*\[\]<|~]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|^[#>+=-]")


def as_markdown(found: Report) -> str:
    """The report as one Markdown text; figures are in the page beside it."""
    return markdown(found.subject.name, "report.html", sections(found))


def markdown(title: str, page: str, parts: Iterable[Section]) -> str:
    """Sections as one Markdown text; `page` is the name of the file that has the figures."""
    lines = [f"# {_text(title)}", "", f"The figures are in [{page}]({page}).", ""]
    for section in parts:
        lines += _section(section)
    return "\n".join(lines)


def _section(section: Section) -> Iterator[str]:
    if not section.lines and not section.rows:
        return
    yield from (f"## {_text(section.title)}", "")
    for line in section.lines:
        label, tab, text = line.partition("\t")
        if not tab:
            yield from (_text(label), "")
        elif label:
            yield f"- **{_text(label)}**: {_code(text)}"
        else:
            yield f"  - {_text(text)}"
    yield ""
    if section.head:
        yield "| " + " | ".join(map(_text, section.head)) + " |"
        yield "|" + "---|" * len(section.head)
        yield from ("| " + " | ".join(map(_text, row)) + " |" for row in section.rows)
        yield ""


def _code(text: str) -> str:
    """A command as code, anything else as words."""
    return f"`{text}`" if text.startswith("python ") and "`" not in text else _text(text)


def _text(text: str) -> str:
    """Words that mean themselves: no link, picture, tag or emphasis of somebody's choosing."""
    escaped = SIGNS.sub(r"\\\g<0>", printable(" ".join(text.split())))
    return escaped.replace("://", "&colon;//")  # or GitHub and MLflow make a link of it
