"""`launch.py replay`: the result of a replay as text."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console

from raysweep.console.formatting import number
from raysweep.console.progress import Facts
from raysweep.console.rows import print_row
from raysweep.formatting import setting
from raysweep.study.journal.records import TrialRecord
from raysweep.study.results.counterfactual import StudyReplay

AT_MOST = 30  # stopped trials that are listed; --json has all


def print_replay(
    console: Console, facts: Facts, trials: Mapping[str, TrialRecord], objective: str, replay: StudyReplay
) -> None:
    """Print what was replayed, what it would have saved and lost, and which trials would have ended when.

    Args:
        console: where to print.
        facts: of the sweep.
        trials: of the record that was replayed.
        objective: `last` or `best`.
        replay: its result.
    """

    def named(trial: str) -> str:
        value = trials[trial].objective_value(objective, facts.sign)
        return f"trial {int(trial)}: {facts.metric} {number(value)}"

    given = ", ".join(f"{key}={setting(value)}" for key, value in replay.kwargs.items())
    print_row(
        console, "replay", f"{facts.name} under {replay.trial_scheduler}({given}), {replay.workers} at once"
    )
    print_row(
        console, "curves", f"{len(replay.replayed)} of {replay.recorded} are complete and were replayed"
    )
    for reason, count in replay.left_out.items():
        print_row(console, "", f"{count} left out: {reason}")
    if "stopped early" in replay.left_out:
        print_row(console, "", "the others survived the recorded scheduler, so the savings are understated")
    run = f"{replay.epochs_run} of {replay.epochs_whole} would have been run"
    print_row(console, "epochs", f"{run}: {replay.saved:.0%} saved")
    print_row(
        console, "trials", f"{len(replay.finished)} would have finished, {len(replay.stopped)} ended earlier"
    )
    if replay.found is None:
        lost = f"{named(replay.best)} would have been lost: no trial would have finished"
        print_row(console, "best", lost, "yellow")
    elif replay.regret == 0:
        print_row(console, "best", f"{named(replay.found)} would have been found", "bold green")
    else:
        print_row(console, "best", f"{named(replay.best)} would have been lost", "yellow")
        print_row(
            console, "", f"{named(replay.found)} would have been found, worse by {number(replay.regret)}"
        )
    for trial, (epoch, reason) in list(replay.stopped.items())[:AT_MOST]:
        print_row(console, f"trial {int(trial)}", f"ended at epoch {epoch}: {reason}")
    if len(replay.stopped) > AT_MOST:
        print_row(console, "", f"and {len(replay.stopped) - AT_MOST} more; --json has them all")
