"""Tune's actors as lanes of host processes, with fake hosts."""

from __future__ import annotations

import inspect
import re
from types import SimpleNamespace
from typing import Any

import pytest
from ray.air.execution._internal import RayActorManager
from ray.exceptions import RayActorError, RayTaskError
from ray.tune.execution.tune_controller import TuneController

from schedulers.tune import lane_manager
from schedulers.tune.lane_hosts import LanePlan
from schedulers.tune.lane_manager import LaneManager
from schedulers.tune.ray_private import LaneTrainables, request_of, use_lanes

SHARE = {"CPU": 0.25}


class FakeProcess:
    """A fake host process that answers on demand."""

    def __init__(self, resources: Any) -> None:
        self.resources, self.alive, self.why = resources, True, "the process is gone"
        self.turns: list[list[tuple[Any, ...]]] = []
        self.answer: Any = None  # to what it was last asked, once it is there
        self.ready, self.turn = SimpleNamespace(remote=self._ready), SimpleNamespace(remote=self._turn)

    def _ready(self) -> FakeProcess:
        self.answer = True
        return self

    def _turn(self, calls: list[tuple[Any, ...]]) -> FakeProcess:
        self.turns.append(calls)
        self.answer = None
        return self

    def answers(self, values: dict[str, Any] | None = None, fused: int = 1) -> None:
        """Answer every call of the last turn, by its method or with None."""
        replies = []
        for ticket, _, method, *_ in self.turns[-1]:
            value = (values or {}).get(method)
            failed = isinstance(value, Exception)
            replies.append((ticket, None if failed else value, value if failed else None))
        self.answer = (replies, fused)


class FakeController:
    """A manager, its hosts, and a record of the controller's callbacks."""

    def __init__(self, lanes: int, hosts: int) -> None:
        self.processes: list[FakeProcess] = []
        self.broken = False  # no process comes up
        self.now = 0.0
        self.notifications: list[tuple[Any, ...]] = []
        plan = LanePlan(self._start, SHARE, lanes, lanes * hosts)
        self.manager = LaneManager(plan, lambda: self.now)
        self.actors: dict[str, Any] = {}

    def _start(self, resources: Any) -> FakeProcess:
        self.processes.append(FakeProcess(dict(resources)))
        self.processes[-1].alive = not self.broken
        return self.processes[-1]

    def add(self, *names: str, resources: Any = None) -> None:
        for name in names:
            self.actors[name] = self.manager.add_actor(
                cls=None,
                kwargs={"storage": SimpleNamespace(trial_dir_name=name)},
                resource_request=SimpleNamespace(required_resources=resources or {"CPU": 0.25, "GPU": 0.0}),
                on_start=lambda actor, name=name: self.notifications.append((name, "started")),
                on_stop=lambda actor, name=name: self.notifications.append((name, "stopped")),
                on_error=lambda actor, error, name=name: self.notifications.append((name, "actor lost")),
            )

    def train(self, *names: str) -> None:
        for name in names:
            self.manager.schedule_actor_task(
                self.actors[name],
                "train",
                on_result=lambda actor, value, name=name: self.notifications.append((name, value)),
                on_error=lambda actor, error, name=name: self.notifications.append(
                    (name, type(error).__name__)
                ),
            )

    def run(self, steps: int = 4) -> None:
        for _ in range(steps):
            self.manager.next(0)

    def take_notifications(self) -> list[tuple[Any, ...]]:
        notifications, self.notifications = self.notifications, []
        return notifications

    def lanes(self) -> list[int]:
        return [len(host.lanes) for host in self.manager._hosts]


@pytest.fixture(autouse=True)
def _fake_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    def wait(refs: list[FakeProcess], num_returns: int, timeout: float | None) -> Any:
        there = [ref for ref in refs if ref.answer is not None or not ref.alive][:num_returns]
        return there, []

    def get(ref: FakeProcess) -> Any:
        if not ref.alive:
            raise RayActorError(error_msg=ref.why)
        return ref.answer

    def kill(process: FakeProcess) -> None:
        process.alive = False

    ray = SimpleNamespace(wait=wait, get=get, kill=kill)
    monkeypatch.setattr(lane_manager, "ray", ray)


def started(controller: FakeController, *names: str) -> FakeController:
    controller.add(*names)
    controller.run()
    for process in controller.processes:
        process.answers()
    controller.run()
    controller.take_notifications()
    return controller


def test_it_offers_whatever_a_controller_asks_of_its_actor_manager() -> None:
    """Except for the export of models, which is not used."""
    source = inspect.getsource(TuneController)
    names = set(re.findall(r"self\._actor_manager\.(\w+)", source)) - {"_actor_task_events"}
    manager = LaneManager(LanePlan(lambda resources: None, SHARE, 2, 2))
    assert {name for name in names if not hasattr(manager, name)} == set()
    for name in names:
        theirs = getattr(RayActorManager, name, None)
        if callable(theirs):
            ours = getattr(LaneManager, name)
            assert list(inspect.signature(ours).parameters) == list(inspect.signature(theirs).parameters)


def test_a_controller_takes_a_manager_and_plain_classes() -> None:
    source = inspect.getsource(TuneController.__init__)
    assert "self._actor_manager = RayActorManager(" in source
    assert "self._class_cache = _ActorClassCache()" in source
    assert "self._reuse_actors = reuse_actors" in source
    assert "self._class_cache.get(trainable_cls)" in inspect.getsource(TuneController._schedule_trial_actor)
    controller, manager = SimpleNamespace(_actor_manager=None), object()
    use_lanes(controller, manager)
    assert controller == SimpleNamespace(
        _actor_manager=manager, _class_cache=controller._class_cache, _reuse_actors=False
    )
    assert LaneTrainables().get(FakeController) is FakeController


def test_a_request_leaves_out_what_it_asks_none_of() -> None:
    assert request_of(SimpleNamespace(required_resources={"CPU": 1.0, "GPU": 0.0})) == {"CPU": 1.0}


def test_hosts_start_at_once_as_many_as_the_trials_that_wait_need() -> None:
    controller = FakeController(lanes=2, hosts=3)
    controller.add("a", "b", "c")
    controller.manager.next(0)
    assert [process.resources for process in controller.processes] == [{"CPU": 0.5}, {"CPU": 0.5}]
    controller.run()
    assert controller.lanes() == [2, 1]
    assert controller.take_notifications() == [("a", "started"), ("b", "started"), ("c", "started")]


def test_no_more_trials_run_than_there_are_lanes() -> None:
    controller = started(FakeController(lanes=2, hosts=1), "a", "b", "c")
    assert (controller.lanes(), controller.manager.num_pending_actors) == ([2], 1)
    controller.manager.remove_actor(controller.actors["a"], stop_future="asked for")
    controller.run()
    assert controller.take_notifications() == [("a", "stopped"), ("c", "started")]
    assert controller.lanes() == [2]


def test_all_calls_to_a_host_go_in_one_message_and_wait_for_its_turn() -> None:
    controller = started(FakeController(lanes=2, hosts=1), "a", "b")
    [host] = controller.processes
    controller.train("a")
    controller.run()
    controller.train("b")
    controller.run()
    assert [[method for _, _, method, *_ in turn] for turn in host.turns] == [["create", "create"], ["train"]]
    host.answers({"train": "an epoch"})
    controller.run()
    assert [method for _, _, method, *_ in host.turns[-1]] == ["train"]
    assert controller.take_notifications() == [("a", "an epoch")]


def test_an_unanswered_call_is_in_a_later_turn() -> None:
    controller = started(FakeController(lanes=2, hosts=1), "a")
    [host] = controller.processes
    controller.train("a")
    controller.run()
    host.answer = ([], 1)
    controller.run()
    assert host.turns[-1] == []
    host.answer = ([(host.turns[-2][0][0], "an epoch", None)], 1)
    controller.run()
    assert controller.take_notifications() == [("a", "an epoch")]


def test_an_error_of_a_lane_is_a_task_error_of_its_trial_alone() -> None:
    controller = started(FakeController(lanes=2, hosts=1), "a", "b")
    controller.train("a", "b")
    controller.run()
    [(first, *_), (second, *_)] = controller.processes[0].turns[-1]
    controller.processes[0].answer = ([(first, None, ValueError("torn")), (second, "an epoch", None)], 1)
    controller.run()
    assert controller.take_notifications() == [("a", RayTaskError.__name__), ("b", "an epoch")]


def test_a_lane_that_cannot_be_made_is_one_lost_worker() -> None:
    controller = FakeController(lanes=2, hosts=1)
    controller.add("a")
    controller.run()
    controller.take_notifications()
    controller.train("a")
    controller.processes[0].answers({"create": OSError("no room")})
    controller.run()
    assert controller.take_notifications() == [("a", "actor lost"), ("a", RayActorError.__name__)]
    assert controller.lanes() == [0]


def test_a_lost_host_is_one_lost_worker_for_each_of_its_trials() -> None:
    controller = started(FakeController(lanes=2, hosts=2), "a", "b", "c")
    controller.train("a", "b", "c")
    controller.run()
    controller.processes[0].alive = False
    controller.processes[1].answers({"train": "an epoch"})
    controller.run()
    assert sorted(controller.take_notifications()) == [
        ("a", "RayActorError"),
        ("a", "actor lost"),
        ("b", "an epoch"),
        ("c", "RayActorError"),
        ("c", "actor lost"),
    ]
    assert controller.manager.is_actor_failed(controller.actors["a"])
    assert not controller.manager.remove_actor(controller.actors["a"])


def test_hosts_that_never_come_up_fail_the_trials_that_wait_for_them() -> None:
    """A trial fails after three lost workers, so that a broken machine is not used for ever."""
    controller = FakeController(lanes=2, hosts=1)
    controller.add("a", "b", "c")
    controller.broken = True
    controller.manager.next(0)
    assert controller.take_notifications() == [("a", "actor lost"), ("b", "actor lost")]
    assert controller.manager.num_pending_actors == 1


def lose_hosts(controller: FakeController, times: int, why: str = "the process is gone") -> None:
    """Both trials are in so many dying hosts, and request another one each time."""
    for _ in range(times):
        controller.train("a", "b")
        controller.run()
        for process in controller.processes:
            process.alive, process.why = False, why
        controller.run()
        started(controller, "a", "b")


def test_a_trial_that_was_in_two_dying_hosts_is_run_alone_until_it_answers() -> None:
    controller = started(FakeController(lanes=2, hosts=2), "a", "b")
    lose_hosts(controller, 1)
    assert controller.lanes() == [2]
    lose_hosts(controller, 1)
    assert controller.lanes() == [1, 1]
    controller.add("c")
    controller.run()
    assert controller.manager.num_pending_actors == 1  # both hosts hold a suspect
    controller.train("a")
    controller.run()
    controller.processes[-2].answers({"train": "an epoch"})
    controller.run()
    assert (controller.lanes(), controller.manager.num_pending_actors) == ([2, 1], 0)


def test_a_process_that_was_asked_to_leave_makes_nobody_a_suspect() -> None:
    controller = started(FakeController(lanes=2, hosts=2), "a", "b")
    lose_hosts(controller, 3, "The process receives a SIGTERM.")
    assert controller.lanes() == [2]


def test_a_hung_host_is_ended_and_its_trials_are_run_alone() -> None:
    controller = started(FakeController(lanes=2, hosts=2), "a", "b")
    controller.train("a", "b")
    controller.run()
    controller.now = 9.0
    assert controller.manager.hung_trials(10.0) == []
    controller.now = 11.0
    assert controller.manager.hung_trials(10.0) == []
    assert not controller.processes[0].alive
    controller.run()
    started(controller, "a", "b")
    assert controller.lanes() == [1, 1]
    controller.train("a", "b")
    controller.run()
    controller.processes[2].answers({"train": "an epoch"})
    controller.run()
    controller.now = 22.0
    assert controller.manager.hung_trials(10.0) == ["a"]
    controller.manager.kill_process("a")
    assert [process.alive for process in controller.processes] == [False, False, True]


def test_a_host_whose_last_lane_is_being_stopped_does_not_hang() -> None:
    controller = started(FakeController(lanes=2, hosts=1), "a")
    controller.manager.remove_actor(controller.actors["a"])
    controller.run()
    controller.now = 5.0
    assert controller.manager.hung_trials(10.0) == []
    assert controller.processes[0].alive


def test_lanes_that_train_together_have_the_time_of_all_of_them() -> None:
    controller = started(FakeController(lanes=2, hosts=1), "a", "b")
    controller.train("a", "b")
    controller.run()
    controller.processes[0].answers(fused=2)
    controller.run()
    controller.train("a", "b")
    controller.run()
    controller.now = 15.0
    controller.manager.hung_trials(10.0)
    assert controller.processes[0].alive
    controller.now = 21.0
    controller.manager.hung_trials(10.0)
    assert not controller.processes[0].alive


def test_a_larger_trial_has_a_process_of_its_own_for_as_long_as_it_runs() -> None:
    controller = started(FakeController(lanes=2, hosts=1), "a")
    controller.manager.remove_actor(controller.actors["a"])
    controller.run()
    controller.processes[0].answers()
    controller.run()
    controller.manager.end_idle_hosts()
    assert (controller.processes[0].alive, controller.lanes()) == (False, [])
    started(controller, "a", "b")
    controller.add("large", resources={"CPU": 2.0})
    controller.run()
    assert [process.resources for process in controller.processes[1:]] == [{"CPU": 0.5}, {"CPU": 2.0}]
    controller.processes[2].answers()
    controller.run()
    controller.manager.remove_actor(controller.actors["large"])
    controller.run()
    controller.processes[2].answers()
    controller.run()
    assert [process.alive for process in controller.processes] == [False, True, False]


def test_in_the_end_it_waits_for_lanes_to_stop_and_ends_every_process() -> None:
    controller = started(FakeController(lanes=2, hosts=1), "a")
    controller.manager.remove_actor(controller.actors["a"])
    assert controller.manager.num_total_actors == 1
    controller.run()
    controller.processes[0].answers()
    controller.run()
    assert controller.manager.num_total_actors == 0
    controller.manager.cleanup()
    assert not controller.processes[0].alive


def test_what_nobody_waits_for_any_more_is_told_to_nobody() -> None:
    controller = started(FakeController(lanes=2, hosts=1), "a")
    controller.train("a")
    controller.run()
    controller.train("a")
    controller.manager.clear_actor_task_futures(controller.actors["a"])
    controller.processes[0].answers({"train": "an epoch"})
    controller.run()
    assert controller.take_notifications() == []
    assert controller.manager.num_actor_tasks == 0


def test_more_hosts_are_started_once_there_are_more_slots() -> None:
    controller = started(FakeController(lanes=2, hosts=1), "a", "b", "c")
    assert len(controller.processes) == 1
    controller.manager.resize(4)
    controller.manager.next()
    assert len(controller.processes) == 2
