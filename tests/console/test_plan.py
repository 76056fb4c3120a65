"""What `launch.py plan` prints."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import datetime
from typing import Any

from rich.console import Console

from raysweep.console.plan import print_affordable, print_plan, print_staged_plan
from raysweep.planning.plan import Affordable, Choice, Plan, Range
from raysweep.planning.staged_plan import StagedPlan

PLAN = Plan(
    trials=9,
    worst_epochs=90,
    epochs=Range(45.0, 40.0, 60.0),
    rungs={1: 9.0, 3: 3.0},
    slots=2,
    epoch_s=2.0,
    seconds=Range(60.0, 50.0, 90.0),
    worst_s=120.0,
    retrain_s=30.0,
    cost=Range(1.5, 1.0, 2.0),
    disk_mb=12.0,
    notes=("2 cores",),
)
MONDAY = datetime(2024, 1, 1, 12, 0)


def printed(show: Callable[..., Any], *args: Any) -> list[str]:
    console = Console(file=io.StringIO(), width=100)
    show(console, *args)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


def test_a_plan_says_epochs_time_cost_and_what_was_assumed() -> None:
    assert printed(print_plan, PLAN, "of digits", MONDAY) == [
        "trials           9, 2 at once",
        "                 epoch 1: 9",
        "                 epoch 3: 3",
        "epochs           45 (40 to 60), 50% of 90 at most",
        "an epoch         2 s",
        "time             1 min 00 s (50 s to 1 min 30 s), at most 2 min 00 s",
        "ends             Mon 12:01 (Mon 12:00 to Mon 12:01) if started now",
        "retrain          30 s after it",
        "cost             1.50 (1.00 to 2.00)",
        "disk             12 MiB of checkpoints",
        "assumed          curves: of digits",
        "assumed          2 cores",
    ]


def test_a_plan_of_stages_has_a_line_for_each_stage() -> None:
    plan = StagedPlan({"explore": PLAN}, PLAN.epochs, PLAN.seconds, None, 30.0, ())
    assert printed(print_staged_plan, plan, "of digits", MONDAY) == [
        "explore          9 trials, 45 epochs, 1 min 00 s",
        "epochs           45 (40 to 60)",
        "time             1 min 00 s (50 s to 1 min 30 s)",
        "ends             Mon 12:01 if started now",
        "retrain          30 s after it",
        "assumed          curves: of digits",
    ]


def test_what_some_hours_hold_ends_with_the_options_to_use_them() -> None:
    choice = Choice("schedulers.ASHA", 40, 27, 0.25)
    plan = Affordable(2.0, 30.0, (choice,), "optuna.samplers.TPESampler", "40 trials", ("trials=40",))
    assert printed(print_affordable, plan, "of digits") == [
        "hours            2, of which 30 s for the retraining",
        "ASHA             40 trials of at most 27 epochs, 25% run",
        "recommended      40 trials",
        "                 --set trials=40",
        "assumed          curves: of digits",
    ]
