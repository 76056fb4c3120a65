"""The files of a study's journal: its segments and its mark; what they hold is read by `journal.log`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

MARK = "mark"

_SEGMENT = re.compile(r"\d{6,}\.jsonl")
_MARK = re.compile(rb"(\d{12}) ([0-9a-f]{8})\n")


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a journal: the number of its last event, and the sum of its last line."""

    number: int = 0
    sum: int = 0


def make_journal(folder: Path) -> None:
    """Make the folder of an empty journal.

    Raises:
        OSError: if the disk refuses, or the folder is there.
    """
    folder.mkdir(parents=True)
    (folder / MARK).write_bytes(mark_text(Position()))


def list_segments(folder: Path) -> list[Path]:
    """A journal's segments in order, by their names; nothing if there is no such folder."""
    try:
        paths = [path for path in folder.iterdir() if _SEGMENT.fullmatch(path.name)]
    except OSError:
        return []  # the mark is missing then, too
    return sorted(paths, key=segment_number)


def list_foreign_files(folder: Path) -> list[Path]:
    """What lies in a journal's folder and is no part of it, such as a sync tool's copies of segments."""
    try:
        paths = sorted(folder.iterdir())
    except OSError:
        return []
    return [path for path in paths if path.name != MARK and not _SEGMENT.fullmatch(path.name)]


def write_mark(folder: Path, position: Position) -> None:
    """Say how far a journal is known to be on the disk.

    Raises:
        OSError: if the disk refuses.
    """
    (folder / MARK).write_bytes(mark_text(position))


def mark_text(position: Position) -> bytes:
    """The mark of a position, as it is written."""
    return b"%012d %08x\n" % (position.number, position.sum)


def read_mark(folder: Path) -> Position | None:
    """The position that a journal's mark names; None if it cannot be read."""
    try:
        found = _MARK.fullmatch((folder / MARK).read_bytes())
    except OSError:
        return None
    return Position(int(found[1]), int(found[2], 16)) if found else None


def segment_number(path: Path) -> int:
    """The number in a segment's name."""
    return int(path.stem)
