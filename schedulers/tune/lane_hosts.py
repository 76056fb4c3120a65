"""The driver's view of host processes, and stand-ins for the actors that Tune's controller expects."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from schedulers.tune.ray_private import TrackedActor

Resources = Mapping[str, float]


@dataclass(eq=False)
class Call:
    """A method call of the controller on a lane, with the callbacks for its answer."""

    actor: TrackedActor
    method: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    on_result: Callable[..., None] | None = None
    on_error: Callable[..., None] | None = None
    void: bool = False  # whether the answer is to be ignored


@dataclass(eq=False)
class Host:
    """The driver's view of a host process.

    Attributes:
        resources: the resources it holds, for all its lanes.
        room: maximum number of lanes.
        turn: the future of its start or of its current turn; None while it is idle.
        up: whether it has started.
        waiting: calls to send with the next turn.
        sent: ticket -> call without an answer yet.
        since: when the turn began, monotonic seconds.
        fused: lanes trained together in its last turn: 1 if each by itself, 0 if unknown.
    """

    process: Any
    resources: Resources
    room: int
    turn: Any
    since: float
    up: bool = False
    lanes: list[TrackedActor] = field(default_factory=list)
    waiting: list[Call] = field(default_factory=list)
    sent: dict[int, Call] = field(default_factory=dict)
    fused: int = 0

    @property
    def busy(self) -> bool:
        """Whether calls wait to be sent or answered."""
        return bool(self.waiting or self.sent)


@dataclass(frozen=True, slots=True)
class LanePlan:
    """How trials share processes.

    Attributes:
        start: starts a host process with these resources, and returns its handle.
        resources: Ray resources of one trial.
        lanes: trials per process, >= 1.
        slots: trials that run at once.
    """

    start: Callable[[Resources], Any]
    resources: Resources
    lanes: int
    slots: int


class LaneActors(Mapping[TrackedActor, tuple[Any, None]]):
    """Stand-in for the controller's table of Ray actors: actor -> (handle, resources)."""

    def __init__(self, home: Mapping[TrackedActor, Host]) -> None:
        self._home = home

    def __getitem__(self, actor: TrackedActor) -> tuple[Any, None]:
        return LaneActor(self._home[actor].process), None

    def __iter__(self) -> Iterator[TrackedActor]:
        return iter(self._home)

    def __len__(self) -> int:
        return len(self._home)


class LaneActor:
    """Stand-in for the actor handle of a trial, which calls `get_auto_filled_metrics.remote()` on it."""

    def __init__(self, process: Any) -> None:
        self.process = process
        self.get_auto_filled_metrics = self

    def remote(self, **kwargs: Any) -> dict[str, Any]:
        """No metrics: none are known before the first result."""
        return {}
