"""Epochs of several trials trained together, ahead of the step in which each of them reports its own."""

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
"""Trained together on a core: the parameters of more leave its cache."""


class FusedTrials:
    """Trains the next epoch of those trials together that can be, and leaves it to each as its own.

    On the CPU only what keeps every bit is trained together; on a GPU, what agrees within rounding too.
    """

    def __init__(self) -> None:
        self._groups: list[FusedGroup] = []
        self._lanes: WeakKeyDictionary[Learner, Lane] = WeakKeyDictionary()
        self._keys: WeakKeyDictionary[Learner, FusionKey | str] = WeakKeyDictionary()  # or why it has none
        self._most: dict[FusionKey, int] = {}  # trials of a group, where there was no memory for more

    def train_ahead(self, lanes: Sequence[Any]) -> int:
        """Train what fits together; the size of the largest group, 1 if nothing does.

        Args:
            lanes: trainables that are about to train an epoch, each with the trial that it has `built`.
        """
        chunks = [
            chunk for alike in self._sort([lane.built() for lane in lanes]) for chunk in self._split(alike)
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
        training = lane.built().training
        return isinstance(training, Training) and training.fused is not None

    def obstacle(self, lane: Any) -> str:
        """Why a trial is trained by itself, whatever its company, in one line; empty if it need not be."""
        return self._obstacle(lane.built())

    def _obstacle(self, trial: Trial) -> str:
        training = trial.training
        if trial.outcome is not None or training is None:
            return "it is over"
        if not isinstance(training, Training):
            return "a training loop of the user's own"
        if len(training.learners) > 1:
            return "its folds are trained side by side already"
        if training.run.schedule:
            return "its settings change on the way (run.schedule)"
        key = self._key(training.learners[0])
        return key if isinstance(key, str) else ""

    def _sort(self, trials: Sequence[Trial]) -> list[list[Trial]]:
        """The trials that have an epoch to train ahead, by what fits together."""
        sorted_: list[tuple[FusionKey, list[Trial]]] = []
        for trial in trials:
            training = trial.training
            if self._obstacle(trial) or not isinstance(training, Training) or not _may_go_ahead(training):
                continue
            key = self._key(training.learners[0])
            assert isinstance(key, FusionKey)  # there is no obstacle
            for known, alike in sorted_:
                if known == key and alike[0].process.computes_like(trial.process):
                    alike.append(trial)
                    break
            else:
                sorted_.append((key, [trial]))
        return [alike for _, alike in sorted_]

    def _key(self, learner: Learner) -> FusionKey | str:
        if learner not in self._keys:
            try:
                self._keys[learner] = fusion_key(learner, exact=_is_exact(learner))
            except NotFusible as reason:
                self._keys[learner] = str(reason)
        return self._keys[learner]

    def _assemble(self, trials: Sequence[Trial]) -> FusedGroup:
        """A group of exactly these: the one that most of them are in, or a new one."""
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
        """As many at once as a core's cache takes; on a GPU all, or as many as there is memory for."""
        training = trials[0].training
        assert isinstance(training, Training)
        key = self._key(training.learners[0])
        size = LANES_ON_CPU if trials[0].device.type == "cpu" else len(trials)
        if isinstance(key, FusionKey):
            size = min(size, self._most.get(key, size))
        for begin in range(0, len(trials), size):
            yield trials[begin : begin + size]

    def _fits(self, group: FusedGroup, trials: Sequence[Trial]) -> bool:
        """Whether a group can be trained; if not, its trials train alone now, half as many together next."""
        try:
            with trials[0].process.own():  # those of the others compute alike
                group.prepare()
        except Exception:  # for want of memory; a fault of one of them is told when it is trained alone
            assert group.key is not None
            self._most[group.key] = max(len(group.lanes) // 2, 1)
            _empty(group, ())
            self._groups.remove(group)
            return False
        return True

    def _train(self, group: FusedGroup, trials: Sequence[Trial]) -> None:
        begun = time.perf_counter()
        with trials[0].process.own():  # those of the others compute alike
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
    """Whether there is an epoch to train that is not trained yet."""
    return training.fused is None and not training.ended and training.number < training.run.epochs


def _is_exact(learner: Learner) -> bool:
    return learner.device.type == "cpu"


def _common(group: FusedGroup, members: Sequence[Lane]) -> int:
    return sum(lane in group.lanes for lane in members)


def _empty(group: FusedGroup, but: Sequence[Lane]) -> None:
    """Have all lanes leave but these."""
    for lane in [lane for lane in group.lanes if lane not in but]:
        group.leave(lane)
