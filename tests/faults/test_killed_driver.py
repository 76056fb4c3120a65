"""SIGKILL of the driver in mid-sweep, then `resume`: real processes, a real signal, a real MLflow store.

On one slot everything is deterministic, so the resumed study must have, epoch by epoch and bit by bit,
the history of one that was never interrupted.
"""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path

import pytest

from raysweep.study.journal.events import AttemptEnded
from tests.faults.driver import ended, events, history, record, said, start, store_of
from tests.faults.kills import FIRST, SCHEDULERS, kill, kill_again, write_two
from tests.faults.mortal import WHENS

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]


PARAMS = [
    pytest.param(name, marks=[pytest.mark.nightly] if name in ("fifo", "pfl") else []) for name in SCHEDULERS
]
"""Rules that neither pause nor copy are left to the nightly tests, which kill each forty times as well."""


@pytest.fixture(scope="module", params=PARAMS)
def study(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two studies of one sweep, side by side: `whole` never interrupted, `cut` killed twice and resumed.

    First at an event of the rule's own, see `FIRST`; then somewhere in what is left.
    """
    folder, name = tmp_path_factory.mktemp(request.param), request.param
    write_two(folder, name)
    draw = random.Random(name)
    whole = start(folder, "run", "whole.yaml")
    kill(folder, ("run", "cut.yaml"), FIRST[name], draw.randint(1, 2), draw.choice(WHENS))
    assert ended(whole, folder) == 0, said(folder)
    kill_again(folder, 1, draw)
    assert ended(start(folder, "resume", "cut", store=store_of(folder)), folder) == 0, said(folder)
    return folder


def test_every_epoch_is_there_once_with_the_loss_and_decision_it_had(study: Path) -> None:
    assert history(study / "runs/cut") == history(study / "runs/whole")


def test_every_trial_ended_as_in_the_uninterrupted_run(study: Path) -> None:
    cut, whole = (record(study / "runs" / name) for name in ("cut", "whole"))
    assert [(t.trial, t.outcome, t.config) for t in cut.trials.values()] == [
        (t.trial, t.outcome, t.config) for t in whole.trials.values()
    ]
    assert cut.attempts == 3


def test_only_the_last_attempt_closed_in_good_order(study: Path) -> None:
    closed = [event for event in events(study / "runs/cut") if isinstance(event, AttemptEnded)]
    assert [(event.attempt, event.exit_code) for event in closed] == [(3, 0)]


def test_the_disk_holds_what_checkpoint_config_keeps_and_nothing_more(study: Path) -> None:
    """Each trial's best, and the last of who was completed; also of what a killed driver had not told yet."""
    for name in ("whole", "cut"):
        folder = study / "runs" / name
        checkpoints = {path.relative_to(folder) for path in folder.glob("ray/attempt-*/*/checkpoint_*")}
        made = [trial for trial in record(folder).trials.values() if trial.checkpoints]
        kept = {Path(trial.checkpoints[trial.best_checkpoint("val_loss", 1)]) for trial in made}
        kept |= {
            Path(trial.checkpoints[max(trial.checkpoints)]) for trial in made if trial.outcome == "completed"
        }
        assert checkpoints == kept, name


def test_optuna_has_every_trial_once_and_none_is_left_running(study: Path) -> None:
    with sqlite3.connect(study / "runs/cut/optuna.db") as store:
        trials = store.execute("SELECT number, state FROM trials ORDER BY number").fetchall()
    assert [number for number, _ in trials] == list(range(6))
    assert {state for _, state in trials} <= {"COMPLETE", "PRUNED", "FAIL"}


def test_mlflow_has_a_run_a_trial_each_epoch_once_and_none_running(study: Path) -> None:
    import mlflow

    client = mlflow.MlflowClient(store_of(study))
    experiment = client.get_experiment_by_name("faults")
    runs = client.search_runs([experiment.experiment_id])
    parents = {
        run.info.run_id: run.info.run_name for run in runs if "mlflow.parentRunId" not in run.data.tags
    }
    children = {run.data.tags["trial"]: run for run in runs if "mlflow.parentRunId" in run.data.tags}
    assert len(parents) == 1
    assert len(runs) == 7
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert {run.data.tags["mlflow.parentRunId"] for run in children.values()} == set(parents)
    for trial in record(study / "runs/cut").trials.values():
        points = client.get_metric_history(children[trial.trial].info.run_id, "val_loss")
        assert [point.step for point in points] == [point.work for point in trial.curve]
