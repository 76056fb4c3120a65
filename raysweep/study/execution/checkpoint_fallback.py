"""The checkpoint from which a trial continues if the intended one is damaged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from raysweep.study.journal.records import StudyRecord, TrialRecord
from raysweep.study.storage.locations import discard, locate_checkpoint
from trainables.checkpoint_integrity import is_intact


def find_intact_checkpoint(
    record: StudyRecord, locate: Callable[[str], str | Path], trial: str
) -> tuple[str | None, str]:
    """The first intact checkpoint that a trial can continue from; damaged ones before it are deleted.

    Args:
        record: of the study; deleted checkpoints are removed from it.
        locate: gives the path or URI of a checkpoint from its path in the journal.
        trial: its id.

    Returns:
        Its path or URI (None: the trial starts again), and one line on what happened.
    """
    damaged: list[str] = []
    for owner, key in list(_candidates(record, record.trials[trial])):
        location = locate(owner.checkpoints[key])
        whose = "its" if owner.trial == trial else f"trial {owner.trial}'s"
        with locate_checkpoint(location) as folder:
            intact = is_intact(folder)
        if intact:
            return str(location), f"{_names(damaged)}; continues from {whose} epoch {key[1]}"
        damaged.append(f"{whose} epoch {key[1]}")
        discard(location)
        del owner.checkpoints[key]
    return None, f"{_names(damaged)}; starts again"


def _candidates(record: StudyRecord, trial: TrialRecord) -> Iterator[tuple[TrialRecord, tuple[int, int]]]:
    """Checkpoints to continue from, best first: its own, its last donor's, its own from before that copy."""
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
