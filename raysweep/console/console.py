"""Where commands print: as wide as the terminal; a file or a pipe has no width, so nothing is cut there.

What is printed may come from other people's files, so neither markup nor control characters in it are
obeyed: a name cannot colour, move or erase what stands beside it.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderableType, RenderHook, RenderResult
from rich.measure import Measurement
from rich.segment import Segment

from raysweep.formatting import printable

UNBOUNDED = 200  # columns


def stdout() -> Console:
    """A console on standard output, which honours COLUMNS and NO_COLOR as rich does."""
    has_width = sys.stdout.isatty() or "COLUMNS" in os.environ
    # In a notebook too it is text that is printed: what is live there is a display of its own.
    width = None if has_width else UNBOUNDED
    console = Console(width=width, markup=False, emoji=False, force_jupyter=False)
    console.push_render_hook(_PrintableHook())
    return console


@dataclass(frozen=True, slots=True)
class Printable:
    """Something to render, its control characters written as escapes."""

    content: RenderableType

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render the content; what moves the cursor is rich's own, and stays."""
        for segment in console.render(self.content, options):
            yield segment if segment.control else Segment(printable(segment.text, "\n\t"), segment.style)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """As wide as the content."""
        return Measurement.get(console, options, self.content)


class _PrintableHook(RenderHook):
    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [Printable(each) for each in renderables]
