"""The progress of the search: whether more of it would help, and whether its winner is real."""

from __future__ import annotations

import math

from raysweep.report.findings.evidence import Evidence, Finding, on_study
from raysweep.report.formatting import number, percent, setting

SAME, WORSE, GAIN = 20, 30, 0.001  # 003, "When to Stop Searching"
HAD_A_CHANCE = ("completed", "stopped", "diverged")
RETRAINED = 10  # the most configurations proposed for `retrain`


def search_has_settled(evidence: Evidence) -> Finding | None:
    """More trials of this kind may bring little: 003, "When to Stop Searching".

    The last 30 trials all worse than the best, the same best for 20, or less than 0.1% gained a trial over
    the last 20. Trials count in the order in which they were proposed, since a rule that pauses ends most of
    them together at the end; only those count that reported and were completed, stopped or diverged. Silent
    if the baseline is the best: that search has not found anything yet.
    """
    subject, own = evidence.subject, evidence.tables.baseline
    if subject.is_population or (own is not None and own.gain <= 0):
        return None
    asked = [trial for trial in subject.trials if trial.curve and trial.outcome in HAD_A_CHANCE]
    counted = {trial.trial for trial in subject.ranked()}
    best: list[float] = []  # so far, after each trial
    for trial in asked:
        loss = subject.loss(trial) if trial.trial in counted else None
        best.append(min(math.inf if loss is None else loss, best[-1] if best else math.inf))
    if len(best) <= SAME or not math.isfinite(best[-1 - SAME]):
        return None
    since = len(best) - 1 - best.index(best[-1])
    if since >= SAME:
        number = asked[-1 - since].number
        text = f"none of the {since} trials proposed after the best (trial {number}) was better"
    else:
        text = _slow(subject.value(best[-1 - SAME]), subject.value(best[-1]))
    if not text:
        return None
    more = max(since, SAME)
    return Finding(
        "search_has_settled",
        "advice" if since >= WORSE else "note",
        text,
        "Retrain the best, or change what is searched. If trials were exchangeable, as in random search, "
        f"{more} more would hold a better one with a chance of {percent(more / (len(best) + more))}.",
        on_study(subject, "retrain") or "Retrain the best over several seeds.",
    )


def _slow(before: float | None, now: float | None) -> str:
    if before is None or now is None or not before:
        return ""
    gain = abs(before - now) / (SAME * abs(before))
    if gain >= GAIN:
        return ""
    return (
        f"the last {SAME} trials improved the best from {number(before)} to {number(now)}, {gain:.3%} a "
        f"trial (at least {GAIN:.1%} is worth a trial)"
    )


def winner_within_noise(evidence: Evidence) -> Finding | None:
    """The winner leads by less than two trainings of one configuration differ: 003, "run 3 seeds".

    The difference of two results of standard deviation s has the standard deviation s times the square root
    of two; a smaller lead is within chance.
    """
    subject, noise = evidence.subject, evidence.noise
    ranked = subject.ranked()
    if noise is None or noise.std <= 0 or len(ranked) < 2 or subject.is_population:
        return None
    best = subject.loss(ranked[0])
    rivals = [trial for trial in ranked[1:] if subject.config(trial) != subject.config(ranked[0])]
    if best is None or not rivals:
        return None
    width = math.sqrt(2) * noise.std
    near = [trial for trial in rivals if ((subject.loss(trial) or 0.0) - best) < width]
    if not near:
        return None
    lead = (subject.loss(rivals[0]) or 0.0) - best
    top = min(len(near) + 1, RETRAINED)
    return Finding(
        "winner_within_noise",
        "advice" if noise.sure else "note",
        f"trial {ranked[0].number} leads trial {rivals[0].number} by {setting(lead)}; by chance alone two "
        f"trainings differ by {setting(width)} ({noise.source}); {len(near)} of {len(rivals)} "
        "others lie within that",
        "The ranking at the top is chance: any of them may be the best.",
        on_study(subject, "retrain", "--top-k", str(top), "--seeds", "5")
        or f"Retrain the best {top}, 5 seeds each.",
    )
