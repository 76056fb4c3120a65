"""Advice on ranges whose best values lie at an edge, judged by the top k on the parameter's own scale."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysweep.report.boundary import edge_p_value, edges, further, is_near, widening
from raysweep.report.subject import Subject
from schedulers.space import Categorical, Float, Int
from tests.report import stories

LR = stories.LR


def study(tmp_path: Path, rates: list[float]) -> Subject:
    """Trials ranked in the listed order of their learning rates."""
    events = []
    for number, lr in enumerate(rates):
        chosen = {LR: lr, stories.LAYERS: 3 + number % 2}
        events += stories.trial(number, 0.1 + 0.01 * number, chosen)
    return stories.subject(tmp_path, events)


@pytest.mark.parametrize(
    ("rates", "crowded"),
    [
        ([1.2e-3, 1.1e-3, 1.3e-3, 1e-3, 1.05e-3, 2e-2, 0.1, 0.1, 0.2, 0.3], [True]),
        ([1e-3, 2e-2, 0.1, 0.1, 0.2, 0.3, 0.05, 0.05, 0.05, 0.05], [False]),  # the best alone
        ([2e-2, 1e-3, 0.1, 0.1, 0.2, 0.3, 0.05, 0.05, 0.05, 0.05], []),
        ([3e-2, 4e-2, 5e-2, 3e-2, 4e-2, 5e-2, 4e-2, 4e-2, 4e-2, 4e-2], []),  # near nought on a linear scale
    ],
)
def test_the_top_k_must_crowd_at_an_edge(tmp_path: Path, rates: list[float], crowded: Any) -> None:
    assert [edge.crowded for edge in edges(study(tmp_path, rates))] == crowded


def test_a_single_trial_at_an_edge_is_not_laid_to_the_sampler(tmp_path: Path) -> None:
    (edge,) = edges(study(tmp_path, [1e-3, 2e-2, 0.1, 0.1, 0.2, 0.3, 0.05, 0.05, 0.05, 0.05]))
    assert edge.sentence == (
        "1 of the top 10 lies at the LOWER boundary (0.001), the best (0.001) among them; "
        "too few to say that the range is too narrow"
    )


def greedy_search(rng: np.random.Generator, trials: int, loss: Callable[..., Any]) -> tuple[Any, ...]:
    """Half of the proposals random, half near the best so far: whether each is near an edge, and its loss."""
    near: list[Any] = []
    losses: list[Any] = []
    for trial in range(trials):
        there = bool(rng.random() < 0.1)
        if trial > 5 and rng.random() < 0.5:
            there = near[int(np.argmin(losses))]
        near.append(there)
        losses.append(loss(there, rng))
    return near, losses


def test_a_sampler_that_crowds_on_noise_raises_no_alarm_beyond_its_level() -> None:
    """A test that assumed uniform proposals would find a tenth of such searches crowded."""
    alarms = sum(
        edge_p_value(*greedy_search(np.random.default_rng(seed), 50, lambda _there, rng: rng.normal())) < 0.05
        for seed in range(1000)
    )
    assert 20 <= alarms <= 70  # 5 % of 1,000, with 95 % confidence 37 to 64; conservative at the tail


def test_an_edge_that_is_good_is_seen_by_the_same_sampler() -> None:
    seen = sum(
        edge_p_value(
            *greedy_search(np.random.default_rng(seed), 50, lambda there, rng: rng.normal() - 2 * there)
        )
        < 0.05
        for seed in range(100)
    )
    assert seen >= 75


@given(st.lists(st.tuples(st.booleans(), st.integers(-50, 50)), min_size=2, max_size=30))
def test_only_the_order_of_losses_counts(rows: list[Any]) -> None:
    near, losses = zip(*rows, strict=True)
    assert edge_p_value(near, losses) == edge_p_value(near, [loss**3 for loss in losses])


def test_the_line_widens_the_range_by_a_decade(tmp_path: Path) -> None:
    subject = study(tmp_path, [1.2e-3, 1.1e-3, 1.3e-3, 1e-3, 1.05e-3, 2e-2, 0.1, 0.1, 0.2, 0.3])
    assert widening(subject, edges(subject)) == (
        f"python launch.py extend {subject.folder} --trials +5 --set search_space.{LR}.min=0.0001"
    )


@pytest.mark.parametrize(
    ("domain", "upper", "beyond"),
    [
        (Float(1e-7, 1e-3, log=True), False, 1e-8),
        (Float(1e-7, 1e-3, log=True), True, 1e-2),
        (Float(0.0, 0.5), True, 0.75),
        (Float(0.0, 0.5), False, None),  # nothing lies below nought
        (Int(3, 6), True, 8),
        (Int(3, 6), False, 1),
        (Int(1, 6), False, None),
        (Int(16, 256, log=True), True, 512),
        (Categorical((32, 64, 128), ordered=True), True, 256),
        (Categorical((32, 64, 128), ordered=True), False, 16),
        (Categorical((1, 2, 3), ordered=True), False, None),
        (Categorical(("small", "large"), ordered=True), True, None),
    ],
)
def test_what_lies_beyond_an_edge(domain: Any, upper: bool, beyond: float | None) -> None:
    assert further(domain, upper) == beyond


@pytest.mark.parametrize(
    ("domain", "value", "upper", "near"),
    [
        (Float(1e-4, 1.0, log=True), 1.5e-4, False, True),  # 5% of four decades: a factor of 1.58
        (Float(1e-4, 1.0, log=True), 1.7e-4, False, False),
        (Float(0.0, 1.0), 0.96, True, True),
        (Int(1, 6), 5, True, False),
    ],
)
def test_near_is_measured_on_the_parameters_own_scale(
    domain: Any, value: float, upper: bool, near: bool
) -> None:
    assert is_near(domain, value, upper) is near
