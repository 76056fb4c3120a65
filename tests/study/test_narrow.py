"""A space made smaller: never beyond the declared one, never without what it is drawn around."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given as given_examples
from hypothesis import strategies as st

from raysweep.config import Parameter
from raysweep.study.stages.narrow_space import active, narrow, narrowings, with_domains, with_fixed
from schedulers.space import Categorical, Domain, Float, Int


@pytest.mark.parametrize(
    ("domain", "values", "margin", "after"),
    [
        (Float(0.0, 1.0), [0.4, 0.6], 0.5, Float(0.3, 0.7)),
        (Float(0.0, 1.0), [0.5], 0.0, Float(0.5, 0.5)),
        (Float(0.0, 1.0), [0.5], 0.5, Float(0.4, 0.6)),  # one trial says little: a fifth of the range
        (Float(0.0, 1.0), [0.1, 0.9], 1.0, Float(0.0, 1.0)),  # never beyond the ends
        (Float(1e-4, 1.0, log=True), [1e-3, 1e-2], 0.0, Float(1e-3, 1e-2, log=True)),
        (Float(1e-4, 1.0, log=True), [1e-3, 1e-2], 1.0, Float(1e-4, 1e-1, log=True)),  # a decade each way
        (Float(0.0, 1.0, step=0.1), [0.3, 0.5], 0.25, Float(0.2, 0.6, step=0.1)),
        (Int(1, 11), [4, 6], 0.5, Int(3, 7)),
        (Int(1, 11), [4, 6], 0.3, Int(3, 7)),  # outward to whole numbers
        (Int(2, 12, step=5), [7], 0.25, Int(2, 12, step=5)),  # and onto the grid
        (Int(16, 256, log=True), [32, 64], 0.0, Int(32, 64, log=True)),
        (Categorical(("a", "b", "c")), ["c", "a", "c"], 1.0, Categorical(("a", "c"))),
        (Categorical((1, True, 2)), [True], 0.5, Categorical((True,))),
        (Categorical((16, 32, 64, 128), ordered=True), [64], 0.0, Categorical((64,), ordered=True)),
        (Categorical((8, 16, 32, 64), ordered=True), [16], 0.25, Categorical((8, 16, 32), ordered=True)),
    ],
)
def test_a_domain_is_drawn_around_its_best_values(
    domain: Domain, values: list[Any], margin: float, after: Domain
) -> None:
    narrowed = narrow(domain, values, margin)
    if isinstance(narrowed, Float) and isinstance(after, Float):
        assert (narrowed.low, narrowed.high) == (pytest.approx(after.low), pytest.approx(after.high))
        assert (narrowed.log, narrowed.step) == (after.log, after.step)
    else:
        assert narrowed == after


numbers = st.floats(-1e3, 1e3)
floats = st.tuples(numbers, st.floats(1e-3, 1e3)).map(lambda ends: Float(ends[0], ends[0] + ends[1]))
logs = st.tuples(st.floats(1e-6, 1.0), st.floats(1.0, 1e6)).map(
    lambda ends: Float(ends[0], ends[0] * ends[1], log=True)
)
stepped = st.tuples(st.integers(-50, 50), st.integers(1, 60), st.sampled_from([0.1, 0.25, 0.05])).map(
    lambda words: Float(words[0] * words[2], words[0] * words[2] + words[1] * words[2], step=words[2])
)
ints = st.tuples(st.integers(-50, 50), st.integers(0, 300), st.integers(1, 7)).map(
    lambda words: Int(words[0], words[0] + words[1], step=words[2])
)
log_ints = st.tuples(st.integers(1, 50), st.integers(0, 1000)).map(
    lambda words: Int(words[0], words[0] + words[1], log=True)
)
choices = st.lists(st.one_of(st.integers(0, 9), st.text(max_size=3), st.booleans(), st.none()), min_size=1)
categories = st.tuples(choices, st.booleans()).map(
    lambda words: Categorical(
        tuple({(type(value), value): value for value in words[0]}.values()), ordered=words[1]
    )
)
domains = st.one_of(floats, logs, stepped, ints, log_ints, categories)


@given_examples(domains, st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0, 2), st.integers(0))
def test_a_narrowed_domain_lies_within_the_declared_one_and_holds_the_best(
    domain: Domain, units: list[float], margin: float, seed: int
) -> None:
    values = [domain.from_unit(unit) for unit in units]
    after = narrow(domain, values, margin)
    assert all(after.contains(value) for value in values)
    rng = np.random.default_rng(seed)
    assert all(domain.contains(after.sample(rng)) for _ in range(5))


@given_examples(domains, st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0, 2))
def test_a_wider_margin_never_gives_a_narrower_domain(
    domain: Domain, units: list[float], margin: float
) -> None:
    values = [domain.from_unit(unit) for unit in units]
    closer, wider = narrow(domain, values, margin / 2), narrow(domain, values, margin)
    if isinstance(closer, Categorical) or isinstance(wider, Categorical):
        assert isinstance(closer, Categorical)
        assert all(map(wider.contains, closer.choices))
    else:
        slack = 1e-9 * max(1.0, abs(closer.low), abs(closer.high))
        assert wider.low <= closer.low + slack
        assert closer.high <= wider.high + slack


SGD, ADAM = {"optimizer": "SGD"}, {"optimizer": "Adam"}
LR, MOMENTUM, NESTEROV = "optimizer_config.lr", "optimizer_config.momentum", "optimizer_config.nesterov"
CONDITIONAL = {
    "optimizer": Parameter(domain=Categorical(("SGD", "Adam"))),
    LR: Parameter(
        domain=Float(1e-4, 1.0, log=True),
        cases=(
            Parameter(domain=Float(1e-2, 1.0, log=True), when=SGD),
            Parameter(domain=Float(1e-4, 1e-2, log=True), when=ADAM),
        ),
    ),
    MOMENTUM: Parameter(domain=Float(0.0, 0.9), when=SGD),
    NESTEROV: Parameter(domain=Categorical((True, False)), when={**SGD, MOMENTUM: [0.0, 0.9]}),
}


def test_each_case_is_drawn_around_the_trials_of_that_case() -> None:
    best = [{"optimizer": "SGD", LR: 0.1, MOMENTUM: 0.5}, {"optimizer": "Adam", LR: 1e-3}]
    after = {
        (change.key, *change.when.values()): change.after
        for change in narrowings(CONDITIONAL, dict.fromkeys(CONDITIONAL, best), 0.0)
    }
    assert after[LR, "SGD"] == Float(0.1, 0.1, log=True)
    assert after[LR, "Adam"] == Float(1e-3, 1e-3, log=True)
    assert after[MOMENTUM,] == Float(0.5, 0.5)
    assert after[NESTEROV,] == Categorical((True, False)), "no trial says anything of it"


def test_what_waits_for_a_choice_that_is_gone_goes_with_it() -> None:
    best = [{"optimizer": "Adam", LR: 1e-3}]
    space = with_domains(CONDITIONAL, narrowings(CONDITIONAL, dict.fromkeys(CONDITIONAL, best), 0.0))
    left = with_fixed(space, CONDITIONAL, {})
    assert left.keys() == {"optimizer", LR}
    assert [case.when for case in left[LR].cases] == [ADAM]


@pytest.mark.parametrize(
    ("fixed", "left"),
    [
        ({"optimizer": "SGD"}, {LR: Float(1e-2, 1.0, log=True), MOMENTUM: Float(0.0, 0.9)}),
        ({"optimizer": "Adam"}, {LR: Float(1e-4, 1e-2, log=True)}),
        ({}, {}),  # the condition cannot be evaluated
    ],
)
def test_a_condition_on_what_is_fixed_holds_or_does_not(
    fixed: dict[str, Any], left: dict[str, Domain]
) -> None:
    space = with_fixed(CONDITIONAL, [LR, MOMENTUM], fixed)
    assert {key: parameter.domain for key, parameter in space.items()} == left
    assert not any(parameter.when or parameter.cases for parameter in space.values())


@pytest.mark.parametrize(
    ("config", "keys"),
    [
        ({"optimizer": "SGD", LR: 0.1, MOMENTUM: 0.9, NESTEROV: True}, ["optimizer", LR, MOMENTUM, NESTEROV]),
        ({"optimizer": "SGD", LR: 0.1, MOMENTUM: 0.5, NESTEROV: True}, ["optimizer", LR, MOMENTUM]),
        ({"optimizer": "Adam", LR: 0.1, MOMENTUM: 0.9}, ["optimizer", LR]),
        ({LR: 0.1, "batch_size": 3}, []),
    ],
)
def test_of_a_configuration_only_what_is_active_counts(config: dict[str, Any], keys: list[str]) -> None:
    assert list(active(CONDITIONAL, config)) == keys


def test_a_log_range_is_widened_by_orders_of_magnitude() -> None:
    after = narrow(Float(1e-6, 1.0, log=True), [1e-4, 1e-2], 0.5)
    assert isinstance(after, Float)
    assert (math.log10(after.low), math.log10(after.high)) == (pytest.approx(-5), pytest.approx(-1))
