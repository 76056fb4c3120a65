"""The numbers of a report, computed from the record; nothing here draws or prints."""

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

PAUSE = 10.0  # a gap between two epochs longer than the usual one by this factor is waiting, not training
HALVING = {"ASHA": 4.0, "SuccessiveHalving": 3.0, "Hyperband": 3.0, "BOHB": 3.0}
"""Trial schedulers that let 1/eta of the trials go on, with their default eta."""
NEVER = ("FIFO", "PBT")
"""Trial schedulers that stop no trial."""
FEW = 10  # completed or stopped trials, below which a share of them means nothing
TEMPLATES = ("ClassicPFL", "MedianStopping")
"""Trial schedulers for which the training template says what is healthy."""
HEALTHY, HIGH, EXTREME = (0.4, 0.6), 0.8, 0.95  # the training template's


@dataclass(frozen=True, slots=True)
class Stops:
    """How many trials the rule stopped, compared with what it stops by design.

    Attributes:
        share: of the trials that were completed or stopped by the rule; None while there are none.
        low, high: bounds of a healthy share.
        verdict: none, few, low, healthy, many, high or extreme.
        sentence: the same in words.
        summary: its beginning: how many were stopped, and what the rule stops by design.
    """

    share: float | None
    low: float
    high: float
    verdict: str
    sentence: str
    summary: str = ""


@dataclass(frozen=True, slots=True)
class Cause:
    """One kind of reason why trials ended: how many, and an example."""

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
    """The run's own values compared with the best of the search.

    Attributes:
        number: of the baseline's trial.
        value: its result, in the user's direction.
        best: that of the best searched trial.
        gain: how much lower the best's loss is; negative if the baseline wins.
        relative: the gain as a share of the baseline's loss; None if that is zero.
    """

    number: int
    value: float
    best: float
    gain: float
    relative: float | None


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a population's schedule: the settings after an epoch."""

    after_epoch: int
    config: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Statistics:
    """The study in numbers.

    Attributes:
        counts: trials by outcome (or by status, of those that have not ended).
        trials, wanted: proposed so far, and in total.
        epochs_run: epochs trained.
        epochs_whole: epochs of the proposed trials if each ran to its last.
        epochs_saved: epochs that stopped trials did not run.
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
        best: the winner; None while no trial has reported.
        top: the best k, the winner first.
        audit: None unless the study audited its stops.
        baseline: None unless one was tried and is ranked.
        schedule: the settings of the winner's weights, oldest first; empty unless it copied another trial.
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
    """Compute the numbers of a study's report.

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
    """A trial as a row of the top table."""
    return Row(
        rank=rank,
        number=trial.number,
        value=subject.value(subject.loss(trial)),
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
    slot_s = record.slot_seconds(begun + wall) if record.slot_history else 0.0
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
        utilisation=min(busy / slot_s, 1.0) if slot_s > 0 and busy else None,
    )


def busy_seconds(trial: TrialRecord) -> float:
    """Seconds a trial trained: by its epochs' own clock, else the gaps between reports without waiting."""
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
    """Compare the share of stopped trials with what the rule stops by design, where that is known."""
    stopped = sum(trial.stopped_by_rule for trial in subject.trials)
    ended = stopped + sum(trial.outcome == "completed" for trial in subject.trials)
    share = stopped / ended if ended else None
    low, high, design = design_of(subject, ended)
    name = subject.scheduler.name.rpartition(".")[2]
    if share is None:
        return Stops(None, low, high, "none", "no trial has been completed or stopped yet")
    counts = f"{stopped} of {ended} stopped"
    if high == 0.0:
        verdict = "none" if stopped == 0 else "high"
        return Stops(share, low, high, verdict, f"{counts}; {name} stops no trial by design")
    if ended < FEW:
        return Stops(share, low, high, "few", f"{counts}; too few to judge {name}", counts)
    verdict = _verdict(share, low, high)
    summary = f"{counts}; {design}" if design else counts
    if not design and verdict != "extreme":
        return Stops(share, low, high, "none", summary, summary)
    reading = {
        "low": "it rarely acts, and saves little",
        "healthy": "as by design",
        "many": "more than usual",
        "high": "more than it should: the search space may be too wide, or the rule too strict",
        "extreme": "hardly any trial finishes: the ranking depends on very few trials",
    }[verdict]
    return Stops(share, low, high, verdict, f"{summary}: {reading}", summary)


def design_of(subject: Subject, ended: int) -> tuple[float, float, str]:
    """The least and the greatest healthy share of stopped trials under the study's rule, and why.

    Halving stops all but 1/eta at its first rung, so a share of about 1 - 1/eta (somewhat less, since the
    first trials have no rivals), and PFL finishes about five trials, or a tenth (docs/schedulers.md); that
    is not a sign of a bad space. The reason is empty for rules that stop as many as the trials deserve.

    Args:
        subject: the study.
        ended: number of its trials that were completed or stopped.
    """
    name = subject.scheduler.name.rpartition(".")[2]
    if name in NEVER:
        return 0.0, 0.0, f"{name} stops no trial"
    if name in HALVING:
        eta = float(subject.scheduler.kwargs.get("reduction_factor", HALVING[name]))
        share = 1 - 1 / eta
        reason = f"{name} with reduction factor {eta:g} stops {share:.0%} at its first rung"
        return 0.6 * share, EXTREME, reason
    if name == "PFL":
        finished = min(max(5, round(ended / 10)), ended)
        share = 1 - finished / max(ended, 1)
        return 0.6 * share, EXTREME, f"PFL runs about {finished} of {ended} to the end"
    if name in TEMPLATES:
        return *HEALTHY, f"{HEALTHY[0]:.0%} to {HEALTHY[1]:.0%} is healthy for {name}"
    return 0.0, EXTREME, ""


def _verdict(share: float, low: float, high: float) -> str:
    if share > max(high, EXTREME):
        return "extreme"
    if share > max(high, HIGH):
        return "high"
    return "low" if share < low else "healthy" if share <= high else "many"


def causes(subject: Subject) -> tuple[Cause, ...]:
    """Why trials ended, the most common first; reasons that differ only in their numbers are one."""
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
    """The run's own values compared with the best searched trial; None if either is missing.

    A member of a population that began with them and then copied another has not trained with them.
    """
    ranked = subject.ranked()
    own = [trial for trial in ranked if trial.source == "baseline" and not trial.lineage]
    searched = [trial for trial in ranked if trial not in own]
    if not own or not searched:
        return None
    loss, best = subject.loss(own[0]), subject.loss(searched[0])
    assert loss is not None
    assert best is not None
    gain = loss - best
    relative = gain / abs(loss) if loss else None
    return Baseline(own[0].number, subject.sign * loss, subject.sign * best, gain, relative)
