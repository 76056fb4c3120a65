"""Parallel coordinates with selectable lines, which Optuna's plot lacks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from raysweep.formatting import short_keys
from raysweep.report.formatting import short_choice
from raysweep.report.series import asks_for_log
from raysweep.report.subject import Subject
from raysweep.report.trial_points import thinned, value_points
from schedulers.space import Categorical, Domain

MOST = 400  # lines in the plot
Axis = dict[str, Any]


def parallel(subject: Subject, names: Sequence[str]) -> Any:
    """The trials that have a value, each a line from its parameters to that value.

    Parameters that not all trials have are left out; of more than `MOST` trials the best and a seeded choice
    of the rest are drawn.
    """
    points = thinned(value_points(subject), lambda point: subject.sign * point[1], MOST)
    points.sort(key=lambda point: point[0].number)
    shown = [name for name in names if all(name in trial.config for trial, _ in points)]
    values = [value for _, value in points]
    short = short_keys(shown)
    axes = [
        _axis(short[name], [trial.config[name] for trial, _ in points], subject.domains.get(name))
        for name in shown
    ]
    last: Axis = {"label": subject.metric, "values": values}
    if asks_for_log(values):
        last = _logs(subject.metric, values)
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
        )
    )
    plot.update_layout(height=430, margin={"l": 80, "t": 70})
    return plot


def _axis(label: str, values: Sequence[Any], domain: Domain | None) -> Axis:
    """One parameter's axis, on its own scale; choices in their order."""
    if isinstance(domain, Categorical):
        indices = {short_choice(choice): index for index, choice in enumerate(domain.choices)}
        return {
            "label": label,
            "values": [indices[short_choice(value)] for value in values],
            "tickvals": list(indices.values()),
            "ticktext": list(indices),
        }
    if domain is not None and domain.log:
        return _logs(label, values)
    axis: Axis = {"label": label, "values": list(values)}
    whole = sorted(set(values))
    return axis | ({"tickvals": whole} if len(whole) <= 12 and all(v == int(v) for v in whole) else {})


def _logs(label: str, values: Sequence[float]) -> Axis:
    """An axis of logarithms with the values themselves as ticks: plotly's axes here are linear."""
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
    """The end of the colour scale, beyond the worst value, so that the palest line is visible on white."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    return high + 0.25 * (high - low)
