"""A group of lanes that are trained together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from trainables.fused.eligibility import FusionKey, fusion_key
from trainables.fused.lane_stack import Lane as Lane
from trainables.fused.lane_stack import LaneEpoch, LaneStack
from trainables.learner import LINALG_ERROR, Scores


class FusedGroup:
    """Lanes with the same fusion key, which take each optimizer step together.

    Between epochs lanes may join and leave, and any learner may be saved, loaded or evaluated. A lane that
    leaves keeps its state in memory of its own.

    Args:
        lanes: the first lanes; any number.
        exact: whether only the chain engine may be used (see `fusion_key`).

    Raises:
        NotFusible: if a lane must be trained alone.
        ValueError: if the lanes do not fit into one group.
    """

    def __init__(self, lanes: Sequence[Lane] = (), *, exact: bool = True) -> None:
        self.lanes: list[Lane] = []
        self.key: FusionKey | None = None
        self._exact = exact
        self._stack: LaneStack | None = None
        for lane in lanes:
            self.join(lane)

    def join(self, lane: Lane) -> None:
        """Add a lane, from the next epoch on.

        Raises:
            NotFusible: if it must be trained alone.
            ValueError: if it has another key, or the generators of another lane.
        """
        key = fusion_key(lane.learner, exact=self._exact)
        if self.lanes and key != self.key:
            raise ValueError(f"a lane of {key} cannot join a group of {self.key}")
        if any(other.random is lane.random for other in self.lanes):
            raise ValueError("two lanes of a group cannot draw from the same generators")
        self.key = key
        self.lanes.append(lane)

    def leave(self, lane: Lane) -> None:
        """Remove a lane, with its state; it can be trained alone or join another group."""
        self.lanes.remove(lane)
        if self._stack is not None and lane in self._stack.lanes:
            self._stack.release(lane)

    def prepare(self) -> None:
        """Arrange the lanes in memory for their next epoch, if needed; draws no random numbers.

        Raises:
            Exception: if there is not enough memory for all; the lanes are unchanged.
        """
        if len(self.lanes) > 1:
            self._current_stack()

    def train_epoch(self) -> list[Scores | Exception]:
        """Train each lane on every row once, then validate it.

        Returns:
            For each lane, in the order of `lanes`, the result of `Learner.epoch`, or the exception that it
            would raise. An error of one lane does not affect the others.
        """
        if len(self.lanes) == 1:
            return [self._train_alone(self.lanes[0])]
        try:
            for _ in self.train_steps():
                pass
        except Exception as error:  # not of a lane's step: not enough memory for the rows of all
            if self._stack is None or not self._stack.epochs:
                raise
            for epoch in self._stack.epochs:
                epoch.error = epoch.error or error
        return self.finish_epoch()

    def _train_alone(self, lane: Lane) -> Scores | Exception:
        """Train a single lane without a stack, which is faster."""
        if self._stack is not None and lane in self._stack.lanes:
            self._stack.release(lane)
        self._stack = None
        try:
            with lane.random.own():
                return lane.learner.epoch()
        except Exception as error:  # as with several lanes
            return error

    def train_steps(self) -> Iterator[None]:
        """The steps of an epoch, one step of all lanes for each `next`; `finish_epoch` must follow."""
        if self.lanes:
            yield from self._current_stack().train_steps()

    def progress(self, lane: Lane) -> LaneEpoch:
        """Results of a lane's steps in the current epoch, or in the last one."""
        if self._stack is None:
            raise ValueError("no step was taken by this group")
        return self._stack.epochs[self._stack.lanes.index(lane)]

    def finish_epoch(self) -> list[Scores | Exception]:
        """Validate each lane after `train_steps`; see `train_epoch`."""
        if self._stack is None:
            return []
        return [_finish(lane, self.progress(lane)) for lane in self.lanes]

    def _current_stack(self) -> LaneStack:
        """The stack of the current lanes; built anew if it cannot adopt them, or lost their memory."""
        stack = self._stack
        if stack is None or not stack.adopt(self.lanes):
            assert self.key is not None
            self._stack = stack = LaneStack(self.lanes, self.key)
        return stack


def _finish(lane: Lane, epoch: LaneEpoch) -> Scores | Exception:
    """Validate one lane and step its schedule, with its own generators; returns its scores or its error."""
    learner = lane.learner
    if isinstance(epoch.error, LINALG_ERROR):
        return learner.scores_of_divergence()
    if epoch.error is not None:
        return epoch.error
    try:
        with lane.random.own():
            loss = learner.mean_loss(torch.stack(epoch.losses), learner.feed.sizes)
            norm = torch.stack(epoch.norms).mean()
            return learner.finish_epoch(loss, norm, epoch.lr)
    except Exception as error:  # of this lane's net or metric; the others go on
        return error
