"""`launch.py replay`: a replay for human eyes."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console

from service.study.record import TrialRecord
from service.study.replay import StudyReplay
from service.study.words import setting
from service.view.progress import Facts
from service.view.rows import put
from service.view.words import number

AT_MOST = 30  # stopped trials that are listed; all are in --json


def print_replay(
    console: Console, facts: Facts, trials: Mapping[str, TrialRecord], objective: str, seen: StudyReplay
) -> None:
    """Print what was replayed, what it would have saved and lost, and who would have ended when.

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
    put(console, "replay", f"{facts.name} under {seen.trial_scheduler}({given}), {seen.workers} at once")
    put(console, "curves", f"{len(seen.replayed)} of {seen.recorded} are complete and were replayed")
    for reason, count in seen.left_out.items():
        put(console, "", f"{count} left out: {reason}")
    if "stopped early" in seen.left_out:
        put(console, "", "what is left are survivors of the recorded scheduler: savings are understated")
    run = f"{seen.epochs_run} of {seen.epochs_whole} would have been run"
    put(console, "epochs", f"{run}: {seen.saved:.0%} saved")
    put(console, "trials", f"{len(seen.finished)} would have finished, {len(seen.stopped)} ended earlier")
    if seen.found is None:
        put(console, "best", f"{named(seen.best)} would have been lost: nobody would have finished", "yellow")
    elif seen.regret == 0:
        put(console, "best", f"{named(seen.found)} would have been found", "bold green")
    else:
        put(console, "best", f"{named(seen.best)} would have been lost", "yellow")
        put(console, "", f"{named(seen.found)} would have been found, worse by {number(seen.regret)}")
    for trial, (epoch, reason) in list(seen.stopped.items())[:AT_MOST]:
        put(console, f"trial {int(trial)}", f"ended at epoch {epoch}: {reason}")
    if len(seen.stopped) > AT_MOST:
        put(console, "", f"and {len(seen.stopped) - AT_MOST} more; --json has them all")
