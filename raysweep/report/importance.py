"""Which parameters mattered: PED-ANOVA and fANOVA, with their uncertainty."""

from __future__ import annotations

import copy
import itertools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

from raysweep.formatting import counted
from raysweep.report.fanova import Axis, Fanova, axes_of, encode
from raysweep.search.samplers import quiet

RESAMPLES = 30
BOOTSTRAP_TREES = 16
PAIR_TREES, PAIRED = 16, 5  # trees, and how many of the most important parameters are paired
LEAST, A_PARAMETER = 10, 8  # the least trials for a statement, in total and for each parameter
SEED = 0
INTERVAL = (5.0, 95.0)  # percentiles


@dataclass(frozen=True, slots=True)
class Share:
    """One parameter's importance, as a share of what all explain.

    `low` to `high` holds 90% of the resamples, and the share itself. It is not a confidence interval: a
    forest smooths in the same way in every resample, and for functions without noise the range may never hold
    the truth (docs/report.md has the figures).
    """

    name: str
    fanova: float
    fanova_low: float
    fanova_high: float
    ped_anova: float
    ped_anova_low: float
    ped_anova_high: float


@dataclass(frozen=True, slots=True)
class Pair:
    """Two parameters that explain a share of the variance only together."""

    names: tuple[str, str]
    share: float


@dataclass(frozen=True, slots=True)
class Importance:
    """The parameters' importance.

    Attributes:
        shares: by fANOVA, the greatest first; empty if nothing can be computed.
        pairs: interactions, the greatest first.
        trials: completed trials that it is based on.
        left_out: parameters that not all of those trials have.
        caution: why it is unreliable; "" if it is reliable.
    """

    shares: tuple[Share, ...] = ()
    pairs: tuple[Pair, ...] = ()
    trials: int = 0
    left_out: tuple[str, ...] = ()
    caution: str = ""


@dataclass(frozen=True, slots=True)
class EpochImportance:
    """Importance for the results of all trials at one epoch, the last that each of them reached."""

    epoch: int
    importance: Importance

    @property
    def fanova(self) -> dict[str, float]:
        """Share of each parameter."""
        return {share.name: share.fanova for share in self.importance.shares}


def importance(study: optuna.Study) -> Importance:
    """Compute the importance of a study's parameters from its completed trials.

    PED-ANOVA is Optuna's; fANOVA is our own, over the space as it is sampled (`raysweep.report.fanova`).
    """
    done = [trial for trial in study.get_trials(deepcopy=False) if trial.state == TrialState.COMPLETE]
    common = _common(done)
    everything = {name for trial in done for name in trial.distributions}
    left_out = tuple(sorted(everything - set(common)))
    axes = axes_of(common)
    names = [axis.name for axis in axes]
    if len(done) < 2 or not axes:
        return Importance(trials=len(done), left_out=left_out, caution=_too_few(len(done), len(common)))
    x = encode([trial.params for trial in done], axes)
    y = np.array([trial.value for trial in done], dtype=float)
    forest = Fanova(axes, x, y, seed=SEED)
    if forest.flat:
        return Importance(
            trials=len(done), left_out=left_out, caution="all trials have the same result: nothing mattered"
        )
    fanova = _normal([forest.single(index) for index in range(len(axes))])
    ped = _ped_anova(study, names)
    spread_f, spread_p = _resampled(study, done, axes, x, y)
    shares = [
        Share(name, *_around(float(fanova[n]), spread_f[n]), *_around(float(ped[n]), spread_p[n]))
        for n, name in enumerate(names)
    ]
    shares += [
        Share(name, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0) for name in common if name not in names
    ]  # a single value explains nothing
    shares.sort(key=lambda share: -share.fanova)
    caution = _too_few(len(done), len(common)) or _unsettled(shares)
    return Importance(tuple(shares), _pairs(axes, x, y, fanova), len(done), left_out, caution)


def _common(done: Sequence[FrozenTrial]) -> dict[str, BaseDistribution]:
    """The parameters that all trials have, by name as Optuna sorts them."""
    if not done:
        return {}
    names = set.intersection(*(set(trial.distributions) for trial in done))
    return {name: done[-1].distributions[name] for name in sorted(names)}


def _ped_anova(study: optuna.Study, names: Sequence[str]) -> NDArray[np.float64]:
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # on few trials, which `caution` reports
        shares = get_param_importances(
            study, evaluator=PedAnovaImportanceEvaluator(), params=list(names), normalize=True
        )
    return np.array([shares[name] for name in names], dtype=float)


def _resampled(
    study: optuna.Study,
    done: Sequence[FrozenTrial],
    axes: Sequence[Axis],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """5% and 95% percentiles of both measures, over studies drawn with replacement from these trials."""
    names = [axis.name for axis in axes]
    rng = np.random.default_rng(SEED)
    by_fanova, by_ped = [], []
    for turn in range(RESAMPLES):
        drawn = rng.integers(len(done), size=len(done))
        forest = Fanova(axes, x[drawn], y[drawn], trees=BOOTSTRAP_TREES, seed=turn)
        if forest.flat:
            continue
        by_fanova.append(_normal([forest.single(index) for index in range(len(axes))]))
        by_ped.append(_ped_anova(_with_trials(study, [done[index] for index in drawn]), names))
    return _percentiles(by_fanova, len(axes)), _percentiles(by_ped, len(axes))


def _with_trials(study: optuna.Study, trials: list[FrozenTrial]) -> optuna.Study:
    """A copy of the study with other trials; adding a thousand to a new study takes Optuna a second."""
    numbered = [
        FrozenTrial(
            number=number,
            trial_id=number,  # unique, although a trial may be drawn twice
            state=trial.state,
            value=trial.value,
            datetime_start=trial.datetime_start,
            datetime_complete=trial.datetime_complete,
            params=trial.params,
            distributions=trial.distributions,
            user_attrs={},
            system_attrs={},
            intermediate_values={},
        )
        for number, trial in enumerate(trials)
    ]
    other = copy.copy(study)
    vars(other)["get_trials"] = lambda deepcopy=True, states=None: numbered
    return other


def _around(value: float, bounds: tuple[float, float]) -> tuple[float, float, float]:
    """A value and its interval, extended to hold the value: resamples of few trials may miss it."""
    return value, min(bounds[0], value), max(bounds[1], value)


def _percentiles(rows: list[NDArray[np.float64]], width: int) -> list[tuple[float, float]]:
    if not rows:
        return [(0.0, 1.0)] * width
    low, high = np.percentile(np.array(rows), INTERVAL, axis=0)
    return [(float(one), float(other)) for one, other in zip(low, high, strict=True)]


def _pairs(
    axes: Sequence[Axis], x: NDArray[np.float64], y: NDArray[np.float64], single: NDArray[np.float64]
) -> tuple[Pair, ...]:
    strongest = sorted(range(len(axes)), key=lambda index: -single[index])[:PAIRED]
    forest = Fanova(axes, x, y, trees=PAIR_TREES, seed=SEED)
    pairs = [
        Pair((axes[one].name, axes[other].name), forest.pair(one, other))
        for one, other in itertools.combinations(sorted(strongest), 2)
        if not forest.flat
    ]
    return tuple(sorted(pairs, key=lambda pair: -pair.share))


def _normal(values: Sequence[float]) -> NDArray[np.float64]:
    total = sum(values)
    return np.array(values) / total if total > 0 else np.zeros(len(values))


def _too_few(trials: int, parameters: int) -> str:
    needed = max(LEAST, A_PARAMETER * parameters)
    if trials >= needed:
        return ""
    searched = counted(parameters, "parameter")
    return (
        f"too few trials: {trials} completed, at least {needed} are needed for {searched}; "
        "take this as a hint of what to try next, not as a result"
    )


def _unsettled(shares: Sequence[Share]) -> str:
    """A caution if the order of the first two is open, else ""."""
    if len(shares) < 2 or shares[0].fanova_low > shares[1].fanova_high:
        return ""
    first, second = shares[0].name.rpartition(".")[2], shares[1].name.rpartition(".")[2]
    return f"whether {first} or {second} matters more is open: it depends on single trials"
