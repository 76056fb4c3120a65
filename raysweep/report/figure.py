"""One figure of a report, and the style that all of them share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from raysweep.formatting import short_keys
from raysweep.report.formatting import setting

COLOURS = {
    "completed": "#3b82c4",
    "stopped": "#e8973a",
    "diverged": "#d64550",
    "failed": "#7a1f2b",
    "infeasible": "#8e6bbf",
    "running": "#2aa198",
    "paused": "#a0a8b0",
    "pending": "#a0a8b0",
}
BEST = "#16a34a"
PALE = COLOURS["pending"]
MARGIN = {"l": 60, "r": 30, "t": 30, "b": 50}  # pixels


@dataclass(frozen=True)
class Figure:
    """One figure of a report.

    Attributes:
        name: for links and files.
        section: of the report to which it belongs.
        title: above it.
        caption: how to read it.
        plots: plotly's figures, shown side by side if there is room.
        scale: the axis that can be switched between logarithmic and linear; "" for none.
    """

    name: str
    section: str
    title: str
    caption: str
    plots: tuple[Any, ...]
    scale: Literal["", "x", "y"] = ""


def dress(figure: Figure) -> Figure:
    """Apply the common style: a transparent background, for light and dark pages."""
    for plot in figure.plots:
        plot.update_layout(
            template="plotly",
            title=None,
            paper_bgcolor="rgba(0,0,0,0)",
            plot_bgcolor="rgba(128,128,128,0.06)",
            font={"color": "#808890", "family": "system-ui, sans-serif", "size": 12},
            margin=MARGIN | plot.layout.margin.to_plotly_json(),
            hoverlabel={"font_size": 12},
            modebar={
                "bgcolor": "rgba(0,0,0,0)",
                "color": "rgba(128,128,128,0.5)",
                "activecolor": "#1f6fb2",
            },
        )
        plot.update_xaxes(gridcolor="rgba(128,128,128,0.2)", zerolinecolor="rgba(128,128,128,0.3)")
        plot.update_yaxes(gridcolor="rgba(128,128,128,0.2)", zerolinecolor="rgba(128,128,128,0.3)")
        _shorten_axes(plot)
    return figure


def hover_text(text: str) -> str:
    """A reason escaped for plotly's hover text, which is markup."""
    return setting(text).replace("&", "&amp;").replace("%{", "% {")[:160]


def _shorten_axes(plot: Any) -> None:
    """Shorten axis titles: `optimizer_config.lr` becomes `lr`."""
    for axis in [*plot.select_xaxes(), *plot.select_yaxes()]:
        if axis.title.text:
            axis.title.text = next(iter(short_keys([axis.title.text]).values()))
