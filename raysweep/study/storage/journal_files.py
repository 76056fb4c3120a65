"""The files of a study's journal, its segments and its mark; `journal.log` reads their contents."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

MARK = "mark"

_SEGMENT = re.compile(r"\d{6,}\.jsonl")
_MARK = re.compile(rb"(\d{12}) ([0-9a-f]{8})\n")


@dataclass(frozen=True, slots=True)
class Position:
    """A position in a journal: the number of its last event, and the checksum of its last line."""

    number: int = 0
    sum: int = 0


def make_journal(folder: Path) -> None:
    """Create the folder of an empty journal.

    Raises:
        OSError: if it exists, or cannot be written.
    """
    folder.mkdir(parents=True)
    (folder / MARK).write_bytes(mark_text(Position()))


def list_segments(folder: Path) -> list[Path]:
    """The segments of a journal, by number; empty if there is no such folder."""
    try:
        paths = [path for path in folder.iterdir() if _SEGMENT.fullmatch(path.name)]
    except OSError:
        return []  # then the mark is missing too, which is reported
    return sorted(paths, key=segment_number)


def list_foreign_files(folder: Path) -> list[Path]:
    """Files in a journal's folder that are no part of it, such as a sync tool's copies of segments."""
    try:
        paths = sorted(folder.iterdir())
    except OSError:
        return []
    return [path for path in paths if path.name != MARK and not _SEGMENT.fullmatch(path.name)]


def write_mark(folder: Path, position: Position) -> None:
    """Record up to which position a journal is known to be on the disk.

    Raises:
        OSError: if the mark cannot be written.
    """
    (folder / MARK).write_bytes(mark_text(position))


def mark_text(position: Position) -> bytes:
    """The content of a mark file."""
    return b"%012d %08x\n" % (position.number, position.sum)


def read_mark(folder: Path) -> Position | None:
    """The position in a journal's mark; None if it cannot be read."""
    try:
        match = _MARK.fullmatch((folder / MARK).read_bytes())
    except OSError:
        return None
    return Position(int(match[1]), int(match[2], 16)) if match else None


def segment_number(path: Path) -> int:
    """The number in a segment's name."""
    return int(path.stem)
