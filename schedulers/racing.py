"""Racing: candidates run over the same blocks (seeds, folds), and clear losers are dropped early.

Maron, Moore: "Hoeffding Races: Accelerating Model Selection Search for Classification and Function
Approximation", NIPS 1994. Birattari, Stützle, Paquete, Varrentrapp: "A Racing Algorithm for
Configuring Metaheuristics" (F-Race), GECCO 2002.

Hoeffding's bound needs a known range of the losses and hundreds of blocks, the Friedman test of
F-Race a dozen; here there are about five. But two candidates on one seed share its data order, so
their difference varies far less than either loss, and a paired t-test detects a clear loser after three.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from schedulers.curve_model import student_cdf
from schedulers.rule import Continue, Decision, Objective, Report, Rule, Stop

CANDIDATE_KEY, BLOCK_KEY = "trial.candidate", "trial.seed"

Results = Mapping[str, Mapping[str, float]]  # candidate -> block -> loss; inf where it diverged


class Entrant(NamedTuple):
    """A trial of the race: one candidate on one block."""

    candidate: str
    block: str


class RacingRule(Rule):
    """Stop the trials of a candidate that is significantly worse than another; whole trials are compared.

    A trial is one candidate (a configuration) on one block (a seed). Candidates are compared in pairs
    over the blocks that both have finished, see `eliminated`. An eliminated candidate is out for good:
    its running trials stop at their next epoch, and the searcher should propose no more of it.

    Args:
        max_resource: R, epochs of a whole trial.
        candidate: key of the configuration that names the candidate; a trial without it is its own.
        block: key of the configuration that names the block.
        alpha: chance, over the whole race, that the truly best candidate is dropped; in (0, 1).
        min_blocks: common blocks before two candidates are compared, >= 2.
        objective: what a trial is worth: its `last` loss or its `best`.

    Raises:
        ValueError: if alpha or min_blocks is out of range.
    """

    def __init__(
        self,
        *,
        max_resource: int,
        candidate: str = CANDIDATE_KEY,
        block: str = BLOCK_KEY,
        alpha: float = 0.05,
        min_blocks: int = 3,
        objective: Objective = "last",
    ) -> None:
        super().__init__(max_resource=max_resource, objective=objective)
        check_race_settings(alpha, min_blocks)
        self.parameters = (candidate, block)
        self.alpha, self.min_blocks = alpha, min_blocks
        self.entries: dict[str, Entrant] = {}
        self.results: dict[str, dict[str, float]] = {}
        self.out: dict[str, str] = {}  # eliminated candidate -> the reason

    def memory(self) -> tuple[str, ...]:
        """Also the entrants, their results, and the eliminated candidates."""
        return (*super().memory(), "entries", "results", "out")

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore `state`, in which JSON may have turned the named tuples into lists."""
        super().load(state)
        self.entries = {trial: Entrant(*entry) for trial, entry in self.entries.items()}

    def judge(self, report: Report) -> Decision:
        """Stop the trial if its candidate is out."""
        reason = self.out.get(self._entry(report).candidate)
        return Continue() if reason is None else Stop(reason)

    def diverged(self, report: Report) -> Decision:
        """Stop the trial; its block counts as lost."""
        self._entry(report)
        return super().diverged(report)

    def end(self, trial_id: str, ending: str) -> None:
        """Record the end; a completed or diverged trial is a result of its candidate."""
        had_ended = trial_id in self.endings
        super().end(trial_id, ending)
        if had_ended or trial_id not in self.entries or ending not in ("completed", "diverged"):
            return
        candidate, block = self.entries[trial_id]
        loss = self.objective_loss.get(trial_id, math.inf) if ending == "completed" else math.inf
        self.results.setdefault(candidate, {}).setdefault(block, loss)
        rivals = len({name for name, _ in self.entries.values()}) - 1
        self.out = eliminated(self.results, rivals, self.alpha, self.min_blocks) | self.out

    def _entry(self, report: Report) -> Entrant:
        candidate, block = (report.config.get(key) for key in self.parameters)
        name = report.trial_id if candidate is None else str(candidate)
        return self.entries.setdefault(report.trial_id, Entrant(name, str(block)))


def check_race_settings(alpha: float, min_blocks: int) -> None:
    """Check the settings of a race.

    Raises:
        ValueError: if one is out of range.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha ({alpha}) must be between 0 and 1")
    if min_blocks < 2:
        raise ValueError(f"min_blocks ({min_blocks}) must be at least 2: one difference has no deviation")


def eliminated(results: Results, rivals: int, alpha: float = 0.05, min_blocks: int = 3) -> dict[str, str]:
    """The candidates that are out, each with the reason.

    Candidate c is out if some r is better by a one-sided paired t-test over their common blocks. A
    pair is tested again with each common block, n = m, m + 1, ...: the test at n has the level
    alpha (m - 1) / (n (n - 1)), which sums to alpha over all n, divided by the number of rivals
    (Bonferroni). So the best candidate survives the race with probability 1 - alpha at least, however
    long the race, if the differences are about normal.

    A candidate that diverged on a block on which another did not is out at once, whatever its mean
    elsewhere.

    Args:
        results: candidate -> block -> loss (lower is better; inf where it diverged).
        rivals: number of other candidates in the race, >= 0.
        alpha: see above.
        min_blocks: m.

    >>> quick = {"1": 0.10, "2": 0.11, "3": 0.09}
    >>> slow = {"1": 0.50, "2": 0.52, "3": 0.50}
    >>> eliminated({"quick": quick, "slow": slow}, rivals=1)
    {'slow': 'lost to quick: worse by 0.407 on 3 common seeds (p 3.4e-05, 0.017 needed)'}
    """
    out: dict[str, str] = {}
    for name, mine in results.items():
        defeats = [
            defeat
            for rival, theirs in results.items()
            if rival != name and (defeat := _test_defeat(mine, theirs, rival, rivals, alpha, min_blocks))
        ]
        if defeats:
            _, out[name] = min(defeats)
    return out


def _test_defeat(
    mine: Mapping[str, float],
    theirs: Mapping[str, float],
    rival: str,
    rivals: int,
    alpha: float,
    min_blocks: int,
) -> tuple[float, str] | None:
    """The p-value of the rival being better, and the reason; None if it is not significant."""
    for block, loss in mine.items():
        if not math.isfinite(loss) and math.isfinite(theirs.get(block, math.inf)):
            return 0.0, f"diverged on seed {block}, where {rival} did not"
    pairs = [(loss, theirs[block]) for block, loss in mine.items() if block in theirs]
    differences = [own - other for own, other in pairs if math.isfinite(own - other)]
    n = len(differences)
    if n < min_blocks:
        return None
    mean = sum(differences) / n
    if mean <= 0:
        return None
    error = math.sqrt(sum((difference - mean) ** 2 for difference in differences) / (n - 1) / n)
    p = 1 - student_cdf(mean / error, n - 1) if error > 0 else 0.0
    level = alpha * (min_blocks - 1) / (n * (n - 1)) / max(rivals, 1)
    if p >= level:
        return None
    return p, f"lost to {rival}: worse by {mean:.3g} on {n} common seeds (p {p:.2g}, {level:.2g} needed)"
