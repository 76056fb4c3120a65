"""The numbers of a report, each a plain value folded from the record; nothing here draws or prints."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from raysweep.report.subject import Subject
from raysweep.study.journal.records import TrialRecord
from raysweep.study.results.stop_audit import Audit, audit

PAUSE = 10.0  # a gap between two epochs so many times the usual one is no training, but waiting
HALVING = {"ASHA": 4.0, "SuccessiveHalving": 3.0, "Hyperband": 3.0, "BOHB": 3.0}
"""Trial schedulers that let one of eta go on, with their eta."""
NEVER = ("FIFO", "PBT")
"""Trial schedulers that stop nobody."""
FEW = 10  # trials completed or stopped, before a share of them says anything
HEALTHY, HIGH, EXTREME = (0.4, 0.6), 0.8, 0.95  # the training template's, for its PFL and the median rule


@dataclass(frozen=True, slots=True)
class Stops:
    """How many trials the rule stopped, held against what it stops by design.

    Attributes:
        share: of those that were completed or stopped by the rule; None while there are none.
        low, high: between these it is as it should be.
        verdict: none, few, low, healthy, many, high or extreme.
        sentence: the same, for a person.
        summary: its beginning: how many were stopped, beside what the rule stops by design.
    """

    share: float | None
    low: float
    high: float
    verdict: str
    sentence: str
    summary: str = ""


@dataclass(frozen=True, slots=True)
class Cause:
    """Why trials ended: one kind of reason, how many, and one in full."""

    outcome: str
    kind: str
    count: int
    example: str


@dataclass(frozen=True, slots=True)
class Row:
    """One trial of the top table; `value` is in the user's direction."""

    rank: int
    number: int
    value: float | None
    outcome: str
    epochs: int
    source: str
    config: Mapping[str, Any]
    group: str


@dataclass(frozen=True, slots=True)
class Baseline:
    """The run's own values against the best of the search.

    Attributes:
        number: the baseline's trial.
        value: what it is worth, in the user's direction.
        best: of the trials that were searched.
        gain: how much less loss the best has; negative where the baseline wins.
        relative: the gain as a share of the baseline's loss; None where that is zero.
    """

    number: int
    value: float
    best: float
    gain: float
    relative: float | None


@dataclass(frozen=True, slots=True)
class Step:
    """One stretch of a population's schedule: the settings that hold after an epoch."""

    after_epoch: int
    config: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Statistics:
    """The study in numbers.

    Attributes:
        counts: trials by outcome (or by status, of those that have not ended).
        trials, wanted: asked for so far, and in all.
        epochs_run: epochs of work done.
        epochs_whole: what the trials asked for would have taken, each to its last epoch.
        epochs_saved: epochs that stopped trials were not given.
        busy_s: seconds of training, over all slots.
        saved_s: what the saved epochs would have taken, at the study's mean epoch; None while unknown.
        wall_s: seconds from the first event to the last, over all attempts.
        gpu_s: busy_s times the GPUs of one trial.
        utilisation: busy_s over the seconds that the slots had; None without a clock.
    """

    counts: Mapping[str, int]
    trials: int
    wanted: int
    epochs_run: int
    epochs_whole: int
    epochs_saved: int
    busy_s: float
    saved_s: float | None
    wall_s: float
    gpu_s: float
    utilisation: float | None


@dataclass(frozen=True, slots=True)
class Tables:
    """All numbers of a report.

    Attributes:
        best: the winner, None while nobody has reported.
        top: the best k, the winner first.
        audit: None unless the study audited its stops.
        baseline: None unless one was tried and is worth something.
        schedule: the settings of the winner's weights, oldest first; empty unless it copied somebody.
    """

    statistics: Statistics
    stops: Stops
    causes: tuple[Cause, ...]
    best: Row | None
    top: tuple[Row, ...]
    audit: Audit | None
    baseline: Baseline | None
    schedule: tuple[Step, ...]


def tables(subject: Subject, top_k: int) -> Tables:
    """Fold a study into the numbers of its report.

    Args:
        subject: the study.
        top_k: rows of the top table.
    """
    ranked = subject.ranked()
    top = tuple(row(subject, trial, rank) for rank, trial in enumerate(ranked[:top_k], start=1))
    audited = any(trial.audited is not None for trial in subject.trials)
    steps = subject.record.schedule(ranked[0].trial) if ranked and subject.is_population else []
    return Tables(
        statistics=statistics(subject),
        stops=stops(subject),
        causes=causes(subject),
        best=top[0] if top else None,
        top=top,
        audit=audit(subject.record, subject.epochs) if audited else None,
        baseline=baseline(subject),
        schedule=tuple(Step(epoch, config) for epoch, config in steps if len(steps) > 1),
    )


def row(subject: Subject, trial: TrialRecord, rank: int) -> Row:
    """A trial as the top table has it."""
    return Row(
        rank=rank,
        number=trial.number,
        value=subject.value(subject.worth(trial)),
        outcome=trial.status,
        epochs=trial.work,
        source=trial.source,
        config=subject.config(trial),
        group=subject.group(trial),
    )


def statistics(subject: Subject) -> Statistics:
    """Count trials, epochs and hours."""
    trials, record = subject.trials, subject.record
    saved = sum(trial.epochs_saved(subject.epochs) for trial in trials)
    busy = sum(busy_seconds(trial) for trial in trials)
    times = [point.t for trial in trials for point in trial.curve]
    times += [t for trial in trials for t in (trial.started_at, trial.ended_at) if t is not None]
    begun = record.begun_at if record.begun_at is not None else min(times, default=0.0)
    wall = max(times, default=begun) - begun
    room = record.slot_seconds(begun + wall) if record.slot_history else 0.0
    return Statistics(
        counts=dict(sorted(record.counts().items())),
        trials=len(trials),
        wanted=max(record.wanted, len(trials)),
        epochs_run=sum(trial.work for trial in trials),
        epochs_whole=subject.epochs * len(trials),
        epochs_saved=saved,
        busy_s=busy,
        saved_s=saved * busy / record.epochs if record.epochs and busy else None,
        wall_s=wall,
        gpu_s=busy * subject.gpus,
        utilisation=min(busy / room, 1.0) if room > 0 and busy else None,
    )


def busy_seconds(trial: TrialRecord) -> float:
    """Seconds a trial trained: its epochs' own clock, else the gaps between its reports, waiting left out."""
    own = [point.metrics.get("epoch_s", math.nan) for point in trial.curve]
    if own and all(map(math.isfinite, own)):
        return sum(own)
    times = [point.t for point in trial.curve]
    if trial.started_at is not None:
        times = [trial.started_at, *times]
    gaps = [max(later - earlier, 0.0) for earlier, later in itertools.pairwise(times)]
    if not gaps:
        return max((trial.ended_at or 0.0) - (trial.started_at or trial.ended_at or 0.0), 0.0)
    usual = median(gaps)
    return sum(gap if gap <= PAUSE * usual else usual for gap in gaps)


def stops(subject: Subject) -> Stops:
    """Hold the share of stopped trials against what the rule stops by design."""
    stopped = sum(trial.stopped_by_rule for trial in subject.trials)
    completed = sum(trial.outcome == "completed" for trial in subject.trials)
    share = stopped / (stopped + completed) if stopped + completed else None
    low, high, design = design_of(subject)
    name = subject.scheduler.name.rpartition(".")[2]
    if share is None:
        return Stops(None, low, high, "none", "no trial has been completed or stopped yet")
    seen = f"{stopped} of {stopped + completed} stopped"
    if high == 0.0:
        verdict = "none" if stopped == 0 else "high"
        return Stops(share, low, high, verdict, f"{seen}; {name} stops nobody by design")
    if stopped + completed < FEW:
        return Stops(share, low, high, "few", f"{seen}; too few to judge {name} by", seen)
    verdict = _verdict(share, low, high)
    reading = {
        "low": "it acts seldom, and saves little: a shorter warm-up or grace period would let it",
        "healthy": "as it should be",
        "many": "more than usual, and no harm yet",
        "high": "more than it should: the search space may be too wide, or the rule too strict",
        "extreme": "hardly anybody finishes: the ranking rests on very few trials",
    }[verdict]
    summary = f"{seen}; {design}"
    return Stops(share, low, high, verdict, f"{summary}: {reading}", summary)


def design_of(subject: Subject) -> tuple[float, float, str]:
    """The least and the greatest healthy share of stopped trials under the study's rule, and why.

    Halving stops all but one of eta at its first rung, and so a share of 1 - 1/eta at least, less what
    the first arrivals are forgiven; that is no sign of a bad space.
    """
    name = subject.scheduler.name.rpartition(".")[2]
    if name in NEVER:
        return 0.0, 0.0, f"{name} stops nobody"
    if name in HALVING:
        eta = float(subject.scheduler.kwargs.get("reduction_factor", HALVING[name]))
        share = 1 - 1 / eta
        return (
            0.6 * share,
            EXTREME,
            f"{name} with reduction factor {eta:g} stops {share:.0%} at its first rung",
        )
    return *HEALTHY, f"{HEALTHY[0]:.0%} to {HEALTHY[1]:.0%} is healthy for {name}"


def _verdict(share: float, low: float, high: float) -> str:
    if share > max(high, EXTREME):
        return "extreme"
    if share > max(high, HIGH):
        return "high"
    return "low" if share < low else "healthy" if share <= high else "many"


def causes(subject: Subject) -> tuple[Cause, ...]:
    """Why trials ended, commonest first; reasons that differ in their numbers only are one."""
    ended = [(str(trial.outcome), trial.reason) for trial in subject.trials if trial.outcome is not None]
    kinds = Counter((outcome, _kind(reason)) for outcome, reason in ended)
    example = {(outcome, _kind(reason)): reason for outcome, reason in reversed(ended)}
    return tuple(Cause(*key, count, example[key]) for key, count in kinds.most_common())


def _kind(reason: str) -> str:
    """A reason without its numbers.

    >>> _kind("rung 9: loss 0.41 ranks 7 of 12, top 4 go on")
    'rung …: loss … ranks … of …, top … go on'
    """
    return re.sub(r"-?\d+(\.\d+)?(e[+-]?\d+)?|\binf\b|\bnan\b", "…", reason) or "no reason given"


def baseline(subject: Subject) -> Baseline | None:
    """The run's own values against the best of the trials that were searched."""
    ranked = subject.ranked()
    own = [trial for trial in ranked if trial.source == "baseline"]
    searched = [trial for trial in ranked if trial.source != "baseline"]
    if not own or not searched:
        return None
    mine, best = subject.worth(own[0]), subject.worth(searched[0])
    assert mine is not None
    assert best is not None
    gain = mine - best
    relative = gain / abs(mine) if mine else None
    return Baseline(own[0].number, subject.sign * mine, subject.sign * best, gain, relative)
