"""What an audit of the trial scheduler found: how often its stops were wrong, what they cost and saved."""

from __future__ import annotations

import math
from dataclasses import dataclass

from raysweep.study.journal.records import StudyRecord

SURE = 1.645  # of a standard normal: one-sided 95%
AS_GOOD = 0.005
"""A loss no further above the best than this share of it is called as good; as in benchmarks/stopping.py."""


@dataclass(frozen=True, slots=True)
class Audit:
    """The trials that were stopped, and those that an audit let run to their end instead.

    A stop was false if the trial, run to its end, beat the best of those that the rule let finish.

    Attributes:
        stopped: trials that the rule stopped and that stayed so.
        audited: trials that it would have stopped and that ran on.
        judged: of the audited, those that came to their end (at R, by patience or by divergence), once
            there is a trial that the rule let finish to compare them with.
        false_stops: of the judged, those that were stopped falsely, best first.
        regret: how much less the loss of the best of them is than that of the best the rule let
            finish, >= 0; None while none is judged.
        best: lowest loss of the judged and of those that the rule let finish; None while none is judged.
        epochs_saved: epochs of R that the stopped were not given.
        epochs_spent: epochs that the audited ran beyond the one at which they would have been stopped.
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
        """What that share is at most, with 95% confidence; None while none is judged."""
        return upper_bound(len(self.false_stops), self.judged) if self.judged else None

    @property
    def ok(self) -> bool | None:
        """Whether the best that the rule let finish is as good as that of the judged; None while none is."""
        if self.regret is None or self.best is None:
            return None
        return self.regret <= AS_GOOD * abs(self.best)

    @property
    def loss_sentence(self) -> str:
        """What the audited stops would have lost, without a full stop; empty while none is judged.

        It stands wherever the epochs saved do: they are worth what was not lost for them.
        """
        if self.regret is None or self.best is None:
            return ""
        if not self.false_stops:
            return "nothing was lost among them"
        share = f" ({100 * self.regret / abs(self.best):.2g}%)" if self.best else ""
        verdict = "so what finished is as good" if self.ok else "so the best was lost"
        return (
            f"trial {int(self.false_stops[0])} beats the best that was let finish by "
            f"{self.regret:.4g}{share}, {verdict}"
        )


def audit(record: StudyRecord, epochs: int) -> Audit:
    """Read a study's audit off its record.

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
    """The share that `hits` of `draws` leave possible: Wilson's one-sided 95% bound.

    Wilson: "Probable Inference", J. Am. Stat. Assoc. 22 (1927) 209.

    >>> [round(upper_bound(*seen), 2) for seen in ((0, 3), (0, 30), (3, 30), (2, 2))]
    [0.47, 0.08, 0.23, 1.0]
    """
    share, z2 = hits / draws, SURE**2
    spread = SURE * math.sqrt(share * (1 - share) / draws + z2 / (4 * draws**2))
    return min((share + z2 / (2 * draws) + spread) / (1 + z2 / draws), 1.0)
