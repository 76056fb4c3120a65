"""What follows from a metric's name: which way it is better, and the function that computes it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from raysweep.config.document import Document
from raysweep.config.sweep import BETTER_HIGHER
from trainables.run_config import NAMED_METRICS, metric_path


def fill_in_metrics(document: Document) -> None:
    """Give the metrics of a sweep what their names say and the file does not: direction and function."""
    value = document.value
    listed = value.get("metrics")
    if isinstance(listed, list):
        value["metrics"] = [_with_direction(each) for each in listed]
    elif value.get("metric") in BETTER_HIGHER and "direction" not in value:
        value["direction"] = "maximize"
    run = value.get("run")
    if not isinstance(run, dict) or run.get("train") is not None:
        return  # a loop of the user's own reports what it does
    known = run.get("metrics")
    needed = {name: metric_path(name) for name in _asked_for(value, run) if name in NAMED_METRICS}
    if needed and isinstance(known, dict | None):
        run["metrics"] = needed | (known or {})


def _with_direction(metric: Any) -> Any:
    """An entry of `metrics`; one that is better when higher is maximised unless it says otherwise."""
    words = {"name": metric} if isinstance(metric, str) else metric
    if isinstance(words, dict) and words.get("name") in BETTER_HIGHER and "direction" not in words:
        return {**words, "direction": "maximize"}
    return metric


def _asked_for(value: dict[str, Any], run: dict[str, Any]) -> Iterator[str]:
    """The names of the metrics that trials, checkpoints and patience are judged by."""
    listed = value.get("metrics")
    for each in [value.get("metric"), *(listed if isinstance(listed, list) else ())]:
        name = each.get("name") if isinstance(each, dict) else each
        if isinstance(name, str):
            yield name
    for word in ("checkpoint_config", "early_stopping_config"):
        wish = run.get(word)
        if isinstance(wish, dict) and wish.get("enabled") is True and isinstance(wish.get("monitor"), str):
            yield wish["monitor"]
