"""SIGKILL of the driver in mid-sweep, then `resume`: real processes, a real signal, a real MLflow store.

On one slot everything is deterministic, so the resumed study must have, epoch by epoch and bit by bit,
the history of one that was never interrupted.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from service.study.events import Closed
from tests.faults.driver import events, history, kill_after, record, reports, said, start

pytestmark = [pytest.mark.faults, pytest.mark.timeout(400)]
SWEEP = """
study_name: {name}
trials: 6
seed: 3
sampler: {{name: optuna.samplers.TPESampler, kwargs: {{n_startup_trials: 3}}}}
trial_scheduler: {scheduler}
max_concurrent_trials: 1
run:
  project: faults
  data: trainables.data.load_digits
  criterion: torch.nn.CrossEntropyLoss
  optimizer: torch.optim.SGD
  scheduler: null
  epochs: 8
  batch_size: 64
  net_config: {{layers: 2, dropout: 0.1}}
  optimizer_config: {{lr: 1e-1}}
  checkpoint_config: {{enabled: true, save_every_n_epochs: 3}}
search_space:
  optimizer_config: {{lr: {{type: float, min: 1e-4, max: 1.0, log: true}}}}
"""
FIRST_KILL = 5  # epochs; the second is at two thirds of all there are
SCHEDULERS = {
    "fifo": "{name: schedulers.FIFO}",
    "asha": "{name: schedulers.ASHA, kwargs: {grace_period: 1, reduction_factor: 2, variant: promotion}}",
    "pbt": "{name: schedulers.PBT, kwargs: {perturbation_interval: 2}}",
    "predictive": "{name: schedulers.PFL, kwargs: {min_finished: 2}}",
    "pfl": "{name: schedulers.ClassicPFL, kwargs: {n_startup_trials: 2, n_warmup_epochs: 2, top_k: 2}}",
}


LONG = ("predictive",)  # the nightly list's: CI has eight minutes for all faults


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=pytest.mark.nightly if name in LONG else ()) for name in SCHEDULERS],
)
def study(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, str]]:
    """Two studies of one sweep, side by side: `whole` never interrupted, `cut` killed twice and resumed."""
    folder = tmp_path_factory.mktemp(request.param)
    for name in ("whole", "cut"):
        text = SWEEP.format(name=name, scheduler=SCHEDULERS[request.param])
        (folder / f"{name}.yaml").write_text(text)
    whole = start(folder, "run", "whole.yaml", MLFLOW_TRACKING_URI=f"sqlite:///{folder}/whole.db")
    kill_after(start(folder, "run", "cut.yaml"), folder, "cut", FIRST_KILL)
    assert whole.wait() == 0, said(folder)
    epochs = len(reports(folder / "runs/whole"))
    kill_after(start(folder, "resume", "cut"), folder, "cut", 2 * epochs // 3)
    assert start(folder, "resume", "cut").wait() == 0, said(folder)
    return folder, request.param


def test_every_epoch_is_there_once_with_the_uninterrupted_runs_loss_and_decision(study: tuple[Path, str]):
    folder, _ = study
    assert history(folder / "runs/cut") == history(folder / "runs/whole")


def test_every_trial_ended_as_in_the_uninterrupted_run(study: tuple[Path, str]):
    folder, _ = study
    cut, whole = (record(folder / "runs" / name) for name in ("cut", "whole"))
    assert [(t.trial, t.outcome, t.config) for t in cut.trials.values()] == [
        (t.trial, t.outcome, t.config) for t in whole.trials.values()
    ]
    assert cut.attempts == 3


def test_only_the_last_attempt_closed_in_good_order(study: tuple[Path, str]):
    folder, _ = study
    closed = [event for event in events(folder / "runs/cut") if isinstance(event, Closed)]
    assert [(event.attempt, event.exit_code) for event in closed] == [(3, 0)]


def test_mlflow_has_one_run_a_trial_and_none_is_left_running(study: tuple[Path, str]):
    import mlflow

    folder, _ = study
    client = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name("faults")
    runs = client.search_runs([experiment.experiment_id])
    parents = {
        run.info.run_id: run.info.run_name for run in runs if "mlflow.parentRunId" not in run.data.tags
    }
    children = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    assert len(parents) == 1
    assert len(children) == 6
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == set(parents)
