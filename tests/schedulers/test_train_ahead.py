"""How far trials train before they answer, and how the adapter handles several results at once."""

from __future__ import annotations

import inspect
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
from ray.tune.execution.tune_controller import TuneController
from ray.tune.schedulers import TrialScheduler
from ray.tune.stopper import NoopStopper

from schedulers import ASHARule, Continue, Exploit, FIFORule, Pause, Report, Stop
from schedulers.outcome import OUTCOMES
from schedulers.rule import Rule
from schedulers.tune import train_ahead
from schedulers.tune.adapter import RuleScheduler
from schedulers.tune.hooks import AdapterHooks
from schedulers.tune.listener import Listener
from schedulers.tune.slots import DeferredDecisions
from schedulers.tune.train_ahead import TrainAhead
from trainables import lane_host

NAME = "00000"


def trial(checkpoint: Any = None) -> Any:
    return SimpleNamespace(trial_id=NAME, latest_checkpoint_result=checkpoint, config={}, status="RUNNING")


def asha_ahead(service: AdapterHooks | None = None) -> TrainAhead:
    rule = ASHARule(max_resource=9, grace_period=3, reduction_factor=3)
    return TrainAhead(rule, service or AdapterHooks(ahead_s=0.5))


def test_a_new_trial_trains_up_to_its_first_decision() -> None:
    assert asha_ahead().limits(trial()) == (3, 0.5)


def test_a_trial_trains_from_where_it_stands_to_the_next_decision() -> None:
    ahead = asha_ahead()
    for epoch in (1, 2):
        ahead.rule.report(Report(NAME, epoch, 0.5))
    ahead.note_trained(NAME, 2)
    assert ahead.limits(trial()) == (1, 0.5)
    ahead.rule.report(Report(NAME, 3, 0.5))
    ahead.note_trained(NAME, 3)
    assert ahead.limits(trial()) == (6, 0.5)


def test_a_trial_that_begins_at_a_checkpoint_first_tells_its_epoch() -> None:
    ahead = asha_ahead()
    assert ahead.limits(trial(checkpoint="of an earlier attempt")) == (1, 0.0)
    ahead.rule.report(Report(NAME, 3, 0.5))
    ahead.note_trained(NAME, 3)
    ahead.forget(NAME)  # its worker was lost
    assert ahead.limits(trial()) == (1, 0.0)
    ahead.note_trained(NAME, 1)  # run again from its start
    assert ahead.limits(trial()) == (1, 0.5)


def test_no_trial_trains_ahead_while_the_run_is_asked_to_stop() -> None:
    ahead = asha_ahead(AdapterHooks(ahead_s=0.5, halting=lambda: True))
    assert ahead.limits(trial()) == (1, 0.0)


class RecordingListener(Listener):
    def __init__(self) -> None:
        self.epochs: list[int] = []
        self.pauses: list[int] = []

    def reported(self, trial_id: str, result: Any, decision: Any) -> None:
        self.epochs.append(result["epoch"])

    def paused(self, trial_id: str, resource: int, reason: str, code: Any) -> None:
        self.pauses.append(resource)


@pytest.mark.parametrize(
    ("halting", "answers", "pauses"),
    [
        (False, ["CONTINUE", "CONTINUE", "CONTINUE"], []),
        (True, ["CONTINUE", "CONTINUE", "PAUSE"], [3]),
    ],
)
def test_each_epoch_is_reported_and_a_halt_pauses_at_the_last(
    halting: bool, answers: list[str], pauses: list[int]
) -> None:
    notes = RecordingListener()
    controller = SimpleNamespace(get_live_trials=set, _queued_trial_decisions={})
    scheduler = RuleScheduler(FIFORule(max_resource=9), metric="loss", mode="min", time_attr="epoch")
    scheduler.attach(listener=notes, halting=lambda: halting, repeats=True, ahead_s=0.5)
    results = [{"epoch": n, "loss": 1.0, "followed": n < 3} for n in (1, 2, 3)]
    assert [scheduler.on_trial_result(controller, trial(), result) for result in results] == answers
    assert (notes.epochs, notes.pauses) == ([1, 2, 3], pauses)


class Controller(TuneController):  # type: ignore[misc]
    """Only Ray's own code that processes a trial's answer."""

    def __init__(self, scheduler: RuleScheduler) -> None:
        self._scheduler_alg, self._search_alg, self._callbacks = (
            scheduler,
            MagicMock(metric=None),
            MagicMock(),
        )
        self._stopper, self._metric, self._total_time, self._iteration = NoopStopper(), None, 0, 0
        self._queued_trial_decisions: dict[str, str] = {}
        self._cached_trial_decisions: dict[str, str] = {}
        self._actor_cache = MagicMock()
        self._staged_trials: set[Any] = set()
        self._trials: list[Any] = []
        self._trials_to_cache: set[Any] = set()
        self.done: list[str] = []

    def _wrapped(self) -> Any:
        return self

    def get_live_trials(self) -> set[Any]:
        return set()

    def pause_trial(self, trial: Any, should_checkpoint: bool = True) -> None:
        self.done.append("pause")

    def _schedule_trial_save(self, trial: Any, result: Any = None) -> None:
        trial.is_saving = True
        self.done.append("save")

    def _execute_action(self, trial: Any, decision: str, after_save: bool = False) -> None:
        self.done.append(decision)


class Judge(Rule):
    """Makes a given decision at epoch 3."""

    def __init__(self, decision: Any) -> None:
        super().__init__(max_resource=9)
        self.decision = decision

    def judge(self, report: Report) -> Any:
        return self.decision if report.resource == 3 else Continue()


@pytest.mark.parametrize(
    ("decision", "held", "done"),
    [
        (Continue(), False, ["CONTINUE"]),
        (Stop("worse"), False, ["STOP"]),
        (Pause("waits"), False, ["PAUSE"]),
        (Pause("lost", save=False), False, ["pause", "NOOP"]),
        (Exploit("00001", 3, {}, "copies"), False, ["pause", "NOOP"]),
        (Continue("worth a copy", milestone=True), False, ["save"]),  # its decision waits for the save
        (Stop("worse"), True, ["NOOP"]),  # another slot's process is starting
    ],
)
def test_only_the_last_result_of_a_load_says_what_follows(
    monkeypatch: pytest.MonkeyPatch, decision: Any, held: bool, done: list[str]
) -> None:
    scheduler = RuleScheduler(Judge(decision), metric="loss", mode="min", time_attr="epoch")
    scheduler.attach(slots=1, repeats=True, ahead_s=0.5)
    monkeypatch.setattr(DeferredDecisions, "hold", lambda *args: held)
    monkeypatch.setattr("schedulers.tune.ray_private.can_go_on", lambda trial, result: True)
    controller = Controller(scheduler)
    one = MagicMock(trial_id=NAME, is_saving=False, config={})
    one.should_stop.return_value = one.should_checkpoint.return_value = False
    results = [{"epoch": n, "loss": 1.0, "followed": n < 3} for n in (1, 2, 3)]
    controller._on_training_result(one, results)
    assert controller.done == done


def test_both_sides_mark_a_followed_result_by_one_word() -> None:
    """The two packages are in one layer and do not import each other."""
    assert train_ahead.FOLLOWED == lane_host.FOLLOWED
    assert train_ahead.FOLLOWED not in OUTCOMES


def test_ray_asks_how_far_to_train_and_passes_epochs_then_seconds() -> None:
    source = inspect.getsource(TuneController._schedule_trial_train)
    assert "buffer_length, buffer_time_s = self._maybe_buffer_training(trial)" in source
    assert "if buffer_length > 1:" in source
    assert "args = (buffer_length, buffer_time_s)" in source
    assert "self._process_trial_results(trial, result)" in inspect.getsource(
        TuneController._on_training_result
    )
    assert TrialScheduler.CONTINUE == "CONTINUE"
