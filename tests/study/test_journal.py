"""The journal: what was appended is read back, whatever the end of the file looks like."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raysweep.study.journal.events import (
    AttemptStarted,
    EpochReported,
    Event,
    TrialCreated,
    TrialEnded,
    TrialExploited,
)
from raysweep.study.journal.log import Journal, JournalError, last_marked, read_events
from raysweep.study.storage.journal_files import Position, list_foreign_files, make_journal, write_mark
from tests.builders import epoch_reported

SAMPLE = AttemptStarted(t=1.0, attempt=1, slots=2, trials=3)
floats = st.floats(allow_nan=False)
configs = st.dictionaries(
    st.text(min_size=1), st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.text())
)
events: st.SearchStrategy[Event] = st.one_of(
    st.builds(AttemptStarted, t=floats, attempt=st.integers(1), slots=st.integers(1), trials=st.integers(1)),
    st.builds(TrialCreated, t=floats, trial=st.just("00001"), config=configs, source=st.just("sampler")),
    st.builds(
        EpochReported,
        t=floats,
        trial=st.just("00001"),
        generation=st.integers(0),
        epoch=st.integers(1),
        work=st.integers(1),
        loss=st.one_of(st.none(), floats),
        metrics=st.dictionaries(st.text(), floats),
        decision=st.sampled_from(["continue", "pause", "stop", "exploit"]),
        reason=st.text(),
    ),
    st.builds(
        TrialExploited,
        t=floats,
        trial=st.just("00001"),
        donor=st.just("00002"),
        epoch=st.integers(1),
        generation=st.integers(1),
        config=configs,
        reason=st.text(),
    ),
    st.builds(
        TrialEnded,
        t=floats,
        trial=st.just("00001"),
        outcome=st.sampled_from(["completed", "failed"]),
        reason=st.text(),
    ),
)


def write_journal(folder: Path, lines: list[Any]) -> Path:
    journal = Journal(folder, "s")
    for event in lines:
        journal.append(event)
    journal.close()
    return journal.path


def cut_as_by_a_power_cut(segment: Path, left: bytes) -> None:
    """Leave so much of a segment, the mark as of before the disk was asked."""
    segment.write_bytes(left)
    write_mark(segment.parent, Position())


@settings(max_examples=50)
@given(st.lists(events, max_size=8))
def test_every_event_is_read_back_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, lines: list[Any]
) -> None:
    folder = tmp_path_factory.mktemp("study") / "journal"
    write_journal(folder, lines)
    assert list(read_events(folder)) == lines


@pytest.mark.parametrize("loss", [math.inf, -math.inf])
def test_an_infinite_loss_survives(tmp_path: Path, loss: float) -> None:
    write_journal(tmp_path / "journal", [report(1, loss)])
    [event] = read_events(tmp_path / "journal")
    assert isinstance(event, EpochReported)
    assert event.loss == loss


def test_a_nan_loss_survives_as_nan(tmp_path: Path) -> None:
    write_journal(tmp_path / "journal", [report(1, math.nan)])
    [event] = read_events(tmp_path / "journal")
    assert isinstance(event, EpochReported)
    assert event.loss is not None
    assert math.isnan(event.loss)


def test_a_journal_cut_anywhere_after_its_mark_gives_the_lines_before(tmp_path: Path) -> None:
    """What the disk had not confirmed may be missing: a power cut."""
    lines = [report(epoch, 1 / epoch) for epoch in range(1, 6)]
    data = write_journal(tmp_path / "whole", lines).read_bytes()
    header_end = data.index(b"\n") + 1
    for cut in range(len(data)):
        folder = tmp_path / str(cut)
        make_journal(folder)
        (folder / "000001.jsonl").write_bytes(data[:cut])
        whole_lines = max(0, data[:cut].count(b"\n") - 1) if cut >= header_end else 0
        assert list(read_events(folder)) == lines[:whole_lines]


def test_a_disk_that_takes_a_line_in_parts_has_it_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fills up takes what it can; the next call is the one that says no."""
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:7]))
    journal = Journal(tmp_path / "journal", "parts")
    journal.append(SAMPLE)
    journal.close()
    assert list(read_events(tmp_path / "journal")) == [SAMPLE]


def test_an_attempt_opens_a_segment_of_its_own_so_a_torn_line_stays_alone(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    first = write_journal(folder, [report(1, 0.5), report(2, 0.4)])
    cut_as_by_a_power_cut(first, first.read_bytes()[:-9])
    write_journal(folder, [report(2, 0.4)])
    assert list(read_events(folder)) == [report(1, 0.5), report(2, 0.4)]


def test_a_journal_that_was_opened_and_closed_without_an_event_is_sound(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    for events_of_attempt in ([], [report(1, 0.5)], [], []):
        write_journal(folder, events_of_attempt)
    assert list(read_events(folder)) == [report(1, 0.5)]


@pytest.mark.parametrize("version", ["99", "1", "2", "true", '"3"'])
def test_a_journal_of_another_format_is_refused_with_both_versions(tmp_path: Path, version: str) -> None:
    make_journal(tmp_path / "journal")
    path = tmp_path / "journal/000001.jsonl"
    path.write_text(f'{{"event":"journal","version":{version},"study":"s"}}\n')
    with pytest.raises(JournalError) as refused:
        list(read_events(path.parent))
    assert str(refused.value) == (
        f"{path}:1: journal format {json.loads(version)}; this version of the program reads format 3; "
        "use the version that wrote it"
    )
    assert not refused.value.damaged


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text() + text + "\n")


def swap(path: Path, first: int, second: int) -> None:
    lines = path.read_text().splitlines(keepends=True)
    lines[first], lines[second] = lines[second], lines[first]
    path.write_text("".join(lines))


def edit(path: Path, old: str, new: str) -> None:
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a line that is no event": (lambda j: append(j / "000003.jsonl", "{}"), "000003.jsonl:4: damaged line"),
    "a line that is no JSON": (lambda j: append(j / "000003.jsonl", "x"), "000003.jsonl:4: damaged line"),
    "a digit of a loss": (
        lambda j: edit(j / "000001.jsonl", '"loss":0.5', '"loss":0.4'),
        "000001.jsonl:2: damaged line: its checksum does not match",
    ),
    "a letter of the header": (
        lambda j: edit(j / "000001.jsonl", '"study": "s"', '"study": "t"'),
        "000001.jsonl:1: damaged line: its checksum does not match",
    ),
    "no header": (lambda j: edit(j / "000001.jsonl", "version", "v"), "000001.jsonl:1: no journal header"),
    "two lines swapped": (
        lambda j: swap(j / "000002.jsonl", 1, 2),
        "000002.jsonl:2: event 4 instead of 3: lines are missing, repeated or swapped",
    ),
    "the first segment missing": (
        lambda j: (j / "000001.jsonl").unlink(),
        "000002.jsonl:1: it continues event 2, but the segments before it end with event 0: "
        "a segment is missing, truncated, repeated or out of order",
    ),
    "a segment emptied": (
        lambda j: (j / "000002.jsonl").write_text(""),
        "000003.jsonl:1: it continues event 4, but the segments before it end with event 2: "
        "a segment is missing, truncated, repeated or out of order",
    ),
    "the last segment missing": (
        lambda j: (j / "000003.jsonl").unlink(),
        "000002.jsonl: its end is missing: event 4 of 6 is the last",
    ),
    "every segment missing": (
        lambda j: [path.unlink() for path in j.glob("*.jsonl")],  # type: ignore[func-returns-value]
        "journal: its end is missing: event 0 of 6 is the last",
    ),
    "a segment twice": (
        lambda j: shutil.copy(j / "000001.jsonl", j / "000004.jsonl"),
        "000004.jsonl:1: it continues event 0, but the segments before it end with event 6: "
        "a segment is missing, truncated, repeated or out of order",
    ),
    "a segment that is a folder": (
        lambda j: (j / "000004.jsonl").mkdir(),
        "000004.jsonl: cannot be read (Is a directory)",
    ),
    "a link to nowhere": (
        lambda j: (j / "000004.jsonl").symlink_to("nowhere"),
        "000004.jsonl: cannot be read (No such file or directory)",
    ),
    "the mark missing": (lambda j: (j / "mark").unlink(), "mark: is missing or damaged"),
    "the mark of another journal": (
        lambda j: (j / "mark").write_bytes(b"000000000006 01234567\n"),
        "mark: belongs to another journal",
    ),
    "the whole folder missing": (lambda j: shutil.rmtree(j), "mark: is missing or damaged"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_refused_with_its_place_and_the_fix(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "journal"
    for attempt in range(3):
        write_journal(folder, [report(2 * attempt + 1, 0.5), report(2 * attempt + 2, 0.25)])
    do, problem = DAMAGES[damage]
    do(folder)
    with pytest.raises(JournalError) as refused:
        list(read_events(folder))
    assert refused.value.problem.endswith(problem)
    fix = f"restore it from a copy, or see what `launch.py repair {tmp_path}` can keep"
    assert str(refused.value) == f"{refused.value.problem}; {fix}"


@pytest.mark.parametrize(
    "name", ["000001 (copy).jsonl", "._000001.jsonl", "000001.sync-conflict-1.jsonl", ".DS_Store"]
)
def test_a_file_whose_name_is_no_segments_is_not_read_and_listed(tmp_path: Path, name: str) -> None:
    segment = write_journal(tmp_path / "journal", [report(1, 0.5)])
    shutil.copy(segment, segment.with_name(name))
    assert list(read_events(segment.parent)) == [report(1, 0.5)]
    assert list_foreign_files(segment.parent) == [segment.with_name(name)]


def test_the_mark_never_speaks_of_what_the_disk_has_not_confirmed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every fsync, the mark of before is still true of what is on the disk."""
    marked: list[int] = []
    journal = Journal(tmp_path / "journal", "s")
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (marked.append(last_marked(journal.path.parent)), real(fd)))  # type: ignore[func-returns-value]
    for epoch in range(1, 4):
        journal.append(report(epoch, 0.5))
        journal.sync()
    journal.close()
    assert marked[:3] == [0, 1, 2]
    assert last_marked(journal.path.parent) == 3


def moved(journal: Journal) -> None:
    journal.path.parent.rename(journal.path.parent.with_name("elsewhere"))


def deleted(journal: Journal) -> None:
    journal.path.unlink()


def replaced(journal: Journal) -> None:
    copy = journal.path.with_name("copy")
    shutil.copy(journal.path, copy)
    copy.replace(journal.path)


def written_to(journal: Journal) -> None:
    append(journal.path, "x")


@pytest.mark.parametrize("look", [lambda journal: journal.append(SAMPLE), Journal.check])
@pytest.mark.parametrize(
    ("what", "message"),
    [
        (moved, "it was deleted, moved or replaced while the study ran"),
        (deleted, "it was deleted, moved or replaced while the study ran"),
        (replaced, "it was deleted, moved or replaced while the study ran"),
        (written_to, "another program wrote to it while the study ran"),
    ],
)
def test_an_open_journal_that_is_not_what_stands_at_its_path_says_so(
    tmp_path: Path,
    what: Callable[[Journal], None],
    message: str,
    look: Callable[[Journal], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With an event or without one, a second after the last look."""
    journal = Journal(tmp_path / "journal", "s")
    journal.append(SAMPLE)
    what(journal)
    journal.check()  # no second has passed
    monkeypatch.setattr("raysweep.study.journal.log.SYNC_EVERY_S", 0.0)
    with pytest.raises(OSError, match=message):
        look(journal)


def report(epoch: int, loss: float, trial: str = "00000") -> EpochReported:
    return epoch_reported(trial, epoch, loss, t=float(epoch), metrics={"val_loss": 1.5})
