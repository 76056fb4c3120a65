"""The goal of a whole study: the sweep file's `stop`, checked on the record."""

from __future__ import annotations

from raysweep.config import Sweep
from raysweep.study.journal.records import StudyRecord, TrialRecord


def describe_reached_goal(sweep: Sweep, record: StudyRecord) -> str:
    """Which part of the sweep's `stop` is reached, as a message; "" while none is.

    Only completed trials reach a target or improve the best. For `no_improvement`, the trials counted since
    the last improvement by more than `min_delta` are those that were completed, stopped, paused by the trial
    scheduler or diverged, and whose last epoch came later; failed trials do not count.
    """
    target, patience = sweep.stop.target, sweep.stop.no_improvement
    if target is None and patience is None:
        return ""  # called after every epoch, so it must not take longer with more trials
    order = sorted(
        (trial for trial in record.trials.values() if trial.outcome == "completed" and trial.curve),
        key=lambda trial: (trial.curve[-1].t, trial.number),
    )
    if target is not None:
        for trial in order:
            if trial.end_loss(record.objective) <= sweep.sign * target:
                return f"target {target:g} reached by trial {trial.number}: {_shown(trial, sweep, record)}"
    best = _last_improvement(order, record, patience.min_delta) if patience is not None else None
    if patience is None or best is None:
        return ""
    since = sum(
        _had_its_chance(trial) and trial.curve[-1].t > best.curve[-1].t
        for trial in record.trials.values()
        if trial is not best and trial.curve
    )
    if since < patience.trials:
        return ""
    by = f" by more than {patience.min_delta:g}" if patience.min_delta else ""
    since_best = f"since trial {best.number}: {_shown(best, sweep, record)}"
    return f"no improvement{by} in {patience.trials} trials {since_best}"


def _last_improvement(order: list[TrialRecord], record: StudyRecord, min_delta: float) -> TrialRecord | None:
    """The last completed trial that improved the best by more than `min_delta`; None if none completed."""
    best: TrialRecord | None = None
    for trial in order:
        if best is None or trial.end_loss(record.objective) < best.end_loss(record.objective) - min_delta:
            best = trial
    return best


def _had_its_chance(trial: TrialRecord) -> bool:
    """Whether the trial completed, diverged, or was stopped or paused by a decision."""
    waits = trial.status == "paused" and trial.awaiting_rule
    return waits or trial.outcome in ("completed", "stopped", "diverged")


def _shown(trial: TrialRecord, sweep: Sweep, record: StudyRecord) -> str:
    """The name and value of a trial's metric."""
    return f"{sweep.metric} {sweep.sign * trial.end_loss(record.objective):.6g}"
