"""Samplers by dotted path: what is filled in, what is refused, what is said."""

from __future__ import annotations

from typing import Any

import optuna
import pytest

from raysweep.search.optuna_space import OptunaSpace
from raysweep.search.samplers import check_sampler, exhaustive_cells, make_sampler
from schedulers.space import Categorical, Domain, Float, Int

CHOICE = Categorical(("a", "b"))
PLAIN = OptunaSpace({"lr": Float(1e-3, 1.0, log=True), "layers": Int(1, 6)})
MIXED = OptunaSpace({"lr": Float(1e-3, 1.0, log=True), "norm": CHOICE})
WORDS = OptunaSpace({"norm": CHOICE, "activation": CHOICE})
LISTED = OptunaSpace({"layers": Int(1, 3), "norm": CHOICE})
BRANCHED = OptunaSpace({"name": CHOICE, "momentum": Float(0.0, 1.0)}, {"momentum": {"name": "a"}})
WIDE = OptunaSpace({f"p{n}": Float(0.0, 1.0) for n in range(8)})
MANY = OptunaSpace({"a": Int(1, 1000), "b": Int(1, 11)})

S = "optuna.samplers."


class Recorder(optuna.samplers.RandomSampler):
    """A user's own sampler that shows what it was given."""

    def __init__(
        self,
        seed: int | None = None,
        n_startup_trials: int = 10,
        multivariate: bool = False,
        group: bool = False,
        constant_liar: bool = False,
        scramble: bool = False,
    ) -> None:
        super().__init__(seed=seed)
        self.given = dict(locals())


class Startless(optuna.samplers.RandomSampler):
    def __init__(self, n_startup_trials: int = 1) -> None:
        super().__init__()
        self.n_startup_trials = n_startup_trials


def given(space: OptunaSpace, number: int = 0, **kwargs: Any) -> dict[str, Any]:
    sampler = make_sampler(f"{__name__}.Recorder", kwargs, space, 7, number)
    assert isinstance(sampler, Recorder)
    return sampler.given


def test_defaults_go_by_signature_so_a_users_sampler_gets_them_too() -> None:
    filled = given(PLAIN)
    assert filled["multivariate"]
    assert filled["constant_liar"]
    assert filled["scramble"]


def test_what_the_file_says_is_not_overridden() -> None:
    assert given(PLAIN, seed=3, constant_liar=False)["seed"] == 3
    assert given(PLAIN, seed=3, constant_liar=False)["constant_liar"] is False


@pytest.mark.parametrize(("space", "trials"), [(PLAIN, 10), (WIDE, 16)])
def test_a_random_start_has_two_trials_per_parameter_and_ten_at_least(
    space: OptunaSpace, trials: int
) -> None:
    assert given(space)["n_startup_trials"] == trials


def test_a_sampler_that_needs_no_random_start_gets_none() -> None:
    sampler = make_sampler(f"{__name__}.Startless", {}, WIDE, 7, 0)
    assert isinstance(sampler, Startless)
    assert sampler.n_startup_trials == 1


@pytest.mark.parametrize(("space", "group"), [(PLAIN, False), (BRANCHED, True)])
def test_conditional_spaces_are_modelled_in_groups(space: OptunaSpace, group: bool) -> None:
    assert given(space)["group"] is group


def test_a_sequence_has_one_seed_for_all_trials_and_a_stream_one_for_each() -> None:
    assert given(PLAIN, number=1)["seed"] == given(PLAIN, number=2)["seed"]  # it has `scramble`
    random = [make_sampler(S + "RandomSampler", {}, PLAIN, 7, n) for n in (1, 2)]
    drawn = [sampler._rng.rng.random() for sampler in random]  # type: ignore[attr-defined]
    assert drawn[0] != drawn[1]


def test_a_sampler_in_a_kwarg_is_built_likewise() -> None:
    kwargs = {"base_sampler": {"name": S + "TPESampler"}, "fixed_params": {"lr": 0.1}}
    sampler = make_sampler(S + "PartialFixedSampler", kwargs, PLAIN, 7, 0)
    assert isinstance(sampler._base_sampler, optuna.samplers.TPESampler)  # type: ignore[attr-defined]


REFUSED: list[tuple[str, dict[str, Any], OptunaSpace, str]] = [
    ("TPESamplr", {}, PLAIN, "no such sampler"),
    ("TPESampler", {"n_startup_trial": 5}, PLAIN, "did you mean 'n_startup_trials'?"),
    ("QMCSampler", {"qmc_type": "sobel"}, PLAIN, "Choose either `halton` or `sobol`"),
    ("GridSampler", {}, PLAIN, "cannot list every value of lr; give a step or choices"),
    ("GridSampler", {}, BRANCHED, "handles no conditions; use optuna.samplers.BruteForceSampler"),
    ("GridSampler", {}, MANY, "the grid has 11000 cells, more than 10000"),
    ("GridSampler", {"search_space": {"layers": [1]}}, LISTED, "differ in norm"),
    (
        "GridSampler",
        {"search_space": {"layers": [9], "norm": ["a"]}},
        LISTED,
        "9 in search_space is no value",
    ),
    ("BruteForceSampler", {}, MIXED, "cannot list every value of lr"),
    ("CmaEsSampler", {}, WORDS, "can model none of norm, activation"),
    ("NopSampler", {}, PLAIN, "no such sampler"),
]


@pytest.mark.parametrize(("name", "kwargs", "space", "sentence"), REFUSED)
def test_a_sampler_that_cannot_handle_the_space_is_refused_in_one_line(
    name: str, kwargs: dict[str, Any], space: OptunaSpace, sentence: str
) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is compared below
        check_sampler(S + name, kwargs, space)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_dotted_path_to_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match=r"math\.pi is no sampler but a float"):
        check_sampler("math.pi", {}, PLAIN)
    with pytest.raises(ValueError, match=r"builtins\.dict is no Optuna sampler"):
        check_sampler("builtins.dict", {}, PLAIN)


@pytest.mark.parametrize(
    ("name", "space", "left"),
    [
        ("TPESampler", MIXED, ""),
        ("TPESampler", BRANCHED, ""),
        ("RandomSampler", BRANCHED, ""),
        ("QMCSampler", MIXED, ""),
        ("NSGAIISampler", MIXED, ""),
        ("GPSampler", MIXED, ""),
        ("GPSampler", BRANCHED, "momentum"),
        ("CmaEsSampler", PLAIN, ""),
        ("CmaEsSampler", MIXED, "norm"),
    ],
)
def test_what_a_sampler_draws_at_random_is_reported(name: str, space: OptunaSpace, left: str) -> None:
    notes = check_sampler(S + name, {}, space)
    assert notes == (
        (f"{S}{name} draws {left} at random; optuna.samplers.TPESampler would model all",) if left else ()
    )


@pytest.mark.parametrize(
    ("name", "kwargs", "space", "cells"),
    [
        ("GridSampler", {}, LISTED, 6),
        ("GridSampler", {"search_space": {"layers": [1, 3], "norm": ["a"]}}, LISTED, 2),
        ("GridSampler", {"search_space": {"lr": [0.1, 1.0], "layers": [1, 3]}}, PLAIN, 4),
        ("BruteForceSampler", {}, LISTED, 6),
        ("TPESampler", {}, LISTED, None),
    ],
)
def test_a_sampler_that_tries_everything_knows_how_much_that_is(
    name: str, kwargs: dict[str, Any], space: OptunaSpace, cells: int | None
) -> None:
    assert exhaustive_cells(S + name, kwargs, space) == cells


def test_a_constant_parameter_is_nothing_a_sampler_leaves_out() -> None:
    domains: dict[str, Domain] = {"lr": Float(0.0, 1.0), "layers": Int(2, 2), "norm": Categorical(("a",))}
    assert check_sampler(S + "CmaEsSampler", {}, OptunaSpace(domains)) == ()
