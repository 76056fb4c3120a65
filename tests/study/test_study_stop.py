"""The sweep file's `stop` on a real Ray."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from raysweep.cluster.embedded import embedded_ray
from raysweep.study.execution.run_plan import RunPlan
from raysweep.study.execution.shutdown import StopSignal
from raysweep.study.journal.events import AttemptEnded, AttemptStarted, Event, TrialCreated, TrialStarted
from raysweep.study.journal.log import read_events
from raysweep.study.storage.layout import StudyFolder
from tests.builders import LR, small_sweep

pytestmark = pytest.mark.ray
ROOT = Path(__file__).parents[2]
RUN = {
    "data": "trainables.data.load_diabetes",
    "train": "tests.study.toy.train",
    "epochs": 4,
    "optimizer_config": {"lr": 0.1},
}


@pytest.fixture(scope="module", autouse=True)
def ray() -> Iterator[None]:
    with embedded_ray():
        yield


@pytest.mark.parametrize(
    ("stop", "reason"),
    [
        # The baseline's rate of 0.1 is the toy's optimum: 1/4 after 4 epochs.
        pytest.param(
            {"target": 0.25}, "target 0.25 reached by trial 0: val_loss 0.25", marks=pytest.mark.nightly
        ),
        (
            {"no_improvement": {"trials": 3, "min_delta": 0.01}},
            "no improvement by more than 0.01 in 3 trials since trial 0: val_loss 0.25",
        ),
    ],
)
def test_a_study_that_has_come_far_enough_ends_as_done_and_stays_so(
    tmp_path: Path, stop: dict[str, Any], reason: str
) -> None:
    """No new trial, no unfinished one, exit code 0; a resume trains nothing."""
    from raysweep.study.execution.tuner import run_tuner

    sweep = small_sweep(
        40,
        stop=stop,
        run=RUN,
        sampler={"name": "optuna.samplers.RandomSampler"},
        points_to_evaluate=[{LR: 0.9 - 0.01 * n} for n in range(12)],
        import_paths=[str(ROOT)],
    )
    folder = StudyFolder.create(tmp_path, "toy", sweep, "")

    def attempt() -> tuple[int, str, list[Event]]:
        finish = run_tuner(RunPlan(sweep, folder, 2, {"cpu": 1}), stop=StopSignal())
        assert finish.record.unfinished() == []
        return finish.exit_code, finish.reason, list(read_events(folder.journal_dir))

    code, message, events = attempt()
    assert (code, message) == (0, reason)
    assert len([event for event in events if isinstance(event, TrialCreated)]) < sweep.trials
    code, message, later = attempt()
    assert (code, message) == (0, f"already done: {reason}")
    assert [type(event) for event in later[len(events) :]] == [AttemptStarted, AttemptEnded]
    assert not [event for event in later[len(events) :] if isinstance(event, TrialStarted)]
