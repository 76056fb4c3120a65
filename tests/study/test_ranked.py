"""Best, ranking, sampler, export and early end agree on which trials count, whatever half of them came to."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from raysweep.config import Sweep
from raysweep.report.optuna_file import load_study
from raysweep.study.execution.scheduler_factory import make_scheduler
from raysweep.study.execution.searcher_factory import export_to_file, make_searcher
from raysweep.study.execution.stop_conditions import describe_reached_goal
from raysweep.study.journal.event_bus import rebuild
from raysweep.study.journal.events import AttemptStarted
from raysweep.study.journal.records import StudyRecord
from raysweep.study.results.retrain import ranking
from tests.builders import epoch_reported, trial_created, trial_ended, trial_started

NAN, INF = math.nan, math.inf
SWEEP = {
    "study_name": "ranked",
    "trials": 8,
    "metric": "score",
    "sampler": {"name": "optuna.samplers.RandomSampler"},
    "trial_scheduler": {"name": "schedulers.FIFO"},
    "baseline": False,
    "run": {"data": "trainables.data.load_digits", "train": "mine.loop", "epochs": 1},
    "search_space": {"optimizer_config.lr": {"domain": {"low": 0.0, "high": 1.0}}},
}


def events_of(sweep: Sweep, values: list[float]) -> Iterator[Any]:
    """One epoch each, judged and recorded as in a run."""
    searcher = make_searcher(sweep)
    yield AttemptStarted(t=0.0, attempt=1, slots=1, trials=len(values), provenance={})
    for number, value in enumerate(values):
        name, t = f"{number:05d}", float(number)
        config = searcher.ask(number).config
        yield trial_created(name, config, t=t)
        yield trial_started(name, t=t)
        yield epoch_reported(name, 1, sweep.sign * value, t=t, metrics={"score": value}, decision="stop")
        yield trial_ended(name, "completed" if math.isfinite(value) else "diverged", t=t)


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
@pytest.mark.parametrize("odd", [NAN, INF, -INF])
def test_non_finite_values_rank_nowhere(direction: str, odd: float, tmp_path: Path) -> None:
    sweep = Sweep.model_validate(
        SWEEP | {"direction": direction, "stop": {"target": 0.7 if direction == "maximize" else 0.2}}
    )
    values = [0.5, odd, 0.3, odd, 0.6, odd, odd, 0.4]
    best, order = (4, [4, 0, 7, 2]) if direction == "maximize" else (2, [2, 7, 0, 4])
    record, searcher = StudyRecord(sweep.objective), make_searcher(sweep)
    rebuild(list(events_of(sweep, values)), record, make_scheduler(sweep).rule, searcher)
    export_to_file(searcher, sweep, tmp_path / "optuna.db")
    study = load_study(tmp_path / "optuna.db")
    assert record.best().number == best
    assert [trial.number for trial in ranking(sweep, record)] == order
    assert study.best_trial.number == best
    assert [trial.number for trial in study.trials if trial.values] == sorted(order)
    assert not describe_reached_goal(sweep, record)  # an infinite value is no goal reached
