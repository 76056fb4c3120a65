"""The adapter, with a controller that only records calls."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

import schedulers
from schedulers import Continue, Exploit, Float, Listener, Pause, Report, Resume, Rule, RuleScheduler, Stop
from schedulers.reason import ReasonCode
from schedulers.tune.slots import HOLD_S, SlotWarmup
from tests.schedulers.trainables import Slope


class Scripted(Rule):
    """Returns given decisions, and records its calls."""

    def __init__(self, **answers: Any) -> None:
        super().__init__(max_resource=99)
        self.answers = answers
        self.events: list[Any] = []
        self.next: Any = None
        self.done: list[Any] = []
        self.parameters = ("net.width", "lr")

    def report(self, report: Report) -> Any:
        self.events.append(report)
        return self.answers.get(report.trial_id, Continue())

    def judge(self, report: Any) -> None:  # type: ignore[override]
        raise NotImplementedError

    def failed(self, trial_id: str, reason: str) -> Any:
        return self.answers.get("failed")

    def resume(self, paused: Any) -> Any:
        return self.next if self.next and self.next.trial_id in paused else None

    def resumed(self, resume: Any) -> None:
        self.done.append(resume)
        self.next = None


class RecordingListener(Listener):
    def __init__(self) -> None:
        self.events: list[Any] = []

    def paused(self, trial_id: str, resource: int, reason: str, code: ReasonCode) -> None:
        self.events.append(("paused", trial_id, resource, reason))

    def resumed(self, resume: Any) -> None:
        self.events.append(("resumed", resume.trial_id))

    def exploited(self, trial_id: str, exploit: Any) -> None:
        self.events.append(("exploited", trial_id, exploit.donor))

    def failed_awaiting_exploit(self, trial_id: Any, ending: Any, reason: Any, error: Any, code: Any) -> None:
        self.events.append(("failed_awaiting_exploit", trial_id, ending, reason, error))

    def ended(self, trial_id: str, ending: str, reason: str, error: str, code: ReasonCode) -> None:
        self.events.append(("ended", trial_id, ending, reason, error))


class Controller:
    """A fake of Ray's controller, which records calls."""

    def __init__(self, *trials: Any, more: bool = False) -> None:
        self.trials = list(trials)
        self.calls: list[Any] = []
        self.search_alg = SimpleNamespace(is_finished=lambda: not more)
        self.kept = 0
        self._staged_trials: set[Any] = set()
        self._resetting_trials: set[Any] = set()
        self._actor_cache = SimpleNamespace(increase_max=self.keep)

    def keep(self, resources: Any, by: int) -> None:
        self.kept += by

    def get_trials(self) -> list[Any]:
        return self.trials

    def get_live_trials(self) -> Any:
        return set(self.trials)

    def pause_trial(self, trial: Any, should_checkpoint: bool = True) -> None:
        self.calls.append(("pause", trial.trial_id, should_checkpoint))
        trial.status = Trial.PAUSED

    def stop_trial(self, trial: FakeTrial) -> None:
        self.calls.append(("stop", trial.trial_id))
        trial.status = Trial.TERMINATED

    def _trial_task_failure(self, trial: Any, exception: Any) -> None:
        self.calls.append(("failure", trial.trial_id))

    def _schedule_trial_save(self, trial: FakeTrial, result: dict[str, Any] | None = None) -> None:
        self.calls.append(("save", trial.trial_id))


class FakeTrial:
    """A fake trial with the attributes that the adapter uses."""

    def __init__(
        self,
        trial_id: str,
        status: str = Trial.RUNNING,
        config: Any = None,
        checkpoints: Any = (),
    ) -> None:
        self.trial_id, self.status, self.config = trial_id, status, config or {}
        self.is_saving = False
        self.last_result: dict[Any, Any] = {}
        self.error_file: Any = None
        self.placement_group_factory = SimpleNamespace(required_resources={"CPU": 1})
        manager = SimpleNamespace(
            best_checkpoint_results=[
                SimpleNamespace(checkpoint=f"{trial_id}@{epoch}", metrics={"training_iteration": epoch})
                for epoch in checkpoints
            ],
            _latest_checkpoint_result=None,
        )
        self.run_metadata = SimpleNamespace(checkpoint_manager=manager, invalidate_cache=lambda: None)
        self.trainable, self.checkpoint = Slope, None

    def get_trainable_cls(self) -> type[Any]:
        return self.trainable

    def is_finished(self) -> bool:
        return self.status in (Trial.TERMINATED, Trial.ERROR)

    def set_config(self, config: dict[str, Any]) -> None:
        self.config = config

    @property
    def goes_on_from(self) -> Any:
        latest = self.run_metadata.checkpoint_manager._latest_checkpoint_result
        return latest and latest.checkpoint


def adapter(rule: Any, mode: str = "min", slots: int = 2) -> tuple[Any, ...]:
    scheduler = RuleScheduler(rule, metric="loss", mode=mode, slots=slots)  # type: ignore[arg-type]
    ears = RecordingListener()
    scheduler.attach(listener=ears)
    return scheduler, ears.events


def result(epoch: int = 1, **more: Any) -> Any:
    return {"training_iteration": epoch, "loss": 0.5, **more}


@pytest.mark.parametrize(
    ("decision", "answer", "calls"),
    [
        (Continue(), "CONTINUE", []),
        (Continue(milestone=True), "CONTINUE", [("save", "a")]),
        (Stop("why"), "STOP", []),
        (Pause("why"), "PAUSE", []),
        (Pause("why", save=False), "NOOP", [("pause", "a", False)]),
        (Exploit("b", 1, {}, "why"), "NOOP", [("pause", "a", False)]),
    ],
)
def test_each_decision_has_its_word(decision: Any, answer: str, calls: Any) -> None:
    scheduler, _ = adapter(Scripted(a=decision))
    trial = FakeTrial("a")
    controller = Controller(trial)
    assert scheduler.on_trial_result(controller, trial, result()) == answer
    assert controller.calls == calls


@pytest.mark.parametrize(
    ("mode", "loss", "judged"), [("min", 0.5, 0.5), ("max", 0.5, -0.5), ("max", None, None)]
)
def test_the_loss_is_flipped_once(mode: str, loss: float | None, judged: float | None) -> None:
    rule = Scripted()
    scheduler, _ = adapter(rule, mode)
    trial = FakeTrial("a", config={"net": {"width": 8, "depth": 2}, "lr": 0.1, "seed": 1})
    scheduler.on_trial_result(Controller(trial), trial, {"training_iteration": 3, "loss": loss})
    assert rule.events == [Report("a", 3, judged, {"net.width": 8, "lr": 0.1})]


def test_maximise_mirrors_minimise() -> None:
    """The same scores with the sign turned give the very same decisions."""
    answers = []
    for mode, sign in (("min", 1), ("max", -1)):
        scheduler = schedulers.ASHA(metric="loss", mode=mode, max_resource=9, reduction_factor=3)  # type: ignore[arg-type]
        trials = [FakeTrial(f"{n:05d}") for n in range(9)]
        controller = Controller(*trials)
        answers.append(
            [
                scheduler.on_trial_result(controller, trial, result(epoch, loss=sign * (n * 5 % 9)))
                for epoch in (1, 3)
                for n, trial in enumerate(trials)
            ]
        )
    assert answers[0] == answers[1]
    assert {"STOP", "CONTINUE"} == set(answers[0])


@pytest.mark.parametrize(
    ("outcome", "ending"),
    [("failed", "failed"), ("oom", "oom"), ("diverged", "diverged"), ("completed", "completed")],
)
def test_an_outcome_ends_the_trial_and_is_told_with_its_error(outcome: str, ending: str) -> None:
    rule = Scripted()
    scheduler, events = adapter(rule)
    trial = FakeTrial("a")
    answer = scheduler.on_trial_result(
        Controller(trial), trial, result(outcome=outcome, reason="r", error="e")
    )
    assert answer == "STOP"
    assert events == [("ended", "a", ending, "r", "e")]
    assert "a" in rule.endings


def test_a_result_without_the_metric_is_a_failure_that_names_what_there_is() -> None:
    """A misspelt metric is no divergence."""
    scheduler, events = adapter(Scripted())
    trial = FakeTrial("a")
    epoch = {"training_iteration": 1, "accuracy": 0.5, "los": 1.0, "config/lr": 1.0, "pid": 7}
    assert scheduler.on_trial_result(Controller(trial), trial, epoch) == "STOP"
    error = "no 'loss', the metric, is reported; there are accuracy, los"
    assert events == [("ended", "a", "failed", error, error)]


def test_a_diverged_outcome_may_be_replaced() -> None:
    scheduler, events = adapter(Scripted(a=Pause("waits for a donor", save=False)))
    trial = FakeTrial("a")
    assert scheduler.on_trial_result(Controller(trial), trial, result(outcome="diverged")) == "NOOP"
    assert events == [("paused", "a", 1, "waits for a donor")]


def test_a_foreign_key_named_outcome_means_nothing() -> None:
    scheduler, _ = adapter(Scripted())
    trial = FakeTrial("a")
    assert scheduler.on_trial_result(Controller(trial), trial, result(outcome=3)) == "CONTINUE"


def test_a_milestone_gives_way_when_no_slot_is_free() -> None:
    scheduler, events = adapter(Scripted(a=Continue(milestone=True)), slots=1)
    trial = FakeTrial("a")
    controller = Controller(trial, FakeTrial("b", Trial.PENDING))
    assert scheduler.on_trial_result(controller, trial, result()) == "PAUSE"
    assert events == [("paused", "a", 1, "gave way to a trial that waits")]


def donor_and_loser(**donor: Any) -> tuple[Any, ...]:
    rule = Scripted(loser=Exploit("donor", 4, {"net.width": 16}, "why"))
    scheduler, events = adapter(rule)
    loser = FakeTrial("loser", config={"net": {"width": 8, "depth": 2}, "lr": 0.1})
    other = FakeTrial("donor", **donor)
    controller = Controller(loser, other)
    scheduler.on_trial_result(controller, loser, result(4))
    return scheduler, events, controller, loser, other


def test_processes_outlive_the_search_once_a_trial_pauses() -> None:
    """Ray would end the process of a trial that pauses after the last trial has begun."""
    first, second = FakeTrial("a"), FakeTrial("b")
    scheduler, _ = adapter(Scripted(b=Pause("why")))
    controller = Controller(first, second)
    scheduler.on_trial_result(controller, first, result())
    assert (len(controller._staged_trials), controller.kept) == (0, 0)
    for epoch in (1, 2):
        scheduler.on_trial_result(controller, second, result(epoch))
        assert (len(controller._staged_trials), controller.kept) == (1, 2)


def test_a_copy_goes_on_from_the_donors_checkpoint_at_the_resource() -> None:
    """Not from the donor's latest checkpoint: it has trained on."""
    scheduler, events, controller, loser, _ = donor_and_loser(checkpoints=(2, 4, 6))
    assert scheduler.choose_trial_to_run(controller) is loser
    assert loser.goes_on_from == "donor@4"
    assert loser.config == {"net": {"width": 16, "depth": 2}}  # lr was searched and is active no more
    assert events == [("exploited", "loser", "donor")]
    assert scheduler.rule.done[0].exploit.donor == "donor"


def test_a_copy_waits_while_the_donor_is_saving() -> None:
    scheduler, _, controller, loser, other = donor_and_loser(checkpoints=(2,))
    other.is_saving = True
    assert scheduler.choose_trial_to_run(controller) is None
    other.is_saving = False
    other.run_metadata.checkpoint_manager.best_checkpoint_results.append(
        SimpleNamespace(checkpoint="donor@4", metrics={"training_iteration": 4})
    )
    assert scheduler.choose_trial_to_run(controller) is loser
    assert loser.goes_on_from == "donor@4"


def test_a_copy_waits_for_the_donor_whose_checkpoint_a_kill_has_cost() -> None:
    """It is paused at an earlier epoch, and is run again when it is resumed."""
    scheduler, events, controller, loser, other = donor_and_loser(status=Trial.PAUSED, checkpoints=(2,))
    scheduler.rule.next = Resume("donor", "its turn again")
    assert scheduler.choose_trial_to_run(controller) is other
    other.run_metadata.checkpoint_manager.best_checkpoint_results.append(
        SimpleNamespace(checkpoint="donor@4", metrics={"training_iteration": 4})
    )
    assert scheduler.choose_trial_to_run(controller) is loser
    assert loser.goes_on_from == "donor@4"
    assert events == [("resumed", "donor"), ("exploited", "loser", "donor")]


def test_a_copy_takes_an_earlier_checkpoint_where_nobody_else_can_run() -> None:
    scheduler, _, controller, loser, _ = donor_and_loser(status=Trial.PAUSED, checkpoints=(2,))
    assert scheduler.choose_trial_to_run(controller) is loser
    assert loser.goes_on_from == "donor@2"


def test_a_copy_waits_for_a_donor_that_is_still_to_be_handed_to_ray() -> None:
    scheduler, events, controller, _, other = donor_and_loser()
    controller.trials.remove(other)
    scheduler.attach(more_trials=lambda: True)
    assert scheduler.choose_trial_to_run(controller) is None
    controller.trials.append(other)
    other.status, other.last_result = Trial.PENDING, {}
    assert scheduler.choose_trial_to_run(controller) is other
    assert events == []


@pytest.mark.filterwarnings("ignore")
def test_a_donor_without_checkpoint_never_blocks() -> None:
    scheduler, events, controller, loser, _ = donor_and_loser(status=Trial.TERMINATED)
    assert scheduler.choose_trial_to_run(controller) is loser
    assert loser.goes_on_from is None
    assert events == [("resumed", "loser")]


def test_a_donor_that_ray_does_not_know_is_found_by_the_service(tmp_path: Path) -> None:
    """It finished before the study was resumed."""
    scheduler, _, controller, loser, other = donor_and_loser()
    controller.trials.remove(other)
    scheduler.attach(find_checkpoint=lambda trial, resource: f"{tmp_path}/{trial}@{resource}")
    assert scheduler.choose_trial_to_run(controller) is loser
    assert loser.goes_on_from.path.endswith("donor@4")


def test_a_paused_trial_is_resumed_when_a_slot_is_free_only() -> None:
    rule = Scripted()
    scheduler, events = adapter(rule, slots=1)
    busy, waits = FakeTrial("a"), FakeTrial("b", Trial.PAUSED)
    controller = Controller(busy, waits)
    rule.next = Resume("b", "promoted")
    assert scheduler.choose_trial_to_run(controller) is None
    busy.status = Trial.TERMINATED
    assert scheduler.choose_trial_to_run(controller) is waits
    assert events == [("resumed", "b")]


def test_when_nothing_can_wake_them_the_paused_end_with_a_last_word() -> None:
    scheduler, events = adapter(Scripted())
    controller = Controller(FakeTrial("a", Trial.PAUSED), FakeTrial("b", Trial.PAUSED))
    scheduler.choose_trial_to_run(controller)
    assert controller.calls == [("stop", "a"), ("stop", "b")]
    assert [calls[:3] for calls in events] == [("ended", "a", "stopped"), ("ended", "b", "stopped")]


def test_who_waits_in_vain_ends_at_once_though_others_run() -> None:
    """The last of nine to arrive is the best and runs on; six are not among the best three."""
    rule = schedulers.SuccessiveHalvingRule(max_resource=9)
    scheduler, events = adapter(rule)
    trials = [FakeTrial(f"{n:05d}") for n in range(9)]
    controller = Controller(*trials, more=True)
    for n, trial in enumerate(trials):
        answer = scheduler.on_trial_result(controller, trial, result(loss=-float(n)))
        trial.status = Trial.PAUSED if answer == "PAUSE" else trial.status
    assert scheduler.choose_trial_to_run(controller) is trials[6]
    assert [part[:3] for part in events if part[0] == "ended"] == [
        ("ended", f"{n:05d}", "stopped") for n in range(6)
    ]
    assert {trial.status for trial in trials[:6]} == {Trial.TERMINATED}
    assert rule.endings == dict.fromkeys((f"{n:05d}" for n in range(6)), "stopped")


def test_while_trials_are_to_come_the_paused_wait() -> None:
    scheduler, _ = adapter(Scripted())
    controller = Controller(FakeTrial("a", Trial.PAUSED), more=True)
    scheduler.choose_trial_to_run(controller)
    assert controller.calls == []


def test_an_endless_searcher_keeps_nobody_waiting_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ray's ConcurrencyLimiter counts paused trials, so it may have more and never give them."""
    scheduler, _ = adapter(Scripted())
    controller = Controller(FakeTrial("a", Trial.PAUSED), more=True)
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    scheduler.choose_trial_to_run(controller)
    now[0] += 11
    scheduler.choose_trial_to_run(controller)
    assert controller.calls == [("stop", "a")]


def test_a_recovered_trial_is_not_over() -> None:
    """Ray sets ERROR for a moment, adds the trial again and runs it from its last checkpoint."""
    rule = Scripted()
    scheduler, events = adapter(rule)
    trial = FakeTrial("a", Trial.ERROR)
    controller = Controller(trial)
    scheduler.on_trial_error(controller, trial)
    scheduler.on_trial_add(controller, trial)
    scheduler.on_trial_add(controller, trial)
    assert (rule.endings, events) == ({}, [])


def test_a_failed_trial_is_over_with_its_error(tmp_path: Path) -> None:
    rule = Scripted()
    scheduler, events = adapter(rule)
    trial = FakeTrial("a")
    trial.error_file = tmp_path / "error.txt"
    trial.error_file.write_text("Failure # 1 (occurred at noon)\nTraceback: boom\n")
    scheduler.on_trial_error(Controller(trial), trial)
    assert events == [
        ("ended", "a", "failed", "it raised an error or its worker was lost", "Traceback: boom")
    ]
    assert rule.endings == {"a": "failed"}


def test_a_foreign_trial_that_ends_by_itself_reports_its_last_result() -> None:
    """`done` and `stop=` bypass on_trial_result."""
    rule = Scripted()
    scheduler, events = adapter(rule)
    trial = FakeTrial("a")
    scheduler.on_trial_complete(Controller(trial), trial, result(7))
    scheduler.on_trial_complete(Controller(trial), trial, result(7))
    assert [report.resource for report in rule.events] == [7]
    assert events == [("ended", "a", "completed", "the trial ended by itself", "")]


def test_an_early_stop_is_held_back_until_the_other_slot_has_its_process() -> None:
    """Otherwise the freed process would take the trial whose own is still starting."""
    scheduler, _ = adapter(Scripted(a=Stop("why")))
    early, starting = FakeTrial("a"), FakeTrial("b", Trial.PENDING)
    controller = Controller(early, starting)
    assert scheduler.on_trial_result(controller, early, result(pid=1)) == "NOOP"
    scheduler.choose_trial_to_run(controller)
    assert controller.calls == []
    starting.status = Trial.RUNNING
    scheduler.choose_trial_to_run(controller)
    assert controller.calls == [("stop", "a")]


@pytest.mark.parametrize(
    ("slots", "starting", "after_s", "held"),
    [
        (2, True, 0, True),
        (None, True, 0, False),  # nobody said how many slots there are
        (1, True, 0, False),  # all have their process
        (2, False, 0, False),  # none is starting
        (2, True, HOLD_S, False),  # long enough
    ],
)
def test_endings_are_held_while_a_slot_is_filling(
    slots: int | None, starting: bool, after_s: float, held: bool
) -> None:
    filling = SlotWarmup()
    filling.note_process({"hostname": "h", "pid": 1})
    filling.must_hold(2, True, 100.0)
    assert filling.must_hold(slots, starting, 100.0 + after_s) is held


@pytest.mark.parametrize(
    ("own", "given", "taken"),
    [
        ((None, None), ("loss", "max"), ("loss", "max")),
        (("loss", "min"), (None, None), ("loss", "min")),
        (("loss", None), (None, "max"), ("loss", "max")),
    ],
)
def test_metric_and_mode_come_from_either_place(own: Any, given: Any, taken: tuple[Any, ...]) -> None:
    scheduler = schedulers.ASHA(metric=own[0], mode=own[1], max_resource=9)
    assert scheduler.set_search_properties(*given, config={})
    assert (scheduler.metric, scheduler.results.mode) == taken


def test_metric_or_mode_in_both_places_is_refused() -> None:
    scheduler = schedulers.ASHA(metric="loss", mode="min", max_resource=9)
    assert not scheduler.set_search_properties("loss", None)
    assert not scheduler.set_search_properties(None, "min")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: schedulers.ASHA(max_resource=9).set_search_properties("loss", None),
            "ASHA: mode is missing",
        ),
        (lambda: schedulers.ASHA(max_resource=9, mode="up"), "mode is 'min' or 'max', not 'up'"),  # type: ignore[arg-type]
        (lambda: schedulers.ASHA(max_resource=9, reduction_facto=3), "unexpected keyword argument"),  # type: ignore[call-arg]
        (lambda: RuleScheduler(), "missing 1 required positional argument: 'rule'"),  # type: ignore[call-arg]
        (lambda: RuleScheduler(Scripted(), eta=3), "unexpected keyword argument 'eta'"),  # type: ignore[call-arg]
    ],
)
def test_what_is_missing_or_misspelt_is_said(make: Callable[..., Any], message: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        make()


def test_results_without_the_time_attribute_are_refused_by_name() -> None:
    scheduler, _ = adapter(Scripted())
    trial = FakeTrial("a")
    with pytest.raises(ValueError, match="results have no 'training_iteration'"):
        scheduler.on_trial_result(Controller(trial), trial, {"loss": 1.0})


def test_a_scheduler_class_repeats_its_rules_summary_and_is_found_by_name() -> None:
    for name in schedulers.RULES:
        made = getattr(schedulers, name)
        assert pickle.loads(pickle.dumps(made)) is made
        assert made.__name__ == name
        assert made.__doc__.splitlines()[0] == made.rule_class.__doc__.splitlines()[0]


def test_every_scheduler_class_pickles_without_its_connections() -> None:
    """Tuner pickles its arguments, and a journal is an open file."""
    space = {"population_size": 2, "perturbation_interval": 2, "space": {"lr": Float(0.1, 1.0)}}
    for name in schedulers.RULES:
        scheduler = getattr(schedulers, name)(
            metric="loss", mode="min", max_resource=9, **(space if name == "PBT" else {})
        )
        assert isinstance(scheduler, TrialScheduler)
        scheduler.attach(find_checkpoint=lambda trial, resource: None, more_trials=lambda: True)
        scheduler.retries.starved = threading.Lock().locked  # a service's, behind which a view has its lock
        copy = pickle.loads(pickle.dumps(scheduler))
        assert copy.rule.state() == scheduler.rule.state()
        assert (copy.service.find_checkpoint, copy.service.more_trials) == (None, None)


BROKEN = {"reason": "KeyError: 'x'", "error": "Traceback ..."}


@pytest.mark.parametrize("outcome", ["failed", "oom"])
@pytest.mark.parametrize("answer", [Pause("waits for a donor", save=False), Exploit("b", 1, {}, "copies b")])
def test_a_trial_that_failed_goes_on_as_a_copy_if_the_rule_knows_of_one(outcome: str, answer: Any) -> None:
    """Its failure is announced; it has not ended, and nothing of it is saved."""
    scheduler, events = adapter(Scripted(failed=answer))
    trial = FakeTrial("a")
    loop = Controller(trial)
    assert scheduler.on_trial_result(loop, trial, result(outcome=outcome, **BROKEN)) == "NOOP"  # type: ignore[arg-type]
    assert loop.calls == [("pause", "a", False)]
    assert events[0] == ("failed_awaiting_exploit", "a", outcome, "KeyError: 'x'", "Traceback ...")
    assert "ended" not in [word for word, *_ in events]
    assert scheduler.rule.endings == {}


def test_a_trial_that_failed_ends_where_the_rule_knows_of_no_copy() -> None:
    scheduler, events = adapter(Scripted())
    trial = FakeTrial("a")
    assert scheduler.on_trial_result(Controller(trial), trial, result(outcome="failed", **BROKEN)) == "STOP"  # type: ignore[arg-type]
    assert events == [("ended", "a", "failed", "KeyError: 'x'", "Traceback ...")]


@pytest.mark.parametrize(
    ("for_good", "answer", "status", "kinds"),
    [
        ("", None, Trial.PENDING, []),  # run again as it is, as Ray would
        ("lost three", Pause("waits", save=False), Trial.PAUSED, ["failed_awaiting_exploit"]),
        ("lost three", None, Trial.TERMINATED, ["ended"]),
    ],
)
def test_a_worker_lost_for_good_is_a_failure_and_before_that_none(
    for_good: str, answer: Any, status: str, kinds: Any
) -> None:
    """Ray recovers a trial: ERROR while the scheduler is notified, then PENDING, then added again."""
    scheduler, events = adapter(Scripted(failed=answer))
    scheduler.attach(lost_for_good=lambda trial: for_good)
    trial = FakeTrial("a", Trial.ERROR)
    loop = Controller(trial)
    loop._set_trial_status = lambda trial, status: setattr(trial, "status", status)  # type: ignore[attr-defined]
    scheduler.on_trial_error(loop, trial)
    trial.status = Trial.PENDING
    scheduler.on_trial_add(loop, trial)
    assert trial.status == status
    assert [(kind, reason) for kind, _, _, reason, _ in events] == [(kind, for_good) for kind in kinds]


def test_what_cannot_be_connected_is_named() -> None:
    scheduler, _ = adapter(Scripted())
    with pytest.raises(TypeError, match="unknown hook 'ears'; the hooks are listener,"):
        scheduler.attach(ears=RecordingListener())
