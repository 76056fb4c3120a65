"""The result of a retraining: each candidate's mean with its uncertainty, and the winner."""

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
PRIOR = np.concatenate(([0.25], np.full(40, 0.75 / 40)))  # a quarter: all true means are equal


@dataclass(frozen=True, slots=True)
class CandidateResult:
    """One candidate after the race; values are the user's metric.

    Attributes:
        name: as in the race.
        what: description.
        config: flat.
        seeds: value by seed of whole trainings; NaN if it diverged.
        mean: over the seeds; NaN if one diverged or none finished.
        std: between seeds (n - 1); NaN below two seeds.
        low: lower end of the mean's interval (Student's t), wide enough that the intervals of all candidates
            hold together with 95%, whichever of them wins; NaN below two seeds.
        high: upper end.
        p_best: probability that its true mean is the best of the candidates still in the race.
        out: why it was dropped, or "".
        sweep_value: its value in the sweep; None if it had none.
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
        standings: candidates still in the race before dropped ones, then by mean, best first.
        runner_up: description of the best of the others; "" if there is none.
        margin: by how much the winner's mean is better than the runner-up's, over the seeds both have;
            None without two seeds in common.
        margin_error: standard error of the margin; None likewise.
        margin_p: two-sided p-value of a paired t-test of the margin; None likewise.
        looks: how often the race compared the candidates, and could have ended.
        tau: Kendall's tau between the sweep's ranking and this one, in [-1, 1]; None below two candidates.
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
        """The candidate with the best mean; None if none has a finite one."""
        first = self.standings[0] if self.standings else None
        return first if first is not None and math.isfinite(first.mean) else None

    @property
    def clear(self) -> bool:
        """Whether a lead like the winner's occurs in at most 5% of races among equal candidates.

        The race compares after every seed, so the 5% are shared among the looks (Bonferroni).
        """
        return self.margin_p is not None and self.margin_p * self.looks <= 1 - CONFIDENCE


def evaluate_retraining(sweep: Sweep, record: StudyRecord) -> RetrainResult:
    """The result of a retraining.

    Args:
        sweep: of the retraining.
        record: of the retraining.
    """
    race = SeedRaceSearcher(**sweep.sampler.kwargs)
    values: dict[str, dict[int, float]] = {name: {} for name in race.configs}
    for trial in sorted(record.trials.values(), key=lambda trial: (trial.ended_at or math.inf, trial.number)):
        race.replay_asked(trial.number, trial.config, trial.source)
        race.tell(trial.trial, trial.outcome or "", trial.objective_loss(record.objective), "")
        if trial.outcome in ("completed", "diverged"):
            values[trial.config[CANDIDATE_KEY]][int(trial.config[BLOCK_KEY])] = _value(sweep, record, trial)
    in_race = {name: of_seeds for name, of_seeds in values.items() if name not in race.out}
    chances = p_best(in_race, sweep.sign)
    standings = [
        _candidate_result(candidate, values[candidate["name"]], race.out, chances, len(values))
        for candidate in sweep.sampler.kwargs["candidates"]
    ]

    def rank_key(result: CandidateResult) -> tuple[bool, bool, float]:
        finite = math.isfinite(result.mean)
        return bool(result.out), not finite, sweep.sign * result.mean if finite else 0.0

    ordered = tuple(sorted(standings, key=rank_key))
    seeds = max((len(result.seeds) for result in ordered), default=0)
    looks = max(seeds - FIRST_LOOK + 1, 1)
    return RetrainResult(ordered, *_lead(ordered, sweep.sign), looks, _tau(ordered))


def p_best(values: Mapping[str, Mapping[int, float]], sign: int) -> dict[str, float]:
    """Probability of each candidate that its true mean is the best, from the seeds that all of them have.

    A hierarchical model: a seed shifts all candidates alike (they are paired), the rest is normal noise of
    one variance, and the true means are spread around a common mean with another variance, whose prior
    (PRIOR over SPREADS) gives a quarter to equal means. So a lead due to noise shrinks: of two equal
    candidates with 2 to 5 seeds, one is called best with 90% in 3% of cases; by the posterior of the sample
    means alone it would be 20%. docs/winner.md has the calibration.

    Args:
        values: metric by candidate and seed.
        sign: +1 if less is better, else -1.

    >>> p_best({"a": {1: 0.1, 2: 0.2, 3: 0.1}, "b": {1: 9.1, 2: 9.3, 3: 9.0}}, 1)["a"] > 0.99
    True
    """
    finite = {
        name: of_seeds
        for name, of_seeds in values.items()
        if of_seeds and all(map(math.isfinite, of_seeds.values()))
    }
    seeds = sorted(set.intersection(*map(set, finite.values()))) if finite else []
    if len(seeds) < 2:
        return {name: math.nan for name in values}
    if len(finite) == 1:
        return {name: float(name in finite) for name in values}
    table = sign * np.array([[of_seeds[seed] for of_seeds in finite.values()] for seed in seeds])
    (n, k), rng = table.shape, np.random.default_rng(0)
    table = table - table.mean(1, keepdims=True)
    means = table.mean(0)
    within, between = float(((table - means) ** 2).sum()), float((means**2).sum())
    if between == 0:
        return {name: 1 / k if name in finite else 0.0 for name in values}
    # Given the spread, in units of the noise's variance, the model is conjugate.
    shape, spread = n * (k - 1) / 2, SPREADS + 1 / n
    residual = within + between / spread
    weight = np.log(PRIOR) - (k - 1) / 2 * np.log(spread) - shape * np.log(residual)
    weight = np.exp(weight - weight.max())
    drawn = rng.choice(len(SPREADS), DRAWS, p=weight / weight.sum())
    variance = residual[drawn] / 2 / rng.gamma(shape, 1.0, DRAWS)
    shrink = SPREADS[drawn] / spread[drawn]
    noise = rng.standard_normal((DRAWS, k))
    true_means = shrink[:, None] * means + np.sqrt(variance * shrink / n)[:, None] * noise
    equal = drawn == 0  # of equal true means each is the best equally often
    winners = np.where(equal, rng.integers(k, size=DRAWS), true_means.argmin(1))
    wins = np.bincount(winners, minlength=k) / DRAWS
    chances = dict(zip(finite, wins.tolist(), strict=True))
    return {name: chances.get(name, 0.0) for name in values}


def interval(values: Sequence[float], of: int = 1) -> tuple[float, float]:
    """The confidence interval of the mean, by Student's t; NaN below two values.

    Args:
        values: of one candidate.
        of: number of candidates whose intervals hold together with 95% (Bonferroni), so that the interval
            of the winner, which is chosen by its values, does.
    """
    n = len(values)
    if n < 2:
        return math.nan, math.nan
    quantile = float(stats.t.ppf(1 - (1 - CONFIDENCE) / (2 * of), n - 1))
    half = quantile * float(np.std(values, ddof=1)) / math.sqrt(n)
    mean = float(np.mean(values))
    return mean - half, mean + half


def _candidate_result(
    candidate: Mapping[str, Any],
    of_seeds: Mapping[int, float],
    out: Mapping[str, str],
    chances: Mapping[str, float],
    candidates: int,
) -> CandidateResult:
    name, values = str(candidate["name"]), list(of_seeds.values())
    low, high = interval(values, candidates)
    return CandidateResult(
        name=name,
        what=str(candidate.get("what", name)),
        config=dict(candidate["config"]),
        seeds=dict(of_seeds),
        mean=float(np.mean(values)) if values else math.nan,
        std=float(np.std(values, ddof=1)) if len(values) > 1 else math.nan,
        low=low,
        high=high,
        p_best=0.0 if name in out else chances.get(name, math.nan),
        out=out.get(name, ""),
        sweep_value=candidate.get("value"),
    )


def _value(sweep: Sweep, record: StudyRecord, trial: TrialRecord) -> float:
    value = trial.objective_value(record.objective, sweep.sign)
    return math.nan if value is None or trial.outcome == "diverged" else value


def _lead(
    ordered: Sequence[CandidateResult], sign: int
) -> tuple[str, float | None, float | None, float | None]:
    """The best of the others, dropped or not; the winner's mean lead over it, its error and p-value."""
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
    """Kendall's tau-a between the means of the race and the values in the sweep."""
    pairs = [
        (one.mean - two.mean) * (one.sweep_value - two.sweep_value)
        for one, two in combinations([each for each in ordered if math.isfinite(each.mean)], 2)
        if one.sweep_value is not None and two.sweep_value is not None
    ]
    return sum((pair > 0) - (pair < 0) for pair in pairs) / len(pairs) if pairs else None
