"""Trains epochs of several trials together, before each trial's own step reports its epoch."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from trainables.fused import FusedGroup, FusionKey, Lane, NotFusible, fusion_key
from trainables.learner import Learner
from trainables.training import FusedEpoch, Training
from trainables.trial import Trial

LANES_ON_CPU = 8
"""Most lanes trained together on a core: the parameters of more exceed its cache."""


class FusedTrials:
    """Trains the next epoch of trials that fit together, and stores each trial's part in its training.

    On the CPU only trials whose results keep every bit are trained together; on a GPU also those whose
    results agree within rounding.
    """

    def __init__(self) -> None:
        self._groups: list[FusedGroup] = []
        self._lanes: WeakKeyDictionary[Learner, Lane] = WeakKeyDictionary()
        self._keys: WeakKeyDictionary[Learner, FusionKey | str] = WeakKeyDictionary()  # a str is the obstacle
        self._max_sizes: dict[FusionKey, int] = {}  # of groups for which memory ran out

    def train_ahead(self, lanes: Sequence[Any]) -> int:
        """Train the next epoch of lanes that fit together; returns the size of the largest group, or 1.

        Args:
            lanes: trainables that are about to train an epoch, with a method `get_trial`.
        """
        chunks = [
            chunk
            for alike in self._sort([lane.get_trial() for lane in lanes])
            for chunk in self._split(alike)
        ]
        groups = [self._assemble(chunk) for chunk in chunks if len(chunk) > 1]
        for group in self._groups:
            if group not in groups:
                _empty(group, ())
        self._groups = groups
        largest = 1
        for group, chunk in zip(groups, (chunk for chunk in chunks if len(chunk) > 1), strict=True):
            if self._fits(group, chunk):
                self._train(group, chunk)
                largest = max(largest, len(chunk))
        return largest

    def is_ahead(self, lane: Any) -> bool:
        """Whether a lane's next epoch is trained already."""
        training = lane.get_trial().training
        return isinstance(training, Training) and training.fused is not None

    def obstacle(self, lane: Any) -> str:
        """Why a lane cannot be trained with others, in one line; empty if it can."""
        return self._obstacle(lane.get_trial())

    def _obstacle(self, trial: Trial) -> str:
        training = trial.training
        if trial.outcome is not None or training is None:
            return "it has ended"
        if not isinstance(training, Training):
            return "a training loop of the user's own"
        if len(training.learners) > 1:
            return "its folds are trained side by side already"
        if training.run.schedule:
            return "its settings change during training (run.schedule)"
        key = self._key(training.learners[0])
        return key if isinstance(key, str) else ""

    def _sort(self, trials: Sequence[Trial]) -> list[list[Trial]]:
        """The trials that have an epoch to train ahead, in lists of trials that fit together."""
        groups: list[tuple[FusionKey, list[Trial]]] = []
        for trial in trials:
            training = trial.training
            if self._obstacle(trial) or not isinstance(training, Training) or not _may_go_ahead(training):
                continue
            key = self._key(training.learners[0])
            assert isinstance(key, FusionKey)  # there is no obstacle
            for group_key, alike in groups:
                if group_key == key and alike[0].process.computes_like(trial.process):
                    alike.append(trial)
                    break
            else:
                groups.append((key, [trial]))
        return [alike for _, alike in groups]

    def _key(self, learner: Learner) -> FusionKey | str:
        if learner not in self._keys:
            try:
                self._keys[learner] = fusion_key(learner, exact=_is_exact(learner))
            except NotFusible as reason:
                self._keys[learner] = str(reason)
        return self._keys[learner]

    def _assemble(self, trials: Sequence[Trial]) -> FusedGroup:
        """A group of exactly these trials: the one that most of them are in, or a new one."""
        members = [self._lane(trial) for trial in trials]
        group = max(self._groups, key=lambda group: _common(group, members), default=None)
        if group is None or _common(group, members) < len(members) / 2:
            group = FusedGroup(exact=_is_exact(members[0].learner))
        _empty(group, members)
        for lane in members:
            for other in self._groups:
                if other is not group and lane in other.lanes:
                    other.leave(lane)
            if lane not in group.lanes:
                group.join(lane)
        return group

    def _split(self, trials: Sequence[Trial]) -> Iterator[Sequence[Trial]]:
        """Split trials into groups that fit into a core's cache; on a GPU into those that fit its memory."""
        training = trials[0].training
        assert isinstance(training, Training)
        key = self._key(training.learners[0])
        size = LANES_ON_CPU if trials[0].device.type == "cpu" else len(trials)
        if isinstance(key, FusionKey):
            size = min(size, self._max_sizes.get(key, size))
        for begin in range(0, len(trials), size):
            yield trials[begin : begin + size]

    def _fits(self, group: FusedGroup, trials: Sequence[Trial]) -> bool:
        """Prepare a group; if that fails, False, and at most half as many are tried together next time."""
        try:
            with trials[0].process.own():  # the others have the same settings of torch
                group.prepare()
        except Exception:  # out of memory, or an error of one trial, which it raises again when trained alone
            assert group.key is not None
            self._max_sizes[group.key] = max(len(group.lanes) // 2, 1)
            _empty(group, ())
            self._groups.remove(group)
            return False
        return True

    def _train(self, group: FusedGroup, trials: Sequence[Trial]) -> None:
        begun = time.perf_counter()
        with trials[0].process.own():  # the others have the same settings of torch
            trained = dict(zip(group.lanes, group.train_epoch(), strict=True))
        seconds = (time.perf_counter() - begun) / len(trials)
        for trial in trials:
            assert isinstance(trial.training, Training)
            trial.training.fused = FusedEpoch(trained[self._lane(trial)], seconds)

    def _lane(self, trial: Trial) -> Lane:
        assert isinstance(trial.training, Training)
        learner, random = trial.training.learners[0], trial.training.random
        lane = self._lanes.get(learner)
        if lane is None or lane.random is not random:
            lane = self._lanes[learner] = Lane(learner, random)
        return lane


def _may_go_ahead(training: Training) -> bool:
    """Whether there is a next epoch that is not trained yet."""
    return training.fused is None and not training.ended and training.number < training.run.epochs


def _is_exact(learner: Learner) -> bool:
    return learner.device.type == "cpu"


def _common(group: FusedGroup, members: Sequence[Lane]) -> int:
    return sum(lane in group.lanes for lane in members)


def _empty(group: FusedGroup, kept: Sequence[Lane]) -> None:
    """Remove all lanes but these from a group."""
    for lane in [lane for lane in group.lanes if lane not in kept]:
        group.leave(lane)
