"""`launch.py plan`: what a sweep will come to, or what so many hours hold."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from rich.console import Console

from raysweep.console.rows import print_row
from raysweep.formatting import duration


def print_plan(console: Console, seen: Mapping[str, Any], assumed: str, now: datetime) -> None:
    """Print a plan.

    Args:
        console: where to.
        seen: a plan, as its JSON.
        assumed: where the curves are from.
        now: when it would begin.
    """
    epochs, took = seen["epochs"], seen["seconds"]
    print_row(console, "trials", f"{seen['trials']}, {seen['slots']} at once")
    for epoch, trials in seen["rungs"].items():
        print_row(console, "", f"epoch {epoch}: {trials:.0f}")
    share = epochs["middle"] / seen["worst_epochs"]
    print_row(console, "epochs", f"{_range(epochs, '.0f')}, {share:.0%} of {seen['worst_epochs']} at most")
    print_row(console, "an epoch", f"{seen['epoch_s']:.3g} s")
    print_row(console, "time", f"{_lasts(took)}, at most {duration(seen['worst_s'])}")
    ends = [now + timedelta(seconds=took[key]) for key in ("middle", "low", "high")]
    at = [f"{end:%a %H:%M}" for end in ends]
    print_row(console, "ends", f"{at[0]} ({at[1]} to {at[2]}) if it begins now")
    _print_rest(console, seen, assumed)


def print_staged_plan(console: Console, seen: Mapping[str, Any], assumed: str, now: datetime) -> None:
    """Print a plan of stages, as its JSON, see `print_plan`."""
    for name, one in seen["stages"].items():
        epochs, took = one["epochs"], one["seconds"]
        print_row(
            console,
            name,
            f"{one['trials']} trials, {epochs['middle']:.0f} epochs, {duration(took['middle'])}",
        )
    took = seen["seconds"]
    print_row(console, "epochs", _range(seen["epochs"], ".0f"))
    print_row(console, "time", _lasts(took))
    print_row(console, "ends", f"{now + timedelta(seconds=took['middle']):%a %H:%M} if it begins now")
    _print_rest(console, seen, assumed)


def _range(found: Mapping[str, float], form: str) -> str:
    return f"{found['middle']:{form}} ({found['low']:{form}} to {found['high']:{form}})"


def _lasts(took: Mapping[str, float]) -> str:
    return f"{duration(took['middle'])} ({duration(took['low'])} to {duration(took['high'])})"


def _print_rest(console: Console, seen: Mapping[str, Any], assumed: str) -> None:
    """What comes after the sweep, what it costs, and what was assumed."""
    print_row(console, "retrain", f"{duration(seen['retrain_s'])} after it")
    if seen["cost"] is not None:
        print_row(console, "cost", _range(seen["cost"], ".2f"))
    if seen.get("disk_mb") is not None:
        print_row(console, "disk", f"{seen['disk_mb']:.0f} MiB of checkpoints")
    for note in (f"curves: {assumed}", *seen["notes"]):
        print_row(console, "assumed", note, "dim")


def print_affordable(console: Console, seen: Mapping[str, Any], assumed: str) -> None:
    """Print what so many hours hold, and how to use them."""
    print_row(
        console, "hours", f"{seen['hours']:g}, of which {duration(seen['retrain_s'])} for the retraining"
    )
    for choice in seen["choices"]:
        fits = f"{choice['trials']} trials of at most {choice['epochs']} epochs, {choice['share']:.0%} run"
        print_row(console, choice["trial_scheduler"].removeprefix("schedulers."), fits)
    print_row(console, "recommended", seen["why"])
    print_row(console, "", " ".join(f"--set {each}" for each in seen["sets"]), "bold")
    print_row(console, "assumed", f"curves: {assumed}", "dim")
