"""The journal: the one truth of a study. Events are appended; everything else folds them.

`journal/000001.jsonl`, `000002.jsonl`, ... one segment an attempt. A line is one event, written with a
single `write` to an unbuffered descriptor, so that a killed driver loses nothing it had reported; the
last line of a segment may be torn (the machine died in the middle of it) and is then passed over.
Segments are never rewritten.

Every line ends with a `sum`, the CRC-32 of the line and of all lines before it, and every event has a
running number `n`. A segment's first line repeats the number and the sum that it follows. A line that is
missing, repeated, moved or altered, and a segment that is missing or foreign, break this chain where they
stand. `journal/mark` holds the number and the sum of the last event known to be on the disk, so that an end
that was cut off is noticed, too. It is written after the disk has confirmed the event, so a power cut
leaves it behind the journal, never ahead of it.
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
    """A journal that cannot be read: damaged, or of another format version. Says where, and what is wrong.

    Attributes:
        finding: where, and what is wrong there; the message adds what to do.
        damaged: whether it is of this format, so that its sound beginning can be kept.
    """

    def __init__(self, finding: str, way_out: str, *, damaged: bool) -> None:
        super().__init__(f"{finding}; {way_out}")
        self.finding, self.damaged = finding, damaged


class Journal:
    """Appends events to a segment of its own. One writer a study: see `raysweep.study.storage.lock`.

    What is in the folder already must have been read without a `JournalError`: only its end is looked at.

    Args:
        folder: the study's `journal/` folder; made if it is missing.
        study: study name, written into the header.

    Raises:
        OSError: from any write the disk refuses (full, read-only, an I/O error); also once the segment
            is no longer what stands at its path (deleted, moved, replaced).
        JournalError: if the end of what is there cannot be read.
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
        """Write one event; it survives a kill of this process from here on, a power cut within a second."""
        kind = event.kind.encode()
        fields = _ADAPTERS[kind].dump_json(event)[1:-1]
        self._write_chained(b'{"n":%d,"event":"%b",%b' % (self._last + 1, kind, fields))
        self._last += 1
        if time.monotonic() - self._synced > SYNC_EVERY_S:
            self.sync()

    def check(self) -> None:
        """See that the segment still stands at its path, at most once a second.

        Raises:
            OSError: if it was deleted, moved, replaced or written to by somebody else.
        """
        if self._fd >= 0 and time.monotonic() - self._synced > SYNC_EVERY_S:
            self.sync()

    def sync(self) -> None:
        """Force what was written onto the disk, and note in the mark how far that is."""
        self._check_place()
        os.fsync(self._fd)
        os.pwrite(self._mark_fd, mark_text(Position(self._last, self._sum)), 0)
        self._synced = time.monotonic()

    def close(self) -> None:
        """Sync and close; harmless when already closed."""
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
        """Write the line of an unfinished JSON object, closed with its sum."""
        found = crc32(body, self._sum)
        self._write(b'%b,"sum":"%08x"}' % (body, found))
        self._sum = found

    def _write(self, line: bytes) -> None:
        rest = line + b"\n"
        self._size += len(rest)
        while rest:  # a disk that fills up takes a part, and refuses only the next call
            rest = rest[os.write(self._fd, rest) :]

    def _check_place(self) -> None:
        ours = os.fstat(self._fd)
        try:
            there = self.path.stat()
        except OSError:
            there = None
        if there is None or not os.path.samestat(ours, there):
            raise OSError(errno.ESTALE, "it was deleted, moved or replaced while the study ran")
        if ours.st_size != self._size:
            raise OSError(errno.ESTALE, "another program wrote to it while the study ran")


class Tail:
    """Reads a journal that somebody may be writing to.

    Args:
        folder: the study's `journal/` folder.

    Attributes:
        position: of the last event read.
        sound: segment -> bytes of whole lines that were read and hold together, in order.
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
        """The events since the last call, oldest first; at the first call all there are.

        Raises:
            JournalError: on another format version, or damage that is not a torn end.
        """
        mark = self._mark = read_mark(self.folder)  # before the segments: a writer moves it on after them
        self._passed_mark = self._met_mark = False
        self._compare_with_mark()
        segments = list_segments(self.folder)
        for path in segments:
            yield from self._read_segment(path)
        if mark is None:
            raise self._error(self.folder / MARK, 0, "is missing or damaged")
        if self._passed_mark and not self._met_mark:
            raise self._error(self.folder / MARK, 0, "is of another journal")
        if self.position.number < mark.number:
            last, number = segments[-1] if segments else self.folder, self.position.number
            raise self._error(last, 0, f"its end was cut off: event {number} of {mark.number} is the last")

    def _read_segment(self, path: Path) -> Iterator[Event]:
        offset, number = self.sound.get(path, 0), self._lines.get(path, 0)
        try:
            with path.open("rb") as segment:
                segment.seek(offset)
                data = segment.read()
        except OSError as error:
            raise self._error(path, 0, f"cannot be read ({error.strerror})") from None
        whole = data[: data.rfind(b"\n") + 1]  # what follows is torn, or being written
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
        """Note whether the mark speaks of this place, and of this history."""
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
            known = f"journal format {version}; this version of the program reads format {VERSION}"
            raise JournalError(f"{path}:1: {known}", OTHER_VERSION, damaged=False)
        now = self.position
        if (after, before) != (now.number, _hex(now.sum)):
            what = f"it follows event {after}, and before it stands event {now.number}"
            if after == now.number:
                what += " of another history"
            what += ": a segment is missing, cut short, repeated or out of place"
            raise self._error(path, 1, what)
        self._check_sum(path, 1, line)
        self._sums += (self.position.sum,)

    def _parse_event(self, path: Path, number: int, line: bytes) -> Event:
        start = _START.match(line)
        due = self.position.number + 1
        if start is None:
            raise self._error(path, number, "damaged line")
        if int(start[1]) != due:
            what = f"event {int(start[1])} where event {due} is due: lines are missing, repeated or swapped"
            raise self._error(path, number, what)
        before = self.position
        self._check_sum(path, number, line)
        try:
            event: Event = _ADAPTERS[start[2]].validate_json(line)
        except (KeyError, ValidationError):
            self.position = before
            what = f"{path}:{number}: an event that this version of the program does not know"
            raise JournalError(what, OTHER_VERSION, damaged=False) from None
        self.position = Position(due, self.position.sum)
        self._sums = (self.position.sum,)
        return event

    def _check_sum(self, path: Path, number: int, line: bytes) -> None:
        """Take a line into the chain."""
        found = crc32(line[:-_SUM_FIELD], self.position.sum)
        if line[-_SUM_FIELD:] != b',"sum":"%08x"}' % found:
            raise self._error(path, number, "damaged line: it is not as it was written")
        self.position = Position(self.position.number, found)

    def _error(self, path: Path, number: int, what: str) -> JournalError:
        place = f"{path}:{number}" if number else str(path)
        way_out = f"{RESTORE}, or `launch.py repair {self.folder.parent}` says what can be kept"
        return JournalError(f"{place}: {what}", way_out, damaged=True)


def read_events(folder: Path) -> Iterator[Event]:
    """All events of a study, oldest first.

    Raises:
        JournalError: as `Tail.read`.
    """
    return Tail(folder).read()


def last_marked(folder: Path) -> int:
    """The number of the last event that a journal's mark speaks of; 0 if the mark cannot be read."""
    mark = read_mark(folder)
    return 0 if mark is None else mark.number


def _hex(found: int) -> str:
    return f"{found:08x}"


def _find_end(segments: list[Path]) -> Position:
    """Where a journal that was read without an error ends."""
    for path in reversed(segments):
        data = path.read_bytes()
        whole = data[: data.rfind(b"\n")]
        if data.count(b"\n") == 0:  # torn within its header: nothing in it counts
            continue
        line = whole[whole.rfind(b"\n") + 1 :]
        try:
            fields = json.loads(line)
            return Position(int(fields["n"] if "n" in fields else fields["after"]), int(fields["sum"], 16))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise JournalError(f"{path}: its last line is damaged", RESTORE, damaged=True) from None
    return Position()


def _sync_folder(folder: Path) -> None:
    """Have a new name in a folder survive a power cut."""
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
