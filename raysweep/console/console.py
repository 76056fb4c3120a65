"""Where commands print: as wide as the terminal; output to a file or a pipe is never cut.

The text may come from other people's files, so markup and control characters in it have no effect: a name
cannot colour, move or erase the text around it.
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
    # Text in a notebook too: only the live view is HTML there, see `NotebookView`.
    width = None if has_width else UNBOUNDED
    console = Console(width=width, markup=False, emoji=False, force_jupyter=False)
    console.push_render_hook(_PrintableHook())
    return console


@dataclass(frozen=True, slots=True)
class Printable:
    """Renderable content, with its control characters written as escapes."""

    content: RenderableType

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render the content; control segments are rich's own (cursor movements) and stay."""
        for segment in console.render(self.content, options):
            yield segment if segment.control else Segment(printable(segment.text, "\n\t"), segment.style)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """As wide as the content."""
        return Measurement.get(console, options, self.content)


class _PrintableHook(RenderHook):
    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [Printable(each) for each in renderables]
