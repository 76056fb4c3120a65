"""How the search went on: whether more of it would help, and whether its winner is one."""

from __future__ import annotations

import math
from itertools import pairwise

from service.report.findings.evidence import Evidence, Finding, on_study
from service.report.series import progress
from service.report.words import number, setting

SAME, WORSE, GAIN = 20, 30, 0.001  # 003, "When to Stop Searching"
RETRAINED = 10  # at most: `retrain` races so many well


def search_has_settled(seen: Evidence) -> Finding | None:
    """More trials of this kind bring little: 003, "When to Stop Searching".

    The last 30 trials all worse than the best, the same best for 20, or less than 0.1% gained a trial
    over the last 20. Trials that ended count, whatever their outcome. Not where the baseline has won:
    that search has not begun to find anything.
    """
    subject, own = seen.subject, seen.tables.baseline
    if subject.is_population or (own is not None and own.gain <= 0):
        return None
    steps = progress(subject)
    if len(steps) <= SAME:
        return None
    last = steps[-1]
    changed = max((later.trials for one, later in pairwise(steps) if later.best != one.best), default=1)
    since = last.trials - changed
    evidence = _stale(since, changed) if since >= SAME else _slow(steps[-1 - SAME].best, last.best)
    if not evidence:
        return None
    return Finding(
        "search_has_settled",
        "advice" if since >= WORSE else "note",
        evidence,
        "More trials of the same kind gain little: stop here, or change what is searched.",
        on_study(subject, "retrain") or "Retrain the best over several seeds.",
    )


def _stale(since: int, changed: int) -> str:
    if since >= WORSE:
        return f"the last {since} trials that ended were all worse than the best, found as number {changed}"
    return f"the best has been the same for {since} trials, since number {changed}"


def _slow(before: float, now: float) -> str:
    gain = abs(before - now) / (SAME * abs(before)) if before else math.inf
    if gain >= GAIN:
        return ""
    return (
        f"the last {SAME} trials took the best from {number(before)} to {number(now)}, {gain:.3%} a trial "
        f"({GAIN:.1%} is the least worth a trial)"
    )


def winner_within_noise(seen: Evidence) -> Finding | None:
    """The winner leads by less than two trainings of one configuration differ: 003, "run 3 seeds".

    Two results of standard deviation s differ by s times the root of two: a lead below that is what
    chance makes.
    """
    subject, noise = seen.subject, seen.noise
    ranked = subject.ranked()
    if noise is None or noise.std <= 0 or len(ranked) < 2 or subject.is_population:
        return None
    best = subject.worth(ranked[0])
    rivals = [trial for trial in ranked[1:] if subject.config(trial) != subject.config(ranked[0])]
    if best is None or not rivals:
        return None
    width = math.sqrt(2) * noise.std
    near = [trial for trial in rivals if ((subject.worth(trial) or 0.0) - best) < width]
    if not near:
        return None
    lead = (subject.worth(rivals[0]) or 0.0) - best
    top = min(len(near) + 1, RETRAINED)
    return Finding(
        "winner_within_noise",
        "advice" if noise.sure else "note",
        f"trial {ranked[0].number} leads trial {rivals[0].number} by {setting(lead)}; by chance alone two "
        f"trainings differ by {setting(width)} ({noise.source}); {len(near)} of {len(rivals)} "
        "others lie within that",
        "The ranking at the top is luck; any of them may be the best.",
        on_study(subject, "retrain", f"--top-k {top} --seeds 5") or f"Retrain the best {top}, 5 seeds each.",
    )
