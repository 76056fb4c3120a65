"""What every run checks before its first trial, and how it ends if a check fails."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray

import launch
from raysweep.config import read_sweep
from raysweep.preflight.first_step import first_step_config, load_checked_data
from raysweep.preflight.probe_configs import probe_configs
from raysweep.runner.resolve import load_study_data
from raysweep.study.journal.records import fold
from raysweep.study.storage.layout import StudyFolder

SWEEP = """\
study_name: {name}
trials: 4
run:
  {run}
  optimizer: torch.optim.AdamW
  optimizer_config: {{lr: 1e-3}}
  scheduler: null
  epochs: 2
search_space: {{optimizer_config: {{lr: {{type: float, min: 1e-4, max: 1e-2, log: true}}}}}}
"""
TABLE = "data: trainables.data.load_table\n  data_config: {path: rows.csv, target: y}"


def leaking(x: np.ndarray) -> np.ndarray:
    """The second half of the rows repeats the first half."""
    return np.concatenate([x[: len(x) // 2]] * 2)


def with_nothing_to_learn(x: np.ndarray) -> np.ndarray:
    """The target is the same everywhere."""
    return np.column_stack([x[:, 0], x[:, 1] * 0 + 1.5])


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to be in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("spoilt", "message"),
    [
        (leaking, "preflight: leak: "),
        (with_nothing_to_learn, "preflight: target: is constant in the training rows"),
    ],
)
def test_bad_data_end_a_run_before_ray_starts_and_leave_nothing(
    written: Path, capsys: pytest.CaptureFixture[str], spoilt: Callable[..., Any], message: Any
) -> None:
    rows = spoilt(np.random.default_rng(0).normal(size=(400, 2)))
    np.savetxt("rows.csv", rows, delimiter=",", header="x,y", comments="")
    (written / "s.yaml").write_text(SWEEP.format(name="bad", run=TABLE))
    assert launch.main(["run", "s.yaml", "--local"]) == 3
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("preflight: ")]
    assert lines
    assert all(line.startswith(message) for line in lines)
    assert not (written / "runs/bad").exists()
    assert not ray.is_initialized()


def test_a_split_that_lacks_a_class_is_reported_and_runs(written: Path) -> None:
    y = np.array([0, 1] * 200)
    y[7] = 2
    rows = np.column_stack([np.random.default_rng(0).normal(size=400), y])
    np.savetxt("rows.csv", rows, delimiter=",", header="x,y", comments="", fmt=["%.18f", "%d"])
    (written / "s.yaml").write_text(
        SWEEP.format(name="rare", run=TABLE + "\n  criterion: torch.nn.CrossEntropyLoss")
    )
    lines: list[str] = []
    load_checked_data(read_sweep("s.yaml").sweep, lines.append)
    fix = "data_config.stratify: true gives every part its share, if a class has enough rows"
    assert lines == [
        f"note: validation rows: none is of class 2; {fix}",
        f"note: test rows: none is of class 2; {fix}",
    ]


def test_an_average_of_weights_that_lags_is_reported(written: Path) -> None:
    """The length of a run in steps is known once its data are loaded."""
    text = SWEEP.format(name="lags", run="data: trainables.data.load_synthetic\n  data_config: {rows: 400}")
    (written / "s.yaml").write_text(text.replace("torch.optim.AdamW", "pytorch_optimizer.SPlus"))
    lines: list[str] = []
    sweep = read_sweep("s.yaml").sweep
    load_checked_data(sweep, lines.append)
    load_checked_data(sweep.model_copy(update={"ignore_advice": ("averaging_window",)}), lines.append)
    assert lines == [
        "note: averaged weights: SPlus validates with an average over 1000 steps (ema_rate 0.999), and a run "
        "has 2: the average lags behind the trained weights; "
        "try --set run.optimizer_config.ema_rate=0.5"
    ]


def test_data_are_not_checked_without_preflight(written: Path) -> None:
    rows = with_nothing_to_learn(np.random.default_rng(0).normal(size=(40, 2)))
    np.savetxt("rows.csv", rows, delimiter=",", header="x,y", comments="")
    (written / "s.yaml").write_text(SWEEP.format(name="bad", run=TABLE))
    nothing = fold([], "last")
    data = load_study_data(read_sweep("s.yaml").sweep, StudyFolder(written / "bad"), nothing, check=False)
    assert len(data.x_train) == 24


def test_the_first_step_is_the_default_s_and_measures_no_costs() -> None:
    """A latency takes seconds to measure."""
    sweep = read_sweep("sweeps/pareto.yaml").sweep
    first = first_step_config(sweep)
    assert first["costs"] == []
    assert first["optimizer_config"]["lr"] == probe_configs(sweep)["default"]["optimizer_config.lr"]


@pytest.mark.ray
def test_a_net_that_cannot_learn_ends_a_run_before_its_first_epoch(
    written: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = "data: trainables.data.load_diabetes\n  net: tests.trainables.samples.Detached"
    (written / "s.yaml").write_text(SWEEP.format(name="detached", run=run))
    assert launch.main(["run", "s.yaml", "--local"]) == 3
    captured = capsys.readouterr()
    assert "preflight: default: failed: net: no gradient reaches any parameter of" in captured.err
    assert "Traceback" not in captured.err + captured.out
    assert not (written / "runs/detached").exists()
