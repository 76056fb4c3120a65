"""When a study as a whole has come far enough: the sweep file's `stop`."""

from __future__ import annotations

from pathlib import Path

import pytest

from raysweep.study.execution.stop_conditions import describe_reached_goal
from raysweep.study.journal.events import Event, TrialPaused
from raysweep.study.journal.log import read_events
from raysweep.study.journal.records import fold
from schedulers.fifo import FIFORule
from tests.builders import epoch_reported, small_sweep, trial_created, trial_ended
from tests.study.slot import Slot, loss_of

R = 2


class Told:
    """Makes the events of a study, one trial after the other, with increasing times."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.trials = 0

    def trial(self, outcome: str, loss: float, epochs: int = R) -> Told:
        """One more trial, that ended so; `paused` by the rule, or `gave way`, and waits."""
        name, self.trials = f"{self.trials:05d}", self.trials + 1
        self.events.append(trial_created(name, t=self.now))
        for epoch in range(1, epochs + 1):
            last = "pause" if outcome == "paused" and epoch == epochs else "continue"
            self.events.append(epoch_reported(name, epoch, loss, t=self.now, decision=last))
        if outcome in ("paused", "gave way"):
            self.events.append(TrialPaused(t=self.now, trial=name, epoch=epochs, reason=outcome))
        elif outcome != "running":
            self.events.append(trial_ended(name, outcome, t=self.now))
        return self

    @property
    def now(self) -> float:
        return float(len(self.events))


def tell(*trials: tuple[str, float]) -> Told:
    study = Told()
    for outcome, loss in trials:
        study.trial(outcome, loss)
    return study


@pytest.mark.parametrize(
    ("direction", "target", "trials", "reason"),
    [
        ("minimize", 0.1, [("completed", 0.2)], ""),
        ("minimize", 0.1, [("completed", 0.2), ("completed", 0.1)], "trial 1: val_loss 0.1"),
        ("minimize", 0.1, [("running", 0.05)], ""),  # its last epochs may be worse
        ("minimize", 0.1, [("stopped", 0.05)], ""),  # it is no trained model
        ("maximize", 0.9, [("completed", -0.8)], ""),  # a loss is the metric turned round
        ("maximize", 0.9, [("completed", -0.95)], "trial 0: val_loss 0.95"),
    ],
)
def test_a_target_is_reached_by_a_completed_trial(
    direction: str, target: float, trials: list[tuple[str, float]], reason: str
) -> None:
    sweep = small_sweep(direction=direction, stop={"target": target})
    description = describe_reached_goal(sweep, fold(tell(*trials).events))
    assert description == (f"target {target} reached by {reason}" if reason else "")


BEST = ("completed", 0.5)


@pytest.mark.parametrize(
    ("trials", "since"),
    [
        ([BEST], 0),
        ([BEST, ("completed", 0.5)], 1),  # as good is no better
        ([BEST, ("completed", 0.6), ("stopped", 0.7)], 2),
        ([BEST, ("completed", 0.6), ("completed", 0.3)], 0),  # better: the count starts again
        ([BEST, ("completed", 0.45), ("completed", 0.39)], 0),  # 0.45 is not better by 0.1; 0.39 is
        ([BEST, ("stopped", 0.1), ("diverged", 9.0)], 2),  # a stopped trial is no best
        (
            [BEST, ("paused", 0.6), ("gave way", 0.6), ("running", 0.6)],
            1,
        ),  # one that gave way has not had its chance
        ([BEST, ("failed", 0.6), ("infeasible", 0.6)], 0),
        ([("stopped", 0.6), ("stopped", 0.6), ("stopped", 0.6)], 0),  # nothing to be better than
        ([("stopped", 0.6), BEST, ("stopped", 0.6)], 1),
    ],
)
def test_no_improvement_counts_trials_that_had_their_chance_since(
    trials: list[tuple[str, float]], since: int
) -> None:
    record = fold(tell(*trials).events)

    def stops_at(patience: int) -> bool:
        rule = {"no_improvement": {"trials": patience, "min_delta": 0.1}}
        return bool(describe_reached_goal(small_sweep(stop=rule), record))

    assert [patience for patience in (1, 2, 3) if stops_at(patience)] == list(range(1, since + 1))


def test_the_reason_says_what_was_not_beaten_by_how_much() -> None:
    sweep = small_sweep(stop={"no_improvement": {"trials": 2, "min_delta": 1e-4}})
    record = fold(tell(BEST, BEST, BEST).events)
    assert describe_reached_goal(sweep, record) == (
        "no improvement by more than 0.0001 in 2 trials since trial 0: val_loss 0.5"
    )


def test_without_a_stop_nothing_is_ever_reached() -> None:
    assert describe_reached_goal(small_sweep(), fold(tell(*[BEST] * 9).events)) == ""


def test_a_study_that_came_far_enough_ends_and_resumed_says_so(tmp_path: Path) -> None:
    """The first trial reaches the target while others run; they end, by no decision of the rule's."""
    sweep = small_sweep(trials=6, epochs=R, stop={"target": loss_of({"optimizer_config.lr": 1.0}, R)})
    slot = Slot(tmp_path, sweep, FIFORule(max_resource=R))
    for _ in slot.run():
        slot.controller.check_limits()
        if slot.controller.stop.requested:
            break
    slot.controller.ask()
    finish = slot.controller.close()
    assert (finish.exit_code, finish.reason) == (0, "target 2.75 reached by trial 0: val_loss 2.75")
    record = fold(read_events(tmp_path / "journal"))
    assert record.unfinished() == []
    assert record.trials["00001"].reason == f"the study ended: {finish.reason}"
    again = Slot(tmp_path, sweep, FIFORule(max_resource=R))
    again.controller.begin()
    assert again.controller.stop.reason == f"already done: {finish.reason}"
    assert again.controller.close().exit_code == 0
