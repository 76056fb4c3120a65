"""An audit in a plain Ray program: stops are not carried out, and no trial stays paused."""

from __future__ import annotations

from pathlib import Path

import pytest
from ray import tune

import schedulers
from tests.schedulers.trainables import Slope

pytestmark = [
    pytest.mark.ray,
    pytest.mark.usefixtures("two_slots"),
    pytest.mark.filterwarnings("ignore"),  # Ray's own warnings are not ours
]


def test_with_every_stop_audited_every_trial_runs_to_its_end(tmp_path: Path) -> None:
    """A trial that would be paused for ever is resumed from its checkpoint, once that is certain."""
    scheduler = schedulers.ASHA(
        metric="loss",
        mode="min",
        max_resource=9,
        reduction_factor=3,
        variant="promotion",
        slots=2,
        audit_fraction=1.0,
    )
    grid = tune.Tuner(
        tune.with_resources(Slope, {"cpu": 1}),
        param_space={"optimizer": {"lr": tune.grid_search([0.1 * n for n in range(1, 7)])}},
        tune_config=tune.TuneConfig(scheduler=scheduler, reuse_actors=True),
        run_config=tune.RunConfig(
            storage_path=str(tmp_path),
            verbose=0,
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    ).fit()
    assert grid.num_errors == 0
    assert [result.metrics["training_iteration"] for result in grid] == [9] * 6
