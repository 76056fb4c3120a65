"""Domains keep to their bounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schedulers.space import Categorical, Float, Int

DOMAINS = [
    Float(0.0, 1.0),
    Float(-3.0, 5.0),
    Float(1e-7, 1e-3, log=True),
    Float(0.1, 0.9, step=0.2),
    Float(2.0, 2.0),
    Int(3, 6),
    Int(-4, 4),
    Int(1, 1024, log=True),
    Int(8, 64, step=8),
    Int(5, 5),
    Categorical(("relu", "tanh", None)),
    Categorical((32, 64, 128), ordered=True),
    Categorical((True, 1, 1.0)),
    Categorical(("only",)),
]
every_domain = pytest.mark.parametrize("domain", DOMAINS, ids=repr)


@every_domain
@settings(max_examples=30)
@given(seed=st.integers(0, 2**32), unit=st.floats(0, 1))
def test_whatever_a_domain_returns_it_contains(domain: Any, seed: int, unit: float) -> None:
    rng = np.random.default_rng(seed)
    value = domain.sample(rng)
    assert domain.contains(value)
    assert domain.contains(domain.perturb(value, rng))
    assert domain.contains(domain.from_unit(unit))
    assert 0.0 <= domain.to_unit(value) <= 1.0


def test_neighbouring_floats_are_one_place_on_a_log_range() -> None:
    """Their logarithms are equal."""
    domain = Float(0.33720423904772945, 0.3372042390477295, log=True)
    assert domain.to_unit(domain.high) == 0.0


@every_domain
def test_both_ends_of_a_range_are_values(domain: Any) -> None:
    assert domain.to_unit(domain.from_unit(0.0)) == pytest.approx(0.0)
    assert domain.to_unit(domain.from_unit(1.0)) == pytest.approx(
        1.0 if domain.to_unit(domain.from_unit(1.0)) else 0.0
    )


@every_domain
@settings(max_examples=30)
@given(seed=st.integers(0, 2**32))
def test_the_unit_interval_leads_back_to_the_value(domain: Any, seed: int) -> None:
    value = domain.sample(np.random.default_rng(seed))
    if isinstance(domain, Float) and domain.step is None:
        assert domain.from_unit(domain.to_unit(value)) == pytest.approx(value)


@pytest.mark.parametrize(
    "domain", [Int(1, 9), Int(1, 1024, log=True), Int(8, 64, step=8), Float(0.1, 0.9, step=0.2)]
)
@given(seed=st.integers(0, 2**32))
def test_a_value_of_a_grid_always_moves_where_it_can(domain: Any, seed: int) -> None:
    """3 x 1.2 rounds to 3 again; a perturbation that changes nothing explores nothing."""
    rng = np.random.default_rng(seed)
    value = domain.sample(rng)
    up, down = domain.perturb(value, rng, (1.2,)), domain.perturb(value, rng, (0.8,))
    assert up > value or value == domain.from_unit(1.0)
    assert down < value or value == domain.from_unit(0.0)


@pytest.mark.parametrize(
    ("domain", "value", "factors", "moved"),
    [
        (Float(0.0, 1.0), 0.5, (1.2,), 0.6),
        (Float(0.0, 1.0), 0.9, (1.2,), 1.0),  # clipped at the end of the range
        (Float(1e-3, 1.0, log=True), 1e-3, (0.8,), 1e-3),
        (Float(0.0, 1.0), 7.0, (0.8,), 0.8),  # a default outside the range comes back into it
        (Int(3, 6), 5, (1.2,), 6),
        (Int(0, 4), 0, (1.2,), 1),
        (Int(-8, 8), -4, (1.2,), -5),
    ],
)
def test_numbers_are_multiplied_then_clipped(
    domain: Any, value: float, factors: tuple[Any, ...], moved: float
) -> None:
    assert domain.perturb(value, np.random.default_rng(0), factors) == pytest.approx(moved)


def test_an_ordered_choice_moves_to_a_neighbour() -> None:
    domain = Categorical((16, 32, 64, 128), ordered=True)
    rng = np.random.default_rng(0)
    assert {domain.perturb(32, rng) for _ in range(50)} == {16, 64}
    assert {domain.perturb(128, rng) for _ in range(50)} == {64}


def test_an_unordered_choice_becomes_any_other() -> None:
    domain = Categorical(("a", "b", "c"))
    rng = np.random.default_rng(0)
    assert {domain.perturb("b", rng) for _ in range(50)} == {"a", "c"}
    assert {domain.perturb("no choice", rng) for _ in range(50)} == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("domain", "value"),
    [
        (Float(0, 1), True),
        (Float(0, 1), "0.5"),
        (Float(0, 1), float("nan")),
        (Float(0, 1), 1.5),
        (Float(0.0, 1.0, step=0.25), 0.3),
        (Int(0, 4), 2.0),
        (Int(0, 4), True),
        (Int(0, 8, step=2), 3),
        (Categorical((1, 2)), True),
        (Categorical(("yes",)), "no"),
    ],
)
def test_what_is_not_of_the_domain_is_not_contained(domain: Any, value: Any) -> None:
    assert not domain.contains(value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Float(2, 1), "min (2) exceeds max (1); swap them"),
        (lambda: Float(0, 1, log=True), "a log range needs min > 0, not 0; raise min or drop log"),
        (lambda: Float(0, float("inf")), "a float's range must be finite, not [0, inf]"),
        (lambda: Float(0, 1, step=0), "step must be a positive number, not 0"),
        (lambda: Float(1, 2, log=True, step=0.1), "a log range has no step; drop one of the two"),
        (lambda: Int(4, 3), "min (4) exceeds max (3); swap them"),
        (lambda: Int(1, 2.5), "an int's max must be a whole number, not 2.5"),  # type: ignore[arg-type]
        (lambda: Int(0, 8, log=True), "a log range needs min > 0, not 0; raise min or drop log"),
        (lambda: Int(1, 8, step=0), "step must be at least 1, not 0"),
        (lambda: Int(1, 8, log=True, step=2), "a log range has no step; drop one of the two"),
        (lambda: Categorical(()), "a categorical parameter needs at least one choice"),
        (lambda: Categorical(("a", "a")), "the choice 'a' is given twice"),
    ],
)
def test_a_domain_that_makes_no_sense_says_why(make: Callable[..., Any], message: Any) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is asserted
        make()
    assert str(error.value) == message


def test_integers_are_drawn_evenly() -> None:
    counts = np.bincount([Int(3, 6).sample(np.random.default_rng(n)) - 3 for n in range(4000)])
    assert counts.min() > 900
