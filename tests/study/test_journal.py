"""The journal: what was appended is read back, whatever the end of the file looks like."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.study.events import Asked, Begun, Ended, Event, Exploited, Reported
from service.study.journal import Journal, JournalError, read_events

SAMPLE = Begun(t=1.0, attempt=1, slots=2, trials=3)
floats = st.floats(allow_nan=False)
configs = st.dictionaries(
    st.text(min_size=1), st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.text())
)
events: st.SearchStrategy[Event] = st.one_of(
    st.builds(Begun, t=floats, attempt=st.integers(1), slots=st.integers(1), trials=st.integers(1)),
    st.builds(Asked, t=floats, trial=st.just("00001"), config=configs, source=st.just("sampler")),
    st.builds(
        Reported,
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
        Exploited,
        t=floats,
        trial=st.just("00001"),
        donor=st.just("00002"),
        epoch=st.integers(1),
        generation=st.integers(1),
        config=configs,
        reason=st.text(),
    ),
    st.builds(
        Ended,
        t=floats,
        trial=st.just("00001"),
        outcome=st.sampled_from(["completed", "failed"]),
        reason=st.text(),
    ),
)


def written(folder: Path, lines: list[Event]) -> Path:
    journal = Journal(folder, "s")
    for event in lines:
        journal.append(event)
    journal.close()
    return journal.path


@given(st.lists(events, max_size=8))
def test_every_event_is_read_back_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, lines: list[Event]
):
    folder = tmp_path_factory.mktemp("journal")
    written(folder, lines)
    assert list(read_events(folder)) == lines


@pytest.mark.parametrize("loss", [math.inf, -math.inf])
def test_an_infinite_loss_survives(tmp_path: Path, loss: float):
    written(tmp_path, [report(1, loss)])
    [event] = read_events(tmp_path)
    assert isinstance(event, Reported)
    assert event.loss == loss


def test_a_nan_loss_survives_as_nan(tmp_path: Path):
    written(tmp_path, [report(1, math.nan)])
    [event] = read_events(tmp_path)
    assert isinstance(event, Reported)
    assert event.loss is not None
    assert math.isnan(event.loss)


def test_a_journal_cut_anywhere_gives_the_whole_lines_before_the_cut(tmp_path: Path):
    lines = [report(epoch, 1 / epoch) for epoch in range(1, 6)]
    data = written(tmp_path / "whole", lines).read_bytes()
    header_end = data.index(b"\n") + 1
    for cut in range(len(data)):
        folder = tmp_path / str(cut)
        folder.mkdir()
        (folder / "000001.jsonl").write_bytes(data[:cut])
        whole_lines = max(0, data[:cut].count(b"\n") - 1) if cut >= header_end else 0
        assert list(read_events(folder)) == lines[:whole_lines]


def test_a_disk_that_takes_a_line_in_parts_has_it_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A disk that fills up takes what it can; the next call is the one that says no."""
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:7]))
    journal = Journal(tmp_path, "parts")
    journal.append(SAMPLE)
    journal.close()
    assert list(read_events(tmp_path)) == [SAMPLE]


def test_an_attempt_opens_a_segment_of_its_own_so_a_torn_line_stays_alone(tmp_path: Path):
    first = written(tmp_path, [report(1, 0.5), report(2, 0.4)])
    first.write_bytes(first.read_bytes()[:-9])
    written(tmp_path, [report(2, 0.4)])
    assert list(read_events(tmp_path)) == [report(1, 0.5), report(2, 0.4)]


def test_a_journal_of_another_format_is_refused_with_both_versions(tmp_path: Path):
    path = tmp_path / "000001.jsonl"
    path.write_text('{"event":"Journal","version":99,"study":"s"}\n')
    with pytest.raises(JournalError, match="journal format 99; this version of the program reads format 1"):
        list(read_events(tmp_path))


@pytest.mark.parametrize(
    "damage", ["not json", "[]", '{"event":"Nothing"}', '{"event":"Ended","t":"x"}', "3"]
)
def test_a_damaged_line_in_the_middle_is_named_not_passed_over(tmp_path: Path, damage: str):
    path = written(tmp_path, [report(1, 0.5)])
    path.write_text(path.read_text() + damage + "\n")
    with pytest.raises(JournalError, match=r"000001\.jsonl:3: damaged line"):
        list(read_events(tmp_path))


def report(epoch: int, loss: float, trial: str = "00000") -> Reported:
    return Reported(
        t=float(epoch),
        trial=trial,
        generation=0,
        epoch=epoch,
        work=epoch,
        loss=loss,
        metrics={"val_loss": 1.5},
        decision="continue",
    )
