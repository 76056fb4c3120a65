"""`launch.py init --from-wandb` converts a W&B sweep file."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import launch
from raysweep.authoring.wandb_sweep import convert_wandb
from raysweep.config import SweepError, read_sweep
from raysweep.config.sweep import Sweep
from schedulers.space import Categorical, Domain, Float, Int

WANDB = """program: train.py
method: bayes
metric: {name: loss, goal: minimize}
parameters:
  lr: {min: 0.0001, max: 0.1}
"""


@pytest.fixture(autouse=True)
def _in_a_folder_with_a_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("train.py").touch()


def converted(text: str) -> Sweep:
    Path("wandb.yaml").write_text(text)
    assert launch.main(["init", "--from-wandb", "wandb.yaml", "sweep.yaml"]) == 0
    return read_sweep("sweep.yaml").sweep


def test_a_whole_wandb_sweep_is_converted() -> None:
    sweep = converted(
        """
program: train.py
name: My CNN
method: random
run_cap: 30
metric: {name: val/acc, goal: maximize, target: 0.99}
parameters:
  lr: {distribution: log_uniform_values, min: 0.0001, max: 0.1}
  optimizer: {values: [adam, sgd]}
  epochs: {value: 27}
early_terminate: {type: hyperband, min_iter: 3}
"""
    )
    assert sweep.study_name == "My_CNN"
    assert (sweep.trials, sweep.metric, sweep.direction) == (30, "val_acc", "maximize")
    assert sweep.stop is not None
    assert sweep.stop.target == 0.99
    assert sweep.sampler.name == "optuna.samplers.RandomSampler"
    assert sweep.trial_scheduler.name == "schedulers.ASHA"
    assert sweep.trial_scheduler.kwargs == {"grace_period": 3, "reduction_factor": 3}
    assert (sweep.run.command, sweep.run.epochs) == ("python train.py {args}", 27)
    assert sweep.run.train_config == {"epochs": 27}
    assert {name: each.domain for name, each in sweep.search_space.items()} == {
        "train_config.lr": Float(0.0001, 0.1, log=True),
        "train_config.optimizer": Categorical(("adam", "sgd")),
    }


@pytest.mark.parametrize(
    ("parameter", "domain"),
    [
        ("{min: 1, max: 5}", Int(1, 5)),
        ("{min: 0.0, max: 0.5}", Float(0.0, 0.5)),
        ("{distribution: uniform, min: 0, max: 1}", Float(0, 1)),
        ("{distribution: log_uniform, min: -4, max: 0}", Float(math.exp(-4), 1.0, log=True)),
        ("{distribution: q_uniform, min: 16, max: 64, q: 16}", Int(16, 64, step=16)),
        ("{distribution: q_uniform, min: 0.0, max: 0.5, q: 0.1}", Float(0.0, 0.5, step=0.1)),
        ("{values: [true, 3, null, relu]}", Categorical((True, 3, None, "relu"))),
    ],
)
def test_each_distribution_has_its_range(parameter: str, domain: Domain) -> None:
    sweep = converted(WANDB.replace("{min: 0.0001, max: 0.1}", parameter))
    assert sweep.search_space["train_config.lr"].domain == domain


@pytest.mark.parametrize(
    ("command", "ours"),
    [
        ("['${env}', python3, '${program}', --fast, '${args}']", "python3 train.py --fast {args}"),
        ("['${interpreter}', '${program}', '${args_no_hyphens}']", "python train.py lr={lr}"),
        ('["./run.sh", "--config=${args_json}", "a b"]', "./run.sh --config={config} 'a b'"),
    ],
)
def test_a_commands_macros_become_placeholders(command: str, ours: str) -> None:
    assert converted(f"{WANDB}command: {command}\n").run.command == ours


def test_a_grid_has_as_many_trials_as_points() -> None:
    grid = WANDB.replace("bayes", "grid").replace("{min: 0.0001, max: 0.1}", "{values: [0.1, 0.2]}")
    assert converted(f"{grid}  layers: {{min: 1, max: 3}}\n").trials == 6


@pytest.mark.parametrize(
    ("parameter", "trials"),
    [
        ("{distribution: q_uniform, min: 0.0, max: 0.3, q: 0.1}", 4),
        ("{min: 1, max: 9, q: 4}", 9),  # a step is q_uniform's alone
        ("{distribution: uniform, min: 0, max: 1, q: 0.5}", 20),  # and without one there is no end
    ],
)
def test_a_grid_has_the_points_of_what_is_searched(parameter: str, trials: int) -> None:
    text = WANDB.replace("bayes", "grid").replace("{min: 0.0001, max: 0.1}", parameter)
    Path("wandb.yaml").write_text(text)
    assert f"trials: {trials}" in convert_wandb(Path("wandb.yaml"), "schema.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            WANDB + "  n: {distribution: normal, min: 0, max: 1}\n",
            ":6: parameters.n: distribution 'normal'",
        ),
        (
            WANDB + "  n: {parameters: {a: {value: 1}}}\n",
            ":6: parameters.n: nested parameters",
        ),
        (
            WANDB + "  n: {min: 1}\n",
            ":6: parameters.n: has no value, no values, and no min and max",
        ),
        (WANDB + "  n: 3\n", ":6: parameters.n: 3 is not a parameter; as in 'value: 3' or 'values: [1, 2]'"),
        (
            WANDB + "command: [x, '${envvar:A}']\n",
            ":6: command: ${envvar:A} has no counterpart",
        ),
        (WANDB + "colour: grid\n", ":6: colour: is not a known key of a W&B sweep; drop it"),
        (WANDB.replace("bayes", "best"), ":2: method: 'best' is not one of bayes, random, grid"),
        (WANDB.replace("program: train.py", "name: x"), ": names no program; as in 'program: train.py'"),
        ("program: train.py\n", ": parameters: missing"),
    ],
)
def test_what_has_no_counterpart_is_named_by_its_line(text: str, message: str) -> None:
    Path("wandb.yaml").write_text(text)
    with pytest.raises(SweepError) as caught:
        convert_wandb(Path("wandb.yaml"), "schema.json")
    assert any(message in str(problem) for problem in caught.value.problems), str(caught.value)


def test_a_script_that_is_not_there_leaves_no_file_behind(capsys: pytest.CaptureFixture[str]) -> None:
    Path("wandb.yaml").write_text(WANDB.replace("train.py", "other.py"))
    assert launch.main(["init", "--from-wandb", "wandb.yaml", "sweep.yaml"]) == 2
    assert "other.py is neither beside the sweep file nor in the working directory" in capsys.readouterr().err
    assert not Path("sweep.yaml").exists()


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9e9, 9e9) | st.text("abc$ {}'", max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text("abc"), inner, max_size=2),
    max_leaves=4,
)
PLACES = (
    *(
        (word,)
        for word in ("program", "method", "metric", "parameters", "early_terminate", "run_cap", "name")
    ),
    *(("metric", word) for word in ("name", "goal", "target")),
    *(("parameters", "lr", word) for word in ("min", "max", "q", "distribution", "values", "value")),
    *(("early_terminate", word) for word in ("type", "min_iter", "max_iter", "eta", "s")),
    ("command",),
)


@given(st.sampled_from(PLACES), ANYTHING, st.sampled_from(["bayes", "grid"]))
@settings(max_examples=50, suppress_health_check=list(HealthCheck))
def test_whatever_stands_in_it_is_converted_or_refused(
    place: tuple[str, ...], value: Any, method: str
) -> None:
    """Never a traceback."""
    document: dict[str, Any] = {
        "program": "train.py",
        "method": method,
        "metric": {"name": "loss"},
        "parameters": {"lr": {"min": 1, "max": 3}},
        "early_terminate": {"type": "hyperband", "max_iter": 9},
    }
    inner = document
    for word in place[:-1]:
        inner = inner[word]
    inner[place[-1]] = value
    Path("any.yaml").write_text(json.dumps(document))
    with suppress(SweepError):
        Path("ours.yaml").write_text(convert_wandb(Path("any.yaml"), "schema.json"))
        read_sweep("ours.yaml")
