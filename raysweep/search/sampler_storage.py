"""The storage of the Optuna study: in memory, and able to show samplers other trials than it stores."""

from __future__ import annotations

import contextlib
import copy
import functools
from collections.abc import Callable, Container, Iterator, Mapping, Sequence

from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

SamplerView = tuple[Mapping[int, FrozenTrial], Sequence[FrozenTrial]]
"""Replacements of the study's own trials, by number; and trials of other studies, listed before its own."""


class StudyStorage(InMemoryStorage):
    """An in-memory storage that can show a sampler a view of the trials while a configuration is drawn.

    What is stored and exported is unchanged. `raysweep.search.sampler_view` makes the view.
    """

    def __init__(self) -> None:
        super().__init__()
        self._make_view: Callable[[], SamplerView] | None = None

    @contextlib.contextmanager
    def showing(self, make_view: Callable[[], SamplerView]) -> Iterator[None]:
        """Within the block, listings of the study's trials show the view.

        Args:
            make_view: called once, at the first listing.
        """
        self._make_view = functools.cache(make_view)
        try:
            yield
        finally:
            self._make_view = None

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """All trials, as in the view if one is shown."""
        make_view, self._make_view = self._make_view, None  # which itself lists the trials as stored
        try:
            if make_view is None or states == (TrialState.WAITING,):
                return super().get_all_trials(study_id, deepcopy, states)
            replaced, earlier = make_view()
        finally:
            self._make_view = make_view
        if not replaced and not earlier:
            return super().get_all_trials(study_id, deepcopy, states)
        trials = super().get_all_trials(study_id, deepcopy=False)
        for number, replacement in replaced.items():
            trials[number] = replacement
        trials = [*earlier, *trials]
        if states is not None:
            trials = [trial for trial in trials if trial.state in states]
        return copy.deepcopy(trials) if deepcopy else trials

    def stored_trials(self, study_id: int) -> list[FrozenTrial]:
        """All trials as stored; a trial that changes later becomes another object."""
        return super().get_all_trials(study_id, deepcopy=False)

    def forget_draw(self, number: int) -> int:
        """Remove what was drawn for a running trial; returns its id in this storage."""
        study = self.get_all_studies()[0]
        trial_id = self.get_trial_id_from_study_id_trial_number(study._study_id, number)
        trial = copy.copy(self.get_trial(trial_id))
        trial.params, trial.distributions, trial.system_attrs = {}, {}, {}
        with self._lock:
            self._set_trial(trial_id, trial)
        return trial_id
