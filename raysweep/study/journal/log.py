"""The journal, the source of truth of a study: events are appended, everything else is computed from them.

`journal/000001.jsonl`, `000002.jsonl`, ... is one segment per attempt, one event per line. A line is
written with a single `write` to an unbuffered descriptor, so that a killed driver loses no reported event.
The last line of a segment may be incomplete (the machine died while writing it) and is then ignored.
Segments are never rewritten.

Every line ends with a `sum`, the CRC-32 of the line and of all lines before it, and every event has a
running number `n`. A segment's first line repeats the number and the sum that it follows. A line that is
missing, repeated, moved or altered, and a segment that is missing or foreign, break this chain.
`journal/mark` holds the number and the sum of the last event known to be on the disk, so that a truncated
end is noticed, too. It is written after the disk has confirmed the event, so a power cut leaves it behind
the journal, never ahead of it.
"""

from __future__ import annotations

import errno
import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

from pydantic import ConfigDict, TypeAdapter, ValidationError

from raysweep.errors import RaysweepError
from raysweep.study.journal import events
from raysweep.study.journal.events import Event
from raysweep.study.storage.files import OTHER_VERSION, RESTORE
from raysweep.study.storage.journal_files import (
    MARK,
    Position,
    list_segments,
    make_journal,
    mark_text,
    read_mark,
    segment_number,
)

VERSION = 3
SYNC_EVERY_S = 1.0

_START = re.compile(rb'\{"n":(\d+),"event":"(\w+)",')
_SUM_FIELD = len(b',"sum":"01234567"}')

# "strings": JSON has no NaN; "NaN" and "Infinity" are read back as the floats they were.
_ADAPTERS: dict[bytes, TypeAdapter[Any]] = {}
for _kind in events.Event.__args__:
    _kind.__pydantic_config__ = ConfigDict(ser_json_inf_nan="strings")
    _ADAPTERS[_kind.kind.encode()] = TypeAdapter(_kind)


class JournalError(RaysweepError):
    """A journal cannot be read: it is damaged, or in another format version.

    Attributes:
        problem: position and problem; the message adds what to do.
        damaged: True if it is in this format, so that its sound beginning can be kept.
    """

    def __init__(self, problem: str, fix: str, *, damaged: bool) -> None:
        super().__init__(f"{problem}; {fix}")
        self.problem, self.damaged = problem, damaged


class Journal:
    """Appends events to a new segment. A study has one writer: see `raysweep.study.storage.lock`.

    The segments so far must have been read without a `JournalError`: only their end is read here.

    Args:
        folder: the study's `journal/` folder; created if it is missing.
        study: study name, written into the header.

    Raises:
        OSError: from any failing write (disk full, read-only, I/O error), and once the segment's path no
            longer leads to this file (deleted, moved, replaced).
        JournalError: if the end of the last segment cannot be read.
    """

    def __init__(self, folder: Path, study: str) -> None:
        if not folder.exists():
            make_journal(folder)
        segments = list_segments(folder)
        end = _find_end(segments)
        self._last, self._sum = end.number, end.sum
        self.path = folder / f"{1 + (segment_number(segments[-1]) if segments else 0):06d}.jsonl"
        self._fd = self._mark_fd = -1
        self._mark_fd = os.open(folder / MARK, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._fd = os.open(
            self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644
        )
        self._size = 0
        self._synced = time.monotonic()
        _sync_folder(folder)
        header = {
            "event": "journal",
            "version": VERSION,
            "study": study,
            "after": self._last,
            "before": _hex(self._sum),
        }
        self._write_chained(json.dumps(header).encode()[:-1])

    def append(self, event: Event) -> None:
        """Write one event, which then survives a kill of this process, and a power cut a second later."""
        kind = event.kind.encode()
        fields = _ADAPTERS[kind].dump_json(event)[1:-1]
        self._write_chained(b'{"n":%d,"event":"%b",%b' % (self._last + 1, kind, fields))
        self._last += 1
        if time.monotonic() - self._synced > SYNC_EVERY_S:
            self.sync()

    def check(self) -> None:
        """Raise if the segment is no longer at its path; looks at most once a second.

        Raises:
            OSError: if it was deleted, moved, replaced or written to by another program.
        """
        if self._fd >= 0 and time.monotonic() - self._synced > SYNC_EVERY_S:
            self.sync()

    def sync(self) -> None:
        """Force the written events onto the disk, and record their end in the mark."""
        self._check_file()
        os.fsync(self._fd)
        os.pwrite(self._mark_fd, mark_text(Position(self._last, self._sum)), 0)
        self._synced = time.monotonic()

    def close(self) -> None:
        """Sync and close; does nothing when already closed."""
        if self._fd < 0:
            return
        try:
            self.sync()
            os.fsync(self._mark_fd)
        finally:
            os.close(self._fd)
            os.close(self._mark_fd)
            self._fd = self._mark_fd = -1

    def _write_chained(self, body: bytes) -> None:
        """Write a line: a JSON object without its closing brace, then its sum."""
        new_sum = crc32(body, self._sum)
        self._write(b'%b,"sum":"%08x"}' % (body, new_sum))
        self._sum = new_sum

    def _write(self, line: bytes) -> None:
        rest = line + b"\n"
        self._size += len(rest)
        while rest:  # when a disk fills up, `write` accepts a part and fails at the next call only
            rest = rest[os.write(self._fd, rest) :]

    def _check_file(self) -> None:
        ours = os.fstat(self._fd)
        try:
            at_path = self.path.stat()
        except OSError:
            at_path = None
        if at_path is None or not os.path.samestat(ours, at_path):
            raise OSError(errno.ESTALE, "it was deleted, moved or replaced while the study ran")
        if ours.st_size != self._size:
            raise OSError(errno.ESTALE, "another program wrote to it while the study ran")


class Tail:
    """Reads a journal that may be growing.

    Args:
        folder: the study's `journal/` folder.

    Attributes:
        position: of the last event read.
        sound: bytes by segment of the lines that were read and verified, in order.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.position = Position()
        self.sound: dict[Path, int] = {}
        self._lines: dict[Path, int] = {}
        self._mark: Position | None = None
        self._passed_mark = self._met_mark = False
        self._sums: tuple[int, ...] = (0,)  # of the last event, and of headers after it

    def read(self) -> Iterator[Event]:
        """Yield the events since the last call, oldest first; at the first call, all.

        Raises:
            JournalError: on another format version, or damage other than an incomplete last line.
        """
        mark = self._mark = read_mark(self.folder)  # before the segments: a writer updates it after them
        self._passed_mark = self._met_mark = False
        self._compare_with_mark()
        segments = list_segments(self.folder)
        for path in segments:
            yield from self._read_segment(path)
        if mark is None:
            raise self._error(self.folder / MARK, 0, "is missing or damaged")
        if self._passed_mark and not self._met_mark:
            raise self._error(self.folder / MARK, 0, "belongs to another journal")
        if self.position.number < mark.number:
            last, number = segments[-1] if segments else self.folder, self.position.number
            raise self._error(last, 0, f"its end is missing: event {number} of {mark.number} is the last")

    def _read_segment(self, path: Path) -> Iterator[Event]:
        offset, number = self.sound.get(path, 0), self._lines.get(path, 0)
        try:
            with path.open("rb") as segment:
                segment.seek(offset)
                data = segment.read()
        except OSError as error:
            raise self._error(path, 0, f"cannot be read ({error.strerror})") from None
        whole = data[: data.rfind(b"\n") + 1]  # the rest is incomplete, or being written
        for line in whole.split(b"\n")[:-1]:
            number += 1
            if number == 1:
                self._check_header(path, line)
            else:
                event = self._parse_event(path, number, line)
            self._compare_with_mark()
            offset += len(line) + 1
            self.sound[path], self._lines[path] = offset, number
            if number > 1:
                yield event

    def _compare_with_mark(self) -> None:
        """Note whether the current position is the mark's, by number and by sum."""
        if self._mark is not None and self._mark.number == self.position.number:
            self._passed_mark = True
            self._met_mark = self._met_mark or self._mark.sum in self._sums

    def _check_header(self, path: Path, line: bytes) -> None:
        try:
            header = json.loads(line)
            version, after, before = header["version"], header.get("after"), header.get("before")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise self._error(path, 1, "no journal header") from None
        if version != VERSION or isinstance(version, bool):
            problem = f"journal format {version}; this version of the program reads format {VERSION}"
            raise JournalError(f"{path}:1: {problem}", OTHER_VERSION, damaged=False)
        now = self.position
        if (after, before) != (now.number, _hex(now.sum)):
            problem = f"it continues event {after}, but the segments before it end with event {now.number}"
            if after == now.number:
                problem += " of another history"
            problem += ": a segment is missing, truncated, repeated or out of order"
            raise self._error(path, 1, problem)
        self._check_sum(path, 1, line)
        self._sums += (self.position.sum,)

    def _parse_event(self, path: Path, number: int, line: bytes) -> Event:
        start = _START.match(line)
        expected = self.position.number + 1
        if start is None:
            raise self._error(path, number, "damaged line")
        if int(start[1]) != expected:
            problem = f"event {int(start[1])} instead of {expected}: lines are missing, repeated or swapped"
            raise self._error(path, number, problem)
        before = self.position
        self._check_sum(path, number, line)
        try:
            event: Event = _ADAPTERS[start[2]].validate_json(line)
        except (KeyError, ValidationError):
            self.position = before
            problem = f"{path}:{number}: an event that this version of the program does not know"
            raise JournalError(problem, OTHER_VERSION, damaged=False) from None
        self.position = Position(expected, self.position.sum)
        self._sums = (self.position.sum,)
        return event

    def _check_sum(self, path: Path, number: int, line: bytes) -> None:
        """Verify a line's sum and advance the position's."""
        new_sum = crc32(line[:-_SUM_FIELD], self.position.sum)
        if line[-_SUM_FIELD:] != b',"sum":"%08x"}' % new_sum:
            raise self._error(path, number, "damaged line: its checksum does not match")
        self.position = Position(self.position.number, new_sum)

    def _error(self, path: Path, number: int, problem: str) -> JournalError:
        where = f"{path}:{number}" if number else str(path)
        fix = f"{RESTORE}, or see what `launch.py repair {self.folder.parent}` can keep"
        return JournalError(f"{where}: {problem}", fix, damaged=True)


def read_events(folder: Path) -> Iterator[Event]:
    """Yield all events of a study, oldest first.

    Raises:
        JournalError: as `Tail.read`.
    """
    return Tail(folder).read()


def last_marked(folder: Path) -> int:
    """The number of the event in a journal's mark; 0 if the mark cannot be read."""
    mark = read_mark(folder)
    return 0 if mark is None else mark.number


def _hex(checksum: int) -> str:
    return f"{checksum:08x}"


def _find_end(segments: list[Path]) -> Position:
    """The end of a journal that was read without an error."""
    for path in reversed(segments):
        data = path.read_bytes()
        whole = data[: data.rfind(b"\n")]
        if b"\n" not in data:  # its header is incomplete: it holds no event
            continue
        line = whole[whole.rfind(b"\n") + 1 :]
        try:
            fields = json.loads(line)
            return Position(int(fields["n"] if "n" in fields else fields["after"]), int(fields["sum"], 16))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise JournalError(f"{path}: its last line is damaged", RESTORE, damaged=True) from None
    return Position()


def _sync_folder(folder: Path) -> None:
    """Make a new file's name in a folder survive a power cut."""
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
