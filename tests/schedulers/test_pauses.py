"""A trial without a checkpoint is never paused: it would start again at its first epoch."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from ray.tune.result import SHOULD_CHECKPOINT
from ray.tune.trainable import wrap_function

from schedulers import (
    ASHARule,
    Continue,
    Exploit,
    Float,
    Pause,
    PBTRule,
    PFLRule,
    Report,
    RuleScheduler,
    Stop,
)
from schedulers.tune.pause_guard import REMEDY
from tests.schedulers.test_tune import Controller, FakeTrial, Scripted, adapter, result
from tests.schedulers.trainables import Slope, falling


class Forgetful(Slope):
    save_checkpoint = Slope.__mro__[1].save_checkpoint


FUNCTION = wrap_function(falling)
ALONE = "trial a has no checkpoint, and would begin again at epoch 1 after a pause"


@pytest.mark.parametrize(
    ("trainable", "more", "checkpoint", "answer"),
    [
        (Slope, {}, None, "PAUSE"),
        (Forgetful, {}, None, "CONTINUE"),
        (FUNCTION, {}, None, "CONTINUE"),
        (FUNCTION, {SHOULD_CHECKPOINT: True}, None, "PAUSE"),
        (FUNCTION, {}, "from an epoch before", "PAUSE"),
    ],
)
def test_only_a_trial_that_can_go_on_is_paused(
    trainable: type[Any], more: Any, checkpoint: str | None, answer: str
) -> None:
    scheduler, _ = adapter(Scripted(a=Pause("waits")))
    trial = FakeTrial("a")
    trial.trainable, trial.checkpoint = trainable, checkpoint  # type: ignore[assignment]
    assert scheduler.on_trial_result(Controller(trial), trial, result(**more)) == answer


@pytest.mark.parametrize(
    ("decision", "answer"),
    [
        (Pause("waits"), "CONTINUE"),
        (Exploit("b", 1, {}, "copies"), "CONTINUE"),
        (Pause("loss is nan", save=False), "STOP"),
        (Continue(milestone=True), "CONTINUE"),
        (Stop("enough"), "STOP"),
    ],
)
def test_without_checkpoints_no_decision_loses_work(decision: Any, answer: str) -> None:
    scheduler, _ = adapter(Scripted(a=decision))
    trial, controller = FakeTrial("a"), None
    trial.trainable = Forgetful
    controller = Controller(trial)
    assert scheduler.on_trial_result(controller, trial, result()) == answer
    assert controller.calls == []


def test_it_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    scheduler, _ = adapter(Scripted(a=Pause("waits"), b=Pause("waits")))
    trials = [FakeTrial("a"), FakeTrial("b")]
    with caplog.at_level(logging.WARNING):
        for trial in trials * 2:
            trial.trainable = FUNCTION
            scheduler.on_trial_result(Controller(*trials), trial, result())
    assert caplog.messages == [f"{ALONE}: {REMEDY}"]


def test_a_trial_that_begins_again_after_a_pause_turns_pauses_off(caplog: pytest.LogCaptureFixture) -> None:
    """Its function reports checkpoints but never reads them."""
    rule = ASHARule(max_resource=27, grace_period=3, reduction_factor=3, variant="promotion")
    scheduler = RuleScheduler(rule, metric="loss", mode="min", slots=1)
    trials = [FakeTrial("a"), FakeTrial("b")]
    controller = Controller(*trials)
    assert scheduler.on_trial_result(controller, trials[0], result(3)) == "PAUSE"
    with caplog.at_level(logging.WARNING):
        scheduler.on_trial_result(controller, trials[0], result(1))
    assert caplog.messages == [f"trial a was paused and began again at epoch 1: {REMEDY}"]
    assert scheduler.on_trial_result(controller, trials[1], result(3)) in ("CONTINUE", "STOP")


@pytest.mark.parametrize(
    "rule",
    [
        ASHARule(max_resource=9, reduction_factor=3, variant="promotion"),
        PFLRule(max_resource=9, population_size=12),
    ],
)
def test_rules_that_can_do_without_stop_whom_they_would_have_paused(rule: Any) -> None:
    rule.cannot_pause()
    decisions = [
        rule.report(Report(f"{n:05d}", epoch, 1 / epoch + n)) for epoch in range(1, 9) for n in range(12)
    ]
    assert not any(isinstance(decision, Pause) for decision in decisions)
    assert any(isinstance(decision, Stop) for decision in decisions)


def test_a_population_without_checkpoints_trains_on_side_by_side() -> None:
    rule = PBTRule(max_resource=6, perturbation_interval=2, population_size=2, space={"lr": Float(0.1, 1)})
    scheduler = RuleScheduler(rule, metric="loss", mode="min", slots=2)
    trials = [FakeTrial("a", config={"lr": 0.2}), FakeTrial("b", config={"lr": 0.3})]
    controller = Controller(*trials)
    for trial in trials:
        trial.trainable = Forgetful
    answers = [
        scheduler.on_trial_result(controller, trial, result(epoch))
        for epoch in range(1, 7)
        for trial in trials
    ]
    assert answers == ["CONTINUE"] * 10 + ["STOP"] * 2
