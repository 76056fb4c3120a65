"""What the trial scheduler did, held against what it does by design."""

from __future__ import annotations

from raysweep.report.findings.evidence import Evidence, Finding, again, on_study
from raysweep.report.tables import EXTREME, FEW

PATIENT = ("Patience", "Margin", "Racing")
"""Rules that act only where something is wrong: that they do not act is no flag."""
LOOSER = {
    "ASHA": ("grace_period", 2, 1),
    "Hyperband": ("grace_period", 2, 1),
    "SuccessiveHalving": ("grace_period", 2, 1),
    "ClassicPFL": ("top_k", 2, 10),
    "MedianStopping": ("n_warmup_steps", 2, 3),
}
"""Trial scheduler -> the argument that makes it milder, by what factor, and what it is by default."""


def stops_too_many(seen: Evidence) -> Finding | None:
    """More trials were stopped than the rule stops by design.

    For the classic PFL and the median rule more than 80% (000, "how to read the report") and 95% (003,
    red flag 4) are flags; halving stops all but one of eta at its first rung, which is no flag, so that
    for it only 95% is one.
    """
    stops = seen.tables.stops
    if stops.verdict not in ("high", "extreme") or not stops.high or stops.share == 1.0 or _few(seen):
        return None
    extreme = stops.verdict == "extreme"
    return Finding(
        "stops_too_many",
        "problem" if extreme else "advice",
        stops.summary,
        f"Most of the space is poor, or the rule is too strict: over {EXTREME:.0%} the ranking rests on "
        "a handful of trials."
        if extreme
        else "Most of the space is poor, or the rule is too strict.",
        _milder(seen),
    )


def stopper_never_acts(seen: Evidence) -> Finding | None:
    """A rule that may stop trials has stopped none of ten or more: it saves nothing."""
    subject, stops = seen.subject, seen.tables.stops
    name = subject.scheduler.name.rpartition(".")[2]
    if stops.share != 0.0 or stops.high == 0.0 or name in PATIENT or _few(seen):
        return None
    if any(trial.audited is not None for trial in subject.trials):
        return None
    completed = sum(trial.outcome == "completed" for trial in subject.trials)
    replay = on_study(subject, "replay", "--trial-scheduler", "schedulers.ASHA")
    return Finding(
        "stopper_never_acts",
        "advice",
        f"{name} stopped none of {completed} completed trials",
        "It saves nothing: its warm-up covers the whole training, or it waits for more finished trials "
        "than there are.",
        replay or "Give it a shorter warm-up, or fewer startup trials.",
    )


def stopper_always_acts(seen: Evidence) -> Finding | None:
    """Ten or more trials were stopped, and not one was let finish."""
    if seen.tables.stops.share != 1.0 or _few(seen):
        return None
    epochs = sorted(trial.work for trial in seen.subject.trials if trial.stopped_by_rule)
    return Finding(
        "stopper_always_acts",
        "problem",
        f"all {len(epochs)} trials were stopped, half of them by epoch {epochs[len(epochs) // 2]} of "
        f"{seen.subject.epochs}",
        "No trial shows what a whole training is worth: the ranking is one of beginnings.",
        _milder(seen),
    )


def false_stops(seen: Evidence) -> Finding | None:
    """The audit let some stops run on, and one of those became better than the best that finished."""
    audit = seen.tables.audit
    if audit is None or not audit.false_stops:
        return None
    return Finding(
        "false_stops",
        "problem" if (audit.regret or 0.0) > 0 and 2 * len(audit.false_stops) > audit.judged else "advice",
        f"{len(audit.false_stops)} of {audit.judged} audited stops were false "
        f"(trial {', '.join(str(int(name)) for name in audit.false_stops[:3])}): {audit.loss_sentence}",
        "The rule stops trials that would have won.",
        _milder(seen),
    )


def _few(seen: Evidence) -> bool:
    return sum(trial.outcome == "completed" or trial.stopped_by_rule for trial in seen.subject.trials) < FEW


def _milder(seen: Evidence) -> str:
    """The line that makes the rule milder, within the epochs there are."""
    subject = seen.subject
    name = subject.scheduler.name.rpartition(".")[2]
    if name not in LOOSER:
        return again(subject, {"trial_scheduler.kwargs.audit_fraction": 0.1})
    key, factor, default = LOOSER[name]
    now = subject.scheduler.kwargs.get(key)
    milder = int((default if now is None else now) * factor)
    if key != "top_k" and milder >= subject.epochs:
        return again(subject, {"trial_scheduler.kwargs.audit_fraction": 0.1})
    return again(subject, {f"trial_scheduler.kwargs.{key}": milder})
