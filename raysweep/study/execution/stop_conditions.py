"""When a study as a whole has come far enough: the sweep file's `stop`, read off the record."""

from __future__ import annotations

from raysweep.config import Sweep
from raysweep.study.journal.records import StudyRecord, TrialRecord


def reached(sweep: Sweep, record: StudyRecord) -> str:
    """What of the sweep's `stop` is reached, in words for the user; empty while nothing is.

    Only completed trials reach or improve anything: what a trial is worth is not known before. Then,
    since the best last got better by more than `min_delta`, those trials count that were completed,
    stopped, set aside by the trial scheduler or diverged, whose last epoch came later; whoever failed
    tells nothing.
    """
    target, patience = sweep.stop.target, sweep.stop.no_improvement
    if target is None and patience is None:
        return ""  # asked after every epoch: nothing here may grow with the trials
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
        _tells(trial) and trial.curve[-1].t > best.curve[-1].t
        for trial in record.trials.values()
        if trial is not best and trial.curve
    )
    if since < patience.trials:
        return ""
    by = f" by more than {patience.min_delta:g}" if patience.min_delta else ""
    since_best = f"since trial {best.number}: {_shown(best, sweep, record)}"
    return f"no improvement{by} in {patience.trials} trials {since_best}"


def _last_improvement(order: list[TrialRecord], record: StudyRecord, min_delta: float) -> TrialRecord | None:
    """The last completed trial that was better than all improvements before it by more than `min_delta`."""
    best: TrialRecord | None = None
    for trial in order:
        if best is None or trial.end_loss(record.objective) < best.end_loss(record.objective) - min_delta:
            best = trial
    return best


def _tells(trial: TrialRecord) -> bool:
    """Whether the trial had its chance: it ended by a decision, or waits by one."""
    waits = trial.status == "paused" and trial.awaiting_rule
    return waits or trial.outcome in ("completed", "stopped", "diverged")


def _shown(trial: TrialRecord, sweep: Sweep, record: StudyRecord) -> str:
    """Its metric, as the user knows it."""
    return f"{sweep.metric} {sweep.sign * trial.end_loss(record.objective):.6g}"
