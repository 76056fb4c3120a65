"""The driver's end of host processes, and what Tune's controller takes for actors in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from schedulers.tune.ray_private import TrackedActor

Resources = Mapping[str, float]


@dataclass(eq=False)
class Call:
    """What the controller wants of a lane, and whom it tells of the answer."""

    actor: TrackedActor
    method: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    on_result: Callable[..., None] | None = None
    on_error: Callable[..., None] | None = None
    void: bool = False  # nobody waits for the answer any more


@dataclass(eq=False)
class Host:
    """The driver's end of a host process.

    Attributes:
        resources: what it holds, for all its lanes.
        room: its lanes.
        turn: what it is at: coming up, or a turn; None while it is idle.
        up: whether it has come up.
        waiting: calls that the next turn takes along.
        sent: ticket -> call that is not answered.
        since: when the turn began, monotonic seconds.
        fused: lanes that were trained together in its last turn: 1 if each by itself, 0 if that is not known.
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
        """Whether it owes an answer or is yet to be told something."""
        return bool(self.waiting or self.sent)


@dataclass(frozen=True, slots=True)
class LanePlan:
    """How trials share processes.

    Attributes:
        start: starts a host process that holds these resources; its handle.
        resources: of one trial, as it asks Ray for them.
        lanes: trials of a process, >= 1.
        slots: trials at once.
    """

    start: Callable[[Resources], Any]
    resources: Resources
    lanes: int
    slots: int


class LaneActors(Mapping[TrackedActor, tuple[Any, None]]):
    """What the controller takes for Ray's handles: (handle, resources) of an actor."""

    def __init__(self, home: Mapping[TrackedActor, Host]) -> None:
        self._home = home

    def __getitem__(self, actor: TrackedActor) -> tuple[Any, None]:
        return LaneActor(self._home[actor].process), None

    def __iter__(self) -> Iterator[TrackedActor]:
        return iter(self._home)

    def __len__(self) -> int:
        return len(self._home)


class LaneActor:
    """What a trial takes for its actor's handle; it asks for what it could wait for, and need not."""

    def __init__(self, process: Any) -> None:
        self.process = process
        self.get_auto_filled_metrics = self

    def remote(self, **kwargs: Any) -> dict[str, Any]:
        """Nothing is known before the first result."""
        return {}
