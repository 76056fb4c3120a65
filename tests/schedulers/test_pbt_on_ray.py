"""A population larger than the slots, one member failing and one diverging, on a real Ray."""

from __future__ import annotations

from typing import Any

import pytest
from ray import tune

import schedulers
from schedulers import Float, Listener
from schedulers.reason import ReasonCode
from tests.schedulers.trainables import Fragile

pytestmark = [
    pytest.mark.ray,
    pytest.mark.usefixtures("two_slots"),
    pytest.mark.filterwarnings("ignore"),  # Ray's own warnings are not ours
]

EPOCHS, INTERVAL, LRS = 12, 3, [0.1, 0.2, 0.3, 0.4, 0.5]
DIVERGES, FAILS = 0.3, 0.4  # the members that do, by their learning rate


class RecordingListener(Listener):
    """Records all notifications."""

    def __init__(self) -> None:
        self.results: list[Any] = []
        self.exploits: list[Any] = []
        self.resumes: list[Any] = []
        self.endings: dict[Any, Any] = {}

    def reported(self, trial_id: str, result: dict[str, Any], decision: Any) -> None:  # type: ignore[override]
        self.results.append((trial_id, result["epoch"], dict(result)))

    def resumed(self, resume: Any) -> None:
        self.resumes.append(resume)

    def exploited(self, trial_id: str, exploit: Any) -> None:
        self.exploits.append((trial_id, exploit))

    def ended(self, trial_id: str, ending: str, reason: str, error: str, code: ReasonCode) -> None:
        assert trial_id not in self.endings
        self.endings[trial_id] = ending


@pytest.fixture(scope="module", params=[True, False], ids=["synchronous", "asynchronous"])
def run(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, two_slots: Any
) -> tuple[Any, ...]:
    """Five members on two slots in a plain Tuner: (whether synchronous, the notifications, the results)."""
    listener = RecordingListener()
    scheduler = schedulers.PBT(
        metric="loss",
        mode="min",
        time_attr="epoch",
        slots=2,
        max_resource=EPOCHS,
        perturbation_interval=INTERVAL,
        population_size=len(LRS),
        space={"optimizer.lr": Float(0.01, 1.0, log=True)},
        synchronous=request.param,
        seed=3,
    )
    scheduler.attach(listener=listener)
    grid = tune.Tuner(
        tune.with_resources(Fragile, {"cpu": 1}),
        param_space={
            "optimizer": {"lr": tune.grid_search(LRS)},
            "nan_at": tune.sample_from(lambda config: 2 if config["optimizer"]["lr"] == DIVERGES else None),
            "fails_at": tune.sample_from(lambda config: 2 if config["optimizer"]["lr"] == FAILS else None),
            "step_s": 0.03,
        },
        tune_config=tune.TuneConfig(scheduler=scheduler, reuse_actors=True),
        run_config=tune.RunConfig(
            storage_path=str(tmp_path_factory.mktemp("pbt")),
            verbose=0,
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    ).fit()
    return request.param, listener, grid


def first_lr(listener: RecordingListener, trial_id: str) -> float:
    return next(result["lr"] for name, _, result in listener.results if name == trial_id)


def test_every_member_but_the_failed_trains_to_the_end(run: tuple[Any, ...]) -> None:
    """No member waits for the failed one, or for another that waits."""
    _, listener, grid = run
    assert grid.num_errors == 1
    assert sorted(listener.endings.values()) == ["completed"] * 4 + ["failed"]
    last = {name: epoch for name, epoch, _ in listener.results if listener.endings[name] == "completed"}
    assert set(last.values()) == {EPOCHS}


def test_the_diverged_member_is_replaced_at_the_next_milestone(run: tuple[Any, ...]) -> None:
    synchronous, listener, _ = run
    copies = [trial for trial, exploit in listener.exploits if exploit.resource == INTERVAL]
    assert DIVERGES in [first_lr(listener, trial) for trial in copies]
    if synchronous:  # four are left, a quarter of them is one
        assert [first_lr(listener, trial) for trial in copies] == [DIVERGES]
        assert len(listener.exploits) == 3


def test_every_copy_goes_on_from_its_donors_checkpoint(run: tuple[Any, ...]) -> None:
    _, listener, _ = run
    reports = {(name, epoch): result for name, epoch, result in listener.results}
    assert not [resume for resume in listener.resumes if "no checkpoint" in resume.reason]
    for trial, exploit in listener.exploits:
        donor, after = reports[exploit.donor, exploit.resource], reports[trial, exploit.resource + 1]
        assert after["lr"] == exploit.config["optimizer.lr"]
        assert after["loss"] == pytest.approx(donor["loss"] - after["lr"])


def test_no_process_is_ended_by_a_pause(run: tuple[Any, ...]) -> None:
    """Two slots, two processes; the failed member's error costs one more."""
    _, listener, _ = run
    assert len({result["process"] for _, _, result in listener.results}) <= 3
