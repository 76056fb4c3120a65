"""Repair of a damaged journal: its sound beginning is kept, the damaged one is moved aside, never deleted."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from raysweep.study.journal.events import Event
from raysweep.study.journal.log import JournalError, Tail, last_marked
from raysweep.study.journal.records import StudyRecord, fold
from raysweep.study.journal.status_file import StatusFile
from raysweep.study.storage.journal_files import Position, write_mark
from raysweep.study.storage.layout import StudyFolder


@dataclass(frozen=True, slots=True)
class Damage:
    """The damage to a journal, and the beginning that is sound.

    Attributes:
        problem: the first problem; "" if there is none.
        kept: the events that can be kept.
        written: number of events that the journal had, at least.
        sound: bytes by segment that can be kept, in order.
        end: position of the last event that can be kept.
    """

    problem: str
    kept: tuple[Event, ...]
    written: int
    sound: dict[Path, int]
    end: Position

    def record(self, objective: str) -> StudyRecord:
        """The record of the study from the events that can be kept."""
        return fold(self.kept, objective)


def find_damage(journal: Path) -> Damage:
    """Read a journal up to its first damage.

    Raises:
        JournalError: if it is in another format.
    """
    tail, kept, problem = Tail(journal), list[Event](), ""
    try:
        for event in tail.read():
            kept.append(event)
    except JournalError as error:
        if not error.damaged:
            raise
        problem = error.problem
    written = max(len(kept), last_marked(journal))
    return Damage(problem, tuple(kept), written, dict(tail.sound), tail.position)


def keep_sound_part(folder: StudyFolder, damage: Damage) -> Path:
    """Replace a damaged journal by its sound beginning, and update the files computed from it.

    Args:
        folder: the study; the caller holds its lock.
        damage: of its journal.

    Returns:
        The new path of the damaged journal.

    Raises:
        OSError: if a file cannot be written.
    """
    journal = folder.journal_dir
    aside = _free_name(journal)
    with tempfile.TemporaryDirectory(prefix=".repair-", dir=folder.path) as beside:
        new = Path(beside) / journal.name
        new.mkdir()
        for segment, size in damage.sound.items():
            (new / segment.name).write_bytes(segment.read_bytes()[:size])
        write_mark(new, damage.end)
        if journal.exists() or journal.is_symlink():
            journal.rename(aside)
        new.rename(journal)
    _renew_derived(folder, damage)
    return aside


def _renew_derived(folder: StudyFolder, damage: Damage) -> None:
    """Delete the files that may be ahead of the journal (`resume` writes them again); write the status."""
    sweep = folder.stored_sweep()
    for stale in (folder.best_file, folder.optuna_file, folder.status_file):
        with suppress(FileNotFoundError):
            stale.unlink()
    record = damage.record(sweep.objective)
    if record.attempts:
        StatusFile(folder, record, sweep.metric, sweep.sign, sweep.metrics).write("interrupted")


def _free_name(journal: Path) -> Path:
    count = 1
    while (aside := journal.with_name(f"{journal.name}-damaged-{count}")).exists():
        count += 1
    return aside
