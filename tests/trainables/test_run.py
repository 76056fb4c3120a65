"""The keys under `run:`."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.run_config import RunError, flatten, overlay, read

NAMES = st.text("abcdef_", min_size=1, max_size=5)
LEAVES = (
    st.integers() | st.floats(allow_nan=False) | st.text(max_size=3) | st.lists(st.integers(), max_size=2)
)
NESTED = st.recursive(
    LEAVES, lambda inner: st.dictionaries(NAMES, inner, min_size=1, max_size=3), max_leaves=8
)


@given(st.dictionaries(NAMES, NESTED, max_size=3))
def test_flat_values_laid_over_nothing_give_the_nested_config_back(config: Any) -> None:
    assert overlay({}, flatten(config)) == config


def test_overlay_leaves_the_run_config_as_it_was() -> None:
    run = {"optimizer_config": {"lr": 0.1}}
    overlay(run, {"optimizer_config.lr": 0.5})
    assert run == {"optimizer_config": {"lr": 0.1}}


def test_a_path_through_a_number_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"epochs\.lr: epochs is 10, not a mapping"):
        overlay({"epochs": 10}, {"epochs.lr": 1})


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (
            {"data": "d", "metrics": {"val_loss_raw": "m.f"}},
            "run.metrics.val_loss_raw: 'val_loss_raw' is taken: a trial's results use it already; "
            "name the metric 'my_val_loss_raw'",
        ),
        ({"data": "d", "epoch": 3}, "run.epoch: Extra inputs are not permitted; it is 3"),
        ({"data": "d", "epochs": 0}, "run.epochs: Input should be greater than or equal to 1; it is 0"),
        (
            {"data": "d", "early_stopping_config": {"patienc": 3}},
            "run.early_stopping_config.patienc: Extra inputs are not permitted; it is 3",
        ),
    ],
)
def test_a_wrong_word_is_named_in_one_line(fields: Any, sentence: str) -> None:
    with pytest.raises(RunError) as caught:
        read(fields)
    assert str(caught.value) == sentence


def test_reading_a_run_config_imports_no_torch() -> None:
    code = "import sys, trainables.run_config; sys.exit('torch' in sys.modules or 'ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
