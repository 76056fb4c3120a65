"""Where the Optuna study lives: in memory, and with more to show to samplers than Optuna would."""

from __future__ import annotations

import contextlib
import copy
import functools
from collections.abc import Callable, Container, Iterator, Mapping, Sequence

from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

Shown = tuple[Mapping[int, FrozenTrial], Sequence[FrozenTrial]]
"""Trials in the place of the study's own, by number; and trials of other studies, before its own."""


class StudyStorage(InMemoryStorage):
    """In memory; while a configuration is drawn, the sampler can be shown the trials as it should take them.

    What is stored, and exported, stays as it happened. See `raysweep.search.sampler_view` for what is shown.
    """

    def __init__(self) -> None:
        super().__init__()
        self._to_show: Callable[[], Shown] | None = None

    @contextlib.contextmanager
    def showing(self, to_show: Callable[[], Shown]) -> Iterator[None]:
        """Within: whoever lists the study's trials sees other trials in the place of some.

        Args:
            to_show: called at the first listing: a sampler that looks at no trial costs no look at them.
        """
        self._to_show = functools.cache(to_show)
        try:
            yield
        finally:
            self._to_show = None

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """As ever, but for those shown otherwise."""
        to_show, self._to_show = self._to_show, None  # who makes it up sees the study as it is
        try:
            if to_show is None or states == (TrialState.WAITING,):
                return super().get_all_trials(study_id, deepcopy, states)
            instead, earlier = to_show()
        finally:
            self._to_show = to_show
        if not instead and not earlier:
            return super().get_all_trials(study_id, deepcopy, states)
        trials = super().get_all_trials(study_id, deepcopy=False)
        for number, other in instead.items():
            trials[number] = other
        trials = [*earlier, *trials]
        if states is not None:
            trials = [trial for trial in trials if trial.state in states]
        return copy.deepcopy(trials) if deepcopy else trials

    def stored_trials(self, study_id: int) -> list[FrozenTrial]:
        """All trials as they are stored; one that changes later is replaced by another object."""
        return super().get_all_trials(study_id, deepcopy=False)

    def forget_draw(self, number: int) -> int:
        """Make a running trial as it was before anything was drawn for it; its id in this storage."""
        study = self.get_all_studies()[0]
        trial_id = self.get_trial_id_from_study_id_trial_number(study._study_id, number)
        trial = copy.copy(self.get_trial(trial_id))
        trial.params, trial.distributions, trial.system_attrs = {}, {}, {}
        with self._lock:
            self._set_trial(trial_id, trial)
        return trial_id
