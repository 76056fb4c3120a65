"""The searcher of a retraining: a list of candidates over a list of seeds, in rounds.

A round is every candidate on one seed, so that candidates can be compared seed by seed. A candidate that has
lost the race (`schedulers.racing`) is not started again; a slot never waits for a round to end.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from raysweep.search.initial_points import Proposal
from raysweep.search.searcher import Searcher
from schedulers.racing import BLOCK_KEY, CANDIDATE_KEY, check_race_settings, eliminated
from schedulers.trial_id import trial_id

BASELINE = "baseline"


class SeedRaceSearcher(Searcher):
    """Proposes candidates x seeds in rounds.

    Args:
        candidates: {"name": ..., "config": flat} each, the most promising first; `baseline` is the name of
            the run as it was before the search.
        seeds: of the trainings, the same for every candidate.
        alpha: see `schedulers.racing.eliminated`.
        min_blocks: see there.

    Attributes:
        out: by candidate, why it was dropped.
    """

    def __init__(
        self,
        candidates: Sequence[Mapping[str, Any]],
        seeds: Sequence[int],
        alpha: float = 0.05,
        min_blocks: int = 3,
    ) -> None:
        check_race_settings(alpha, min_blocks)
        self.configs = {str(each["name"]): dict(each["config"]) for each in candidates}
        self.plan = [(name, int(seed)) for seed in seeds for name in self.configs]
        self.alpha, self.min_blocks = alpha, min_blocks
        self.out: dict[str, str] = {}
        self._entries: dict[str, tuple[str, int]] = {}  # trial -> candidate and seed
        self._results: dict[str, dict[str, float]] = {}

    def ask(self, number: int) -> Proposal | None:
        """The next training of the plan whose candidate is still in the race; None if there is none."""
        started = set(self._entries.values())
        for name, seed in self.plan:
            if (name, seed) not in started and name not in self.out:
                self._entries[trial_id(number)] = name, seed
                config = {**self.configs[name], CANDIDATE_KEY: name, BLOCK_KEY: seed}
                return Proposal(config, "baseline" if name == BASELINE else "point")
        return None

    def replay_asked(self, number: int, config: Mapping[str, Any], source: str, draws: int = 1) -> None:
        """A trial in the journal was created."""
        self._entries[trial_id(number)] = str(config[CANDIDATE_KEY]), int(config[BLOCK_KEY])

    def tell(
        self,
        trial_id: str,
        outcome: str,
        loss: float | None,
        reason: str = "",
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        """Record the result of a whole or diverged training, and drop the candidates that have lost."""
        if outcome not in ("completed", "diverged"):
            return
        name, seed = self._entries[trial_id]
        if loss is None or outcome != "completed":
            loss = math.inf
        self._results.setdefault(name, {})[str(seed)] = loss
        self.out = eliminated(self._results, len(self.configs) - 1, self.alpha, self.min_blocks) | self.out
