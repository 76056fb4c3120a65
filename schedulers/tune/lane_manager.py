"""Tune's actor manager over host processes: several trials to a process, one message a turn.

It takes the place of Ray's `RayActorManager` in a `TuneController` (`ray_private.use_lanes`) and offers what
the controller asks of that. What Ray starts are the hosts; an "actor" of Tune's is a lane of one, and costs
next to nothing to start and to end. All that the controller wants of a host's lanes until its turn ends goes
as one message (`trainables.lane_host` carries it out).

A lost host is so many lost workers, and to Tune each trial goes on from its last checkpoint in another. A
trial that was in two dying hosts without a result in between, or in one that hung, is run alone in a
process until it answers: then the process of no other ends with it.
"""

from __future__ import annotations

import itertools
import math
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from schedulers.tune.lane_hosts import Call, Host, LaneActors, LanePlan, Resources
from schedulers.tune.ray_private import TrackedActor, request_of, terminated

SUSPECT_AFTER = 2
"""Hosts that died with a trial in them, after which it is run alone."""


class LaneManager:
    """An actor manager whose actors are lanes of host processes.

    Args:
        plan: how trials share processes.
        clock: monotonic seconds.
    """

    def __init__(self, plan: LanePlan, clock: Callable[[], float] = time.monotonic) -> None:
        self._plan, self._clock = plan, clock
        self._hosts: list[Host] = []
        self._home: dict[TrackedActor, Host] = {}
        self._asked: deque[tuple[TrackedActor, dict[str, Any], Resources]] = deque()
        self._trials: dict[TrackedActor, str] = {}  # name of the trial
        self._failed: set[int] = set()
        self._deaths: dict[str, int] = {}  # trial -> hosts that died with it since its last result
        self._later: deque[Callable[[], None]] = deque()
        self._ids, self._tickets = itertools.count(1), itertools.count()
        self._live_actors_to_ray_actors_resources = LaneActors(self._home)  # Ray's name: it is read there
        self.resize(plan.slots)

    def resize(self, slots: int) -> None:
        """Have processes for so many trials at once from now on; an idle one more is ended."""
        self._limit = math.ceil(slots / self._plan.lanes)  # processes at once
        if len(self._hosts) > self._limit:
            self.end_idle_hosts()

    # What the controller asks

    def add_actor(
        self,
        cls: Any,
        kwargs: dict[str, Any],
        resource_request: Any,
        *,
        on_start: Callable[..., None] | None = None,
        on_stop: Callable[..., None] | None = None,
        on_error: Callable[..., None] | None = None,
    ) -> TrackedActor:
        """Ask for a lane; `on_start` is called once there is one."""
        actor = TrackedActor(next(self._ids), on_start=on_start, on_stop=on_stop, on_error=on_error)
        self._trials[actor] = kwargs["storage"].trial_dir_name
        self._asked.append((actor, kwargs, request_of(resource_request)))
        return actor

    def remove_actor(self, tracked_actor: TrackedActor, kill: bool = False, stop_future: Any = None) -> bool:
        """Give a lane up; whether `on_stop` will be called."""
        self._trials.pop(tracked_actor, None)
        host = self._home.pop(tracked_actor, None)
        if host is None:
            self._asked = deque(each for each in self._asked if each[0] != tracked_actor)
            return False
        host.lanes.remove(tracked_actor)
        if stop_future is None:
            host.waiting.append(Call(tracked_actor, "stop"))
        self._later.append(lambda: _tell(tracked_actor._on_stop, tracked_actor))
        return True

    def schedule_actor_task(
        self,
        tracked_actor: TrackedActor,
        method_name: str,
        args: tuple[Any, ...] | None = None,
        kwargs: dict[str, Any] | None = None,
        on_result: Callable[..., None] | None = None,
        on_error: Callable[..., None] | None = None,
        _return_future: bool = False,
    ) -> Call | None:
        """Ask a lane for something; the call stands for Ray's future."""
        host = self._home.get(tracked_actor)
        if host is None:
            return None
        call = Call(tracked_actor, method_name, args or (), kwargs or {}, on_result, on_error)
        host.waiting.append(call)
        return call

    def clear_actor_task_futures(self, tracked_actor: TrackedActor) -> None:
        """Forget what a lane was asked for, as far as it has not begun."""
        host = self._home.get(tracked_actor)
        if host is None:
            return
        host.waiting = [c for c in host.waiting if c.actor != tracked_actor or c.method in ("create", "stop")]
        for call in host.sent.values():
            call.void = call.void or call.actor == tracked_actor

    def is_actor_started(self, tracked_actor: TrackedActor) -> bool:
        """Whether it has a lane."""
        return tracked_actor in self._home

    def is_actor_failed(self, tracked_actor: TrackedActor) -> bool:
        """Whether its host, or the making of its lane, has failed."""
        return tracked_actor.actor_id in self._failed

    def get_live_actors_resources(self) -> dict[str, float]:
        """What all hosts hold."""
        held: dict[str, float] = {}
        for host in self._hosts:
            for kind, amount in host.resources.items():
                held[kind] = held.get(kind, 0.0) + amount
        return held

    @property
    def num_live_actors(self) -> int:
        """Lanes in use."""
        return len(self._home)

    @property
    def num_pending_actors(self) -> int:
        """Trials that wait for a lane."""
        return len(self._asked)

    @property
    def num_total_actors(self) -> int:
        """The same together, and hosts that still have something to end."""
        return len(self._home) + len(self._asked) + sum(host.up and host.busy for host in self._hosts)

    @property
    def num_actor_tasks(self) -> int:
        """Calls that are not answered."""
        return sum(len(host.waiting) + len(host.sent) for host in self._hosts)

    def next(self, timeout: float | None = None) -> bool:
        """Give lanes to whoever waits, send what waits for hosts, and hand on what has come."""
        moved = bool(self._later) or self._seat_all()
        while self._later:
            self._later.popleft()()
        for host in self._hosts:
            self._send(host)
        turns = {host.turn: host for host in self._hosts if host.turn is not None}
        if not turns:
            if not moved:
                time.sleep(timeout or 0.0)
            return moved
        ready, _ = ray.wait(list(turns), num_returns=1, timeout=0 if moved else timeout)
        if ready and len(turns) > 1:
            ready, _ = ray.wait(list(turns), num_returns=len(turns), timeout=0)
        for turn in ready:
            self._take(turns[turn])
        return moved or bool(ready)

    def cleanup(self) -> None:
        """End all hosts."""
        for host in list(self._hosts):
            self._end(host)

    # What the adapter and the service ask

    def end_idle_hosts(self) -> None:
        """End the hosts without a trial: they hold what a larger trial waits for."""
        for host in [host for host in self._hosts if not host.lanes and not host.busy]:
            self._end(host)

    def hung_trials(self, limit_s: float) -> list[str]:
        """Trials that are alone in a process and have been at one epoch for longer than this.

        Where several share such a process nobody can tell whose epoch it is: the process is ended, and each
        of them is run alone next. Lanes that train together may take as long as one after the other.
        """
        hung: list[str] = []
        for host in list(self._hosts):
            names = [self._trials[actor] for actor in host.lanes]
            limit = limit_s * (1 if host.fused == 1 else len(names))
            at_work = host.up and host.turn is not None and names
            if not at_work or self._clock() - host.since <= limit:
                continue
            if len(names) == 1:
                hung += names
            else:
                self._deaths |= dict.fromkeys(names, SUSPECT_AFTER)
                ray.kill(host.process)
        return hung

    def kill_process(self, trial: str) -> None:
        """End the process of a trial."""
        for actor, host in list(self._home.items()):
            if self._trials.get(actor) == trial:
                ray.kill(host.process)

    # Who gets a lane

    def _seat_all(self) -> bool:
        """Give a lane to everybody who can have one, in the order of asking."""
        seated = False
        claims: Counter[int] = Counter()  # lanes of hosts that come up, which somebody waits for
        for each in list(self._asked):
            actor, kwargs, resources = each
            host = self._host_for(actor, resources, claims)
            if host is None:
                continue
            if not host.up:
                claims[id(host)] += 1
                continue
            self._asked.remove(each)
            self._seat(host, actor, kwargs)
            seated = True
        return seated

    def _seat(self, host: Host, actor: TrackedActor, kwargs: dict[str, Any]) -> None:
        host.lanes.append(actor)
        self._home[actor] = host
        host.waiting.append(Call(actor, "create", (), kwargs, None, self._fail_lane))
        self._later.append(lambda: _tell(actor._on_start, actor))

    def _host_for(self, actor: TrackedActor, resources: Resources, claims: Counter[int]) -> Host | None:
        """The emptiest host with room, or one that was just started; None: none can be had now."""
        usual = resources == self._plan.resources
        held = self._of_host() if usual else resources
        alike = [host for host in self._hosts if host.resources == held]
        free = [host for host in alike if self._takes(host, actor, claims[id(host)])]
        if free:
            return min(free, key=lambda host: (not host.up, len(host.lanes)))
        if usual and len(alike) >= self._limit:
            return None
        process = self._plan.start(held)
        room = self._plan.lanes if usual else 1
        host = Host(process, held, room, process.ready.remote(), self._clock())
        self._hosts.append(host)
        return host

    def _of_host(self) -> Resources:
        """What a host of usual trials holds."""
        return {kind: amount * self._plan.lanes for kind, amount in self._plan.resources.items()}

    def _is_suspect(self, actor: TrackedActor) -> bool:
        return self._deaths.get(self._trials.get(actor, ""), 0) >= SUSPECT_AFTER

    def _takes(self, host: Host, actor: TrackedActor, claimed: int) -> bool:
        """Whether a host has a lane for a trial; a suspect shares with nobody."""
        taken = len(host.lanes) + claimed
        if self._is_suspect(actor):
            return taken == 0
        return taken < host.room and not any(map(self._is_suspect, host.lanes))

    # What goes to the hosts, and what comes from them

    def _send(self, host: Host) -> None:
        """Begin a turn of an idle host, if it owes an answer or there is something to tell it."""
        if host.turn is not None or not host.up or not host.busy:
            return
        calls = {next(self._tickets): call for call in host.waiting if not call.void}
        host.waiting = []
        host.sent |= calls
        host.since = self._clock()
        host.turn = host.process.turn.remote(
            [(n, call.actor.actor_id, call.method, call.args, call.kwargs) for n, call in calls.items()]
        )

    def _take(self, host: Host) -> None:
        """A host has come up, has ended a turn, or is lost."""
        turn, host.turn = host.turn, None
        try:
            result = ray.get(turn)
        except RayError as lost:
            self._lose(host, lost)
            return
        if not host.up:
            host.up = True
            return
        answers, host.fused = result
        for ticket, value, error in answers:
            self._hand_on(host.sent.pop(ticket), value, error)
        if host.resources != self._of_host() and not host.lanes and not host.busy:
            self._end(host)  # it was for a trial that needed more than others

    def _hand_on(self, call: Call, value: Any, error: Exception | None) -> None:
        if call.method in ("train", "train_buffered"):
            self._deaths.pop(self._trials.get(call.actor, ""), None)
        if call.void:
            return
        if error is None:
            if call.on_result is not None:
                call.on_result(call.actor, value)
        elif call.on_error is not None:
            call.on_error(call.actor, _as_task_error(call.method, error))

    def _lose(self, host: Host, error: Exception) -> None:
        """A process is gone: tell of each of its trials; or of some that wait, if it never came up."""
        self._end(host)
        lanes = list(host.lanes)
        if not host.up:
            waiting = [each for each in self._asked if each[2] in (self._plan.resources, host.resources)]
            lanes = [actor for actor, _, _ in waiting[: host.room]]
        calls = [*host.sent.values(), *host.waiting]
        dead = error if isinstance(error, RayActorError) else RayActorError(error_msg=str(error))
        counts = host.up and not terminated(str(error))  # against its trials
        for actor in lanes:
            name = self._trials.get(actor, "")
            self._deaths[name] = self._deaths.get(name, 0) + counts
            self._drop(actor, dead, [call for call in calls if call.actor == actor and not call.void])

    def _fail_lane(self, actor: TrackedActor, error: Exception) -> None:
        """A lane could not be made: to Tune its trial has lost a worker, the others go on."""
        host = self._home[actor]
        calls = [call for call in host.waiting if call.actor == actor and not call.void]
        host.waiting = [call for call in host.waiting if call.actor != actor]
        for call in host.sent.values():
            if call.actor == actor:
                calls += [] if call.void else [call]
                call.void = True
        host.lanes.remove(actor)
        self._drop(actor, RayActorError(error_msg=str(error)), calls)

    def _drop(self, actor: TrackedActor, error: RayActorError, calls: list[Call]) -> None:
        """Tell the controller of an actor that is no more, and of what it was at, as Ray's manager does."""
        self._failed.add(actor.actor_id)
        self._home.pop(actor, None)
        self._asked = deque(each for each in self._asked if each[0] != actor)
        _tell(actor._on_error, actor, error)
        for call in calls:
            if call.method != "create" and call.on_error is not None:
                call.on_error(actor, error)
                break  # one loss of a worker, whatever else was asked of it
        self._trials.pop(actor, None)

    def _end(self, host: Host) -> None:
        self._hosts.remove(host)
        ray.kill(host.process)


class LaneProcesses:
    """What the adapter asks of idle processes, where trials are lanes: they stay by themselves."""

    outlive = True

    def __init__(self, manager: LaneManager) -> None:
        self._manager = manager

    def keep(self, controller: Any, trial: Any, count: int) -> None:
        """Hosts stay up."""

    def keep_to_the_end(self, controller: Any, trial: Any, count: int) -> None:
        """Also when the search is finished."""

    def resize(self, controller: Any, count: int) -> None:
        """Have hosts for so many trials at once."""
        self._manager.resize(count)

    def let_go(self, controller: Any) -> None:
        """End those without a trial: they hold what a larger trial waits for."""
        self._manager.end_idle_hosts()


def _tell(listener: Callable[..., None] | None, *args: Any) -> None:
    if listener is not None:
        listener(*args)


def _as_task_error(method: str, error: Exception) -> RayTaskError:
    """What Ray would have raised for an exception in an actor's method."""
    return RayTaskError(method, f"{type(error).__name__}: {error}", error)
