"""A sweep whose trials find no place to run."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from raysweep.study.execution.controller import StudyController
from raysweep.study.execution.shutdown import StopSignal
from tests.builders import small_sweep


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def desk_of(clock: Clock) -> Any:
    sweep = small_sweep(stall_timeout_s=60, resources_per_trial={"cpu": 2, "gpu": 4})
    controller = SimpleNamespace(
        sweep=sweep, bus=SimpleNamespace(clock=clock), stop=StopSignal(), _placed_at=None, _exit_code=130
    )
    controller.look = lambda running: StudyController.check_placed(
        controller,  # type: ignore[arg-type]
        running,
        lambda: "3 nodes are up, with 4 CPU",
    )
    return controller


def test_nothing_placed_for_too_long_ends_the_sweep_and_says_the_request() -> None:
    clock = Clock()
    controller = desk_of(clock)
    for clock.now in (0.0, 59.0):
        controller.look(False)
        assert not controller.stop.requested
    clock.now = 61.0
    controller.look(False)
    assert controller._exit_code == 6
    assert "no trial could be placed for 61 s" in controller.stop.reason
    assert "2 CPU and 4 GPU; 3 nodes are up, with 4 CPU; " in controller.stop.reason


def test_the_silence_is_counted_from_the_last_trial_that_ran() -> None:
    clock = Clock()
    controller = desk_of(clock)
    for clock.now, running in ((0.0, False), (50.0, True), (100.0, False)):
        controller.look(running)
    assert not controller.stop.requested
