"""Where a trial goes on from when the checkpoint it was to go on from turns out damaged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from raysweep.study.journal.records import StudyRecord, TrialRecord
from raysweep.study.storage.locations import discard, locate_checkpoint
from trainables.checkpoint_integrity import is_intact


def find_intact_checkpoint(
    record: StudyRecord, locate: Callable[[str], str | Path], trial: str
) -> tuple[str | None, str]:
    """The best checkpoint for a trial that is as it was written; the damaged ones before it are deleted.

    Args:
        record: the study; what is deleted is taken out of it.
        locate: a checkpoint's path in the journal -> where it lies.
        trial: its id.

    Returns:
        Where it lies (None: the trial begins anew), and what happened, in one line.
    """
    damaged: list[str] = []
    for owner, key in list(_candidates(record, record.trials[trial])):
        place = locate(owner.checkpoints[key])
        whose = "its" if owner.trial == trial else f"trial {owner.trial}'s"
        with locate_checkpoint(place) as folder:
            intact = is_intact(folder)
        if intact:
            return str(place), f"{_names(damaged)}; goes on from {whose} epoch {key[1]}"
        damaged.append(f"{whose} epoch {key[1]}")
        discard(place)
        del owner.checkpoints[key]
    return None, f"{_names(damaged)}; begins anew"


def _candidates(record: StudyRecord, trial: TrialRecord) -> Iterator[tuple[TrialRecord, tuple[int, int]]]:
    """What a trial may go on from, best first: its own state, the donor's it copied, its own before that."""
    keys = sorted(trial.checkpoints, reverse=True)
    yield from ((trial, key) for key in keys if key[0] == trial.generation)
    if trial.lineage:
        copied = trial.lineage[-1]
        donor = record.trials[copied.donor]
        yield from ((donor, key) for key in sorted(donor.checkpoints, reverse=True) if key[1] == copied.epoch)
        earlier = [key for key in keys if key[0] < trial.generation and key[1] <= copied.epoch]
        yield from ((trial, key) for key in sorted(earlier, key=lambda key: (key[1], key[0]), reverse=True))


def _names(damaged: list[str]) -> str:
    return f"damaged checkpoint: {', '.join(damaged)}" if damaged else "damaged checkpoint"
