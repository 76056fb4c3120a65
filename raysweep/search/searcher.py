"""What proposes the configurations of a study; `OptunaSearcher` is the usual one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from raysweep.search.initial_points import Proposal


class Searcher(ABC):
    """Proposes configurations, and is told what happens to their trials.

    By default it is always ready, and what happens to a trial before its end does not matter to it.
    """

    def ready(self, number: int) -> bool:
        """Whether trial `number` can be asked for now; False until more results are known."""
        return True

    @abstractmethod
    def ask(self, number: int) -> Proposal | None:
        """The proposal for trial `number`; None if nothing is left to try."""

    @abstractmethod
    def replay_asked(self, number: int, config: Mapping[str, Any], source: str, draws: int = 1) -> None:
        """Add a trial of the journal, as if it had just been asked for."""

    def report(self, trial_id: str, step: int, loss: float) -> None:  # noqa: B027 - a hook
        """A trial reported a loss at a step."""

    def paused(self, trial_id: str) -> None:  # noqa: B027 - a hook
        """A trial was paused, maybe forever: it may report nothing more."""

    def resumed(self, trial_id: str) -> None:  # noqa: B027 - a hook
        """A paused trial continues."""

    @abstractmethod
    def tell(
        self,
        trial_id: str,
        outcome: str,
        loss: float | None,
        reason: str = "",
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        """A trial ended; `loss` is its score, `metrics` are those of the epoch that gives it."""
