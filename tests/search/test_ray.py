"""The searcher in a plain Tuner."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from raysweep.search.ray_optuna_search import RayOptunaSearch
from schedulers.space import Float, Int

ray = pytest.importorskip("ray")


@pytest.fixture
def local_ray() -> Iterator[None]:
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    yield
    ray.shutdown()


def descend(config: dict[str, Any]) -> None:
    """Report three epochs; a lr above 0.9 diverges."""
    from ray import tune

    for epoch in range(1, 4):
        loss = float("nan") if config["opt"]["lr"] > 0.9 else config["opt"]["lr"] + config["layers"] / epoch
        tune.report({"loss": loss})


@pytest.mark.ray
@pytest.mark.filterwarnings(
    "default::DeprecationWarning", "default::FutureWarning", "default::ResourceWarning"
)
def test_ten_trials_of_a_plain_tuner_are_all_told(local_ray: None, tmp_path: Path) -> None:
    from ray import tune

    searcher = RayOptunaSearch(
        {"opt.lr": Float(0.0, 1.0), "layers": Int(1, 4)},
        metric="loss",
        mode="min",
        baseline={"opt.lr": 0.95, "layers": 1},
        points_to_evaluate=[{"opt.lr": 0.5}],
    )
    results = tune.Tuner(
        descend,
        tune_config=tune.TuneConfig(
            search_alg=searcher, num_samples=10, max_concurrent_trials=2, reuse_actors=True
        ),
        run_config=tune.RunConfig(storage_path=str(tmp_path), verbose=0),
    ).fit()
    trials = searcher.study.trials
    assert len(results) == len(trials) == 10
    assert trials[0].state is TrialState.FAIL  # the baseline diverges
    assert trials[1].params["opt.lr"] == 0.5
    assert {trial.state for trial in trials[1:]} <= {TrialState.COMPLETE, TrialState.FAIL}
    assert searcher.study.best_value == pytest.approx(results.get_best_result("loss", "min").metrics["loss"])
