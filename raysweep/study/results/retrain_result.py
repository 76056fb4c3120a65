"""What a retraining has shown: how good each candidate is, how sure that is, and who won."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from scipy import stats

from raysweep.config import Sweep
from raysweep.study.journal.records import StudyRecord, TrialRecord
from raysweep.study.results.seed_race import SeedRaceSearcher
from schedulers.racing import BLOCK_KEY, CANDIDATE_KEY

CONFIDENCE = 0.95
DRAWS = 20_000
FIRST_LOOK = 3  # seeds after which the race may drop a candidate (`schedulers.Racing`)
SPREADS = np.concatenate(([0.0], np.geomspace(0.01, 100, 40)))  # of true means, in variances of a seed
PRIOR = np.concatenate(([0.25], np.full(40, 0.75 / 40)))  # a quarter: that they are all alike


@dataclass(frozen=True, slots=True)
class CandidateResult:
    """One candidate after the race; values are the user's metric.

    Attributes:
        name: as in the race.
        what: in words.
        config: flat.
        seeds: seed -> value, of whole trainings; NaN where it diverged.
        mean: over the seeds; NaN where one diverged or none was finished.
        std: between seeds (n - 1); NaN below two.
        low: of the mean's interval (Student's t), wide enough that the intervals of all candidates hold
            together with 95%, whichever of them wins; NaN below two.
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
class RetrainResult:
    """The outcome of a race.

    Attributes:
        standings: those still in first, best mean first.
        runner_up: the best of the others, in words; "" if there is none.
        margin: by how much the winner's mean is better than the runner-up's, over the seeds both have;
            None without two seeds in common.
        margin_error: standard error of that.
        margin_p: two-sided p-value of a paired t-test of it; None likewise.
        looks: at how many numbers of seeds the race could have ended for one of them.
        tau: Kendall's tau between the sweep's ranking and this one, in [-1, 1]; None below two.
    """

    standings: tuple[CandidateResult, ...]
    runner_up: str
    margin: float | None
    margin_error: float | None
    margin_p: float | None
    looks: int
    tau: float | None

    @property
    def winner(self) -> CandidateResult | None:
        """The best mean of those still in; None if nobody has one."""
        first = self.standings[0] if self.standings else None
        return first if first is not None and math.isfinite(first.mean) else None

    @property
    def clear(self) -> bool:
        """Whether a lead like the winner's comes about in at most 5% of races among equals.

        The race looks again after every seed, so each look may spend its part of the 5% only.
        """
        return self.margin_p is not None and self.margin_p * self.looks <= 1 - CONFIDENCE


def evaluate_retraining(sweep: Sweep, record: StudyRecord) -> RetrainResult:
    """Read a retraining's record.

    Args:
        sweep: of the retraining.
        record: of the retraining.
    """
    race = SeedRaceSearcher(**sweep.sampler.kwargs)
    values: dict[str, dict[int, float]] = {name: {} for name in race.configs}
    for trial in sorted(record.trials.values(), key=lambda trial: (trial.ended_at or math.inf, trial.number)):
        race.replay_asked(trial.number, trial.config, trial.source)
        race.tell(trial.trial, trial.outcome or "", trial.worth(record.objective), "")
        if trial.outcome in ("completed", "diverged"):
            values[trial.config[CANDIDATE_KEY]][int(trial.config[BLOCK_KEY])] = _value(sweep, record, trial)
    chances = p_best({name: seen for name, seen in values.items() if name not in race.out}, sweep.sign)
    standings = [
        _standing(candidate, values[candidate["name"]], race.out, chances, len(values))
        for candidate in sweep.sampler.kwargs["candidates"]
    ]

    def place(one: CandidateResult) -> tuple[bool, bool, float]:
        known = math.isfinite(one.mean)
        return bool(one.out), not known, sweep.sign * one.mean if known else 0.0

    ordered = tuple(sorted(standings, key=place))
    seeds = max((len(one.seeds) for one in ordered), default=0)
    looks = max(seeds - FIRST_LOOK + 1, 1)
    return RetrainResult(ordered, *_lead(ordered, sweep.sign), looks, _tau(ordered))


def p_best(values: Mapping[str, Mapping[int, float]], sign: int) -> dict[str, float]:
    """How likely each candidate's true mean is the best, given the seeds that all of them have.

    A hierarchical model: seeds shift all candidates alike (they are paired), the rest is normal noise of
    one variance, and true means spread around a common one with a variance of its own, whose prior
    (PRIOR over SPREADS) has them all alike with a quarter. So a lead that noise makes shrinks: of two
    equals with 2 to 5 seeds one is said to be best with 90% in 3% of cases, where the sample means'
    own posterior says so in 20%. docs/winner.md has the calibration.

    Args:
        values: candidate -> seed -> metric.
        sign: +1 if less is better, else -1.

    >>> p_best({"a": {1: 0.1, 2: 0.2, 3: 0.1}, "b": {1: 9.1, 2: 9.3, 3: 9.0}}, 1)["a"] > 0.99
    True
    """
    sound = {name: seen for name, seen in values.items() if seen and all(map(math.isfinite, seen.values()))}
    seeds = sorted(set.intersection(*(set(seen) for seen in sound.values()))) if sound else []
    if len(seeds) < 2:
        return {name: math.nan for name in values}
    if len(sound) == 1:
        return {name: float(name in sound) for name in values}
    table = sign * np.array([[sound[name][seed] for name in sound] for seed in seeds])
    (n, k), rng = table.shape, np.random.default_rng(0)
    table = table - table.mean(1, keepdims=True)
    means = table.mean(0)
    within, between = float(((table - means) ** 2).sum()), float((means**2).sum())
    if between == 0:
        return {name: 1 / k if name in sound else 0.0 for name in values}
    # Given the spread, in units of the noise's variance, everything is conjugate.
    shape, spread = n * (k - 1) / 2, SPREADS + 1 / n
    residual = within + between / spread
    weight = np.log(PRIOR) - (k - 1) / 2 * np.log(spread) - shape * np.log(residual)
    weight = np.exp(weight - weight.max())
    drawn = rng.choice(len(SPREADS), DRAWS, p=weight / weight.sum())
    variance = residual[drawn] / 2 / rng.gamma(shape, 1.0, DRAWS)
    shrink = SPREADS[drawn] / spread[drawn]
    noise = rng.standard_normal((DRAWS, k))
    true_means = shrink[:, None] * means + np.sqrt(variance * shrink / n)[:, None] * noise
    alike = drawn == 0  # equal true means: each of them is the best as often
    winners = np.where(alike, rng.integers(k, size=DRAWS), true_means.argmin(1))
    wins = np.bincount(winners, minlength=k) / DRAWS
    chances = dict(zip(sound, wins.tolist(), strict=True))
    return {name: chances.get(name, 0.0) for name in values}


def interval(values: Sequence[float], of: int = 1) -> tuple[float, float]:
    """Where the mean lies, by Student's t; NaN below two values.

    Args:
        values: of one candidate.
        of: candidates whose intervals are to hold together with 95% (Bonferroni), so that the one of
            the winner, which was chosen by its values, does.
    """
    n = len(values)
    if n < 2:
        return math.nan, math.nan
    quantile = float(stats.t.ppf(1 - (1 - CONFIDENCE) / (2 * of), n - 1))
    half = quantile * float(np.std(values, ddof=1)) / math.sqrt(n)
    mean = float(np.mean(values))
    return mean - half, mean + half


def _standing(
    candidate: Mapping[str, Any],
    seen: Mapping[int, float],
    out: Mapping[str, str],
    chances: Mapping[str, float],
    candidates: int,
) -> CandidateResult:
    name, each = str(candidate["name"]), list(seen.values())
    low, high = interval(each, candidates)
    return CandidateResult(
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


def _lead(
    ordered: Sequence[CandidateResult], sign: int
) -> tuple[str, float | None, float | None, float | None]:
    """The winner's lead over the best of the others, dropped or not, seed by seed; its error and p-value."""
    others = [one for one in ordered[1:] if math.isfinite(one.mean)]
    if not others:
        return "", None, None, None
    first, second = ordered[0], min(others, key=lambda one: sign * one.mean)
    common = [seed for seed in first.seeds if seed in second.seeds]
    leads = [sign * (second.seeds[seed] - first.seeds[seed]) for seed in common]
    if len(leads) < 2 or not all(map(math.isfinite, leads)):
        return second.what, None, None, None
    lead, error = float(np.mean(leads)), float(np.std(leads, ddof=1)) / math.sqrt(len(leads))
    if error == 0:
        return second.what, lead, error, 0.0 if lead else 1.0
    return second.what, lead, error, float(2 * stats.t.sf(abs(lead) / error, len(leads) - 1))


def _tau(ordered: Sequence[CandidateResult]) -> float | None:
    """Kendall's tau-a between the means here and the values in the sweep."""
    pairs = [
        (one.mean - two.mean) * (one.sweep_value - two.sweep_value)
        for one, two in combinations([each for each in ordered if math.isfinite(each.mean)], 2)
        if one.sweep_value is not None and two.sweep_value is not None
    ]
    return sum((pair > 0) - (pair < 0) for pair in pairs) / len(pairs) if pairs else None
