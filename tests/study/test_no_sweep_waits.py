"""On a real Ray no rule that pauses leaves a sweep waiting: for the failed, the diverged, the restored."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from raysweep.cluster.embedded import embedded_ray
from raysweep.config import Sweep
from raysweep.study.execution.controller import Finish
from raysweep.study.execution.run_plan import RunPlan
from raysweep.study.execution.shutdown import StopSignal
from raysweep.study.journal.events import EpochReported, Event
from raysweep.study.journal.log import read_events
from raysweep.study.storage.layout import StudyFolder
from tests.builders import LR, small_sweep

pytestmark = pytest.mark.ray
SPACE = {
    LR: {"type": "float", "min": 1e-3, "max": 1.0, "log": True},
    "net_config.kind": {"type": "categorical", "choices": ["sound", "raises", "nan"]},
}
KINDS = ["sound", "sound", "raises", "nan", "sound", "sound", "sound"]
"""The third fails at its second epoch and the fourth diverges there: both on their way to a rung."""
RULES = [
    ("schedulers.Hyperband", {"grace_period": 3}),  # brackets of 3, 2 and, cut short, 2
    pytest.param(
        "schedulers.ASHA",
        {"grace_period": 3, "reduction_factor": 3, "variant": "promotion"},
        marks=pytest.mark.nightly,
    ),
]


@pytest.fixture(scope="module", autouse=True)
def ray() -> Iterator[None]:
    with embedded_ray():
        yield


def sweep_under(name: str, kwargs: dict[str, Any]) -> Sweep:
    return small_sweep(
        len(KINDS),
        sampler={"name": "optuna.samplers.RandomSampler"},
        trial_scheduler={"name": name, "kwargs": kwargs},
        search_space=SPACE,
        points_to_evaluate=[{"net_config.kind": kind, LR: 10 ** -(n / 4)} for n, kind in enumerate(KINDS)],
        baseline=False,
        run={
            "data": "trainables.data.load_diabetes",
            "train": "tests.study.toy.train",
            "epochs": 9,
            "optimizer_config": {"lr": 0.1},
        },
        import_paths=[str(Path(__file__).parents[2])],
    )


def conduct(sweep: Sweep, folder: StudyFolder, stop_after: int | None = None) -> Finish:
    from raysweep.study.execution.tuner import run_tuner

    stop, reports = StopSignal(), []

    def hear(event: Event) -> None:
        reports.extend([event] if isinstance(event, EpochReported) else [])
        if len(reports) == stop_after:
            stop.request("enough")

    return run_tuner(RunPlan(sweep, folder, 2, {"cpu": 1}), stop=stop, subscribers=[hear])


@pytest.mark.parametrize(("name", "kwargs"), RULES)
def test_every_trial_ends_whatever_fails_diverges_or_is_stopped(
    tmp_path: Path, name: str, kwargs: dict[str, Any]
) -> None:
    """Stopped after 6 epochs, when the first two wait at their rung; what waited then waits on after it."""
    sweep = sweep_under(name, kwargs)
    folder = StudyFolder.create(tmp_path, "waits", sweep, "")
    first = conduct(sweep, folder, stop_after=6)
    assert first.exit_code == 130
    assert "paused" in {trial.status for trial in first.record.unfinished()}
    finish = conduct(sweep, folder)
    assert finish.exit_code == 0
    assert finish.record.unfinished() == []
    counts = finish.record.counts()
    assert (counts["failed"], counts["diverged"]) == (1, 1)
    assert counts["completed"] >= 1
    assert all(trial.reason for trial in finish.record.trials.values())
    epochs = [
        (event.trial, event.epoch)
        for event in read_events(folder.journal_dir)
        if isinstance(event, EpochReported) and not event.again
    ]
    assert len(epochs) == len(set(epochs))
