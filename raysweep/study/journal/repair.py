"""A damaged journal: what of it holds together, and keeping that.

What was there is put aside, never deleted.
"""

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
    """What is wrong with a journal, and its longest beginning that holds.

    Attributes:
        problem: the first thing that is wrong; "" if nothing is.
        kept: the events that can be kept.
        written: how many events the journal is known to have had at least.
        sound: segment -> bytes of it that can be kept, in order.
        end: where what can be kept ends.
    """

    problem: str
    kept: tuple[Event, ...]
    written: int
    sound: dict[Path, int]
    end: Position

    def record(self, objective: str) -> StudyRecord:
        """The study as far as it can be kept."""
        return fold(self.kept, objective)


def find_damage(journal: Path) -> Damage:
    """Read a journal as far as it holds together.

    Raises:
        JournalError: if it is of another format: nothing is damaged then.
    """
    tail, kept, problem = Tail(journal), list[Event](), ""
    try:
        for event in tail.read():
            kept.append(event)
    except JournalError as error:
        if not error.damaged:
            raise
        problem = error.finding
    written = max(len(kept), last_marked(journal))
    return Damage(problem, tuple(kept), written, dict(tail.sound), tail.position)


def keep_sound_part(folder: StudyFolder, damage: Damage) -> Path:
    """Put a new journal of what holds in the place of the damaged one, and make what is derived anew.

    Args:
        folder: the study, whose lock the caller holds.
        damage: of its journal.

    Returns:
        Where the damaged journal is now.

    Raises:
        OSError: if the disk refuses.
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
    """Have no file say more than the journal does; `resume` writes again what is deleted here."""
    sweep = folder.wanted()
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
