"""The journal: the one truth of a study. Events are appended; everything else folds them.

`journal/000001.jsonl`, `000002.jsonl`, ... one segment an attempt, each opened by a header line with
the format version. A line is one event, written with a single `write` to an unbuffered descriptor, so
that a killed driver loses nothing it had reported; the last line of a segment may be torn (the
machine died in the middle of it) and is then passed over. Segments are never rewritten.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from service.study import events
from service.study.events import Event

VERSION = 1
SYNC_EVERY_S = 1.0

_KINDS: dict[str, type] = {kind.__name__: kind for kind in events.Event.__args__}
# "strings": JSON has no NaN; "NaN" and "Infinity" are read back as the floats they were.
_ADAPTERS: dict[str, TypeAdapter[Any]] = {}
for _name, _kind in _KINDS.items():
    _kind.__pydantic_config__ = ConfigDict(ser_json_inf_nan="strings")  # type: ignore[attr-defined]
    _ADAPTERS[_name] = TypeAdapter(_kind)


class JournalError(Exception):
    """A journal that cannot be read: another format version, or a damaged line. Says which line."""


class Journal:
    """Appends events to a segment of its own. One writer a study: see `service.study.lock`.

    Args:
        folder: the study's `journal/` folder; made if missing.
        study: study name, written into the header.

    Raises:
        OSError: from any write the disk refuses (full, read-only).
    """

    def __init__(self, folder: Path, study: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        number = 1 + max((int(path.stem) for path in folder.glob("*.jsonl")), default=0)
        self.path = folder / f"{number:06d}.jsonl"
        self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        self._synced = time.monotonic()
        self._write(json.dumps({"event": "Journal", "version": VERSION, "study": study}).encode())

    def append(self, event: Event) -> None:
        """Write one event; it survives a kill of this process from here on, a power cut within a second."""
        name = type(event).__name__
        body = _ADAPTERS[name].dump_json(event)
        self._write(b'{"event":"' + name.encode() + b'",' + body[1:])
        if time.monotonic() - self._synced > SYNC_EVERY_S:
            self.sync()

    def sync(self) -> None:
        """Force what was written onto the disk."""
        os.fsync(self._fd)
        self._synced = time.monotonic()

    def close(self) -> None:
        """Sync and close; harmless when already closed."""
        if self._fd >= 0:
            self.sync()
            os.close(self._fd)
            self._fd = -1

    def _write(self, line: bytes) -> None:
        rest = line + b"\n"
        while rest:  # a disk that fills up takes a part, and refuses only the next call
            rest = rest[os.write(self._fd, rest) :]


class Tail:
    """Reads a journal that somebody may be writing to.

    Args:
        folder: the study's `journal/` folder; it may not exist yet.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._read: dict[Path, tuple[int, int]] = {}  # segment -> bytes and lines taken

    def read(self) -> Iterator[Event]:
        """The events since the last call, oldest first; at the first call all there are.

        Raises:
            JournalError: on a version this code does not know, or a damaged line that is not a torn end.
        """
        for path in sorted(self.folder.glob("*.jsonl")):
            offset, before = self._read.get(path, (0, 0))
            with path.open("rb") as segment:
                segment.seek(offset)
                data = segment.read()
            whole = data[: data.rfind(b"\n") + 1]  # what follows is torn, or being written
            self._read[path] = offset + len(whole), before + whole.count(b"\n")
            for number, line in enumerate(whole.split(b"\n")[:-1], start=before + 1):
                if number == 1:
                    _check_header(path, line)
                else:
                    yield _event(path, number, line)


def read_events(folder: Path) -> Iterator[Event]:
    """All events of a study, oldest first.

    Raises:
        JournalError: as `Tail.read`.
    """
    return Tail(folder).read()


def _check_header(path: Path, line: bytes) -> None:
    try:
        header = json.loads(line)
        version = header["version"]
    except (ValueError, KeyError, TypeError):
        raise JournalError(f"{path}:1: no journal header; is this a segment of a study's journal?") from None
    if version != VERSION:
        raise JournalError(
            f"{path}:1: journal format {version}; this version of the program reads format {VERSION}. "
            "Use the version that wrote it."
        )


def _event(path: Path, number: int, line: bytes) -> Event:
    try:
        fields = json.loads(line)
        adapter = _ADAPTERS[fields.pop("event")]
        event: Event = adapter.validate_python(fields)
    except (ValueError, KeyError, TypeError, AttributeError, ValidationError) as error:
        raise JournalError(
            f"{path}:{number}: damaged line ({type(error).__name__}); restore it from a copy"
        ) from None
    return event
