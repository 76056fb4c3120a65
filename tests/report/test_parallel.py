"""Parallel coordinates: every trial's own numbers, on its own scales."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from raysweep.report.parallel import parallel
from tests.report import stories


@pytest.fixture
def drawn(tmp_path: Path) -> tuple[Any, ...]:
    """Axis -> its dimension, and the completed trials that are drawn."""
    choice = {"type": "categorical", "choices": ["relu", None, 2]}
    events, acts = [], ["relu", None, 2]
    for number in range(6):
        chosen = stories.config(number) | {"net_config.act": acts[number % 3]}
        events += stories.trial(number, 0.01 * 4**number, chosen)
    wanted = stories.sweep(
        search_space={
            stories.LR: {"type": "float", "min": 1e-3, "max": 1.0, "log": True},
            stories.LAYERS: {"type": "int", "min": 1, "max": 6},
            "net_config.act": choice,
        }
    )
    subject = stories.subject(tmp_path, events, wanted)
    plot = parallel(subject, sorted(subject.parameters))
    return {axis.label: axis for axis in plot.data[0].dimensions}, subject


def test_log_parameters_and_wide_metrics_are_drawn_as_logarithms(
    drawn: tuple[Any, ...],
) -> None:
    axes, subject = drawn
    rates = [subject.config(trial)[stories.LR] for trial in subject.trials]
    losses = [subject.loss(trial) for trial in subject.trials]
    assert list(axes["lr"].values) == pytest.approx([math.log10(rate) for rate in rates])
    assert list(axes["val_loss"].values) == pytest.approx([math.log10(loss) for loss in losses])
    assert axes["val_loss"].ticktext[0] == f"{min(losses):.2g}"


def test_whole_numbers_are_ticked_and_choices_keep_their_names(drawn: tuple[Any, ...]) -> None:
    axes, subject = drawn
    layers = [subject.config(trial)[stories.LAYERS] for trial in subject.trials]
    assert list(axes["layers"].values) == layers
    assert set(axes["layers"].tickvals) == set(layers)
    assert list(axes["act"].ticktext) == ["relu", "-", "2"]
    assert list(axes["act"].values) == [0, 1, 2, 0, 1, 2]
