"""Several trials in one process: a host and its lanes.

A lane is a trial, in an object that knows nothing of the others: any class with the methods of Ray's
`Trainable`. Calls come a turn at a time: all that the driver has for this process in one message, and one
message goes back. What is to train is trained epoch by epoch in turn, and together where it fits
(`trainables.fused_trials`). Nothing of Ray is imported here.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol
from weakref import WeakSet

from trainables.termination import Termination

FOLLOWED = "followed"
"""Key of a result that others follow in the same answer: nothing can be asked of the trial in between."""

LANE_OBSTACLE = "lane_obstacle"
"""Key of a lane's first result: why it is trained by itself; empty where it is trained with what fits."""

TURN_S = 0.5
"""A turn that has something to answer lasts no longer, but for the epoch it is at."""


class LaneCall(NamedTuple):
    """A method that a lane is asked for; `create` makes the lane, with the arguments of its class."""

    ticket: int
    lane: int
    method: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = {}


class LaneAnswer(NamedTuple):
    """What became of a call: its value, or what it raised."""

    ticket: int
    value: Any = None
    error: Exception | None = None


class LaneTrial(Protocol):
    """What a host asks of a lane besides what the driver calls."""

    @property
    def has_progress(self) -> bool:
        """Whether it has trained since its last checkpoint."""

    def train(self) -> dict[str, Any]:
        """Train one epoch."""

    def may_follow(self, result: Mapping[str, Any]) -> bool:
        """Whether another epoch may come before this result is answered."""


class TrialFusion(Protocol):
    """Trains the next epoch of several lanes together, ahead; `fused_trials.FusedTrials` is one."""

    def train_ahead(self, lanes: Sequence[Any]) -> int:
        """The size of the largest group that was trained."""

    def is_ahead(self, lane: Any) -> bool:
        """Whether a lane's next epoch is trained already."""

    def obstacle(self, lane: Any) -> str:
        """Why a lane is trained by itself, whatever its company, in one line; empty if it need not be."""


@dataclass
class TrainRequest:
    """A call to train that is not answered yet."""

    ticket: int
    epochs: int
    until: float
    several: bool
    results: list[dict[str, Any]] = field(default_factory=list)


class LaneHost:
    """The lanes of one process.

    Args:
        make: makes a lane; the class of the trials.
        fusion: trains lanes together; None: each by itself.
        termination: of this process, shared by its lanes.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        make: Callable[..., Any],
        fusion: TrialFusion | None = None,
        termination: Termination | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make, self._fusion, self._clock = make, fusion, clock
        self._termination = termination or Termination()
        self._lanes: dict[int, Any] = {}
        self._training: dict[int, TrainRequest] = {}  # by lane, in the order in which they are served
        self._answers: list[LaneAnswer] = []
        self._explained: WeakSet[Any] = WeakSet()  # lanes of which it was told whether they can be fused
        self._tried = False  # the first step of the sweep, once a process
        self.fused = 0  # lanes of the largest group that was trained together in the last turn

    def ready(self) -> bool:
        """The process is up."""
        return True

    def turn(self, calls: Sequence[tuple[Any, ...]]) -> tuple[list[LaneAnswer], int]:
        """Carry out calls in their order, then train until there is enough to answer.

        That is when half a second has passed, or when fewer than half of the lanes still have epochs to
        train. What is not answered yet is in a later turn.

        Args:
            calls: the fields of `LaneCall`s.

        Returns:
            The answers, and how many lanes were trained together at most: 1 if each by itself, 0 if there
            were no two that could have been.
        """
        begun, self.fused = self._clock(), 1 if self._fusion is None else 0
        with self._termination.held_off():
            for call in calls:
                self._accept(LaneCall(*call))
            lanes = len(self._training)
            self._leave_if_asked()
            while self._training and not self._is_over(begun, lanes):
                self._train_round(begun)
            self._hand_over_late()
        answers, self._answers = self._answers, []
        return answers, self.fused

    def _accept(self, call: LaneCall) -> None:
        """Carry a call out; one to train waits for its round."""
        lane = self._lanes.get(call.lane)
        if call.method == "create":
            self._answer(call.ticket, lambda: self._create(call))
        elif lane is None:
            self._answers.append(LaneAnswer(call.ticket, error=RuntimeError(f"there is no lane {call.lane}")))
        elif call.method in ("train", "train_buffered"):
            several = call.method == "train_buffered"
            epochs, seconds = call.args if several else (1, 0.0)
            self._training[call.lane] = TrainRequest(call.ticket, epochs, self._clock() + seconds, several)
        else:
            if call.method == "stop":
                del self._lanes[call.lane]
                if (request := self._training.pop(call.lane, None)) is not None:
                    self._answers.append(LaneAnswer(request.ticket, request.results))  # nobody waits for it
            self._answer(call.ticket, lambda: getattr(lane, call.method)(*call.args, **call.kwargs))

    def _create(self, call: LaneCall) -> None:
        lane = self._make(*call.args, **call.kwargs)
        if self._tried:
            lane.skip_first_step()
        self._lanes[call.lane] = lane

    def _answer(self, ticket: int, work: Callable[[], Any]) -> None:
        try:
            self._answers.append(LaneAnswer(ticket, work()))
        except Exception as error:  # of this lane alone: whoever asked decides
            self._answers.append(LaneAnswer(ticket, error=_sendable(error)))

    def _is_over(self, begun: float, lanes: int) -> bool:
        late = self._clock() - begun >= TURN_S
        return bool(self._answers) and (late or 2 * len(self._training) < lanes)

    def _train_round(self, begun: float) -> None:
        """One epoch of each lane that trains; once the turn's time is over, of those trained ahead only."""
        self._leave_if_asked()
        if self._fusion is not None and len(self._training) > 1:
            self.fused = max(self.fused, self._fusion.train_ahead([self._lanes[n] for n in self._training]))
        for number in list(self._training):
            lane, late = self._lanes[number], bool(self._answers) and self._clock() - begun >= TURN_S
            if late and not (self._fusion is not None and self._fusion.is_ahead(lane)):
                continue  # else lanes that train together would fall out of step
            request = self._training.pop(number)
            if not self._train(lane, request):
                self._training[number] = request  # behind those that wait longer

    def _train(self, lane: LaneTrial, request: TrainRequest) -> bool:
        """Train one epoch of a lane; whether its call is answered now."""
        try:
            result = lane.train()
        except Exception as error:  # of this lane alone: whoever asked decides
            self._answers.append(LaneAnswer(request.ticket, error=_sendable(error)))
            return True
        self._skip_first_steps()
        if lane not in self._explained and "outcome" not in result:
            self._explained.add(lane)
            result[LANE_OBSTACLE] = (
                "lanes are not fused" if self._fusion is None else self._fusion.obstacle(lane)
            )
        if request.results:
            request.results[-1][FOLLOWED] = True
        request.results.append(result)
        full = len(request.results) >= request.epochs or self._clock() >= request.until
        if not full and lane.may_follow(result):
            return False
        self._answers.append(LaneAnswer(request.ticket, request.results if request.several else result))
        return True

    def _hand_over_late(self) -> None:
        """Answer those that have trained for as long as they were to."""
        late = [n for n, r in self._training.items() if r.results and self._clock() >= r.until]
        for request in [self._training.pop(number) for number in late]:
            self._answers.append(LaneAnswer(request.ticket, request.results))

    def _skip_first_steps(self) -> None:
        """The process has taken the step that each takes before its first trial."""
        if not self._tried:
            self._tried = True
            for lane in self._lanes.values():
                lane.skip_first_step()

    def _leave_if_asked(self) -> None:
        """Leave once nothing that is to train has anything to save; such a lane trains no further."""
        if not self._termination.requested:
            return
        for number in [n for n in self._training if not self._lanes[n].has_progress]:
            del self._training[number]  # unanswered: to the driver its process is lost
        if not self._training and not self._answers:
            self._termination.leave()


def _sendable(error: Exception) -> Exception:
    """The error, or what it says where it cannot be sent to another process."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # an exception of the user's may raise anything when it is read back
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
