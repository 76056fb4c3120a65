"""Where the Optuna study lives: in memory, and with more to show to samplers than Optuna would."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Container, Iterator, Mapping, Sequence

from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState


class StudyStorage(InMemoryStorage):
    """In memory; while a configuration is drawn, the sampler can be shown the trials as it should take them.

    What is stored, and exported, stays as it happened. See `service.search.shown` for what is shown.
    """

    def __init__(self) -> None:
        super().__init__()
        self._instead: Mapping[int, FrozenTrial] = {}
        self._earlier: Sequence[FrozenTrial] = ()

    @contextlib.contextmanager
    def showing(
        self, instead: Mapping[int, FrozenTrial], earlier: Sequence[FrozenTrial] = ()
    ) -> Iterator[None]:
        """Within: whoever lists the study's trials sees other trials in the place of some.

        Args:
            instead: by number.
            earlier: trials of other studies, before the study's own.
        """
        self._instead, self._earlier = instead, earlier
        try:
            yield
        finally:
            self._instead, self._earlier = {}, ()

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """As ever, but for those shown otherwise."""
        if not (self._instead or self._earlier) or states == (TrialState.WAITING,):
            return super().get_all_trials(study_id, deepcopy, states)
        trials = super().get_all_trials(study_id, deepcopy=False)
        for number, other in self._instead.items():
            trials[number] = other
        trials = [*self._earlier, *trials]
        if states is not None:
            trials = [trial for trial in trials if trial.state in states]
        return copy.deepcopy(trials) if deepcopy else trials

    def forget_draw(self, number: int) -> int:
        """Make a running trial as it was before anything was drawn for it; its id in this storage."""
        study = self.get_all_studies()[0]
        trial_id = self.get_trial_id_from_study_id_trial_number(study._study_id, number)
        trial = copy.copy(self.get_trial(trial_id))
        trial.params, trial.distributions, trial.system_attrs = {}, {}, {}
        with self._lock:
            self._set_trial(trial_id, trial)
        return trial_id
