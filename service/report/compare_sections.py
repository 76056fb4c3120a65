"""A comparison's words, tables and figure, for all forms of it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from service.report.compare import Comparison, Curve, as_json
from service.report.figures import Figure, dress
from service.report.markdown import markdown
from service.report.page import page
from service.report.sections import Section
from service.report.words import number, setting
from service.report.write import put
from service.study.words import short_keys

WIDE = 10.0
COLOURS = ("#3b82c4", "#e8973a", "#2aa198", "#8e6bbf", "#d64550", "#7f8c3b")


def sections(found: Comparison) -> list[Section]:
    """The comparison from top to bottom."""
    return list(_sections(found))


def title(found: Comparison) -> str:
    """Who is held against whom."""
    return " against ".join(side.name for side in found.sides)


def _sections(found: Comparison) -> Iterator[Section]:
    lines = [f"{found.objective} {found.metric}, {found.direction.replace('ize', 'ised')}"]
    lines += [f"caution\t{caution}" for caution in found.cautions]
    yield Section(
        "sweeps",
        "Sweeps",
        tuple(lines),
        ("sweep", "best", "trial", "trials ended", "epochs", "chance (std)"),
        tuple(
            (
                side.name,
                number(side.best.value),
                str(side.best.number),
                str(side.trials),
                str(side.epochs),
                "-" if side.noise is None else f"{side.noise.std:.2g}{'' if side.noise.sure else ' ?'}",
            )
            for side in found.sides
        ),
    )
    yield _budget(found)
    yield Section("regret", "Best so far")
    yield Section(
        "agreement",
        "Do they agree on a winner?",
        tuple(f"{one.one} and {one.other}\t{one.sentence}" for one in found.agreements),
    )
    yield _winners(found)


def _budget(found: Comparison) -> Section:
    """At equal budget, pair by pair."""
    lines = []
    for duel in found.duels:
        values, medians = (" against ".join(map(number, pair)) for pair in (duel.values, duel.medians))
        lead = (
            "" if math.isnan(duel.low) else f", a lead of {setting(duel.low)} to {setting(duel.high)} (90 %)"
        )
        lines.append(
            f"{duel.one}, {duel.other}\t{duel.verdict}. After {duel.epochs} epochs each: {values}; "
            f"in any order {medians}{lead}"
        )
    return Section("budget", "Best at equal budget", tuple(lines))


def _winners(found: Comparison) -> Section:
    keys = list(dict.fromkeys(key for side in found.sides for key in side.best.config))
    names = short_keys(keys)
    rows = tuple(
        (
            side.name,
            *(setting(side.best.config[key]) if key in side.best.config else "" for key in keys),
        )
        for side in found.sides
    )
    return Section("winners", "The winners' settings", (), ("sweep", *(names[key] for key in keys)), rows)


def figures(found: Comparison) -> list[Figure]:
    """The best so far, with the intervals of resampled orders."""
    plot = make_subplots(rows=1, cols=2, shared_yaxes=True, horizontal_spacing=0.05)
    for place, side in enumerate(found.sides):
        colour = COLOURS[place % len(COLOURS)]
        for col, curve in enumerate((side.by_trials, side.by_epochs), start=1):
            for trace in _traces(side.name, curve, colour, first=col == 1):
                plot.add_trace(trace, row=1, col=col)
    plot.update_xaxes(title_text="trials ended", row=1, col=1)
    plot.update_xaxes(title_text="epochs", row=1, col=2)
    plot.update_yaxes(title_text=found.metric, row=1, col=1)
    if _wide(found):
        plot.update_yaxes(type="log")
    plot.update_layout(height=460)
    figure = Figure(
        "best_so_far",
        "regret",
        "The best so far against what was spent",
        "Regret is the distance to the best line's end. Lines are what happened; bands hold 90 % of orders "
        "drawn anew from the same trials: where they overlap, another order might turn the ranking around.",
        plot,
    )
    dress(plot)
    return [figure]


def _wide(found: Comparison) -> bool:
    """Whether values span an order of magnitude, and none forbids a log axis."""
    values = [
        value
        for side in found.sides
        for value in (*side.by_trials.best, *side.by_trials.low, *side.by_trials.high)
        if not math.isnan(value)
    ]
    return min(values) > 0 and max(values) > WIDE * min(values)


def _traces(name: str, curve: Curve, colour: str, *, first: bool) -> Iterator[Any]:
    known = [place for place, value in enumerate(curve.low) if not math.isnan(value + curve.high[place])]
    spent = [curve.spent[place] for place in known]
    band = [curve.low[place] for place in known] + [curve.high[place] for place in reversed(known)]
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


def write(found: Comparison, folder: Path) -> list[Path]:
    """Write compare.html, compare.md and compare.json into a folder, made if missing; their paths.

    Raises:
        OSError: if the disk refuses.
    """
    parts = sections(found)
    goal = f"{found.direction} {found.metric}"
    return put(
        folder,
        {
            "compare.html": page(title(found), goal, parts, figures(found)),
            "compare.md": markdown(title(found), "compare.html", parts),
            "compare.json": json.dumps(as_json(found), indent=1) + "\n",
        },
    )
