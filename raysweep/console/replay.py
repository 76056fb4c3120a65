"""`launch.py replay`: a replay for human eyes."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console

from raysweep.console.formatting import number
from raysweep.console.progress import Facts
from raysweep.console.rows import print_row
from raysweep.formatting import setting
from raysweep.study.journal.records import TrialRecord
from raysweep.study.results.counterfactual import StudyReplay

AT_MOST = 30  # stopped trials that are listed; all are in --json


def print_replay(
    console: Console, facts: Facts, trials: Mapping[str, TrialRecord], objective: str, seen: StudyReplay
) -> None:
    """Print what was replayed, what it would have saved and lost, and which trials would have ended when.

    Args:
        console: where to.
        facts: of the sweep.
        trials: of the record that was replayed.
        objective: what a trial is worth.
        seen: the replay.
    """

    def named(trial: str) -> str:
        worth = facts.value(trials[trial].worth(objective))
        return f"trial {int(trial)}: {facts.metric} {number(worth)}"

    given = ", ".join(f"{key}={setting(value)}" for key, value in seen.kwargs.items())
    print_row(
        console, "replay", f"{facts.name} under {seen.trial_scheduler}({given}), {seen.workers} at once"
    )
    print_row(console, "curves", f"{len(seen.replayed)} of {seen.recorded} are complete and were replayed")
    for reason, count in seen.left_out.items():
        print_row(console, "", f"{count} left out: {reason}")
    if "stopped early" in seen.left_out:
        print_row(
            console, "", "what is left are survivors of the recorded scheduler: savings are understated"
        )
    run = f"{seen.epochs_run} of {seen.epochs_whole} would have been run"
    print_row(console, "epochs", f"{run}: {seen.saved:.0%} saved")
    print_row(
        console, "trials", f"{len(seen.finished)} would have finished, {len(seen.stopped)} ended earlier"
    )
    if seen.found is None:
        lost = f"{named(seen.best)} would have been lost: no trial would have finished"
        print_row(console, "best", lost, "yellow")
    elif seen.regret == 0:
        print_row(console, "best", f"{named(seen.found)} would have been found", "bold green")
    else:
        print_row(console, "best", f"{named(seen.best)} would have been lost", "yellow")
        print_row(console, "", f"{named(seen.found)} would have been found, worse by {number(seen.regret)}")
    for trial, (epoch, reason) in list(seen.stopped.items())[:AT_MOST]:
        print_row(console, f"trial {int(trial)}", f"ended at epoch {epoch}: {reason}")
    if len(seen.stopped) > AT_MOST:
        print_row(console, "", f"and {len(seen.stopped) - AT_MOST} more; --json has them all")
