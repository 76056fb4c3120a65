"""Parallel coordinates that can be brushed: Optuna draws lines that cannot."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import optuna
import plotly.graph_objects as go
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import TrialState

from raysweep.formatting import short_keys
from raysweep.report.formatting import setting
from raysweep.report.series import asks_for_log
from raysweep.report.subject import Subject

Axis = dict[str, Any]


def parallel(subject: Subject, study: optuna.Study, names: Sequence[str]) -> Any:
    """The completed trials that have all these parameters, each a line from its parameters to its worth."""
    done = [
        trial
        for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if trial.value is not None and set(names) <= set(trial.params)
    ]
    worth = [trial.value for trial in done if trial.value is not None]
    short = short_keys(list(names))
    axes = [_axis(short[name], [trial.params[name] for trial in done], _told(done, name)) for name in names]
    last: Axis = {"label": subject.metric, "values": worth}
    if asks_for_log(worth):
        last = _logs(subject.metric, worth)
    plot = go.Figure(
        go.Parcoords(
            dimensions=[*axes, last],
            line={
                "color": last["values"],
                "colorscale": "Blues_r" if subject.sign > 0 else "Blues",
                "cmin": min(last["values"], default=0.0),
                "cmax": _pale(last["values"]),
            },
            labelfont={"size": 13},
            labelside="bottom",  # on top the margin that all figures share would cut them off
        )
    )
    plot.update_layout(height=430)
    return plot


def _told(trials: Sequence[optuna.trial.FrozenTrial], name: str) -> BaseDistribution | None:
    return trials[-1].distributions[name] if trials else None


def _axis(label: str, values: Sequence[Any], domain: BaseDistribution | None) -> Axis:
    """One parameter's axis, on its own scale; choices stand in their order."""
    if isinstance(domain, CategoricalDistribution):
        places = {setting(choice): place for place, choice in enumerate(domain.choices)}
        return {
            "label": label,
            "values": [places[setting(value)] for value in values],
            "tickvals": list(places.values()),
            "ticktext": list(places),
        }
    if getattr(domain, "log", False):
        return _logs(label, values)
    axis: Axis = {"label": label, "values": list(values)}
    whole = sorted(set(values))
    return axis | ({"tickvals": whole} if len(whole) <= 12 and all(v == int(v) for v in whole) else {})


def _logs(label: str, values: Sequence[float]) -> Axis:
    """Logarithms, with the values themselves at the ticks: plotly's own axes here are linear."""
    logs = [math.log10(value) for value in values]
    low, high = min(logs, default=0.0), max(logs, default=0.0)
    ticks = [low, *range(math.ceil(low + 0.1), math.floor(high - 0.1) + 1), high]
    return {
        "label": label,
        "values": logs,
        "tickvals": ticks,
        "ticktext": [f"{10**tick:.2g}" for tick in ticks],
    }


def _pale(values: Sequence[float]) -> float:
    """Where the colours end: beyond the worst, so that the palest line can still be seen on white."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    return high + 0.25 * (high - low)
