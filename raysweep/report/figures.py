"""The report's figures: Optuna's own plots and plotly's, each with a title and how to read it."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import optuna
import optuna.visualization as drawn
from optuna.trial import TrialState

from raysweep.formatting import short_keys
from raysweep.report import own_figures as own
from raysweep.report.importance import Importance
from raysweep.report.optuna_study import as_front_study, as_study
from raysweep.report.parallel import parallel
from raysweep.report.series import asks_for_log
from raysweep.report.subject import Subject
from raysweep.report.tables import Tables
from raysweep.search.samplers import quiet

STRONGEST = 4  # parameters in a plot of pairs
SLICE, SLICES = 200, 5  # pixels a parameter (Optuna's are 300), and how many a page has room for
THINNED = {"contour": 80, "rank": 300, "parallel": 400, "slice": 600}
"""Trials in a plot whose size grows with them: the better half of these, and a seeded choice of the rest."""
TALL = 260  # pixels for each parameter of a square of pairs


@dataclass(frozen=True)
class Figure:
    """One figure of the report.

    Attributes:
        name: a word for links and files.
        section: where it stands in the report.
        title: above it.
        caption: how to read it.
        plot: plotly's figure.
    """

    name: str
    section: str
    title: str
    caption: str
    plot: Any


def figures(subject: Subject, tables: Tables, importance: Importance) -> list[Figure]:
    """All figures that the study's data bear, in the report's order."""
    found = list(own.figures(subject, tables, importance))
    named = [Figure(*each) for each in (*found, *_optunas(subject, importance))]
    for figure in named:
        dress(figure.plot)
    return named


def _optunas(subject: Subject, importance: Importance) -> Iterator[tuple[str, str, str, str, Any]]:
    """Optuna's own plots; those that need a finished trial are left out while there is none."""
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of values that a log axis cannot show
        study = as_study(subject)
        states = [trial.state for trial in study.get_trials(deepcopy=False)]
        if states:
            yield (
                "timeline",
                "time",
                "When each trial ran",
                "A bar is a trial, from its start to its end; gaps are idle slots, or trials that waited.",
                _call(drawn.plot_timeline, study),
            )
        if TrialState.COMPLETE not in states:
            return
        label = subject.metric
        yield (
            "history",
            "progress",
            "Every trial's result, and the best so far",
            "The red line is the best so far: flat for long means that more trials of this kind gain little.",
            _on_scale(_call(drawn.plot_optimization_history, study, target_name=label), study, "y"),
        )
        yield (
            "edf",
            "progress",
            "Share of completed trials at least so good",
            "The steeper on the good side, the more of the space is good; one lone step is a lucky trial.",
            _on_scale(_call(drawn.plot_edf, study, target_name=label), study, "x"),
        )
        yield from _of_parameters(subject, study, importance)
        if len(subject.metrics) > 1:
            yield from _of_fronts(subject)


def _of_parameters(
    subject: Subject, study: optuna.Study, importance: Importance
) -> Iterator[tuple[str, str, str, str, Any]]:
    names = _strongest(study, importance)
    if not names:
        return
    label, many = subject.metric, STRONGEST if len(names) >= STRONGEST else len(names)
    slices = _call(drawn.plot_slice, _thin(subject, study, "slice"), params=sorted(names), target_name=label)
    slices.layout.width = SLICE * len(names) if len(names) > SLICES else None
    yield (
        "slice",
        "parameters",
        "Each parameter against the result",
        "A trend says which way is better; colour is the trial's number, so dark dots in one place "
        "say that the search has settled there.",
        _on_scale(slices, study, "y"),
    )
    yield (
        "parallel",
        "parameters",
        "Parallel coordinates",
        "A line is a trial, dark if it is good; drag along an axis to keep the lines that pass there, "
        "click it to keep all again. Axes of wide ranges are logarithmic.",
        parallel(subject, _thin(subject, study, "parallel"), names),
    )
    if many < 2:
        return
    strongest = names[:many]
    for name, plot, title, caption in (
        (
            "contour",
            drawn.plot_contour,
            "Pairs of parameters: the landscape",
            "Interpolated between the trials (dots): where there are none, it is a guess.",
        ),
        (
            "rank",
            drawn.plot_rank,
            "Pairs of parameters: the ranks",
            "Colour is the rank among all trials, so outliers do not hide the rest.",
        ),
    ):
        figure = _call(plot, _thin(subject, study, name), params=strongest, target_name=label)
        figure.update_layout(height=max(420, TALL * many) if many > 2 else 450)
        yield name, "parameters", title, caption, figure


def _of_fronts(subject: Subject) -> Iterator[tuple[str, str, str, str, Any]]:
    study = as_front_study(subject)
    done = study.get_trials(deepcopy=False)
    if not done:
        return
    if len(subject.metrics) <= 3:
        names = [metric.name for metric in subject.metrics]
        yield (
            "pareto",
            "front",
            "Pareto front",
            "Red trials are on the front: none is better in one metric without being worse in another.",
            _call(drawn.plot_pareto_front, study, target_names=names),
        )
    worst = [
        (max if metric.direction == "minimize" else min)(trial.values[place] for trial in done)
        for place, metric in enumerate(subject.metrics)
    ]
    yield (
        "hypervolume",
        "front",
        "Hypervolume of the front",
        "What the front dominates, measured from the worst value of each metric; flat means settled.",
        _call(drawn.plot_hypervolume_history, study, worst),
    )


def _on_scale(plot: Any, study: optuna.Study, axis: str) -> Any:
    """The plot with the objective's axis logarithmic, if its values ask for that."""
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if asks_for_log([trial.value for trial in done if trial.value is not None]):
        (plot.update_yaxes if axis == "y" else plot.update_xaxes)(type="log")
    return plot


def _strongest(study: optuna.Study, importance: Importance) -> list[str]:
    """Parameters, the most important first; those that only some trials have come last."""
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    ranked = [share.name for share in importance.shares]
    rest = sorted({name for trial in done for name in trial.params} - set(ranked))
    return [*ranked, *rest]


def _thin(subject: Subject, study: optuna.Study, plot: str) -> optuna.Study:
    """A study small enough for a plot."""
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    most = THINNED[plot]
    if len(done) <= most:
        return study
    best = sorted(done, key=lambda trial: subject.sign * (trial.value or 0.0))
    chosen = best[: most // 2] + random.Random(0).sample(best[most // 2 :], most - most // 2)
    numbers = {str(trial.user_attrs["trial"]) for trial in chosen}
    return as_study(subject, [trial for trial in subject.trials if trial.trial in numbers])


def _call(plot: Callable[..., Any], *args: Any, **words: Any) -> Any:
    return plot(*args, **words)


def dress(plot: Any) -> None:
    """One look for all: no ground of their own, so that they stand on a light page and on a dark one."""
    plot.update_layout(
        template="plotly",
        title=None,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(128,128,128,0.06)",
        font={"color": "#808890", "family": "system-ui, sans-serif", "size": 12},
        margin={"l": 60, "r": 40, "t": 30, "b": 50},
        hoverlabel={"font_size": 12},
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": "rgba(128,128,128,0.5)", "activecolor": "#1f6fb2"},
    )
    plot.update_xaxes(gridcolor="rgba(128,128,128,0.2)", zerolinecolor="rgba(128,128,128,0.3)")
    plot.update_yaxes(gridcolor="rgba(128,128,128,0.2)", zerolinecolor="rgba(128,128,128,0.3)")
    _short_axes(plot)


def _short_axes(plot: Any) -> None:
    """`optimizer_config.lr` is `lr` on an axis."""
    for axis in [*plot.select_xaxes(), *plot.select_yaxes()]:
        if axis.title.text:
            axis.title.text = next(iter(short_keys([axis.title.text]).values()))
