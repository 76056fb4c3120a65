"""Labelled lines, as printed before and after a sweep."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

LABEL_WIDTH = 17


def print_row(console: Console, label: str, text: str, style: str = "") -> None:
    """Print one line: a dim label, then the text, never wrapped (so that links and paths can be copied)."""
    console.print(Text.assemble((f"{label:<{LABEL_WIDTH}}", "dim"), (text, style)), soft_wrap=True)
