"""Results told to a searcher in a fixed order, so that proposals do not depend on which trial ends first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from raysweep.search.initial_points import Proposal
from raysweep.search.optuna_searcher import OptunaSearcher
from raysweep.search.searcher import Searcher
from schedulers.trial_id import trial_id as to_trial_id


class DeterministicOrderSearcher(Searcher):
    """Passes the results of each trial to a searcher at the trial's turn.

    Trial n is proposed with the whole results of trials 0 ... n - `window` and only the configurations of
    the others. So two runs of a sweep propose the same configurations if each configuration gives the same
    curve, however long each takes. The price: a free slot waits until trial n - `window` has ended, and the
    results of the others are used later.

    A paused trial counts with its results so far at its turn, since it might wait forever.

    Args:
        searcher: is told the results in order.
        window: how many trials may be unknown, including the next one: the slots of the study's first
            attempt.
    """

    def __init__(self, searcher: OptunaSearcher, window: int) -> None:
        self.searcher, self.window = searcher, window
        self._next = 0  # calls for trials below this one have been passed on
        self._calls: dict[str, list[Callable[[], None]]] = {}
        self._paused_or_ended: set[str] = set()

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for the user."""
        return self.searcher.notes

    def ready(self, number: int) -> bool:
        """Whether trial `number` can be asked for: all trials before its window have ended or are paused."""
        due = range(self._next, max(self._next, number - self.window + 1))
        return all(to_trial_id(other) in self._paused_or_ended for other in due)

    def ask(self, number: int) -> Proposal | None:
        """The proposal for trial `number`; None if all configurations were tried."""
        self._pass_on_before(number)
        return self.searcher.ask(number)

    def replay_asked(self, number: int, config: Mapping[str, Any], source: str, draws: int = 1) -> None:
        """Add a trial of the journal."""
        self._pass_on_before(number)
        self.searcher.replay_asked(number, config, source, draws)

    def report(self, trial_id: str, step: int, loss: float | None) -> None:
        """Hold a loss until the trial's turn."""
        self._paused_or_ended.discard(trial_id)
        self._hold(trial_id, lambda: self.searcher.report(trial_id, step, loss))

    def paused(self, trial_id: str) -> None:
        """Hold a pause until the trial's turn."""
        self._paused_or_ended.add(trial_id)
        self._hold(trial_id, lambda: self.searcher.paused(trial_id))

    def resumed(self, trial_id: str) -> None:
        """Hold a resumption until the trial's turn."""
        self._paused_or_ended.discard(trial_id)
        self._hold(trial_id, lambda: self.searcher.resumed(trial_id))

    def tell(
        self,
        trial_id: str,
        outcome: str,
        loss: float | None,
        reason: str = "",
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        """Hold the end of a trial until its turn."""
        self._paused_or_ended.add(trial_id)
        self._hold(trial_id, lambda: self.searcher.tell(trial_id, outcome, loss, reason, metrics))

    def finish(self) -> OptunaSearcher:
        """Pass on everything that is held, once nothing more is asked; returns the inner searcher."""
        for name in sorted(self._calls):
            self._pass_on(name)
        return self.searcher

    def _hold(self, trial_id: str, call: Callable[[], None]) -> None:
        self._calls.setdefault(trial_id, []).append(call)
        if int(trial_id) < self._next:  # it was paused at its turn
            self._pass_on(trial_id)

    def _pass_on_before(self, number: int) -> None:
        for other in range(self._next, number - self.window + 1):
            self._pass_on(to_trial_id(other))
            self._next = other + 1

    def _pass_on(self, trial_id: str) -> None:
        for call in self._calls.pop(trial_id, ()):
            call()
