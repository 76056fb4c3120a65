"""The live screen."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console, ConsoleDimensions

from raysweep.console.lines import Lines
from raysweep.console.live import ROWS, Screen, picture, watch
from raysweep.console.progress import Facts, progress
from raysweep.study.journal.records import StudyRecord, fold
from tests.builders import epoch_reported, trained, trial_created, trial_started


def shown(events: list[Any], facts: Facts, *, width: int = 100, **console: Any) -> str:
    terminal = Console(file=io.StringIO(), width=width, **console)
    terminal.print(picture(progress(fold(events), facts, elapsed_s=19.0), facts))
    return terminal.file.getvalue()  # type: ignore[attr-defined]


def test_the_screen_says_what_matters(events: list[Any], facts: Facts) -> None:
    """Trials by status, the incumbent with its parameters, what runs, epochs, time."""
    assert [line.rstrip() for line in shown(events, facts).splitlines()] == [
        "digits  2/4 trials over   19 s elapsed, about 9 s left",
        "1 completed  1 running  1 paused  1 stopped",
        "best val_loss 0.5  trial 0, epoch 10  lr=0.1",
        "trial  epoch  val_loss  parameters",
        "    2   2/10       0.6  lr=0.1",
        "19 epochs run, 6 saved by stopping early",
    ]


def test_a_cluster_of_running_trials_fits_on_the_screen(facts: Facts) -> None:
    events = [event for number in range(40) for event in trained(f"{number:05d}", [1.0])]
    text = shown(events, facts)
    assert f"{40 - ROWS} more" in text
    assert len(text.splitlines()) == ROWS + 6


@pytest.mark.parametrize("width", [40, 80])
def test_long_parameters_are_cut_before_trial_epoch_and_loss(width: int, facts: Facts) -> None:
    config = {f"run.net_config.parameter_{place}": 0.123456 for place in range(9)}
    events = [trial_created("00117", config), trial_started("00117"), epoch_reported("00117", 3, 0.6)]
    header, row = shown(events, facts, width=width).splitlines()[-3:-1]
    assert header.split() == ["trial", "epoch", "val_loss", "parameters"]
    assert row.split()[:3] == ["117", "3/10", "0.6"]
    assert row.rstrip().endswith("…")
    assert len(row) <= width


def test_no_color_is_honoured(events: list[Any], facts: Facts, monkeypatch: pytest.MonkeyPatch) -> None:
    """no-color.org: no colours; bold may stay."""
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[32m" not in shown(events, facts, force_terminal=True)
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "xterm-256color")
    assert "\x1b[32m" in shown(events, facts, force_terminal=True)


@pytest.mark.parametrize(("terminal", "kind"), [(True, Screen), (False, Lines)])
def test_plain_lines_where_there_is_no_terminal(
    terminal: bool, kind: type[Any], facts: Facts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    console = Console(file=io.StringIO(), force_terminal=terminal)
    assert type(watch(facts, StudyRecord(), console)) is kind


def test_the_last_picture_stays_on_the_screen(events: list[Any], facts: Facts) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    with Screen(facts, StudyRecord(), console=console) as view:
        for event in events:
            view(event)
        view.say("a line that stays")
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "a line that stays" in text
    assert text.rindex("best") > text.index("a line that stays")


@pytest.mark.parametrize(
    ("width", "height", "cleared"),
    [(100, 25, False), (120, 30, False), (60, 25, True), (100, 10, True)],
)
def test_a_shrunk_terminal_is_drawn_on_from_its_top(
    width: int, height: int, cleared: bool, events: list[Any], facts: Facts
) -> None:
    """Terminals treat lines that are too long differently, so the cursor cannot find the old picture."""
    console = Console(file=io.StringIO(), force_terminal=True, width=100, height=25)
    with Screen(facts, fold(events), console=console):
        console.size = ConsoleDimensions(width, height)
    assert ("\x1b[2J\x1b[H" in console.file.getvalue()) is cleared  # type: ignore[attr-defined]
