"""Which checkpoints stay on disk."""

from __future__ import annotations

from pathlib import Path

from raysweep.study.execution.checkpoint_gc import CheckpointJanitor
from raysweep.study.journal.events import AttemptStarted, CheckpointSaved
from raysweep.study.journal.records import StudyRecord
from tests.builders import epoch_reported, trial_created, trial_ended


class Study:
    """A record with real checkpoint folders; `is_exploit_source` names the epochs that others may copy."""

    def __init__(self, root: Path, trials: int, is_exploit_source: set[int] | None = None) -> None:
        self.root, self.record = root, StudyRecord()
        self.is_exploit_source = is_exploit_source or set()
        self.janitor = CheckpointJanitor(
            self.record, lambda path: root / path, lambda epoch: epoch in self.is_exploit_source, keep_last=2
        )
        self.record.apply(AttemptStarted(t=0.0, attempt=1, slots=1, trials=trials))
        for number in range(trials):
            self.record.apply(trial_created(f"0000{number}"))

    def checkpoint(self, trial: str, epoch: int, loss: float = 1.0, **metrics: float) -> None:
        path = f"{trial}-{epoch}"
        (self.root / path).mkdir()
        (self.root / path / "weights").write_text("w")
        self.record.apply(epoch_reported(trial, epoch, loss, metrics=metrics))
        self.record.apply(CheckpointSaved(t=0.0, trial=trial, epoch=epoch, generation=0, path=path))
        self.janitor.collect(trial)

    def end(self, trial: str, outcome: str) -> None:
        self.record.apply(trial_ended(trial, outcome))
        self.janitor.collect(trial)

    def standing(self) -> list[str]:
        return sorted(path.name for path in self.root.iterdir())


def test_a_live_trial_keeps_its_newest_two(tmp_path: Path) -> None:
    study = Study(tmp_path, 1)
    for epoch in (1, 2, 3, 4):
        study.checkpoint("00000", epoch)
    assert study.standing() == ["00000-3", "00000-4"]


def test_a_stopped_trial_keeps_none(tmp_path: Path) -> None:
    study = Study(tmp_path, 2)
    study.checkpoint("00000", 1, loss=2.0)
    study.checkpoint("00001", 1, loss=1.0)
    study.end("00000", "stopped")
    assert study.standing() == ["00001-1"]


def test_the_best_trial_keeps_its_last_one(tmp_path: Path) -> None:
    study = Study(tmp_path, 1)
    study.checkpoint("00000", 1)
    study.checkpoint("00000", 2)
    study.end("00000", "completed")
    assert study.standing() == ["00000-2"]


def test_a_former_best_loses_its_checkpoint_to_a_better_one(tmp_path: Path) -> None:
    study = Study(tmp_path, 2)
    study.checkpoint("00000", 3, loss=0.5)
    study.end("00000", "completed")
    study.checkpoint("00001", 3, loss=0.4)
    study.end("00001", "completed")
    assert study.standing() == ["00001-3"]


def test_a_checkpoint_without_an_event_is_cleared_and_the_others_stay(tmp_path: Path) -> None:
    """A driver was killed after the checkpoint was written and before the journal had it."""
    known, stray = (
        tmp_path / "ray/attempt-1/00000" / name for name in ("checkpoint_000000", "checkpoint_000001")
    )
    for folder in (known, stray):
        folder.mkdir(parents=True)
        (folder / "weights").write_text("w")
    study = Study(tmp_path, 1)
    path = str(known.relative_to(tmp_path))
    study.record.apply(CheckpointSaved(t=0.0, trial="00000", epoch=3, generation=0, path=path))
    study.janitor.catch_up(tmp_path)
    assert (known.exists(), stray.exists()) == (True, False)


def test_what_a_killed_driver_left_is_deleted_on_resume(tmp_path: Path) -> None:
    study = Study(tmp_path, 2)
    study.checkpoint("00000", 1, loss=2.0)
    study.checkpoint("00001", 1, loss=1.0)
    study.record.apply(trial_ended("00000", "stopped"))
    study.janitor.catch_up(tmp_path)
    assert study.standing() == ["00001-1"]


def test_what_another_trial_may_copy_stays_after_its_owner_ended(tmp_path: Path) -> None:
    study = Study(tmp_path, 2, is_exploit_source={3})
    for epoch in (3, 6, 9):
        study.checkpoint("00000", epoch, loss=1.0)
    study.end("00000", "failed")
    assert study.standing() == ["00000-3"]
    study.is_exploit_source.clear()
    study.end("00001", "failed")
    assert study.standing() == []


def test_the_best_checkpoint_of_each_trial_outlives_it_where_asked_for(
    tmp_path: Path,
) -> None:
    """`checkpoint_config.save_best`: its weights are the trial's model."""
    study = Study(tmp_path, 2)
    study.janitor.monitor = "val_loss"
    for trial, losses in (("00000", (0.3, 0.1, 0.2)), ("00001", (0.6, 0.5, 0.4))):
        for epoch, loss in enumerate(losses, start=1):
            study.checkpoint(trial, epoch, loss, val_loss=loss)
    for trial in ("00000", "00001"):
        study.end(trial, "completed")
    assert study.standing() == ["00000-2", "00000-3", "00001-3"]


def test_a_metric_that_is_maximised_has_its_best_at_the_top(tmp_path: Path) -> None:
    study = Study(tmp_path, 1)
    study.janitor.monitor, study.janitor.sign = "accuracy", -1
    for epoch, accuracy in enumerate((0.5, 0.9, 0.8, 0.7), start=1):
        study.checkpoint("00000", epoch, 1.0, accuracy=accuracy)
    assert study.standing() == ["00000-2", "00000-3", "00000-4"]
