"""The live view in a notebook: one output of the cell, replaced as the sweep goes on."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from typing import Any, Protocol

from rich.console import Console, RenderableType

from raysweep.console.console import Printable
from raysweep.console.progress import Facts, Progress
from raysweep.console.watch import StudyView
from raysweep.study.journal.events import Event
from raysweep.study.journal.records import StudyRecord

WIDTH = 110  # columns
FORMAT = '<pre style="line-height: 1.3; font-family: monospace">{code}</pre>'


class Display(Protocol):
    """Shows HTML in the cell and returns a function that replaces it."""

    def __call__(self, html: str) -> Callable[[str], None]:
        """Show this HTML."""


class NotebookView(StudyView):
    """The live view as a cell's output.

    Args:
        facts: of the sweep.
        record: of the study before this attempt.
        display: shows the first picture.
        draw: makes the picture.
    """

    def __init__(
        self,
        facts: Facts,
        record: StudyRecord,
        *,
        display: Display,
        draw: Callable[[Progress, Facts], RenderableType],
    ) -> None:
        super().__init__(facts, record)
        self._display, self._picture = display, draw
        self._replace: Callable[[str], None] | None = None

    def open(self) -> None:
        """Show the first picture."""
        self._replace = self._display(self._html())

    def draw(self, events: list[Event]) -> None:
        """Replace the picture."""
        if self._replace is not None:
            self._replace(self._html())

    def show(self, line: str) -> None:
        """Print a line below the picture."""
        print(line)

    def _html(self) -> str:
        console = Console(file=io.StringIO(), record=True, width=WIDTH, force_jupyter=False)
        console.print(Printable(self._picture(self.progress(), self.facts)))
        return console.export_html(inline_styles=True, code_format=FORMAT)


def notebook_display() -> Display | None:
    """The display of the notebook whose kernel this process is; None outside a notebook."""
    ipython = sys.modules.get("IPython")
    shell: Any = ipython.get_ipython() if ipython is not None else None
    if shell is None or not hasattr(shell, "kernel"):
        return None
    from IPython.display import HTML, display

    def show(html: str) -> Callable[[str], None]:
        handle = display(HTML(html), display_id=True)
        return lambda newer: handle.update(HTML(newer))

    return show
