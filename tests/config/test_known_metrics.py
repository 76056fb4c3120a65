"""A metric's name says which way it is better, and how it is computed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from raysweep.config import LoadedSweep, SweepError, read_sweep

RUN = {"data": "trainables.data.load_digits", "scheduler": None, "criterion": "torch.nn.CrossEntropyLoss"}


def read(tmp_path: Path, run: dict[str, Any] | None = None, **words: object) -> LoadedSweep:
    file = tmp_path / "a.yaml"
    file.write_text(yaml.safe_dump({"trials": 1, "run": RUN | (run or {}), **words}))
    return read_sweep(file)


@pytest.mark.parametrize(
    ("metric", "direction", "computed"),
    [
        ("roc_auc", "maximize", {"roc_auc": "trainables.named_metrics.roc_auc"}),
        ("log_loss", "minimize", {"log_loss": "trainables.named_metrics.log_loss"}),
        ("accuracy", "maximize", {}),
        ("val_loss", "minimize", {}),
    ],
)
def test_the_name_alone_suffices(
    metric: str, direction: str, computed: dict[str, Any], tmp_path: Path
) -> None:
    sweep = read(tmp_path, metric=metric).sweep
    assert (sweep.metric, sweep.direction, sweep.run.metrics) == (metric, direction, computed)


def test_so_it_does_among_several(tmp_path: Path) -> None:
    sweep = read(tmp_path, metrics=["f1", {"name": "parameters"}, {"name": "balanced_accuracy"}]).sweep
    assert [metric.direction for metric in sweep.metrics] == ["maximize", "minimize", "maximize"]
    assert set(sweep.run.metrics) == {"f1", "balanced_accuracy"}


@pytest.mark.parametrize("word", ["checkpoint_config", "early_stopping_config"])
def test_what_is_monitored_is_computed_too(word: str, tmp_path: Path) -> None:
    run = read(tmp_path, {word: {"enabled": True, "monitor": "f1", "mode": "max"}}).sweep.run
    assert set(run.metrics) == {"f1"}


@pytest.mark.parametrize("word", ["checkpoint_config", "early_stopping_config"])
def test_a_monitors_name_says_which_way_it_is_better(word: str, tmp_path: Path) -> None:
    run = read(tmp_path, {word: {"enabled": True, "monitor": "accuracy"}}).sweep.run
    assert getattr(run, word).mode == "max"


def test_a_function_of_the_users_own_comes_before_the_known_one(tmp_path: Path) -> None:
    mine = {"metrics": {"f1": "sklearn.metrics.f1_score"}}
    assert read(tmp_path, mine, metric="f1").sweep.run.metrics == mine["metrics"]


def test_the_wrong_way_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SweepError, match="roc_auc is better when higher; write 'direction: maximize'"):
        read(tmp_path, metric="roc_auc", direction="minimize")


@pytest.mark.parametrize(
    ("metric", "criterion", "message"),
    [
        ("roc_auc", "MSELoss", "metric: roc_auc is for classes, but criterion torch.nn.MSELoss is not"),
        (
            "mae",
            "CrossEntropyLoss",
            "metric: mae is for numbers, but criterion torch.nn.CrossEntropyLoss is not",
        ),
    ],
)
def test_one_of_the_other_task_is_an_error(metric: str, criterion: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SweepError) as caught:
        read(tmp_path, {"criterion": f"torch.nn.{criterion}"}, metric=metric)
    assert message in str(caught.value)
