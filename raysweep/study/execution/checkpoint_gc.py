"""Which checkpoints stay on disk. Ray keeps all of them (num_to_keep=None); we delete what nobody needs.

Needed are: the newest of every trial that may still go on, those another trial may still copy, and the
best trial's last one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from raysweep.study.journal.records import StudyRecord, TrialRecord
from raysweep.study.storage.locations import discard


@dataclass
class CheckpointJanitor:
    """Deletes checkpoints that nobody needs any more.

    Args:
        locate: a checkpoint's path in the journal -> where it lies.
        is_exploit_source: whether the rule may still send a trial to copy a state at this epoch.
        keep_last: how many of a live trial's newest are kept, >= 1; an older one is there for when
            the newest turns out torn.
        monitor: metric by which each trial's best checkpoint is kept, also after the trial's end (the
            run's `checkpoint_config.save_best`); empty for none.
        sign: +1 if less of it is better, else -1.
        keep_completed: whether every completed trial's last is kept, for a study given more epochs.
        discard: deletes one, now or later.
    """

    record: StudyRecord
    locate: Callable[[str], str | Path]
    is_exploit_source: Callable[[int], bool]
    keep_last: int = 2
    monitor: str = ""
    sign: int = 1
    keep_completed: bool = False
    discard: Callable[[str | Path], None] = discard
    _held: set[str] = field(default_factory=set)

    def collect(self, trial: str) -> None:
        """Look at one trial's checkpoints, after it made one or ended; and at the held ones then."""
        self._held.add(trial)
        best = self.record.best()
        over = self.record.trials[trial].outcome is not None
        for name in list(self._held) if over else [trial]:
            self._sweep_one(self.record.trials[name], best)

    def catch_up(self, study: Path) -> None:
        """Delete what a killed driver had no time for, and checkpoints of its that no event speaks of.

        Args:
            study: the study's folder; what lies in object storage is not looked through for the latter.
        """
        best, trials = self.record.best(), self.record.trials.values()
        for trial in trials:
            if trial.checkpoints:
                self._held.add(trial.trial)
                self._sweep_one(trial, best)
        known = {path for trial in trials for path in trial.checkpoints.values()}
        for found in study.glob("ray/attempt-*/*/checkpoint_*"):
            if found.relative_to(study).as_posix() not in known:
                self.discard(found)

    def _sweep_one(self, trial: TrialRecord, best: TrialRecord | None) -> None:
        needed = self._needed(trial, best)
        for key in [key for key in trial.checkpoints if key not in needed]:
            self.discard(self.locate(trial.checkpoints.pop(key)))
        if trial.outcome is not None and trial.checkpoints.keys() <= self._for_good(trial):
            self._held.discard(trial.trial)  # looked at no more: thousands may end so

    def _needed(self, trial: TrialRecord, best: TrialRecord | None) -> set[tuple[int, int]]:
        newest = sorted(trial.checkpoints)
        needed = {key for key in newest if self.is_exploit_source(key[1])}
        if trial.outcome is None:
            needed.update(newest[-self.keep_last :])
        elif trial is best:
            needed.update(newest[-1:])
        return needed | self._for_good(trial)

    def _for_good(self, trial: TrialRecord) -> set[tuple[int, int]]:
        """What is kept whatever comes, as far as the trial has come."""
        kept = set()
        if self.keep_completed and trial.outcome == "completed":
            kept.update(sorted(trial.checkpoints)[-1:])
        if self.monitor and trial.checkpoints:
            kept.add(trial.best_checkpoint(self.monitor, self.sign))
        return kept
