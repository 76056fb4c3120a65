"""Findings on the trial scheduler: what it did, compared with what it does by design."""

from __future__ import annotations

from raysweep.report.findings.evidence import Evidence, Finding, again, on_study
from raysweep.report.tables import EXTREME, FEW

PATIENT = ("Patience", "Margin", "Racing")
"""Rules that act only if something is wrong; never acting is no flag for them."""
LOOSER = {
    "ASHA": ("grace_period", 2, 1),
    "Hyperband": ("grace_period", 2, 1),
    "SuccessiveHalving": ("grace_period", 2, 1),
    "ClassicPFL": ("top_k", 2, 10),
    "MedianStopping": ("n_warmup_steps", 2, 3),
}
"""Trial scheduler -> the argument that makes it milder, by what factor, and its default."""


def stops_too_many(evidence: Evidence) -> Finding | None:
    """More trials were stopped than the rule stops by design.

    For the classic PFL and the median rule more than 80% (000, "how to read the report") and 95% (003, red
    flag 4) are flags. Halving stops all but 1/eta at its first rung by design, so for it only 95% is a flag.
    """
    stops = evidence.tables.stops
    if stops.verdict not in ("high", "extreme") or not stops.high or stops.share == 1.0 or _few(evidence):
        return None
    extreme = stops.verdict == "extreme"
    return Finding(
        "stops_too_many",
        "problem" if extreme else "advice",
        stops.summary,
        f"Most of the space is poor, or the rule is too strict: above {EXTREME:.0%} the ranking depends on "
        "a handful of trials."
        if extreme
        else "Most of the space is poor, or the rule is too strict.",
        _milder(evidence),
    )


def stopper_never_acts(evidence: Evidence) -> Finding | None:
    """A rule that can stop trials has stopped none of ten or more: it saves nothing."""
    subject, stops = evidence.subject, evidence.tables.stops
    name = subject.scheduler.name.rpartition(".")[2]
    if stops.share != 0.0 or stops.high == 0.0 or name in PATIENT or _few(evidence):
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


def stopper_always_acts(evidence: Evidence) -> Finding | None:
    """Ten or more trials were stopped, and none finished."""
    if evidence.tables.stops.share != 1.0 or _few(evidence):
        return None
    epochs = sorted(trial.work for trial in evidence.subject.trials if trial.stopped_by_rule)
    return Finding(
        "stopper_always_acts",
        "problem",
        f"all {len(epochs)} trials were stopped, half of them by epoch {epochs[len(epochs) // 2]} of "
        f"{evidence.subject.epochs}",
        "No trial shows the result of a whole training: the ranking compares beginnings only.",
        _milder(evidence),
    )


def false_stops(evidence: Evidence) -> Finding | None:
    """An audited trial became better than the best that finished."""
    audit = evidence.tables.audit
    if audit is None or not audit.false_stops:
        return None
    return Finding(
        "false_stops",
        "problem" if (audit.regret or 0.0) > 0 and 2 * len(audit.false_stops) > audit.judged else "advice",
        f"{len(audit.false_stops)} of {audit.judged} audited stops were false "
        f"(trial {', '.join(str(int(name)) for name in audit.false_stops[:3])}): {audit.loss_sentence}",
        "The rule stops trials that would have won.",
        _milder(evidence),
    )


def _few(evidence: Evidence) -> bool:
    return (
        sum(trial.outcome == "completed" or trial.stopped_by_rule for trial in evidence.subject.trials) < FEW
    )


def _milder(evidence: Evidence) -> str:
    """The command that makes the rule milder, or audits it if the epochs leave no room for that."""
    subject = evidence.subject
    name = subject.scheduler.name.rpartition(".")[2]
    if name not in LOOSER:
        return again(subject, {"trial_scheduler.kwargs.audit_fraction": 0.1})
    key, factor, default = LOOSER[name]
    now = subject.scheduler.kwargs.get(key)
    milder = int((default if now is None else now) * factor)
    if key != "top_k" and milder >= subject.epochs:
        return again(subject, {"trial_scheduler.kwargs.audit_fraction": 0.1})
    return again(subject, {f"trial_scheduler.kwargs.{key}": milder})
