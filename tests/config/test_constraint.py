"""Constraints, several metrics, and ranges that depend on another choice."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from raysweep.config import Sweep, SweepError, read_sweep
from raysweep.config.constraint import Constraint
from schedulers.space import Float

SGD, ADAMW = "torch.optim.SGD", "torch.optim.AdamW"
CASES = [
    {"type": "float", "min": 1e-2, "max": 1e-1, "log": True, "when": {"optimizer": SGD}},
    {"type": "float", "min": 1e-4, "max": 1e-2, "log": True, "when": {"optimizer": ADAMW}},
]
RUN = {"data": "trainables.data.load_digits", "criterion": "torch.nn.CrossEntropyLoss", "optimizer": SGD}


def read(tmp_path: Path, **words: Any) -> Sweep:
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump({"run": {**RUN, "scheduler": None}, **words}, sort_keys=False))
    return read_sweep(path).sweep


def searched(*cases: Any, **more: Any) -> dict[str, Any]:
    optimizer = {"type": "categorical", "choices": [SGD, ADAMW]}
    return {"optimizer": optimizer, "optimizer_config": {"lr": list(cases)}, **more}


@pytest.mark.parametrize(
    ("sentence", "metrics", "violation"),
    [
        ("parameters <= 1e6", {"parameters": 1e6}, 0.0),
        ("parameters <= 1e6", {"parameters": 5e5}, -0.5),
        ("parameters<=1_000_000", {"parameters": 3e6}, 2.0),
        ("latency_ms >= 2", {"latency_ms": 1.0}, 0.5),
        ("gap <= 0", {"gap": 0.25}, 0.25),  # no share of nothing: the distance itself
        ("gap <= 1", {}, 0.0),
        ("gap <= 1", {"gap": math.nan}, 1.0),
    ],
)
def test_a_violation_is_a_share_of_the_bound(
    sentence: str, metrics: dict[str, float], violation: float
) -> None:
    assert Constraint.model_validate(sentence).violation(metrics) == violation


@given(st.text(max_size=20))
def test_whatever_is_written_is_a_constraint_or_an_error(text: str) -> None:
    try:
        read = Constraint.model_validate(text)
    except ValueError:
        return
    assert Constraint.model_validate(read.model_dump()) == read


@pytest.mark.parametrize(
    ("words", "line", "sentence"),
    [
        (
            {"constraints": ["parameters < 1e6"]},
            "constraints",
            "'parameters < 1e6' is no constraint; write it as 'parameters <= 1e6', with <= or >=",
        ),
        (
            {"constraints": ["accuracy >= 0.9"]},
            "constraints",
            "not known at the first epoch, when constraints are checked; make it one of 'metrics'",
        ),
        ({"duplicates": "drop"}, "duplicates", "'drop' is not 'skip', 'reuse', 'replicate' or 'allow'"),
        ({"warm_start": "runs/old"}, "warm_start", "'runs/old' is not a list"),
        (
            {"search_space": searched(CASES[0], CASES[0])},
            "search_space.optimizer_config.lr",
            "applies where case 1 does; give each case another value of the same parameter in 'when'",
        ),
        (
            {"search_space": searched(CASES[0], {"type": "float", "min": 0, "max": 1})},
            "search_space.optimizer_config.lr",
            "one case of several has no condition; say when it applies",
        ),
        (
            {"search_space": searched(CASES[0], {**CASES[1], "when": {"optimizer": "torch.optim.Adam"}})},
            "search_space.optimizer_config.lr",
            "optimizer can never be 'torch.optim.Adam'",
        ),
        (
            {
                "search_space": searched(
                    CASES[0], {"type": "categorical", "choices": [1], "when": {"optimizer": ADAMW}}
                )
            },
            "search_space.optimizer_config.lr",
            "ranges and choices in one parameter",
        ),
    ],
)
def test_a_slip_is_named_at_its_line(tmp_path: Path, words: dict[str, Any], line: str, sentence: str) -> None:
    with pytest.raises(SweepError) as caught:
        read(tmp_path, **words)
    lines = [str(problem) for problem in caught.value.problems]
    assert any("sweep.yaml:" in each and line in each and sentence in each for each in lines), lines


def test_a_range_for_each_optimizer_is_one_parameter_with_cases(tmp_path: Path) -> None:
    sweep = read(tmp_path, search_space=searched(*CASES))
    parameter = sweep.search_space["optimizer_config.lr"]
    assert parameter.domain == Float(1e-4, 1e-1, log=True)  # all that it may be
    assert [case.when for case in parameter.cases] == [{"optimizer": SGD}, {"optimizer": ADAMW}]
    assert Sweep.model_validate(sweep.model_dump(mode="json")) == sweep


def test_a_condition_may_name_several_values(tmp_path: Path) -> None:
    momentum = {"type": "float", "min": 0.0, "max": 0.9, "when": {"optimizer": [SGD]}}
    sweep = read(tmp_path, search_space=searched(*CASES, **{"optimizer_config.momentum": momentum}))
    assert sweep.search_space["optimizer_config.momentum"].when == {"optimizer": [SGD]}


def test_a_keyword_that_only_one_optimizer_takes_is_sound_in_its_case(tmp_path: Path) -> None:
    """`momentum` is unknown to AdamW: without the condition it is an error."""
    momentum = {"type": "float", "min": 0.0, "max": 0.9}
    with pytest.raises(SweepError, match="momentum"):
        read(tmp_path, search_space=searched(*CASES, **{"optimizer_config.momentum": momentum}))


@pytest.mark.parametrize(
    ("words", "costs"),
    [
        ({}, ()),
        ({"metrics": [{"name": "val_loss"}, {"name": "flops"}]}, ("flops",)),
        ({"constraints": ["parameters <= 1e6"], "metrics": ["val_loss", "flops"]}, ("parameters", "flops")),
    ],
)
def test_the_run_measures_what_the_sweep_goes_by(
    tmp_path: Path, words: dict[str, Any], costs: tuple[str, ...]
) -> None:
    assert read(tmp_path, **words).run.costs == costs
