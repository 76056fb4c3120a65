"""The audit of a trial scheduler: how often its stops were wrong, what they cost and saved."""

from __future__ import annotations

import math
from dataclasses import dataclass

from raysweep.study.journal.records import StudyRecord

SURE = 1.645  # of a standard normal: one-sided 95%
AS_GOOD = 0.005
"""A loss above the best by at most this share of it counts as good; as in benchmarks/stopping.py."""


@dataclass(frozen=True, slots=True)
class Audit:
    """The stops of a trial scheduler, and the trials that the audit let run on instead.

    A stop is false if the trial, run to its end, beats the best of the trials that the rule let finish.

    Attributes:
        stopped: number of trials that the rule stopped.
        audited: number of trials that it would have stopped, but that ran on.
        judged: number of audited trials that ended (at R, by patience or by divergence); 0 while the rule
            has let no trial finish to compare them with.
        false_stops: judged trials whose stop was false, best first.
        regret: by how much the loss of the best judged trial is lower than the best loss of the trials that
            the rule let finish, >= 0; None while none is judged.
        best: lowest loss of the judged trials and those that the rule let finish; None while none is judged.
        epochs_saved: epochs of R that the stopped trials did not run.
        epochs_spent: epochs that the audited trials ran after the one at which they would have been stopped.
    """

    stopped: int
    audited: int
    judged: int
    false_stops: tuple[str, ...]
    regret: float | None
    best: float | None
    epochs_saved: int
    epochs_spent: int

    @property
    def false_stop_rate(self) -> float | None:
        """Share of the judged stops that were false; None while none is judged."""
        return len(self.false_stops) / self.judged if self.judged else None

    @property
    def at_most(self) -> float | None:
        """Upper bound of the false-stop rate with 95% confidence; None while none is judged."""
        return upper_bound(len(self.false_stops), self.judged) if self.judged else None

    @property
    def ok(self) -> bool | None:
        """Whether the best trial that the rule let finish is as good as the best judged one, if any."""
        if self.regret is None or self.best is None:
            return None
        return self.regret <= AS_GOOD * abs(self.best)

    @property
    def stops_sentence(self) -> str:
        """How many stops were audited, how many of them were false, and what they would have lost."""
        stops = f"{self.audited} of {self.audited + self.stopped} stops were audited"
        if self.at_most is None:
            return f"{stops}; none of them can be judged"
        false = {0: "none was", 1: "1 was"}.get(len(self.false_stops), f"{len(self.false_stops)} were")
        at_most = f"at most {self.at_most:.0%} are, with 95% confidence"
        return f"{stops}; of {self.judged} judged {false} false ({at_most}): {self.loss_sentence}"

    @property
    def epochs_sentence(self) -> str:
        """What the other stops saved, and what the audit took."""
        return f"{self.epochs_saved} epochs saved by the other stops, {self.epochs_spent} spent on the audit"

    @property
    def loss_sentence(self) -> str:
        """What the audited stops would have lost, as a clause without full stop; "" while none is judged."""
        if self.regret is None or self.best is None:
            return ""
        if not self.false_stops:
            return "nothing was lost among them"
        share = f" ({100 * self.regret / abs(self.best):.2g}%)" if self.best else ""
        verdict = "too little to matter" if self.ok else "so the best was lost"
        winner = int(self.false_stops[0])
        return f"trial {winner} beats the best finished trial by {self.regret:.4g}{share}, {verdict}"


def audit(record: StudyRecord, epochs: int) -> Audit:
    """The audit of a study's trial scheduler, from its record.

    Args:
        record: of the study.
        epochs: R, epochs of a whole trial.
    """
    trials = list(record.trials.values())
    audited = [trial for trial in trials if trial.audited is not None]
    stopped = [trial for trial in trials if trial.stopped_by_rule and trial.audited is None]
    ended = [trial for trial in audited if trial.outcome in ("completed", "diverged")]
    finished = [trial for trial in trials if trial.outcome == "completed" and trial.audited is None]
    best = min((trial.end_loss(record.objective) for trial in finished), default=None)
    judged = (
        sorted((trial.end_loss(record.objective), trial.trial) for trial in ended) if best is not None else []
    )
    false = [(loss, name) for loss, name in judged if best is not None and loss < best]
    return Audit(
        stopped=len(stopped),
        audited=len(audited),
        judged=len(judged),
        false_stops=tuple(name for _, name in false),
        regret=max(best - judged[0][0], 0.0) if best is not None and judged else None,
        best=min(best, judged[0][0]) if best is not None and judged else None,
        epochs_saved=sum(trial.epochs_saved(epochs) for trial in stopped),
        epochs_spent=sum(
            trial.work - sum(point.epoch <= trial.audited[0] for point in trial.curve)
            for trial in audited
            if trial.audited is not None
        ),
    )


def upper_bound(hits: int, draws: int) -> float:
    """Upper bound of a share of which `hits` of `draws` were seen: Wilson's one-sided 95% bound.

    Wilson: "Probable Inference", J. Am. Stat. Assoc. 22 (1927) 209.

    >>> [round(upper_bound(*counts), 2) for counts in ((0, 3), (0, 30), (3, 30), (2, 2))]
    [0.47, 0.08, 0.23, 1.0]
    """
    share, z2 = hits / draws, SURE**2
    spread = SURE * math.sqrt(share * (1 - share) / draws + z2 / (4 * draws**2))
    return min((share + z2 / (2 * draws) + spread) / (1 + z2 / draws), 1.0)
