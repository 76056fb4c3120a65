"""Where a trial continues from if its checkpoint is damaged: the newest intact one."""

from __future__ import annotations

from pathlib import Path

import pytest

from raysweep.study.execution.checkpoint_fallback import find_intact_checkpoint
from raysweep.study.journal.events import AttemptStarted, CheckpointSaved, Event, TrialCreated, TrialExploited
from raysweep.study.journal.records import fold
from trainables.checkpoint_integrity import CHECKSUM, STATE, checksums

ME, DONOR = "00000", "00001"
MINE = [(0, 2), (0, 4), (0, 6)]
"""(generation, epoch) of my checkpoints."""
COPY = TrialExploited(t=1, trial=ME, donor=DONOR, epoch=6, generation=1, config={}, reason="")


def history(copied: bool) -> list[Event]:
    events: list[Event] = [AttemptStarted(t=0, attempt=1, slots=1, trials=2)]
    events += [TrialCreated(t=0, trial=name, config={}, source="sampler") for name in (ME, DONOR)]
    events += [saved(ME, *key) for key in MINE]
    return events + ([saved(DONOR, 0, 6), COPY, saved(ME, 1, 8)] if copied else [])


def saved(trial: str, generation: int, epoch: int) -> CheckpointSaved:
    path = f"{trial}/{generation}-{epoch}"
    return CheckpointSaved(t=0, trial=trial, epoch=epoch, generation=generation, path=path)


@pytest.mark.parametrize(
    ("copied", "damaged", "place", "words"),
    [
        (False, ["0-6"], "00000/0-4", "damaged checkpoint: its epoch 6; continues from its epoch 4"),
        (
            False,
            ["0-6", "0-4"],
            "00000/0-2",
            "damaged checkpoint: its epoch 6, its epoch 4; continues from its epoch 2",
        ),
        (
            False,
            ["0-6", "0-4", "0-2"],
            None,
            "damaged checkpoint: its epoch 6, its epoch 4, its epoch 2; starts again",
        ),
        (False, [], "00000/0-6", "damaged checkpoint; continues from its epoch 6"),
        (True, ["1-8"], "00001/0-6", "damaged checkpoint: its epoch 8; continues from trial 00001's epoch 6"),
        (True, ["1-8", "donor"], "00000/0-6", None),  # its own weights of before the copy
    ],
)
def test_the_newest_whole_checkpoint_is_taken_and_damaged_ones_are_gone(
    tmp_path: Path, copied: bool, damaged: list[str], place: str | None, words: str | None
) -> None:
    record = fold(history(copied))
    for trial in record.trials.values():
        for path in trial.checkpoints.values():
            folder = tmp_path / path
            folder.mkdir(parents=True)
            (folder / STATE).write_bytes(b"weights")
            (folder / CHECKSUM).write_text(checksums(folder, b"weights"))
    bad = [tmp_path / DONOR / "0-6" if name == "donor" else tmp_path / ME / name for name in damaged]
    for folder in bad:
        (folder / STATE).write_bytes(b"weight")
    checkpoint, message = find_intact_checkpoint(record, tmp_path.joinpath, ME)
    assert checkpoint == (None if place is None else str(tmp_path / place))
    assert words is None or message == words
    assert not any(folder.exists() for folder in bad)
    known = {tmp_path / path for trial in record.trials.values() for path in trial.checkpoints.values()}
    assert not known & set(bad)
    assert all(path.exists() for path in known)
