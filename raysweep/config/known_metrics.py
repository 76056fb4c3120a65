"""Metrics known by name: which way they are better, and the function that computes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from raysweep.config.document import Document
from raysweep.config.sweep import BETTER_HIGHER
from trainables.run_config import NAMED_METRICS, metric_path


def fill_in_metrics(document: Document) -> None:
    """Fill in the direction (a monitor's mode) and the function of metrics that are known by name."""
    value = document.value
    listed = value.get("metrics")
    if isinstance(listed, list):
        value["metrics"] = [_with_direction(each) for each in listed]
    elif value.get("metric") in BETTER_HIGHER and "direction" not in value:
        value["direction"] = "maximize"
    run = value.get("run")
    if not isinstance(run, dict):
        return
    for section in _monitors(run):
        if section.get("monitor") in BETTER_HIGHER:
            section.setdefault("mode", "max")
    if run.get("train") is not None:
        return  # the user's own loop computes its metrics
    given = run.get("metrics")
    needed = {name: metric_path(name) for name in _metrics_in_use(value, run) if name in NAMED_METRICS}
    if needed and isinstance(given, dict | None):
        run["metrics"] = needed | (given or {})


def _with_direction(metric: Any) -> Any:
    """An entry of `metrics`, with `direction: maximize` if that is its default."""
    fields = {"name": metric} if isinstance(metric, str) else metric
    if isinstance(fields, dict) and fields.get("name") in BETTER_HIGHER and "direction" not in fields:
        return {**fields, "direction": "maximize"}
    return metric


def _metrics_in_use(value: dict[str, Any], run: dict[str, Any]) -> Iterator[str]:
    """The names of the metrics of trials, checkpoints and early stopping."""
    listed = value.get("metrics")
    for each in [value.get("metric"), *(listed if isinstance(listed, list) else ())]:
        name = each.get("name") if isinstance(each, dict) else each
        if isinstance(name, str):
            yield name
    for section in _monitors(run):
        monitor = section.get("monitor")
        if section.get("enabled") is True and isinstance(monitor, str):
            yield monitor


def _monitors(run: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The sections of a run that watch a metric."""
    for section in (run.get("checkpoint_config"), run.get("early_stopping_config")):
        if isinstance(section, dict):
            yield section
