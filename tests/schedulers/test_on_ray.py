"""The adapter on a real Ray: two slots, few and short trials."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from ray import tune

import schedulers
from schedulers import Float, Listener
from schedulers.reason import ReasonCode
from tests.schedulers.trainables import Slope, falling

pytestmark = [
    pytest.mark.ray,
    pytest.mark.usefixtures("two_slots"),
    pytest.mark.filterwarnings("ignore"),  # Ray's own warnings are not ours
]


class RecordingListener(Listener):
    """Records all notifications."""

    def __init__(self) -> None:
        self.results: list[Any] = []
        self.exploits: list[Any] = []
        self.resumes: list[Any] = []
        self.endings: list[Any] = []

    def reported(self, trial_id: str, result: dict[str, Any], decision: Any) -> None:  # type: ignore[override]
        self.results.append((trial_id, dict(result), decision))

    def resumed(self, resume: Any) -> None:
        self.resumes.append(resume)

    def exploited(self, trial_id: str, exploit: Any) -> None:
        self.exploits.append((trial_id, exploit))

    def ended(self, trial_id: str, ending: str, reason: str, error: str, code: ReasonCode) -> None:
        self.endings.append((trial_id, ending, reason, error))


def fit(trainable: Any, scheduler: Any, space: Any, trials: int, tmp_path: Path) -> Any:
    """One small experiment in a plain Ray program."""
    return tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1}),
        param_space=space,
        tune_config=tune.TuneConfig(scheduler=scheduler, num_samples=trials, reuse_actors=True),
        run_config=tune.RunConfig(
            storage_path=str(tmp_path),
            verbose=0,
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    ).fit()


def test_asha_stops_the_worse_of_a_function_trainable(tmp_path: Path) -> None:
    """In a plain TuneConfig, with a function without checkpoints."""
    scheduler = schedulers.ASHA(metric="loss", mode="min", max_resource=27, reduction_factor=3)
    grid = fit(falling, scheduler, {"x": tune.grid_search([0.1 * n for n in range(9)])}, 1, tmp_path)
    epochs = Counter(result.metrics["training_iteration"] for result in grid)
    assert grid.num_errors == 0
    assert grid.get_best_result("loss", "min").metrics["training_iteration"] == 27
    assert epochs[1] >= 4


def test_asha_promotion_ends_and_goes_on_from_the_checkpoint(tmp_path: Path) -> None:
    """9 trials, eta 3, R 9: 3 promoted from rung 1, 1 from rung 3, and none stays paused."""
    scheduler = schedulers.ASHA(
        metric="loss", mode="min", max_resource=9, reduction_factor=3, variant="promotion", slots=2
    )
    listener = RecordingListener()
    scheduler.attach(listener=listener)
    space = {"optimizer": {"lr": tune.grid_search([0.1 * n for n in range(1, 10)])}}
    grid = fit(Slope, scheduler, space, 1, tmp_path)
    assert grid.num_errors == 0
    assert all(result.metrics["epoch"] == result.metrics["training_iteration"] for result in grid)
    assert len(listener.endings) == 9
    best = grid.get_best_result("loss", "min").metrics
    assert best["epoch"] == 9
    assert best["loss"] == pytest.approx(10 - 9 * 0.9)


@pytest.mark.parametrize("synchronous", [True, False])
def test_pbt_losers_go_on_from_the_donor_under_the_new_configuration(
    tmp_path: Path, synchronous: bool
) -> None:
    """Population 4 on 2 slots, with one diverging: lineage, heights and learning rates all agree."""
    scheduler = schedulers.PBT(
        metric="loss",
        mode="min",
        time_attr="epoch",
        slots=2,
        max_resource=12,
        perturbation_interval=3,
        population_size=4,
        space={"optimizer.lr": Float(0.01, 1.0, log=True)},
        synchronous=synchronous,
        seed=3,
    )
    listener = RecordingListener()
    scheduler.attach(listener=listener)
    space = {
        "optimizer": {"lr": tune.grid_search([0.1, 0.2, 0.3, 0.4])},
        "nan_at": tune.sample_from(lambda config: 2 if config["optimizer"]["lr"] == 0.3 else None),
        "step_s": 0.05,
    }
    grid = fit(Slope, scheduler, space, 1, tmp_path)
    assert grid.num_errors == 0
    assert {result.metrics["epoch"] for result in grid} == {12}
    # Three milestones rank the whole population; ranked on arrival, only the diverged is sure to copy.
    assert len(listener.exploits) >= (3 if synchronous else 1)
    assert {ending for _, ending, _, _ in listener.endings} == {"completed"}
    reports = {(trial, result["epoch"]): result for trial, result, _ in listener.results}
    for trial, exploit in listener.exploits:
        donor = reports[exploit.donor, exploit.resource]
        after = reports[trial, exploit.resource + 1]
        assert after["lr"] == exploit.config["optimizer.lr"]
        assert after["loss"] == pytest.approx(donor["loss"] - after["lr"])


def test_both_slots_are_used_by_short_trials(tmp_path: Path) -> None:
    """20 trials that end at once on 2 slots: two processes, each with its share."""
    scheduler = schedulers.FIFO(metric="loss", mode="min", max_resource=3, slots=2)
    space = {"optimizer": {"lr": tune.uniform(0.1, 1)}, "step_s": 0.03}
    grid = fit(Slope, scheduler, space, 20, tmp_path)
    shares = Counter(result.metrics["process"] for result in grid)
    assert len(shares) == 2
    assert min(shares.values()) >= 5


def test_pfl_runs_no_epoch_of_a_function_without_checkpoints_twice(tmp_path: Path) -> None:
    """By default it pauses trials; without checkpoints they would start again at epoch 1."""
    scheduler = schedulers.PFL(metric="loss", mode="min", max_resource=27)
    listener = RecordingListener()
    scheduler.attach(listener=listener)
    points = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.15, 0.25, 0.12, 0.11]
    grid = fit(falling, scheduler, {"x": tune.grid_search(points)}, 1, tmp_path)
    assert grid.num_errors == 0
    epochs = [(trial, result["training_iteration"]) for trial, result, _ in listener.results]
    assert len(epochs) == len(set(epochs)) < 27 * len(points)
    assert len(listener.endings) == len(points)
