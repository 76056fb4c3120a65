"""Figures with a mark for every trial, filled if it completed, else hollow."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterator, Sequence
from typing import Any

import plotly.graph_objects as go

from raysweep.formatting import short_keys
from raysweep.report.figure import BEST, COLOURS, Figure, hover_text
from raysweep.report.formatting import short_choice
from raysweep.report.series import asks_for_log
from raysweep.report.subject import Subject
from raysweep.report.trial_points import at_common_epoch, share_at_least_as_good, training_spans, value_points
from raysweep.study.journal.records import TrialRecord
from schedulers.space import Categorical, Domain

PANEL = 300  # pixels: the height of one of several small plots
ROW, ROWS = 14, (10, 60)  # pixels of a trial's row in the timeline; the least and the most rows
HOLLOW = "A hollow mark is a trial that did not complete, at the last value it reached."
LEAST = 2  # trials, below which a figure of all of them shows nothing

Points = Sequence[tuple[TrialRecord, float]]


def trial_figures(subject: Subject, names: Sequence[str]) -> Iterator[Figure]:
    """All of them for which the study has data.

    Args:
        subject: the study.
        names: the searched parameters, the most important first.
    """
    if any(trial.curve for trial in subject.trials):
        yield Figure(
            "timeline",
            "time",
            "When each trial trained",
            "A row is a trial, a bar is training without a break; between two bars the trial waited for a "
            "slot or for the trial scheduler.",
            (_timeline(subject),),
        )
    points = value_points(subject)
    if len(points) < LEAST:
        return
    log = asks_for_log([value for _, value in points])
    yield Figure(
        "history",
        "progress",
        "Every trial's result, and the best so far",
        f"{HOLLOW} The line is the best so far of the ranked trials; if it stays flat, more trials of this "
        "kind gain little.",
        (_on_scale(_history(subject, points), "y", log),),
        scale="y",
    )
    yield from _distribution(subject, points)
    if names:
        yield Figure(
            "slice",
            "parameters",
            "Each parameter against the result",
            f"{HOLLOW} A trend shows which direction is better; a cluster of dark marks shows that the "
            "search has settled there.",
            tuple(_on_scale(_slice(subject, points, name), "y", log) for name in names),
            scale="y",
        )


def _history(subject: Subject, points: Points) -> Any:
    plot = go.Figure()
    for outcome in dict.fromkeys(trial.status for trial, _ in points):
        some = [(trial, value) for trial, value in points if trial.status == outcome]
        symbol = "circle" if outcome == "completed" else "circle-open"
        plot.add_trace(
            go.Scatter(
                x=[trial.number for trial, _ in some],
                y=[value for _, value in some],
                mode="markers",
                name=outcome,
                marker={"color": COLOURS[outcome], "size": 8, "symbol": symbol},
                **_hover(some),
            )
        )
    counts = {trial.trial for trial in subject.ranked()}
    best, numbers, values = math.inf, [], []
    for trial, value in points:
        if trial.trial in counts:
            best = min(best, subject.sign * value)
            numbers.append(trial.number)
            values.append(subject.sign * best)
    plot.add_trace(
        go.Scatter(x=numbers, y=values, mode="lines", name="best so far", line={"shape": "hv", "color": BEST})
    )
    plot.update_xaxes(title_text="trial")
    plot.update_yaxes(title_text=subject.metric)
    plot.update_layout(height=420, legend={"orientation": "h", "y": 1.1})
    return plot


def _distribution(subject: Subject, points: Points) -> Iterator[Figure]:
    """How good the space is: completed trials at their ends, and all trials at their common epoch."""
    done = [value for trial, value in points if trial.outcome == "completed"]
    same = at_common_epoch(subject)
    sets = [("completed trials", done, COLOURS["completed"])] if len(done) >= LEAST else []
    if same is not None:
        values = [subject.sign * loss for loss in same.losses.values()]
        sets.append((f"all {len(values)} trials at epoch {same.epoch}", values, COLOURS["stopped"]))
    if not sets:
        return
    plot = go.Figure()
    for name, values, colour in sets:
        x, y = share_at_least_as_good(values, subject.sign)
        plot.add_trace(
            go.Scatter(x=x, y=y, mode="lines+markers", name=name, line={"shape": "hv", "color": colour})
        )
    plot.update_xaxes(title_text=subject.metric, autorange="reversed" if subject.sign < 0 else None)
    plot.update_yaxes(title_text="share of the trials", tickformat=".0%", rangemode="tozero")
    plot.update_layout(height=400, legend={"orientation": "h", "y": 1.1})
    log = asks_for_log([value for _, values, _ in sets for value in values])
    yield Figure(
        "edf",
        "progress",
        "Share of the trials that are at least as good",
        "From the best on the left to the worst: the steeper on the left, the more of the space is good; a "
        "single step is a lucky trial. All trials can be compared only at an epoch that all of them reached.",
        (_on_scale(plot, "x", log),),
        scale="x",
    )


def _slice(subject: Subject, points: Points, name: str) -> Any:
    domain = subject.domains.get(name)
    plot = go.Figure()
    numbers = [trial.number for trial, _ in points]
    for hollow in (True, False):
        some = [
            (trial, value)
            for trial, value in points
            if name in trial.config and (trial.status != "completed") is hollow
        ]
        plot.add_trace(
            go.Scatter(
                x=[_position(domain, trial.config[name]) for trial, _ in some],
                y=[value for _, value in some],
                mode="markers",
                showlegend=False,
                marker={
                    "symbol": "circle-open" if hollow else "circle",
                    "size": 8,
                    "color": [trial.number for trial, _ in some],
                    "colorscale": "Blues",
                    # The palest mark is visible on white.
                    "cmin": min(numbers) - (max(numbers) - min(numbers) + 1) / 2,
                    "cmax": max(numbers),
                    "line": {"width": 1.5 if hollow else 0.5},
                },
                **_hover(some),
            )
        )
    plot.update_xaxes(title_text=next(iter(short_keys([name]).values())))
    if isinstance(domain, Categorical):
        order = [short_choice(choice) for choice in domain.choices]
        plot.update_xaxes(type="category", categoryorder="array", categoryarray=order)
    elif domain is not None and domain.log:
        plot.update_xaxes(type="log")
    plot.update_yaxes(title_text=subject.metric)
    plot.update_layout(height=PANEL)
    return plot


def _position(domain: Domain | None, value: Any) -> Any:
    return short_choice(value) if domain is None or isinstance(domain, Categorical) else value


def _timeline(subject: Subject) -> Any:
    trials = [trial for trial in subject.trials if trial.curve]
    plot = go.Figure()
    for outcome in dict.fromkeys(trial.status for trial in trials):
        bars = [
            (trial, span) for trial in trials if trial.status == outcome for span in training_spans(trial)
        ]
        plot.add_trace(
            go.Bar(
                base=[_clock(span.begin) for _, span in bars],
                x=[1000 * max(span.end - span.begin, 1e-3) for _, span in bars],
                y=[trial.number for trial, _ in bars],
                orientation="h",
                name=outcome,
                marker={"color": COLOURS[outcome], "line": {"width": 0}},
                customdata=[
                    f"trial {trial.number}, epochs {span.first_epoch} to {span.last_epoch}, "
                    f"{span.end - span.begin:.3g} s"
                    for trial, span in bars
                ],
                hovertemplate="%{customdata}<extra></extra>",
            )
        )
    plot.update_xaxes(type="date")
    plot.update_yaxes(title_text="trial", autorange="reversed", dtick=1 if len(trials) <= 20 else None)
    plot.update_layout(
        barmode="overlay",
        bargap=0.25,
        height=120 + ROW * min(max(len(trials), ROWS[0]), ROWS[1]),
        legend={"orientation": "h", "y": 1.1},
    )
    return plot


def _clock(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds).isoformat(sep=" ", timespec="milliseconds")


def _on_scale(plot: Any, axis: str, log: bool) -> Any:
    """The plot with one of its axes logarithmic if `log`."""
    (plot.update_yaxes if axis == "y" else plot.update_xaxes)(type="log" if log else "linear")
    return plot


def _hover(points: Points) -> dict[str, Any]:
    """The hover text of marks."""
    return {
        "customdata": [
            f"trial {trial.number}, {trial.status} at epoch {trial.epoch}<br>{hover_text(trial.reason)}"
            for trial, _ in points
        ],
        "hovertemplate": "%{customdata}<br>%{x}: %{y:.6g}<extra></extra>",
    }
