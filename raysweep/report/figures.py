"""The report's figures: Optuna's own plots and plotly's, each with a title and how to read it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import optuna
import optuna.visualization as optunas
from optuna.trial import FrozenTrial, TrialState

from raysweep.report.figure import Figure, dress
from raysweep.report.optuna_study import as_front_study, as_study
from raysweep.report.own_figures import own_figures
from raysweep.report.parallel import parallel
from raysweep.report.report import Report
from raysweep.report.subject import Subject
from raysweep.report.trial_figures import trial_figures
from raysweep.report.trial_points import thinned, value_points
from raysweep.search.samplers import quiet

STRONGEST = 4  # parameters in a plot of pairs
LANDSCAPE = 20  # completed trials below which a landscape would be drawn from guesses
THINNED = {"contour": 80, "rank": 300}
"""The most trials in a plot: half of them the best, half a seeded choice of the rest."""
TALL = 260  # pixels for each parameter of a square of pairs


def figures(report: Report) -> list[Figure]:
    """All figures for which the study has data, in the report's order."""
    subject, names = report.subject, _names(report)
    drawn = [
        *own_figures(report),
        *trial_figures(subject, names),
        *_of_parameters(subject, names),
        *(_of_fronts(subject) if len(subject.metrics) > 1 else ()),
    ]
    return [dress(figure) for figure in drawn]


def _names(report: Report) -> list[str]:
    """The searched parameters, the most important first; those without an importance come last."""
    subject, early = report.subject, report.importance_at_epoch
    shares = report.importance.shares or (early.importance.shares if early is not None else ())
    ranked = list(dict.fromkeys(share.name.partition("[")[0] for share in shares))  # lr[AdamW] is lr
    used = {name for trial in subject.trials for name in subject.config(trial)}
    return [*ranked, *sorted((used & set(subject.domains)) - set(ranked))]


def _of_parameters(subject: Subject, names: Sequence[str]) -> Iterator[Figure]:
    """Parallel coordinates of all trials; Optuna's landscapes if there are enough trials."""
    if not names or len(value_points(subject)) < 2:
        return
    yield Figure(
        "parallel",
        "parameters",
        "Parallel coordinates",
        "A line is a trial, dark if it is good; one that did not complete ends at its last value. Drag "
        "along an axis to select lines, click the axis to select all again. Axes of wide ranges are "
        "logarithmic.",
        (parallel(subject, names),),
    )
    done = as_study(subject).get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    common = set.intersection(*(set(trial.params) for trial in done)) if done else set()
    strongest = [name for name in names if name in common][:STRONGEST]
    if len(done) < LANDSCAPE or len(strongest) < 2:
        return
    for name, plot, title, caption in (
        (
            "contour",
            optunas.plot_contour,
            "Pairs of parameters: the landscape",
            "Interpolated between the completed trials (dots); where there are none, it is a guess.",
        ),
        (
            "rank",
            optunas.plot_rank,
            "Pairs of parameters: the ranks",
            "Colour is the rank among the completed trials, so outliers do not hide the rest.",
        ),
    ):
        study = _thin(subject, done, THINNED[name])
        figure = _call(plot, study, params=strongest, target_name=subject.metric)
        figure.update_layout(height=max(420, TALL * len(strongest)) if len(strongest) > 2 else 450)
        yield Figure(name, "parameters", title, caption, (figure,))


def _of_fronts(subject: Subject) -> Iterator[Figure]:
    study = as_front_study(subject)
    done = study.get_trials(deepcopy=False)
    if not done:
        return
    if len(subject.metrics) <= 3:
        names = [metric.name for metric in subject.metrics]
        yield Figure(
            "pareto",
            "front",
            "Pareto front",
            "Red trials are on the front: none is better in one metric without being worse in another.",
            (_call(optunas.plot_pareto_front, study, target_names=names),),
        )
    worst = [
        (max if metric.direction == "minimize" else min)(trial.values[index] for trial in done)
        for index, metric in enumerate(subject.metrics)
    ]
    yield Figure(
        "hypervolume",
        "front",
        "Hypervolume of the front",
        "The volume that the front dominates, from the worst value of each metric; flat means settled.",
        (_call(optunas.plot_hypervolume_history, study, worst),),
    )


def _thin(subject: Subject, done: Sequence[FrozenTrial], most: int) -> optuna.Study:
    """A study of at most `most` completed trials: the best, and a seeded choice of the rest."""
    chosen = thinned(done, lambda trial: subject.sign * (trial.value or 0.0), most)
    numbers = {str(trial.user_attrs["trial"]) for trial in chosen}
    return as_study(subject, [trial for trial in subject.trials if trial.trial in numbers])


def _call(plot: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call one of Optuna's plots without its warnings on left-out trials and experimental functions."""
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return plot(*args, **kwargs)
