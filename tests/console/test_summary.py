"""What is printed at the end of a sweep."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from raysweep.console.progress import Facts, progress
from raysweep.console.rows import print_row
from raysweep.console.summary import RESUMABLE, failures, print_places, print_summary
from raysweep.study.journal.events import TrialEnded
from raysweep.study.journal.records import fold
from schedulers.reason import ReasonCode
from tests.builders import epoch_reported, trained, trial_ended

LAUNCH = Path(__file__).parents[2] / "launch.py"


def failed(trial: str, error: str) -> list[Any]:
    return [
        *trained(trial, []),
        TrialEnded(t=0.0, trial=trial, outcome="failed", reason="it raised", error=error),
    ]


def printed(show: Callable[..., Any], *args: Any) -> list[str]:
    console = Console(file=io.StringIO(), width=60)
    show(console, *args)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


def test_the_winner_comes_first_with_its_parameters(events: list[Any], facts: Facts) -> None:
    record = fold(events)
    now = progress(record, facts, elapsed_s=75.0)
    assert printed(print_summary, facts, record, now, 0, "all trials ended") == [
        "study            digits: all trials ended",
        "best             trial 0: val_loss 0.5 at epoch 10",
        "                 optimizer_config.lr = 0.1",
        "trials           1 completed, 1 paused, 1 running, 1 stopped",
        "epochs           19 run, 6 saved by stopping early",
        "time             1 min 15 s",
    ]


def audited(trial: str, loss: float) -> list[Any]:
    at_rung = epoch_reported(trial, 2, loss, reason="rung 2", code=ReasonCode.AUDITED)
    later = [epoch_reported(trial, epoch, loss) for epoch in range(3, 11)]
    return [*trained(trial, [loss]), at_rung, *later, trial_ended(trial)]


@pytest.mark.parametrize(
    ("losses", "line"),
    [
        ([], "0 of 1 stops were audited; none of them can be judged"),
        (
            [0.8, 0.6],
            "2 of 3 stops were audited; of 2 judged none was false (at most 58% are, with 95% confidence): "
            "nothing was lost among them",
        ),
        (
            [0.8, 0.4],
            "2 of 3 stops were audited; of 2 judged 1 was false (at most 88% are, with 95% confidence): "
            "trial 11 beats the best finished trial by 0.1 (25%), so the best was lost",
        ),
    ],
)
def test_an_audit_is_printed_with_its_uncertainty(
    losses: Any, line: str, events: list[Any], facts: Facts
) -> None:
    """In the fixture trial 0 finished at 0.5, and trial 1 was stopped at 4 of 10."""
    facts = replace(facts, audited=True)
    more = [event for n, loss in enumerate(losses) for event in audited(f"{10 + n:05d}", loss)]
    record = fold([*events, *more])
    now = progress(record, facts, elapsed_s=75.0)
    lines = printed(print_summary, facts, record, now, 0, "all trials ended")
    spent = f"6 epochs saved by the other stops, {8 * len(losses)} spent on the audit"
    assert lines[5:7] == [f"audit            {line}", f"                 {spent}"]


def test_equal_errors_are_one_line_with_the_first_trial_that_had_it() -> None:
    events = [
        *failed("00000", "Traceback ...\nValueError: bad lr"),
        *failed("00001", "Traceback ...\nOSError: no such file"),
        *failed("00002", "Traceback ...\nValueError: bad lr\n"),
        *trained("00003", [0.3]),
        trial_ended("00003", "infeasible", "breaks the constraint parameters <= 9"),
    ]
    assert failures(fold(events)) == [
        ("failed", "2 x ValueError: bad lr (first: trial 0)"),
        ("failed", "1 x OSError: no such file (first: trial 1)"),
        ("infeasible", "1 x breaks the constraint parameters <= 9 (first: trial 3)"),
    ]


@pytest.mark.parametrize("exit_code", [0, 4, 130])
def test_the_next_command_is_printed_only_where_there_is_one(
    exit_code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs" / "digits"
    lines = printed(print_places, folder, folder / "best.yaml", exit_code)
    assert lines[0] == "folder           runs/digits/"
    assert (f"resume           python {LAUNCH} resume runs/digits" in lines) == (exit_code in RESUMABLE)
    assert (f"report           python {LAUNCH} report runs/digits" in lines) == (exit_code == 0)


def test_no_report_is_offered_for_a_retraining(tmp_path: Path) -> None:
    """It ends with its own table."""
    (tmp_path / "study.json").touch()
    folder = tmp_path / "retrain"
    lines = printed(print_places, folder, folder / "best.yaml", 0)
    assert not any(line.startswith("report") for line in lines)


@pytest.mark.parametrize(
    ("left", "way"),
    [
        (
            True,
            f"python {LAUNCH} resume 'runs/my digits' --adopt-code  (uses your modules as they are then)",
        ),
        (False, "run it again, with `--name ANOTHER`"),
    ],
)
def test_where_failures_ended_the_sweep_the_traceback_is_named(
    left: bool, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Resuming a study whose trials have all failed would run nothing."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs" / "my digits"
    lines = printed(partial(print_places, failed="00002", left=left), folder, folder / "best.yaml", 5)
    assert lines[1:] == [
        "traceback        'runs/my digits'/trials/00002/error.txt",
        f"after the fix    {way}",
    ]


def test_a_link_is_never_broken_over_lines() -> None:
    """It is meant to be clicked, or copied."""
    assert len(printed(print_row, "MLflow", "http://" + "x" * 200)) == 1
