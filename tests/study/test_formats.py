"""Every file of a study that is opened again says its format; a future one is a line, not a guess."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import launch
from raysweep.study.journal.events import AttemptStarted
from raysweep.study.journal.log import Journal
from raysweep.study.storage.layout import StudyFolder
from tests.builders import small_sweep

FUTURE = 99


def later(path: Path) -> None:
    """The same file, as a later version of the program would write it."""
    first, *rest = (
        path.read_text(encoding="utf-8").split("\n") if path.suffix == ".jsonl" else [path.read_text()]
    )
    path.write_text("\n".join([json.dumps(json.loads(first) | {"version": FUTURE}), *rest]))


@pytest.fixture
def study(tmp_path: Path) -> StudyFolder:
    folder = StudyFolder.create(tmp_path, "small", small_sweep(), "study_name: small\n")
    journal = Journal(folder.journal_dir, "small")
    journal.append(AttemptStarted(t=1.0, attempt=1, slots=1, trials=6))
    journal.close()
    folder.status_file.write_text(json.dumps({"version": 1, "state": "done"}))
    return folder


@pytest.mark.parametrize("command", ["status", "resume", "sync", "replay"])
@pytest.mark.parametrize(
    ("file", "reads"),
    [
        ("study.json", {"status", "resume", "sync", "replay"}),
        ("status.json", {"status"}),
        ("journal/000001.jsonl", {"resume", "sync", "replay"}),
    ],
)
def test_a_file_of_a_later_format_is_one_line_and_exit_code_2(
    study: StudyFolder, capsys: pytest.CaptureFixture[str], command: str, file: str, reads: set[str]
) -> None:
    """Which commands read which file is part of the table: what is not read cannot stand in the way."""
    if command not in reads:
        return
    later(study.path / file)
    words = [
        command,
        str(study.path),
        *(["--trial-scheduler", "schedulers.ASHA"] if command == "replay" else []),
    ]
    assert launch.main(words) == 2
    output = capsys.readouterr()
    assert output.err.count("\n") == 1, output.err
    assert f"format {FUTURE}; this version" in output.err
    assert file.rpartition("/")[2] in output.err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read"),
        ('{"version": 99}', "format 99; this version of the program reads 1"),
        ("", "cannot be read"),
    ],
)
def test_an_unreadable_tracking_cursor_is_reported_and_costs_only_work(
    tmp_path: Path, text: str, message: str, study: StudyFolder
) -> None:
    """The journal is the backlog, and runs are found by their tags."""
    from raysweep.tracking import count_unsent

    (study.path / "tracking.json").write_text(text)
    count, trouble = count_unsent(study.path, "sqlite:///x.db")
    assert count == 1
    assert message in trouble
    assert "found by" in trouble
