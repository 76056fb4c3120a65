"""What is printed at the end of a sweep: the winner, the totals, where the files are, what to do next."""

from __future__ import annotations

import shlex
from collections import Counter
from pathlib import Path

from rich.console import Console

from raysweep.config.trial_config import searched
from raysweep.console.formatting import number
from raysweep.console.progress import Facts, Progress
from raysweep.console.rows import print_row
from raysweep.formatting import duration, setting
from raysweep.launch_command import launch_command, typed
from raysweep.study.journal.failures import common_failures
from raysweep.study.journal.pareto import pareto_front, scored_point
from raysweep.study.journal.records import StudyRecord
from raysweep.study.results.stop_audit import audit
from schedulers.racing import CANDIDATE_KEY

SHOWN = 10  # trials of the front that are printed
FAILED = (4, 5)  # exit codes of a sweep that was ended by failed trials
RESUMABLE = (1, 5, 7, 130)  # exit codes after which `launch.py resume` can continue


def print_summary(
    console: Console, facts: Facts, record: StudyRecord, now: Progress, exit_code: int, reason: str
) -> None:
    """Print how the study ended: the best trial with its parameters, trials, epochs, time, failures."""
    print_row(console, "study", f"{facts.name}: {reason}", "bold green" if exit_code == 0 else "bold yellow")
    if now.best is not None:
        value = f"{facts.metric} {number(now.best.value)} at epoch {now.best.epoch}"
        print_row(console, "best", f"trial {now.best.number}: {value}", "bold")
        for key, chosen in now.best.config.items():
            print_row(console, "", f"{key} = {setting(chosen)}")
    if line := against_baseline(facts, record):
        print_row(console, "baseline", line)
    for label, line in zip(("front", *[""] * SHOWN), front_lines(facts, record), strict=False):
        print_row(console, label, line)
    counts = ", ".join(f"{count} {status}" for status, count in sorted(now.counts.items()))
    print_row(console, "trials", counts or "none")
    for label, line in zip(("lanes", *[""] * SHOWN), lane_lines(record), strict=False):
        print_row(console, label, line)
    print_row(console, "epochs", f"{now.epochs_run} run, {now.epochs_saved} saved by stopping early")
    if facts.audited:
        audited = audit(record, facts.epochs)
        print_row(console, "audit", audited.stops_sentence)
        print_row(console, "", audited.epochs_sentence)
    print_row(console, "time", duration(now.elapsed_s))
    for outcome, line in failures(record):
        print_row(console, outcome, line, "red")


def lane_lines(record: StudyRecord) -> list[str]:
    """How trials that shared processes were trained: how many together, and why the others were not."""
    obstacles = [t.lane_obstacle for t in record.trials.values() if t.lane_obstacle is not None]
    if not obstacles:
        return []
    alone = Counter(obstacle for obstacle in obstacles if obstacle)
    together = len(obstacles) - alone.total()
    shared = (
        f"{record.lanes} trials to a process; {together} of {len(obstacles)} trained together where they fit"
    )
    return [shared, *(f"{count} each by itself: {why}" for why, count in alone.most_common())]


def against_baseline(facts: Facts, record: StudyRecord) -> str:
    """Whether the search beat the baseline; "" if the baseline was not tried.

    Also "" for a race over seeds: there the baseline is one candidate in a table of means.
    """
    baseline = next((trial for trial in record.trials.values() if trial.source == "baseline"), None)
    best = record.best()
    if baseline is None or best is None or CANDIDATE_KEY in baseline.config:
        return ""
    loss, best_loss = baseline.objective_loss(record.objective), best.objective_loss(record.objective)
    if baseline.outcome != "completed" or loss is None or best_loss is None:
        return f"trial {baseline.number}, {facts.baseline}, did not run to its end ({baseline.status})"
    if baseline.lineage:
        copy = baseline.lineage[0]
        took = f"went on as a copy of trial {int(copy.donor)} at epoch {copy.epoch}"
        return f"trial {baseline.number}, {facts.baseline}, {took}"
    value = f"{facts.metric} {number(facts.value(loss))}"
    if searched(best.first_config) == searched(baseline.first_config):  # perhaps a replicate
        return f"{value}: no trial beat {facts.baseline}"
    gap = number(abs(loss - best_loss))
    share = f" ({abs(loss - best_loss) / abs(loss):.1%})" if loss else ""
    return f"{value} with {facts.baseline}: the search beat it by {gap}{share}"


def front_lines(facts: Facts, record: StudyRecord) -> list[str]:
    """The Pareto front of several metrics, a line for each trial; empty with one metric."""
    if len(facts.metrics) < 2:
        return []
    trials = pareto_front(record.trials.values(), facts.metrics, record.objective)
    lines = []
    for trial in trials[:SHOWN]:
        point = scored_point(trial, record.objective)
        assert point is not None, "a trial of the front has reported"
        values = ", ".join(f"{each.name} {number(point.metrics[each.name])}" for each in facts.metrics)
        lines.append(f"trial {trial.number}: {values}")
    more = len(trials) - SHOWN
    return [*lines, *([f"and {more} more: status.json"] if more > 0 else [])]


def failures(record: StudyRecord) -> list[tuple[str, str]]:
    """The most common errors of trials: their outcome, and a line with the first trial that had it."""
    return [
        (
            failure["outcome"],
            f"{failure['trials']} x {failure['error']} (first: trial {int(failure['first'])})",
        )
        for failure in common_failures(record.trials.values())
    ]


def print_places(
    console: Console, folder: Path, best_file: Path, exit_code: int, *, failed: str = "", left: bool = True
) -> None:
    """Print where the study's files are, and the next command if there is one.

    Args:
        console: where to print.
        folder: of the study.
        best_file: its best.yaml, which need not exist.
        exit_code: of the sweep.
        failed: id of the trial whose traceback is named if failures ended the sweep.
        left: whether trials are left to run.
    """
    print_row(console, "folder", f"{typed(folder)}/")
    if best_file.exists():
        print_row(console, "best config", typed(best_file))
    if failed and exit_code in FAILED:
        print_row(console, "traceback", f"{shlex.quote(typed(folder))}/trials/{failed}/error.txt", "red")
        adopt = " --adopt-code  (uses your modules as they are then)"
        again = launch_command("resume", folder) + adopt if left else "run it again, with `--name ANOTHER`"
        print_row(console, "after the fix", again)
    elif exit_code in RESUMABLE:
        print_row(console, "resume", launch_command("resume", folder))
    elif exit_code == 0 and not (folder.parent / "study.json").exists():  # a retraining has its own table
        print_row(console, "report", launch_command("report", folder))


def first_failed(record: StudyRecord) -> str:
    """Id of the first trial with the most common error; "" if none failed."""
    errors = common_failures(record.trials.values())
    return str(errors[0]["first"]) if errors else ""
