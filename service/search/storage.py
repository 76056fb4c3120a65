"""Where the Optuna study lives: in memory, and honest to samplers about trials that wait."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Collection, Container, Iterator

from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState


class StudyStorage(InMemoryStorage):
    """In memory; can show trials that wait as pruned at the epoch where they stand.

    A trial that its rule has paused is running to Optuna, and may be for the rest of the sweep. TPE
    passes running trials over, or, with `constant_liar`, takes them all for bad: under ASHA's promotion
    or Hyperband, where nearly everybody waits, it would learn from nobody. Pruned trials it ranks
    by the epoch they reached and the loss there, which is what is known of those that wait.
    """

    def __init__(self) -> None:
        super().__init__()
        self._shown: frozenset[int] = frozenset()

    @contextlib.contextmanager
    def showing_as_pruned(self, numbers: Collection[int]) -> Iterator[None]:
        """Within: whoever lists the study's trials sees these as pruned, if they have reported."""
        self._shown = frozenset(numbers)
        try:
            yield
        finally:
            self._shown = frozenset()

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """As ever, but for those shown as pruned."""
        if not self._shown or states == (TrialState.WAITING,):
            return super().get_all_trials(study_id, deepcopy, states)
        trials = super().get_all_trials(study_id, deepcopy=False)
        for number in self._shown:
            if trials[number].state == TrialState.RUNNING and trials[number].intermediate_values:
                trials[number] = copy.copy(trials[number])
                trials[number].state = TrialState.PRUNED
        if states is not None:
            trials = [trial for trial in trials if trial.state in states]
        return copy.deepcopy(trials) if deepcopy else trials
