"""An actor manager for Ray Tune that runs several trials per host process, with one message per turn.

It replaces Ray's `RayActorManager` in a `TuneController` (`ray_private.use_lanes`) and offers the methods
that the controller calls. Ray starts only the hosts; an "actor" of Tune is a lane of a host, and is cheap to
start and to end. All calls on a host's lanes that arrive before its turn ends are sent as one message, which
`trainables.lane_host` carries out.

A lost host counts as one lost worker per lane, and Tune runs each trial on from its last checkpoint in
another. A trial that was in two dying hosts without a result in between, or in one that hung, is run alone
in a process until it answers, so that it ends no other trial's process.
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
"""Number of hosts that died with a trial, after which it is run alone."""


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
        self._requests: deque[tuple[TrackedActor, dict[str, Any], Resources]] = deque()
        self._trials: dict[TrackedActor, str] = {}  # name of the trial
        self._failed: set[int] = set()
        self._deaths: dict[str, int] = {}  # trial -> hosts that died with it since its last result
        self._callbacks: deque[Callable[[], None]] = deque()  # to be called by the next `next`
        self._ids, self._tickets = itertools.count(1), itertools.count()
        self._live_actors_to_ray_actors_resources = LaneActors(self._home)  # the controller reads this name
        self.resize(plan.slots)

    def resize(self, slots: int) -> None:
        """Use processes for so many trials at once from now on; idle ones beyond that are ended."""
        self._limit = math.ceil(slots / self._plan.lanes)  # processes at once
        if len(self._hosts) > self._limit:
            self.end_idle_hosts()

    # Called by the controller

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
        """Request a lane; `on_start` is called once there is one."""
        actor = TrackedActor(next(self._ids), on_start=on_start, on_stop=on_stop, on_error=on_error)
        self._trials[actor] = kwargs["storage"].trial_dir_name
        self._requests.append((actor, kwargs, request_of(resource_request)))
        return actor

    def remove_actor(self, tracked_actor: TrackedActor, kill: bool = False, stop_future: Any = None) -> bool:
        """Give a lane up; returns whether `on_stop` will be called."""
        self._trials.pop(tracked_actor, None)
        host = self._home.pop(tracked_actor, None)
        if host is None:
            self._drop_request(tracked_actor)
            return False
        host.lanes.remove(tracked_actor)
        if stop_future is None:
            host.waiting.append(Call(tracked_actor, "stop"))
        self._callbacks.append(lambda: _call(tracked_actor._on_stop, tracked_actor))
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
        """Queue a call on a lane, and return it in place of Ray's future; None if there is no lane."""
        host = self._home.get(tracked_actor)
        if host is None:
            return None
        call = Call(tracked_actor, method_name, args or (), kwargs or {}, on_result, on_error)
        host.waiting.append(call)
        return call

    def clear_actor_task_futures(self, tracked_actor: TrackedActor) -> None:
        """Drop a lane's queued calls, and ignore the answers of those already sent."""
        host = self._home.get(tracked_actor)
        if host is None:
            return
        host.waiting = [c for c in host.waiting if c.actor != tracked_actor or c.method in ("create", "stop")]
        for call in host.sent.values():
            call.void = call.void or call.actor == tracked_actor

    def is_actor_started(self, tracked_actor: TrackedActor) -> bool:
        """Whether the actor has a lane."""
        return tracked_actor in self._home

    def is_actor_failed(self, tracked_actor: TrackedActor) -> bool:
        """Whether the actor's host was lost, or its lane could not be created."""
        return tracked_actor.actor_id in self._failed

    def get_live_actors_resources(self) -> dict[str, float]:
        """Resources of all hosts together."""
        total = Counter[str]()
        for host in self._hosts:
            total.update(host.resources)
        return dict(total)

    @property
    def num_live_actors(self) -> int:
        """Lanes in use."""
        return len(self._home)

    @property
    def num_pending_actors(self) -> int:
        """Trials that wait for a lane."""
        return len(self._requests)

    @property
    def num_total_actors(self) -> int:
        """Lanes in use, trials that wait for a lane, and hosts with unanswered calls."""
        return len(self._home) + len(self._requests) + sum(host.up and host.busy for host in self._hosts)

    @property
    def num_actor_tasks(self) -> int:
        """Unanswered calls."""
        return sum(len(host.waiting) + len(host.sent) for host in self._hosts)

    def next(self, timeout: float | None = None) -> bool:
        """Assign lanes, send waiting calls and deliver answers; returns whether anything happened."""
        moved = bool(self._callbacks) or self._seat_all()
        while self._callbacks:
            self._callbacks.popleft()()
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
            self._finish_turn(turns[turn])
        return moved or bool(ready)

    def cleanup(self) -> None:
        """End all hosts."""
        for host in list(self._hosts):
            self._end(host)

    # Called by the adapter and the service

    def end_idle_hosts(self) -> None:
        """End the hosts without a trial, to free their resources for a larger trial."""
        for host in [host for host in self._hosts if not host.lanes and not host.busy]:
            self._end(host)

    def hung_trials(self, limit_s: float) -> list[str]:
        """Trials that are alone in a process and have been at one epoch for longer than this.

        If several share such a process, it is unknown which of them hangs: the process is ended, and each of
        them is run alone next. Lanes that train together may take as long as one after the other.
        """
        hung: list[str] = []
        for host in list(self._hosts):
            names = [self._trials[actor] for actor in host.lanes]
            limit = limit_s * (1 if host.fused == 1 else len(names))
            is_training = host.up and host.turn is not None and names
            if not is_training or self._clock() - host.since <= limit:
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

    # Lanes

    def _seat_all(self) -> bool:
        """Assign a lane to each request that can have one, in order; returns whether any was assigned."""
        seated = False
        claims: Counter[int] = Counter()  # lanes of starting hosts that requests wait for
        for request in list(self._requests):
            actor, kwargs, resources = request
            host = self._host_for(actor, resources, claims)
            if host is None:
                continue
            if not host.up:
                claims[id(host)] += 1
                continue
            self._requests.remove(request)
            self._seat(host, actor, kwargs)
            seated = True
        return seated

    def _seat(self, host: Host, actor: TrackedActor, kwargs: dict[str, Any]) -> None:
        host.lanes.append(actor)
        self._home[actor] = host
        host.waiting.append(Call(actor, "create", (), kwargs, None, self._fail_lane))
        self._callbacks.append(lambda: _call(actor._on_start, actor))

    def _host_for(self, actor: TrackedActor, resources: Resources, claims: Counter[int]) -> Host | None:
        """The emptiest host with a free lane, else a new one; None if no more may be started."""
        is_usual = resources == self._plan.resources
        host_resources = self._host_resources() if is_usual else resources
        alike = [host for host in self._hosts if host.resources == host_resources]
        free = [host for host in alike if self._has_lane_for(host, actor, claims[id(host)])]
        if free:
            return min(free, key=lambda host: (not host.up, len(host.lanes)))
        if is_usual and len(alike) >= self._limit:
            return None
        process = self._plan.start(host_resources)
        room = self._plan.lanes if is_usual else 1
        host = Host(process, host_resources, room, process.ready.remote(), self._clock())
        self._hosts.append(host)
        return host

    def _host_resources(self) -> Resources:
        """Resources of a host of usual trials."""
        return {kind: amount * self._plan.lanes for kind, amount in self._plan.resources.items()}

    def _is_suspect(self, actor: TrackedActor) -> bool:
        return self._deaths.get(self._trials.get(actor, ""), 0) >= SUSPECT_AFTER

    def _has_lane_for(self, host: Host, actor: TrackedActor, claimed: int) -> bool:
        """Whether a host has a free lane for a trial; a suspect shares a host with no other."""
        used = len(host.lanes) + claimed
        if self._is_suspect(actor):
            return used == 0
        return used < host.room and not any(map(self._is_suspect, host.lanes))

    # Turns

    def _send(self, host: Host) -> None:
        """Begin a turn of an idle host that has waiting or unanswered calls."""
        if host.turn is not None or not host.up or not host.busy:
            return
        calls = {next(self._tickets): call for call in host.waiting if not call.void}
        host.waiting = []
        host.sent |= calls
        host.since = self._clock()
        host.turn = host.process.turn.remote(
            [(n, call.actor.actor_id, call.method, call.args, call.kwargs) for n, call in calls.items()]
        )

    def _finish_turn(self, host: Host) -> None:
        """Handle the end of a host's start or turn, or its loss."""
        turn, host.turn = host.turn, None
        try:
            result = ray.get(turn)
        except RayError as loss:
            self._handle_loss(host, loss)
            return
        if not host.up:
            host.up = True
            return
        answers, host.fused = result
        for ticket, value, error in answers:
            self._deliver(host.sent.pop(ticket), value, error)
        if host.resources != self._host_resources() and not host.lanes and not host.busy:
            self._end(host)  # it was for a trial that needed more than others

    def _deliver(self, call: Call, value: Any, error: Exception | None) -> None:
        if call.method in ("train", "train_buffered"):
            self._deaths.pop(self._trials.get(call.actor, ""), None)
        if call.void:
            return
        if error is None:
            if call.on_result is not None:
                call.on_result(call.actor, value)
        elif call.on_error is not None:
            call.on_error(call.actor, _as_task_error(call.method, error))

    def _handle_loss(self, host: Host, error: Exception) -> None:
        """Fail the trials of a lost host; if it never started, as many of those that wait for a lane."""
        self._end(host)
        lanes = list(host.lanes)
        if not host.up:
            matching = (self._plan.resources, host.resources)
            waiting = [actor for actor, _, resources in self._requests if resources in matching]
            lanes = waiting[: host.room]
        calls = [*host.sent.values(), *host.waiting]
        actor_error = error if isinstance(error, RayActorError) else RayActorError(error_msg=str(error))
        counts = host.up and not terminated(str(error))  # towards SUSPECT_AFTER
        for actor in lanes:
            name = self._trials.get(actor, "")
            self._deaths[name] = self._deaths.get(name, 0) + counts
            self._fail(actor, actor_error, [call for call in calls if call.actor == actor and not call.void])

    def _fail_lane(self, actor: TrackedActor, error: Exception) -> None:
        """Fail a trial whose lane could not be created, as if its worker were lost; the others go on."""
        host = self._home[actor]
        calls = [call for call in host.waiting if call.actor == actor and not call.void]
        host.waiting = [call for call in host.waiting if call.actor != actor]
        for call in host.sent.values():
            if call.actor == actor:
                calls += [] if call.void else [call]
                call.void = True
        host.lanes.remove(actor)
        self._fail(actor, RayActorError(error_msg=str(error)), calls)

    def _fail(self, actor: TrackedActor, error: RayActorError, calls: list[Call]) -> None:
        """Notify the controller of a failed actor and of its first call, as Ray's manager does."""
        self._failed.add(actor.actor_id)
        self._home.pop(actor, None)
        self._drop_request(actor)
        _call(actor._on_error, actor, error)
        for call in calls:
            if call.method != "create" and call.on_error is not None:
                call.on_error(actor, error)
                break  # the loss of a worker counts once, whatever the number of calls
        self._trials.pop(actor, None)

    def _drop_request(self, actor: TrackedActor) -> None:
        self._requests = deque(request for request in self._requests if request[0] != actor)

    def _end(self, host: Host) -> None:
        self._hosts.remove(host)
        ray.kill(host.process)


class LaneProcesses:
    """The interface of `ray_private.IdleActors` for lanes, whose hosts stay by themselves."""

    outlive = True

    def __init__(self, manager: LaneManager) -> None:
        self._manager = manager

    def keep(self, controller: Any, trial: Any, count: int) -> None:
        """Do nothing: hosts stay up."""

    def keep_to_the_end(self, controller: Any, trial: Any, count: int) -> None:
        """Do nothing: hosts stay up when the search is finished, too."""

    def resize(self, controller: Any, count: int) -> None:
        """Use hosts for so many trials at once."""
        self._manager.resize(count)

    def let_go(self, controller: Any) -> None:
        """End the hosts without a trial, to free their resources for a larger trial."""
        self._manager.end_idle_hosts()


def _call(callback: Callable[..., None] | None, *args: Any) -> None:
    if callback is not None:
        callback(*args)


def _as_task_error(method: str, error: Exception) -> RayTaskError:
    """The error that Ray raises for an exception in an actor's method."""
    return RayTaskError(method, f"{type(error).__name__}: {error}", error)
