"""What is printed once a sweep is over: the winner, the balance, where things lie, what to do next."""

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
from raysweep.study.results.stop_audit import Audit, audit
from schedulers.racing import CANDIDATE_KEY

SHOWN = 10  # trials of the front that are printed
FAILED = (4, 5)  # exit codes of a sweep that its trials' failures ended
RESUMABLE = (1, 5, 7, 130)  # exit codes after which `launch.py resume` has something to carry on with


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
        for label, line in zip(("audit", ""), audit_lines(audit(record, facts.epochs)), strict=True):
            print_row(console, label, line)
    print_row(console, "time", duration(now.elapsed_s))
    for line in failures(record):
        print_row(console, "failed", line, "red")


def lane_lines(record: StudyRecord) -> list[str]:
    """How trials that shared processes were trained: how many together, and why others were not."""
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
    """Whether the search beat the run as it was before it; empty where that was not tried.

    Of a race over seeds it says nothing: there the baseline is one candidate of a table of means.
    """
    first = next((trial for trial in record.trials.values() if trial.source == "baseline"), None)
    best = record.best()
    if first is None or best is None or CANDIDATE_KEY in first.config:
        return ""
    value, found = first.worth(record.objective), best.worth(record.objective)
    if first.outcome != "completed" or value is None or found is None:
        return f"trial {first.number}, {facts.baseline}, did not run to its end ({first.status})"
    shown = f"{facts.metric} {number(facts.value(value))}"
    if searched(best.first_config) == searched(first.first_config):  # a replicate of it is no other
        return f"{shown}: no trial beat {facts.baseline}"
    gap = number(abs(value - found))
    share = f" ({abs(value - found) / abs(value):.1%})" if value else ""
    return f"{shown} with {facts.baseline}: the search beat it by {gap}{share}"


def front_lines(facts: Facts, record: StudyRecord) -> list[str]:
    """The Pareto front of several metrics, a trial a line; empty where there is one metric."""
    if len(facts.metrics) < 2:
        return []
    found = pareto_front(record.trials.values(), facts.metrics, record.objective)
    lines = []
    for trial in found[:SHOWN]:
        point = scored_point(trial, record.objective)
        assert point is not None, "a trial of the front has reported"
        values = ", ".join(f"{each.name} {number(point.metrics[each.name])}" for each in facts.metrics)
        lines.append(f"trial {trial.number}: {values}")
    more = len(found) - SHOWN
    return [*lines, *([f"and {more} more: status.json"] if more > 0 else [])]


def audit_lines(found: Audit) -> tuple[str, str]:
    """What the audit says of the stops, and of the epochs."""
    stops = f"{found.audited} of {found.audited + found.stopped} stops let run on"
    epochs = f"{found.epochs_saved} epochs saved by the other stops, {found.epochs_spent} spent on the audit"
    if not found.judged:
        return f"{stops}; none of them can be judged", epochs
    false = "none was" if not found.false_stops else f"{len(found.false_stops)}"
    at_most = f"at most {found.at_most:.0%} are, with 95% confidence"
    return f"{stops}; of {found.judged} judged {false} false ({at_most}): {found.loss_sentence}", epochs


def failures(record: StudyRecord) -> list[str]:
    """The most common errors of failed trials, one line each, with the number of the first that had it."""
    return [
        f"{found['trials']} x {found['error']} (first: trial {int(found['first'])})"
        for found in common_failures(record.trials.values())
    ]


def print_places(
    console: Console, folder: Path, best_file: Path, exit_code: int, *, failed: str = "", left: bool = True
) -> None:
    """Print where everything lies, and the command to go on with if there is one.

    Args:
        console: where.
        folder: of the study.
        best_file: its best.yaml, perhaps not there.
        exit_code: of the sweep.
        failed: the first trial that failed; its traceback is worth reading where it ended the sweep.
        left: whether trials are left to run.
    """
    print_row(console, "everything", f"{typed(folder)}/")
    if best_file.exists():
        print_row(console, "best config", typed(best_file))
    if failed and exit_code in FAILED:
        print_row(console, "traceback", f"{shlex.quote(typed(folder))}/trials/{failed}/error.txt", "red")
        own = " --adopt-code  (takes your modules as they then are)" if left else ""
        again = launch_command("resume", folder) + own if left else "run it again, with `--name ANOTHER`"
        print_row(console, "once fixed", again)
    elif exit_code in RESUMABLE:
        print_row(console, "carry on", launch_command("resume", folder))
    elif exit_code == 0 and not (folder.parent / "study.json").exists():  # a retraining has its own table
        print_row(console, "what it taught", launch_command("report", folder))


def first_failed(record: StudyRecord) -> str:
    """The first trial with the most common error; "" where none failed."""
    found = common_failures(record.trials.values())
    return str(found[0]["first"]) if found else ""
