"""A host process, which runs several trials as lanes.

A lane is a trial, in an object independent of the others: of any class with the methods of Ray's
`Trainable`. Calls arrive in turns: one message has all calls that the driver has for this process, and one
message returns. Lanes are trained in turn, an epoch each, and together where they fit
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
"""Key that marks a result followed by others in the same answer: the trial has trained on already."""

LANE_OBSTACLE = "lane_obstacle"
"""Key of a lane's first result: why it is trained by itself; empty if it can be trained with others."""

TURN_S = 0.5
"""Time after which a turn with answers ends, once the current epochs are done."""


def mark_followed(result: dict[str, Any]) -> None:
    """Mark a result as followed by others, and drop the config that Ray adds: the last of them has it."""
    result[FOLLOWED] = True
    result.pop("config", None)


class LaneCall(NamedTuple):
    """A call of a lane's method; `create` makes the lane, with the arguments of its class."""

    ticket: int
    lane: int
    method: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = {}


class LaneAnswer(NamedTuple):
    """The value of a call, or the error that it raised."""

    ticket: int
    value: Any = None
    error: Exception | None = None


class LaneTrial(Protocol):
    """The methods of a lane that a host calls by itself."""

    @property
    def has_progress(self) -> bool:
        """Whether the lane has trained since its last checkpoint."""

    def train(self) -> dict[str, Any]:
        """Train one epoch."""

    def may_follow(self, result: Mapping[str, Any]) -> bool:
        """Whether another epoch may be trained before this result is answered."""


class TrialFusion(Protocol):
    """Trains the next epoch of several lanes together, as `fused_trials.FusedTrials` does."""

    def train_ahead(self, lanes: Sequence[Any]) -> int:
        """Train the next epoch of lanes that fit together; returns the size of the largest group."""

    def is_ahead(self, lane: Any) -> bool:
        """Whether a lane's next epoch is trained already."""

    def obstacle(self, lane: Any) -> str:
        """Why a lane cannot be trained with others, in one line; empty if it can."""


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
        termination: that of this process, shared by its lanes.
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
        self._explained: WeakSet[Any] = WeakSet()  # lanes whose obstacle to fusion was reported
        self._first_step_taken = False  # once in a process
        self.fused = 0  # lanes of the largest group that was trained together in the last turn

    def ready(self) -> bool:
        """True, once the process has started."""
        return True

    def turn(self, calls: Sequence[tuple[Any, ...]]) -> tuple[list[LaneAnswer], int]:
        """Carry out calls in their order, then train until there are enough answers.

        That is when half a second has passed, or when fewer than half of the lanes still have epochs to
        train. The other calls are answered in a later turn.

        Args:
            calls: the fields of `LaneCall`s.

        Returns:
            The answers, and the largest number of lanes trained together: 1 if each was trained by itself,
            0 if no two could have been.
        """
        begun, self.fused = self._clock(), 1 if self._fusion is None else 0
        with self._termination.held_off():
            for call in calls:
                self._accept(LaneCall(*call))
            lanes = len(self._training)
            self._leave_if_asked()
            while self._training and not self._is_over(begun, lanes):
                self._train_round(begun)
            self._answer_overdue()
        answers, self._answers = self._answers, []
        return answers, self.fused

    def _accept(self, call: LaneCall) -> None:
        """Carry out a call; a call to train waits for its round."""
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
                    self._answers.append(LaneAnswer(request.ticket, request.results))  # ignored by the driver
            self._answer(call.ticket, lambda: getattr(lane, call.method)(*call.args, **call.kwargs))

    def _create(self, call: LaneCall) -> None:
        lane = self._make(*call.args, **call.kwargs)
        if self._first_step_taken:
            lane.skip_first_step()
        self._lanes[call.lane] = lane

    def _answer(self, ticket: int, work: Callable[[], Any]) -> None:
        try:
            self._answers.append(LaneAnswer(ticket, work()))
        except Exception as error:  # of this lane alone: the caller decides
            self._answers.append(LaneAnswer(ticket, error=_picklable(error)))

    def _is_over(self, begun: float, lanes: int) -> bool:
        is_late = self._clock() - begun >= TURN_S
        return bool(self._answers) and (is_late or 2 * len(self._training) < lanes)

    def _train_round(self, begun: float) -> None:
        """Train one epoch of each lane; once the turn's time is over, only of those trained ahead."""
        self._leave_if_asked()
        if self._fusion is not None and len(self._training) > 1:
            self.fused = max(self.fused, self._fusion.train_ahead([self._lanes[n] for n in self._training]))
        for number in list(self._training):
            lane, is_late = self._lanes[number], bool(self._answers) and self._clock() - begun >= TURN_S
            if is_late and not (self._fusion is not None and self._fusion.is_ahead(lane)):
                continue  # lanes trained ahead go on, so that a group stays in step
            request = self._training.pop(number)
            if not self._train(lane, request):
                self._training[number] = request  # behind those that wait longer

    def _train(self, lane: LaneTrial, request: TrainRequest) -> bool:
        """Train one epoch of a lane; returns whether its call is answered now."""
        try:
            result = lane.train()
        except Exception as error:  # of this lane alone: the caller decides
            self._answers.append(LaneAnswer(request.ticket, error=_picklable(error)))
            return True
        self._skip_first_steps()
        if lane not in self._explained and "outcome" not in result:
            self._explained.add(lane)
            result[LANE_OBSTACLE] = (
                "lanes are not fused" if self._fusion is None else self._fusion.obstacle(lane)
            )
        if request.results:
            mark_followed(request.results[-1])
        request.results.append(result)
        is_full = len(request.results) >= request.epochs or self._clock() >= request.until
        if not is_full and lane.may_follow(result):
            return False
        self._answers.append(LaneAnswer(request.ticket, request.results if request.several else result))
        return True

    def _answer_overdue(self) -> None:
        """Answer the calls whose training time is over."""
        overdue = [n for n, r in self._training.items() if r.results and self._clock() >= r.until]
        for request in [self._training.pop(number) for number in overdue]:
            self._answers.append(LaneAnswer(request.ticket, request.results))

    def _skip_first_steps(self) -> None:
        """Let lanes skip the first step, which a process takes only once."""
        if not self._first_step_taken:
            self._first_step_taken = True
            for lane in self._lanes.values():
                lane.skip_first_step()

    def _leave_if_asked(self) -> None:
        """Drop requests of lanes without unsaved progress if asked to leave, and leave once none is left."""
        if not self._termination.requested:
            return
        for number in [n for n in self._training if not self._lanes[n].has_progress]:
            del self._training[number]  # unanswered: to the driver the process is lost
        if not self._training and not self._answers:
            self._termination.leave()


def _picklable(error: Exception) -> Exception:
    """The error, or a RuntimeError with its text if it cannot be pickled."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # unpickling a user's exception may raise anything
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
