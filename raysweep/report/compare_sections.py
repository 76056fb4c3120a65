"""A comparison's texts, tables and figure, shared by all its forms."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from raysweep.formatting import short_keys
from raysweep.report.compare import Comparison, Curve, as_json
from raysweep.report.equal_budget import EqualBudgetComparison
from raysweep.report.figure import Figure, dress
from raysweep.report.formatting import number, setting
from raysweep.report.html_page import page
from raysweep.report.markdown import markdown
from raysweep.report.report_files import put_file
from raysweep.report.sections import Line, Section

WIDE = 10.0
COLOURS = ("#3b82c4", "#e8973a", "#2aa198", "#8e6bbf", "#d64550", "#7f8c3b")


def sections(comparison: Comparison) -> list[Section]:
    """The sections of the comparison from top to bottom."""
    return list(_sections(comparison))


def title(comparison: Comparison) -> str:
    """The names of the compared sweeps, by side."""
    sides = dict.fromkeys(each.side for each in comparison.sweeps)
    return " against ".join(
        ", ".join(each.name for each in comparison.sweeps if each.side == side) for side in sides
    )


def _sections(comparison: Comparison) -> Iterator[Section]:
    lines = [
        Line(f"{comparison.objective} {comparison.metric}, {comparison.direction.replace('ize', 'ised')}")
    ]
    lines += [Line(caution, "caution") for caution in comparison.cautions]
    yield Section(
        "sweeps",
        "Sweeps",
        tuple(lines),
        ("sweep", "side", "best", "trial", "trials ended", "epochs", "chance (std)"),
        tuple(
            (
                each.name,
                each.side,
                number(each.best.value),
                str(each.best.number),
                str(each.trials),
                str(each.epochs),
                "-" if each.noise is None else f"{each.noise.std:.2g}{'' if each.noise.sure else ' ?'}",
            )
            for each in comparison.sweeps
        ),
    )
    yield _budget(comparison)
    if comparison.retrained:
        verdicts = tuple(Line(each.verdict, f"{each.one}, {each.other}") for each in comparison.retrained)
        yield Section("retrained", "Retrained winners", verdicts)
    yield Section("regret", "Best so far")
    if comparison.agreements:
        sentences = tuple(Line(one.sentence, f"{one.one} and {one.other}") for one in comparison.agreements)
        yield Section("agreement", "Do they agree on a winner?", sentences)
    yield _winners(comparison)


def _budget(comparison: Comparison) -> Section:
    """The comparisons at equal budget, pair by pair."""
    lines = []
    for duel in comparison.duels:
        values, medians = (
            " against ".join(", ".join(map(number, side)) for side in pair)
            for pair in (duel.values, duel.medians)
        )
        text = (
            f"{duel.verdict}. After {duel.epochs} epochs each: {values}; "
            f"median over resampled orders {medians}{_median_difference(duel)}"
        )
        lines.append(Line(text, f"{duel.one}, {duel.other}"))
    if comparison.how_to_test:
        lines.append(Line(comparison.how_to_test, "test"))
    return Section("budget", "Best at equal budget", tuple(lines))


def _median_difference(duel: EqualBudgetComparison) -> str:
    if math.isnan(duel.low):
        return ""
    return (
        f"; {duel.one} is better by {setting(duel.lead)} at the median difference, "
        f"{setting(duel.low)} to {setting(duel.high)} ({100 * duel.confidence:.3g} % interval)"
    )


def _winners(comparison: Comparison) -> Section:
    keys = list(dict.fromkeys(key for each in comparison.sweeps for key in each.best.config))
    names = short_keys(keys)
    rows = tuple(
        (
            each.name,
            *(setting(each.best.config[key]) if key in each.best.config else "" for key in keys),
        )
        for each in comparison.sweeps
    )
    return Section("winners", "The winners' settings", (), ("sweep", *(names[key] for key in keys)), rows)


def figures(comparison: Comparison) -> list[Figure]:
    """The best so far, with the intervals of resampled orders."""
    plot = make_subplots(rows=1, cols=2, shared_yaxes=True, horizontal_spacing=0.05)
    sides = list(dict.fromkeys(each.side for each in comparison.sweeps))
    for each in comparison.sweeps:
        colour = COLOURS[sides.index(each.side) % len(COLOURS)]
        for col, curve in enumerate((each.by_trials, each.by_epochs), start=1):
            for trace in _traces(each.name, curve, colour, first=col == 1):
                plot.add_trace(trace, row=1, col=col)
    plot.update_xaxes(title_text="trials ended", row=1, col=1)
    plot.update_xaxes(title_text="epochs", row=1, col=2)
    plot.update_yaxes(title_text=comparison.metric, row=1, col=1)
    if _wide(comparison):
        plot.update_yaxes(type="log")
    plot.update_layout(height=460)
    figure = Figure(
        "best_so_far",
        "regret",
        "The best so far against what was spent",
        "Regret is the distance to the end of the best line. Lines are what happened; bands hold 90 % of the "
        "resampled orders of the same trials: luck of order within one search, not that of another search.",
        (plot,),
        scale="y",
    )
    dress(figure)
    return [figure]


def _wide(comparison: Comparison) -> bool:
    """Whether the values are positive and span an order of magnitude."""
    values = [
        value
        for each in comparison.sweeps
        for value in (*each.by_trials.best, *each.by_trials.low, *each.by_trials.high)
        if not math.isnan(value)
    ]
    return min(values) > 0 and max(values) > WIDE * min(values)


def _traces(name: str, curve: Curve, colour: str, *, first: bool) -> Iterator[Any]:
    finite = [index for index, value in enumerate(curve.low) if not math.isnan(value + curve.high[index])]
    spent = [curve.spent[index] for index in finite]
    band = [curve.low[index] for index in finite] + [curve.high[index] for index in reversed(finite)]
    yield go.Scatter(
        x=spent + spent[::-1],
        y=band,
        fill="toself",
        fillcolor=colour,
        opacity=0.18,
        line={"width": 0},
        legendgroup=name,
        showlegend=False,
        hoverinfo="skip",
    )
    yield go.Scatter(
        x=curve.spent,
        y=[None if math.isnan(value) else value for value in curve.best],
        name=name,
        legendgroup=name,
        showlegend=first,
        mode="lines",
        line={"shape": "hv", "color": colour},
    )


def write(comparison: Comparison, folder: Path) -> list[Path]:
    """Write compare.html, compare.md and compare.json into a folder, made if missing; returns their paths.

    Raises:
        OSError: if a file cannot be written.
    """
    parts = sections(comparison)
    goal = f"{comparison.direction} {comparison.metric}"
    return put_file(
        folder,
        {
            "compare.html": page(title(comparison), goal, parts, figures(comparison)),
            "compare.md": markdown(title(comparison), "compare.html", parts),
            "compare.json": json.dumps(as_json(comparison), indent=1) + "\n",
        },
    )
