"""Reading a journal that is being written."""

from __future__ import annotations

from pathlib import Path

from raysweep.study.journal.log import Journal, Tail
from raysweep.study.storage.journal_files import make_journal
from tests.study.test_journal import report


def test_each_look_gives_what_has_come_since_the_last(tmp_path: Path) -> None:
    make_journal(tmp_path / "journal")
    tail = Tail(tmp_path / "journal")
    assert list(tail.read()) == []
    first = Journal(tmp_path / "journal", "s")
    first.append(report(1, 0.5))
    assert list(tail.read()) == [report(1, 0.5)]
    assert list(tail.read()) == []
    first.append(report(2, 0.4))
    first.close()
    second = Journal(tmp_path / "journal", "s")
    assert list(tail.read()) == [report(2, 0.4)]
    assert list(tail.read()) == []
    second.append(report(3, 0.3))
    assert list(tail.read()) == [report(3, 0.3)]


def test_a_line_is_taken_once_it_is_whole(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal", "s")
    journal.append(report(1, 0.5))
    whole = journal.path.read_bytes()
    journal.path.write_bytes(whole[:-4])
    tail = Tail(tmp_path / "journal")
    assert list(tail.read()) == []
    journal.path.write_bytes(whole)
    assert list(tail.read()) == [report(1, 0.5)]
