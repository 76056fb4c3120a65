"""`launch.py plan`: what a sweep will cost, or what fits into so many hours."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from rich.console import Console

from raysweep.console.rows import print_row
from raysweep.formatting import duration, sweep_size
from raysweep.launch_command import set_options

if TYPE_CHECKING:
    from raysweep.planning.plan import Affordable, Plan, Range
    from raysweep.planning.staged_plan import StagedPlan


def print_plan(console: Console, plan: Plan, assumed: str, now: datetime) -> None:
    """Print a plan.

    Args:
        console: where to print.
        plan: of a sweep without stages.
        assumed: where the curves come from.
        now: when the sweep would begin.
    """
    epochs, seconds = plan.epochs, plan.seconds
    print_row(console, "trials", f"{plan.trials}, {plan.slots} at once")
    for epoch, trials in plan.rungs.items():
        print_row(console, "", f"epoch {epoch}: {trials:.0f}")
    share = epochs.middle / plan.worst_epochs
    print_row(console, "epochs", f"{_range(epochs, '.0f')}, {share:.0%} of {plan.worst_epochs} at most")
    print_row(console, "an epoch", f"{plan.epoch_s:.3g} s")
    print_row(console, "time", f"{_duration_range(seconds)}, at most {duration(plan.worst_s)}")
    middle, low, high = (
        f"{now + timedelta(seconds=each):%a %H:%M}" for each in (seconds.middle, seconds.low, seconds.high)
    )
    print_row(console, "ends", f"{middle} ({low} to {high}) if started now")
    _print_rest(console, plan, assumed)


def print_staged_plan(console: Console, plan: StagedPlan, assumed: str, now: datetime) -> None:
    """Print a plan of stages; see `print_plan`."""
    for name, stage in plan.stages.items():
        costs = f"{stage.epochs.middle:.0f} epochs, {duration(stage.seconds.middle)}"
        print_row(console, name, f"{stage.trials} trials, {costs}")
    print_row(console, "epochs", _range(plan.epochs, ".0f"))
    print_row(console, "time", _duration_range(plan.seconds))
    print_row(console, "ends", f"{now + timedelta(seconds=plan.seconds.middle):%a %H:%M} if started now")
    _print_rest(console, plan, assumed)


def _range(span: Range, form: str) -> str:
    return f"{span.middle:{form}} ({span.low:{form}} to {span.high:{form}})"


def _duration_range(span: Range) -> str:
    return f"{duration(span.middle)} ({duration(span.low)} to {duration(span.high)})"


def _print_rest(console: Console, plan: Plan | StagedPlan, assumed: str) -> None:
    """Print the retraining's time, the cost, the disk space, and what was assumed."""
    print_row(console, "retrain", f"{duration(plan.retrain_s)} after it")
    if plan.cost is not None:
        print_row(console, "cost", _range(plan.cost, ".2f"))
    if (disk_mb := getattr(plan, "disk_mb", None)) is not None:
        print_row(console, "disk", f"{disk_mb:.0f} MiB of checkpoints")
    for note in (f"curves: {assumed}", *plan.notes):
        print_row(console, "assumed", note, "dim")


def print_affordable(console: Console, plan: Affordable, assumed: str) -> None:
    """Print how many trials fit into the hours, and the recommended use of them."""
    print_row(console, "hours", f"{plan.hours:g}, of which {duration(plan.retrain_s)} for the retraining")
    for choice in plan.choices:
        fits = f"{sweep_size(choice.trials, choice.epochs)}, {choice.share:.0%} run"
        print_row(console, choice.trial_scheduler.removeprefix("schedulers."), fits)
    print_row(console, "recommended", plan.why)
    print_row(console, "", set_options(plan.sets), "bold")
    print_row(console, "assumed", f"curves: {assumed}", "dim")
