"""Our own figures: learning curves, regret, importance with intervals, a population's lineage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from raysweep.formatting import short_keys
from raysweep.report.figure import BEST, COLOURS, PALE, Figure, hover_text
from raysweep.report.formatting import number
from raysweep.report.importance import EpochImportance, Importance
from raysweep.report.report import Report
from raysweep.report.series import Curve, Progress, asks_for_log, copies, curves, progress
from raysweep.report.subject import Subject
from raysweep.report.tables import Tables
from schedulers.space import Categorical

INTERVALS_OF = 12  # trials whose predictions are drawn; more would hide each other


def own_figures(report: Report) -> Iterator[Figure]:
    """All of them for which the study has data."""
    subject, tables, early = report.subject, report.tables, report.importance_at_epoch
    steps = progress(subject)
    if len(steps) > 1:
        yield Figure(
            "regret",
            "progress",
            "Regret: how far the best so far was from the best of all",
            "The same curve against four costs: where it is flat, the cost brought no improvement. "
            "It is zero from where the best was found; a log scale ends there.",
            _regret(subject, steps),
            scale="y",
        )
    lines = curves(subject)
    if any(len(curve.epochs) > 1 for curve in lines):
        yield Figure(
            "curves",
            "curves",
            "Learning curves by outcome",
            "Green is the winner; a stopped curve that was about to cross it would be a false stop. Click an "
            "outcome in the legend to hide it; hover for the reason.",
            (_curves(subject, lines),),
            scale="y",
        )
    if any(curve.predicted for curve in lines):
        yield Figure(
            "predicted",
            "curves",
            "Predicted final values, with ranges meant to hold nine of ten final values",
            "The final value that the rule predicted, epoch by epoch; a cross is the real one. A range is as "
            "wide as earlier predictions were off; there is none before five trials have finished. "
            "Reasons say how many ranges held.",
            (_predicted(subject, lines),),
            scale="y",
        )
    if report.importance.shares or (early is not None and early.importance.shares):
        yield Figure(
            "importance",
            "parameters",
            "Importance of the parameters",
            "fANOVA: share of the variance over the space. PED-ANOVA: what separates the better trials "
            "from the rest. Bars hold 90% of the values from resampled trials; where they overlap, the order "
            "is open.",
            (_importance(report.importance, early),),
        )
    if subject.is_population:
        yield Figure(
            "lineage",
            "population",
            "Which trial copied which",
            "A row is a member; an arrow leads from the donor of weights to the copy. Green is the "
            "winner's lineage.",
            (_lineage(subject),),
        )
        if len(tables.schedule) > 1:
            yield Figure(
                "schedule",
                "population",
                "The schedule that the winner's weights were trained under",
                "A population finds a schedule, not a setting: to train again, replay all of it.",
                (_schedule(subject, tables),),
            )


def _regret(subject: Subject, steps: Sequence[Progress]) -> tuple[Any, ...]:
    """Regret against trials, epochs, wall-clock time, and the time of slots or GPUs: one plot each."""
    axes = [
        ("trials ended", [step.trials for step in steps]),
        ("epochs", [step.epochs for step in steps]),
        ("wall-clock, minutes", [step.wall_s / 60 for step in steps]),
    ]
    if subject.gpus:
        axes.append(("GPU-hours", [step.busy_s * subject.gpus / 3600 for step in steps]))
    else:
        axes.append(("slot-hours", [step.busy_s / 3600 for step in steps]))
    left = [step.regret for step in steps if step.regret > 0]
    scale = {"type": "log"} if asks_for_log(left) else {"type": "linear", "rangemode": "tozero"}
    plots = []
    for title, spent in axes:
        plot = go.Figure(
            go.Scatter(
                x=spent,
                y=[step.regret for step in steps],  # a log scale leaves out zeros
                line={"shape": "hv", "color": COLOURS["completed"]},
                mode="lines",
                showlegend=False,
                customdata=[number(step.best) for step in steps],
                hovertemplate=f"{title} %{{x:.4g}}<br>best %{{customdata}}, regret %{{y:.4g}}<extra></extra>",
            )
        )
        plot.update_xaxes(title_text=title, rangemode="tozero")
        plot.update_yaxes(title_text="regret", **scale)
        plot.update_layout(height=260)
        plots.append(plot)
    return tuple(plots)


def _curves(subject: Subject, lines: Sequence[Curve]) -> Any:
    plot, seen = go.Figure(), set()
    for curve in lines:
        group = "best" if curve.best else curve.outcome
        colour = BEST if curve.best else COLOURS[curve.outcome]
        plot.add_trace(
            go.Scatter(
                x=curve.epochs,
                y=curve.values,
                mode="lines" if len(curve.epochs) > 1 else "markers",
                name=group,
                legendgroup=group,
                showlegend=group not in seen,
                line={"color": colour, "width": 3 if curve.best else 1.2},
                opacity=1.0 if curve.best else 0.55,
                hovertemplate=f"trial {curve.number}, epoch %{{x}}: %{{y:.6g}}"
                f"<br>{hover_text(curve.reason)}<extra></extra>",
            )
        )
        seen.add(group)
    log = asks_for_log([value for curve in lines for value in curve.values])
    plot.update_xaxes(title_text="epoch")
    plot.update_yaxes(title_text=subject.metric, type="log" if log else "linear")
    plot.update_layout(height=480, legend={"orientation": "h", "y": 1.08})
    return plot


def _predicted(subject: Subject, lines: Sequence[Curve]) -> Any:
    predicted = [curve for curve in lines if curve.predicted][-INTERVALS_OF:]
    plot = go.Figure()
    for curve in predicted:
        colour = BEST if curve.best else COLOURS[curve.outcome]
        epochs, middle, low, high = zip(*curve.predicted, strict=True)
        plot.add_trace(
            go.Scatter(
                x=epochs,
                y=middle,
                mode="lines+markers",
                name=f"trial {curve.number} ({curve.outcome})",
                line={"color": colour},
                opacity=0.8,
                error_y={
                    "type": "data",
                    "symmetric": False,
                    "thickness": 1,
                    "array": [top - mid for top, mid in zip(high, middle, strict=True)],
                    "arrayminus": [mid - bottom for bottom, mid in zip(low, middle, strict=True)],
                },
            )
        )
        if curve.outcome == "completed":
            plot.add_trace(
                go.Scatter(
                    x=curve.epochs[-1:],
                    y=curve.values[-1:],
                    mode="markers",
                    showlegend=False,
                    marker={"symbol": "x", "size": 10, "color": colour},
                    name=f"trial {curve.number}, final value",
                )
            )
    plot.update_xaxes(title_text="epoch of the prediction")
    plot.update_yaxes(title_text=f"{subject.metric}, predicted for the last epoch")
    plot.update_layout(height=460)
    return plot


def _importance(importance: Importance, early: EpochImportance | None) -> Any:
    measures = [
        (
            "PED-ANOVA",
            PALE,
            {
                each.name: (each.ped_anova, each.ped_anova_low, each.ped_anova_high)
                for each in importance.shares
            },
        ),
        ("fANOVA", COLOURS["completed"], _fanova(importance)),
    ]
    if early is not None and early.importance.shares:
        label = f"fANOVA, all trials at epoch {early.epoch}"
        measures.insert(0, (label, COLOURS["stopped"], _fanova(early.importance)))
    names = short_keys([*(_fanova(importance) or measures[0][2])])
    plot = go.Figure()
    for label, colour, shares in measures:
        shown = [name for name in reversed(list(names)) if name in shares]
        rows = [shares[name] for name in shown]
        plot.add_trace(
            go.Bar(
                y=[names[name] for name in shown],
                x=[middle for middle, _, _ in rows],
                name=label,
                orientation="h",
                marker_color=colour,
                error_x={
                    "type": "data",
                    "symmetric": False,
                    "thickness": 1.2,
                    "array": [max(high - middle, 0.0) for middle, _, high in rows],
                    "arrayminus": [max(middle - low, 0.0) for middle, low, _ in rows],
                },
            )
        )
    plot.update_layout(barmode="group", height=140 + 70 * len(names), legend={"orientation": "h", "y": 1.15})
    plot.update_xaxes(range=[0, 1], tickformat=".0%")
    return plot


def _fanova(importance: Importance) -> dict[str, tuple[float, float, float]]:
    return {each.name: (each.fanova, each.fanova_low, each.fanova_high) for each in importance.shares}


def _lineage(subject: Subject) -> Any:
    exploits = copies(subject)
    line = _line_of_the_best(subject)
    plot = go.Figure()
    for trial in subject.trials:
        if trial.curve:
            plot.add_trace(
                go.Scatter(
                    x=[point.epoch for point in trial.curve],
                    y=[trial.number] * len(trial.curve),
                    mode="markers",
                    marker={
                        "size": 9,
                        "color": [subject.sign * point.loss for point in trial.curve],
                        "coloraxis": "coloraxis",
                    },
                    hovertemplate=f"trial {trial.number}, epoch %{{x}}: %{{marker.color:.5g}}<extra></extra>",
                    showlegend=False,
                )
            )
    for copy in exploits:
        on_line = (copy.trial, copy.epoch) in line
        plot.add_annotation(
            x=copy.epoch + 0.35,
            y=copy.trial,
            ax=copy.epoch,
            ay=copy.donor,
            xref="x",
            yref="y",
            axref="x",
            ayref="y",
            arrowhead=2,
            arrowwidth=2.5 if on_line else 1,
            hovertext=copy.reason,
            arrowcolor=BEST if on_line else "rgba(128,128,128,0.6)",
            text="",
        )
    plot.update_xaxes(title_text="epoch")
    plot.update_yaxes(title_text="member", dtick=1 if len(subject.trials) <= 20 else None)
    plot.update_layout(
        height=200 + 26 * min(len(subject.trials), 30),
        coloraxis={
            "colorscale": "Viridis_r" if subject.sign > 0 else "Viridis",
            "colorbar": {"title": subject.metric},
        },
    )
    return plot


def _line_of_the_best(subject: Subject) -> set[tuple[int, int]]:
    """The copies that the winner's weights went through: (copying trial, epoch)."""
    ranked = subject.ranked()
    ancestry = subject.record.ancestry(ranked[0].trial) if ranked else ()
    return {(trial.number, exploits[-1].epoch) for trial, exploits in ancestry if exploits}


def _schedule(subject: Subject, tables: Tables) -> Any:
    keys = list(tables.schedule[0].config)
    names = short_keys(keys)
    ends = [step.after_epoch for step in tables.schedule] + [
        max(subject.epochs, tables.schedule[-1].after_epoch + 1)
    ]
    plot = make_subplots(rows=len(keys), cols=1, shared_xaxes=True, vertical_spacing=0.06)
    for place, key in enumerate(keys, start=1):
        values = [step.config[key] for step in tables.schedule]
        plot.add_trace(
            go.Scatter(
                x=ends,
                y=[*values, values[-1]],
                mode="lines+markers",
                showlegend=False,
                line={"shape": "hv", "color": BEST},
                hovertemplate=f"after epoch %{{x}}: {names[key]} %{{y}}<extra></extra>",
            ),
            row=place,
            col=1,
        )
        domain = subject.domains.get(key)
        log = not isinstance(domain, Categorical) and domain is not None and domain.log
        plot.update_yaxes(title_text=names[key], type="log" if log else None, row=place, col=1)
    plot.update_xaxes(title_text="epoch", row=len(keys), col=1)
    plot.update_layout(height=120 + 150 * len(keys))
    return plot
