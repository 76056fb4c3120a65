"""Trials that share processes: what goes wrong in one, and studies that are cut, resumed and extended."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from raysweep.cluster.embedded import embedded_ray
from raysweep.config import Sweep
from raysweep.study.execution.run_plan import RunPlan
from raysweep.study.execution.shutdown import StopSignal
from raysweep.study.journal.events import AttemptStarted, LaneReported, TrialRecovered
from raysweep.study.journal.records import StudyRecord
from raysweep.study.results.reproduce import (
    curve_of_weights,
    first_difference,
    reproduction_config,
    run_again,
)
from raysweep.study.storage.layout import StudyFolder
from tests.faults.driver import ROOT, after_epochs, ended, events, record, reports, said, start
from trainables.data import load

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]
LR = "optimizer_config.lr"
RATE = {"type": "float", "min": 1e-3, "max": 1e-1, "log": True}
LANES = 16
WRONG = {
    "init": ("failed", "KeyError: 'no such layer'"),
    "forward": ("failed", "KeyError: 'no such feature'"),
    "backward": ("failed", "KeyError: 'no such gradient'"),
    "memory": ("infeasible", "memory"),
    "nan": ("diverged", "at epoch 1; lower the learning rate or set grad_clip"),
}


def sweep_of(name: str, **words: Any) -> dict[str, Any]:
    """Small nets on a small table."""
    return {
        "study_name": name,
        "seed": 3,
        "sampler": {"name": "optuna.samplers.RandomSampler"},
        "trial_scheduler": {"name": "schedulers.FIFO"},
        "baseline": False,
        "import_paths": [str(ROOT)],
        **words,
    }


def run_of(**words: Any) -> dict[str, Any]:
    return {
        "data": "trainables.data.load_diabetes",
        "net_config": {"nodes": 8, "layers": 2},
        "optimizer": "torch.optim.AdamW",
        "optimizer_config": {"lr": 0.01},
        "scheduler": None,
        "batch_size": 64,
        **words,
    }


def unlike_alone(study: StudyRecord, sweep: Sweep, *trials: str) -> list[str]:
    """The trials whose curves are not those of the trial run alone in this process, to the last bit."""
    return [
        name
        for name in trials
        if first_difference(
            points := curve_of_weights(study, name),
            list(run_again(reproduction_config(sweep, study, name), points[-1].epoch, 0.0)),
        )
    ]


@pytest.fixture
def _ray() -> Iterator[None]:
    with embedded_ray():
        yield


@pytest.mark.usefixtures("_ray")
def test_of_sixteen_lanes_each_that_goes_wrong_ends_by_its_own_reason(tmp_path: Path) -> None:
    """One raises where it is made, forward, backward; one takes all memory, diverges, kills its process."""
    from raysweep.study.execution.tuner import run_tuner

    moods = ["kills", *WRONG]
    moods += ["sound"] * (LANES - len(moods))
    sweep = Sweep.model_validate(
        sweep_of(
            "moods",
            trials=LANES,
            run=run_of(
                net="tests.faults.moods.Moody",
                net_config={"mood": "sound", "mark": str(tmp_path / "mark")},
                epochs=8,
                checkpoint_config={"enabled": True, "save_every_n_epochs": 2},
            ),
            search_space={
                LR: RATE,
                "net_config.mood": {"type": "categorical", "choices": [*WRONG, *moods[:1], "sound"]},
            },
            points_to_evaluate=[
                {"net_config.mood": mood, LR: 0.01 + n / 1000} for n, mood in enumerate(moods)
            ],
        )
    )
    folder = StudyFolder.create(tmp_path, "moods", sweep, "")
    plan = RunPlan(sweep, folder, LANES, {"cpu": 0.06, "gpu": 0.0}, data=load(sweep.run), lanes=LANES)
    study = run_tuner(plan, stop=StopSignal()).record
    assert study.counts() == {
        "completed": LANES - len(WRONG),
        "failed": 3,
        "infeasible": 1,
        "diverged": 1,
    }
    for number, (mood, (outcome, reason)) in enumerate(WRONG.items(), start=1):
        trial = study.trials[f"{number:05d}"]
        assert (mood, trial.outcome) == (mood, outcome)
        assert reason in trial.reason, mood
    counted = Counter((each.trial, each.epoch) for each in reports(folder.path))
    assert set(counted.values()) == {1}
    whole = ["00000", *(f"{number:05d}" for number in range(1 + len(WRONG), LANES))]
    assert all(counted[name, epoch] for name in whole for epoch in range(1, 9))
    assert unlike_alone(study, sweep, *whole) == []
    lane_reports = [event for event in events(folder.path) if isinstance(event, LaneReported)]
    assert {event.trial for event in lane_reports if not event.obstacle} >= set(whole[1:])
    lost = [event.trial for event in events(folder.path) if isinstance(event, TrialRecovered)]
    assert max(Counter(lost).values()) == 1  # one process died, and nobody was taken down again


def test_a_study_in_lanes_is_cut_resumed_extended_reproduced_retrained(tmp_path: Path) -> None:
    """In the end each trial has each epoch once, with the loss it has alone."""
    space = {LR: RATE, "net_config.layers": {"type": "int", "min": 1, "max": 3}}
    run = run_of(epochs=60, checkpoint_config={"enabled": True, "save_every_n_epochs": 20})
    words = {"resources_per_trial": {"cpu": 0.3}, "max_concurrent_trials": 6, "trials": 6}
    sweep = sweep_of("cut", run=run, search_space=space, **words)
    (tmp_path / "cut.yaml").write_text(yaml.safe_dump(sweep))
    study = tmp_path / "runs/cut"
    process = start(tmp_path, "run", "cut.yaml")
    after_epochs(30, process, tmp_path, study)
    process.send_signal(signal.SIGINT)
    assert ended(process, tmp_path) == 130, said(tmp_path)
    assert record(study).counts().get("completed", 0) < 6
    for command in (("resume", "cut"), ("extend", "cut", "--trials", "+2", "--epochs", "72")):
        assert ended(start(tmp_path, *command), tmp_path) == 0, said(tmp_path)
    lane_record, folder = record(study), StudyFolder(study)
    assert lane_record.counts() == {"completed": 8}
    counted = sorted((each.trial, each.epoch) for each in reports(study))
    assert counted == [(f"0000{trial}", epoch) for trial in range(8) for epoch in range(1, 73)]
    begun = [event.lanes for event in events(study) if isinstance(event, AttemptStarted)]
    assert begun[:2] == [3, 3]
    assert {trial.lane_obstacle for trial in lane_record.trials.values()} == {""}
    assert unlike_alone(lane_record, folder.sweep(), "00000", "00005", "00007") == []
    assert ended(start(tmp_path, "reproduce", "cut", "0"), tmp_path) == 0, said(tmp_path)
    assert ended(start(tmp_path, "retrain", "cut", "--top-k", "1", "--seeds", "3"), tmp_path) == 0, said(
        tmp_path
    )
    again = record(study / "retrain")
    assert again.lanes > 1
    assert unlike_alone(again, StudyFolder(study / "retrain").sweep(), *again.trials) == []
