"""Domains and conditions as Optuna draws them."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raysweep.search.optuna_space import OptunaSpace
from raysweep.search.samplers import quiet
from schedulers.space import Categorical, Domain, Float, Int

OPTIMIZER = Categorical(("sgd", "adamw"))
UNIT = Float(0.0, 1.0)


def draw(space: OptunaSpace, seed: int = 0) -> dict[str, Any]:
    with quiet():
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
        return space.draw(study.ask())


@st.composite
def domains(pick: st.DrawFn) -> Domain:
    low = pick(st.floats(1e-6, 10.0))
    high = low + pick(st.floats(0.0, 100.0))
    whole = pick(st.integers(1, 20))
    return pick(  # type: ignore[return-value]
        st.sampled_from(
            [
                Float(low, high),
                Float(low, high, log=True),
                Float(round(low, 2), round(low, 2) + 1.0, step=0.3),
                Int(whole, whole + 17, step=3),
                Int(whole, whole + 17, log=True),
                Categorical((1, True, "1", None)),
                Categorical(([64, 64], [128])),
            ]
        )
    )


@settings(max_examples=60)
@given(st.dictionaries(st.sampled_from("abcdef"), domains(), min_size=1), st.integers(0, 99))
def test_what_is_drawn_lies_in_the_space_with_plain_types(named: dict[str, Any], seed: int) -> None:
    space = OptunaSpace(named)
    config = draw(space, seed)
    assert space.contains(config)
    assert list(config) == list(named)
    assert all(type(value) in (int, float, bool, str, list, type(None)) for value in config.values())


def test_choices_that_optuna_takes_for_equal_stay_apart() -> None:
    space = OptunaSpace({"x": Categorical((1, True))})
    drawn = [draw(space, seed)["x"] for seed in range(20)]
    assert {type(value) for value in drawn} == {int, bool}


def test_only_active_parameters_are_drawn_whatever_the_order_of_the_file() -> None:
    space = OptunaSpace({"momentum": UNIT, "name": OPTIMIZER}, {"momentum": {"name": "sgd"}})
    for seed in range(10):
        config = draw(space, seed)
        assert ("momentum" in config) == (config["name"] == "sgd")


def test_a_child_of_an_inactive_parent_is_inactive() -> None:
    when = {"nesterov": {"momentum": 0.9}, "momentum": {"name": "sgd"}}
    space = OptunaSpace(
        {"name": OPTIMIZER, "momentum": Categorical((0.0, 0.9)), "nesterov": Categorical((True, False))},
        when,  # type: ignore[arg-type]
    )
    assert space.contains({"name": "adamw"})
    assert not space.contains({"name": "adamw", "nesterov": True})
    assert space.contains({"name": "sgd", "momentum": 0.9, "nesterov": True})


def test_a_list_in_a_condition_means_one_of() -> None:
    space = OptunaSpace({"name": OPTIMIZER, "lr": UNIT}, {"lr": {"name": ["sgd", "adamw"]}})
    assert "lr" in draw(space)


@pytest.mark.parametrize(
    ("when", "message"),
    [
        ({"lr": {"nam": "sgd"}}, "lr depends on nam, which is not searched; drop the condition"),
        ({"lr": {"name": "adam"}}, "lr depends on name being 'adam', which it never is"),
        ({"eps": {"name": "sgd"}}, "eps has a condition but no domain; add it to the search space"),
        ({"lr": {"name": "sgd"}, "name": {"lr": 0.5}}, "conditions go in a circle"),
    ],
)
def test_a_condition_that_can_never_hold_is_refused(when: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OptunaSpace({"name": OPTIMIZER, "lr": UNIT}, when)


@pytest.mark.parametrize(
    ("space", "cells"),
    [
        (OptunaSpace({"a": Int(1, 3), "b": Categorical(("x", "y"))}), 6),
        (OptunaSpace({"a": Float(0.1, 0.35, step=0.1)}), 3),
        (OptunaSpace({"a": UNIT}), None),
        (OptunaSpace({"name": OPTIMIZER, "m": Int(1, 4)}, {"m": {"name": "sgd"}}), 4 + 1),
        (OptunaSpace({"name": OPTIMIZER, "m": UNIT}, {"m": {"name": "sgd"}}), None),
        (OptunaSpace({"a": Int(1, 10**9), "b": Int(1, 10**9)}), 10**18),
    ],
)
def test_cells_counts_the_configurations(space: OptunaSpace, cells: int | None) -> None:
    assert space.cells() == cells
