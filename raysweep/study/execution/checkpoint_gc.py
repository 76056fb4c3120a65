"""Deletion of unneeded checkpoints, all of which Ray keeps (num_to_keep=None).

Needed are the newest ones of every unfinished trial, those that another trial may still copy, and the best
trial's last one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from raysweep.study.journal.records import StudyRecord, TrialRecord
from raysweep.study.storage.locations import discard


@dataclass
class CheckpointJanitor:
    """Deletes checkpoints that are no longer needed.

    Args:
        record: of the study.
        locate: gives the path or URI of a checkpoint from its path in the journal.
        is_exploit_source: whether the rule may still tell a trial to copy a state at an epoch.
        keep_last: how many of an unfinished trial's newest are kept, >= 1; an older one is the fallback if
            the newest is damaged.
        monitor: metric by which each trial's best checkpoint is kept, also after the trial's end (the
            run's `checkpoint_config.save_best`); "" to keep none.
        sign: +1 if less of it is better, else -1.
        keep_completed: whether the last one of every completed trial is kept, for a study given more epochs.
        discard: deletes a checkpoint, now or later.
    """

    record: StudyRecord
    locate: Callable[[str], str | Path]
    is_exploit_source: Callable[[int], bool]
    keep_last: int = 2
    monitor: str = ""
    sign: int = 1
    keep_completed: bool = False
    discard: Callable[[str | Path], None] = discard
    _deletable: set[str] = field(default_factory=set)
    """Trials with checkpoints that may have to be deleted later."""

    def collect(self, trial: str) -> None:
        """Delete a trial's unneeded checkpoints, after a new one or its end; then also other trials'."""
        self._deletable.add(trial)
        best = self.record.best()
        ended = self.record.trials[trial].outcome is not None
        for name in list(self._deletable) if ended else [trial]:
            self._collect_trial(self.record.trials[name], best)

    def catch_up(self, study: Path) -> None:
        """Delete the unneeded checkpoints that a killed driver left, also those missing in the journal.

        Args:
            study: the study's folder; object storage is not searched for the latter.
        """
        best, trials = self.record.best(), self.record.trials.values()
        for trial in trials:
            if trial.checkpoints:
                self._deletable.add(trial.trial)
                self._collect_trial(trial, best)
        recorded = {path for trial in trials for path in trial.checkpoints.values()}
        for path in study.glob("ray/attempt-*/*/checkpoint_*"):
            if path.relative_to(study).as_posix() not in recorded:
                self.discard(path)

    def _collect_trial(self, trial: TrialRecord, best: TrialRecord | None) -> None:
        needed = self._needed(trial, best)
        for key in [key for key in trial.checkpoints if key not in needed]:
            self.discard(self.locate(trial.checkpoints.pop(key)))
        if trial.outcome is not None and trial.checkpoints.keys() <= self._permanent(trial):
            self._deletable.discard(trial.trial)

    def _needed(self, trial: TrialRecord, best: TrialRecord | None) -> set[tuple[int, int]]:
        newest = sorted(trial.checkpoints)
        needed = {key for key in newest if self.is_exploit_source(key[1])}
        if trial.outcome is None:
            needed.update(newest[-self.keep_last :])
        elif trial is best:
            needed.update(newest[-1:])
        return needed | self._permanent(trial)

    def _permanent(self, trial: TrialRecord) -> set[tuple[int, int]]:
        """Keys of the checkpoints that are never deleted, as of now."""
        kept = set()
        if self.keep_completed and trial.outcome == "completed":
            kept.update(sorted(trial.checkpoints)[-1:])
        if self.monitor and trial.checkpoints:
            kept.add(trial.best_checkpoint(self.monitor, self.sign))
        return kept
