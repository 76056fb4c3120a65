"""Results in a fixed order, so that what is proposed does not follow from who happens to end first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from raysweep.search.initial_points import Proposal
from raysweep.search.optuna_searcher import OptunaSearcher
from schedulers.trial_id import trial_id as to_trial_id


class DeterministicOrderSearcher:
    """A searcher that learns of a trial when its turn comes, whole: never earlier, never later.

    Trial n is asked for knowing trials 0 ... n - `window` to their end and nothing of the others but
    their configurations, whatever these have reported by then. So two runs of a sweep ask for the
    same configurations if each configuration gives the same curve, however long each takes. The price:
    a free slot waits until trial n - `window` has ended, and what the others have shown is used late.

    A trial that waits for a promotion is taken as it stands when its turn comes: it might wait for ever.

    Args:
        fold: told in order.
        window: how many trials may be unknown, the one asked for included: the slots of the study's
            first attempt.
    """

    def __init__(self, fold: OptunaSearcher, window: int) -> None:
        self.searcher, self.window = fold, window
        self._told = 0  # trials below this one have been handed on
        self._kept: dict[str, list[Callable[[], None]]] = {}
        self._settled: set[str] = set()

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for the user."""
        return self.searcher.notes

    def ready(self, number: int) -> bool:
        """Whether trial `number` can be asked for: all that it must know is known."""
        due = range(self._told, max(self._told, number - self.window + 1))
        return all(to_trial_id(other) in self._settled for other in due)

    def ask(self, number: int) -> Proposal | None:
        """What to try as trial `number`; None when all is tried."""
        self._hand_on(number)
        return self.searcher.ask(number)

    def replay_asked(self, number: int, config: Mapping[str, Any], source: str, draws: int = 1) -> None:
        """Note a recorded trial as asked."""
        self._hand_on(number)
        self.searcher.replay_asked(number, config, source, draws)

    def report(self, trial_id: str, step: int, loss: float | None) -> None:
        """Keep a loss until the trial's turn."""
        self._settled.discard(trial_id)
        self._keep(trial_id, lambda: self.searcher.report(trial_id, step, loss))

    def paused(self, trial_id: str) -> None:
        """Keep that a trial waits."""
        self._settled.add(trial_id)
        self._keep(trial_id, lambda: self.searcher.paused(trial_id))

    def resumed(self, trial_id: str) -> None:
        """Keep that it goes on."""
        self._settled.discard(trial_id)
        self._keep(trial_id, lambda: self.searcher.resumed(trial_id))

    def tell(
        self,
        trial_id: str,
        outcome: str,
        worth: float | None,
        reason: str = "",
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        """Keep how a trial ended until its turn."""
        self._settled.add(trial_id)
        self._keep(trial_id, lambda: self.searcher.tell(trial_id, outcome, worth, reason, metrics))

    def finish(self) -> OptunaSearcher:
        """The fold with all that was kept back: nothing more will be asked."""
        for name in sorted(self._kept):
            self._release(name)
        return self.searcher

    def _keep(self, trial_id: str, word: Callable[[], None]) -> None:
        self._kept.setdefault(trial_id, []).append(word)
        if int(trial_id) < self._told:  # it had its turn as one that waited
            self._release(trial_id)

    def _hand_on(self, number: int) -> None:
        for other in range(self._told, number - self.window + 1):
            self._release(to_trial_id(other))
            self._told = other + 1

    def _release(self, trial_id: str) -> None:
        for word in self._kept.pop(trial_id, ()):
            word()
