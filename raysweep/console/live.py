"""The live view on a terminal, redrawn in place."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from raysweep.console.console import Printable
from raysweep.console.formatting import number, settings
from raysweep.console.lines import Lines, times
from raysweep.console.notebook import NotebookView, notebook_display
from raysweep.console.progress import Facts, Progress
from raysweep.console.watch import StudyView
from raysweep.study.journal.events import Event
from raysweep.study.journal.records import StudyRecord

ROWS = 8  # of running trials; a cluster has hundreds

STYLES = {
    "completed": "green",
    "running": "cyan",
    "paused": "blue",
    "stopped": "yellow",
    "diverged": "magenta",
    "failed": "red",
    "infeasible": "red",
}


class Screen(StudyView):
    """A rich Live display; lines of other programs scroll past above it."""

    def __init__(
        self,
        facts: Facts,
        record: StudyRecord,
        *,
        console: Console,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(facts, record, clock=clock)
        # The view's own thread redraws; a second one of rich's would be superfluous.
        self._live = Live(console=console, auto_refresh=False)
        self._size = console.size

    def open(self) -> None:
        """Start the display."""
        self._live.start()

    def draw(self, events: list[Event]) -> None:
        """Redraw the whole screen, on a clear one if the terminal has shrunk."""
        console, before = self._live.console, self._size
        self._size = console.size
        if self._size.width < before.width or self._size.height < before.height:
            # Some terminals rewrap the last picture and some cut it, so its first line is unknown.
            console.file.write("\n" * self._size.height)  # moves the text there to the scrollback
            console.clear()
        self._live.update(Printable(picture(self.progress(), self.facts)), refresh=True)

    def close(self) -> None:
        """Leave the last picture on the terminal and release it."""
        self._live.stop()

    def show(self, line: str) -> None:
        """Print a line above the picture."""
        self._live.console.print(line, highlight=False)


def picture(now: Progress, facts: Facts) -> Group:
    """The live view as one renderable."""
    return Group(_headline(now, facts), _counts(now), _best(now, facts), *_running(now, facts), _epochs(now))


def _headline(now: Progress, facts: Facts) -> Text:
    return Text.assemble(
        (facts.name, "bold"),
        f"  {now.ended}/{facts.wanted} trials over   {times(now)}",
    )


def _counts(now: Progress) -> Text:
    shown = [(status, now.counts.get(status, 0)) for status in STYLES]
    always = ("completed", "running", "stopped")
    return Text("  ").join(
        Text(f"{count} {status}", STYLES[status] if count else "dim")
        for status, count in shown
        if count or status in always
    )


def _best(now: Progress, facts: Facts) -> Text:
    if now.best is None:
        starting = not now.running and not now.ended
        return Text("Ray and the first trials are starting" if starting else "no result yet", "dim")
    return Text.assemble(
        "best ",
        (f"{facts.metric} {number(now.best.value)}", "bold green"),
        f"  trial {now.best.number}, epoch {now.best.epoch}  {settings(now.best.config)}",
    )


def _running(now: Progress, facts: Facts) -> list[Table]:
    if not now.running:
        return []
    table = Table(box=None, pad_edge=False, header_style="dim", expand=True)
    for name in ("trial", "epoch", facts.metric):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("parameters", ratio=1, no_wrap=True, overflow="ellipsis", style="dim")
    for trial in now.running[:ROWS]:
        epoch = f"{trial.epoch}/{facts.epochs}"
        table.add_row(str(trial.number), epoch, number(trial.value), settings(trial.config))
    if len(now.running) > ROWS:
        table.add_row("...", f"{len(now.running) - ROWS} more", "", "")
    return [table]


def _epochs(now: Progress) -> Text:
    return Text(f"{now.epochs_run} epochs run, {now.epochs_saved} saved by stopping early", "dim")


def watch(facts: Facts, record: StudyRecord, console: Console) -> StudyView:
    """The live view in a notebook or on a terminal, plain lines anywhere else."""
    if (display := notebook_display()) is not None:
        return NotebookView(facts, record, display=display, draw=picture)
    if console.is_terminal and not console.is_dumb_terminal:
        return Screen(facts, record, console=console)
    return Lines(facts, record, stream=console.file)  # type: ignore[arg-type]
