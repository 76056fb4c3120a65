"""What a retraining has shown: how good each candidate is, how sure that is, and who won."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from schedulers.curve import student_quantile
from schedulers.racing import BLOCK_KEY, CANDIDATE_KEY
from service.spec import Sweep
from service.study.race import Rounds
from service.study.record import StudyRecord, TrialRecord

CONFIDENCE = 0.95
DRAWS = 20_000


@dataclass(frozen=True, slots=True)
class Standing:
    """One candidate after the race; values are the user's metric.

    Attributes:
        name: as in the race.
        what: in words.
        config: flat.
        seeds: seed -> value, of whole trainings; NaN where it diverged.
        mean: over the seeds; NaN where one diverged or none was finished.
        std: between seeds (n - 1); NaN below two.
        low: of the mean's 95% interval (Student's t); NaN below two.
        high: see `low`.
        p_best: how likely its true mean is the best of those still in the race.
        out: why it was dropped, or "".
        sweep_value: what it had in the sweep; None if nothing.
    """

    name: str
    what: str
    config: Mapping[str, Any]
    seeds: Mapping[int, float]
    mean: float
    std: float
    low: float
    high: float
    p_best: float
    out: str
    sweep_value: float | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of a race.

    Attributes:
        standings: those still in first, best mean first.
        runner_up: the best of the others, in words; "" if there is none.
        margin: by how much the winner's mean is better than the runner-up's, over the seeds both have;
            None without two seeds in common.
        margin_error: standard error of that.
        tau: Kendall's tau between the sweep's ranking and this one, in [-1, 1]; None below two.
    """

    standings: tuple[Standing, ...]
    runner_up: str
    margin: float | None
    margin_error: float | None
    tau: float | None

    @property
    def winner(self) -> Standing | None:
        """The best mean of those still in; None if nobody has one."""
        first = self.standings[0] if self.standings else None
        return first if first is not None and math.isfinite(first.mean) else None

    @property
    def clear(self) -> bool:
        """Whether the winner's lead is more than two standard errors: seeds alone rarely make that."""
        if self.margin is None or self.margin_error is None:
            return False
        return self.margin > 2 * self.margin_error


def verdict(sweep: Sweep, record: StudyRecord) -> Verdict:
    """Read a retraining's record.

    Args:
        sweep: of the retraining.
        record: of the retraining.
    """
    race = Rounds(**sweep.sampler.kwargs)
    values: dict[str, dict[int, float]] = {name: {} for name in race.configs}
    for trial in sorted(record.trials.values(), key=lambda trial: (trial.ended_at or math.inf, trial.number)):
        race.replay_asked(trial.number, trial.config, trial.source)
        race.tell(trial.trial, trial.outcome or "", trial.worth(record.objective), "")
        if trial.outcome in ("completed", "diverged"):
            values[trial.config[CANDIDATE_KEY]][int(trial.config[BLOCK_KEY])] = _value(sweep, record, trial)
    chances = p_best({name: seen for name, seen in values.items() if name not in race.out}, sweep.sign)
    standings = [
        _standing(candidate, values[candidate["name"]], race.out, chances)
        for candidate in sweep.sampler.kwargs["candidates"]
    ]

    def place(one: Standing) -> tuple[bool, bool, float]:
        known = math.isfinite(one.mean)
        return bool(one.out), not known, sweep.sign * one.mean if known else 0.0

    ordered = tuple(sorted(standings, key=place))
    return Verdict(ordered, *_lead(ordered, sweep.sign), _tau(ordered))


def p_best(values: Mapping[str, Mapping[int, float]], sign: int) -> dict[str, float]:
    """How likely each candidate's true mean is the best, given the seeds that all of them have.

    Draws from the means' joint posterior under normal losses and no prior knowledge: a multivariate
    Student-t around the sample means, with the covariance that the common seeds show. For one
    candidate alone that is the t-interval.

    Args:
        values: candidate -> seed -> metric.
        sign: +1 if less is better, else -1.

    >>> p_best({"a": {1: 0.1, 2: 0.2, 3: 0.1}, "b": {1: 9.1, 2: 9.3, 3: 9.0}}, 1)
    {'a': 1.0, 'b': 0.0}
    """
    sound = {name: seen for name, seen in values.items() if seen and all(map(math.isfinite, seen.values()))}
    seeds = sorted(set.intersection(*(set(seen) for seen in sound.values()))) if sound else []
    if len(seeds) < 2:
        return {name: math.nan for name in values}
    table = sign * np.array([[sound[name][seed] for name in sound] for seed in seeds])
    n, rng = len(seeds), np.random.default_rng(0)
    spread = rng.standard_normal((DRAWS, n)) @ (table - table.mean(0)) / math.sqrt(n * (n - 1))
    heavy = np.sqrt((n - 1) / rng.chisquare(n - 1, (DRAWS, 1)))
    wins = np.bincount((table.mean(0) + spread * heavy).argmin(1), minlength=len(sound)) / DRAWS
    chances = dict(zip(sound, wins.tolist(), strict=True))
    return {name: chances.get(name, 0.0) for name in values}


def interval(values: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Where the mean lies, by Student's t; NaN below two values."""
    n = len(values)
    if n < 2:
        return math.nan, math.nan
    half = student_quantile((1 + confidence) / 2, n - 1) * float(np.std(values, ddof=1)) / math.sqrt(n)
    mean = float(np.mean(values))
    return mean - half, mean + half


def _standing(
    candidate: Mapping[str, Any],
    seen: Mapping[int, float],
    out: Mapping[str, str],
    chances: Mapping[str, float],
) -> Standing:
    name, each = str(candidate["name"]), list(seen.values())
    low, high = interval(each)
    return Standing(
        name=name,
        what=str(candidate.get("what", name)),
        config=dict(candidate["config"]),
        seeds=dict(seen),
        mean=float(np.mean(each)) if each else math.nan,
        std=float(np.std(each, ddof=1)) if len(each) > 1 else math.nan,
        low=low,
        high=high,
        p_best=0.0 if name in out else chances.get(name, math.nan),
        out=out.get(name, ""),
        sweep_value=candidate.get("value"),
    )


def _value(sweep: Sweep, record: StudyRecord, trial: TrialRecord) -> float:
    worth = trial.worth(record.objective)
    return math.nan if worth is None or trial.outcome == "diverged" else sweep.sign * worth


def _lead(ordered: Sequence[Standing], sign: int) -> tuple[str, float | None, float | None]:
    """The winner's lead over the best of the others, dropped or not, seed by seed; its standard error."""
    others = [one for one in ordered[1:] if math.isfinite(one.mean)]
    if not others:
        return "", None, None
    first, second = ordered[0], min(others, key=lambda one: sign * one.mean)
    common = [seed for seed in first.seeds if seed in second.seeds]
    leads = [sign * (second.seeds[seed] - first.seeds[seed]) for seed in common]
    if len(leads) < 2 or not all(map(math.isfinite, leads)):
        return second.what, None, None
    return second.what, float(np.mean(leads)), float(np.std(leads, ddof=1)) / math.sqrt(len(leads))


def _tau(ordered: Sequence[Standing]) -> float | None:
    """Kendall's tau-a between the means here and the values in the sweep."""
    pairs = [
        (one.mean - two.mean) * (one.sweep_value - two.sweep_value)
        for one, two in combinations([each for each in ordered if math.isfinite(each.mean)], 2)
        if one.sweep_value is not None and two.sweep_value is not None
    ]
    return sum((pair > 0) - (pair < 0) for pair in pairs) / len(pairs) if pairs else None
