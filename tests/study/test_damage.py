"""A study's folder, damaged in any way: one line, or the same numbers; never a traceback, never others."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import launch
from raysweep.study.journal.log import VERSION, last_marked, read_events
from raysweep.study.journal.records import fold
from raysweep.study.journal.repair import find_damage, keep_sound_part
from raysweep.study.journal.status_file import StatusFile, read_status
from raysweep.study.storage.journal_files import list_segments
from raysweep.study.storage.layout import StudyFolder
from raysweep.tracking.cursor import Cursor
from schedulers.asha import ASHARule
from tests.builders import small_sweep
from tests.study.slot import Slot

SWEEP = small_sweep()


def rule() -> ASHARule:
    return ASHARule(max_resource=6, grace_period=1, reduction_factor=2, variant="promotion")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    """A finished study of three attempts, the first two of them killed."""
    folder = StudyFolder.create(tmp_path_factory.mktemp("runs"), "small", SWEEP, "study_name: small\n")
    for epochs in (5, 4):
        slot = Slot(folder.path, SWEEP, rule())
        for _ in zip(range(epochs), slot.run(), strict=False):
            pass
    for _ in Slot(folder.path, SWEEP, rule()).run():
        pass
    record = fold(read_events(folder.journal_dir), SWEEP.objective)
    StatusFile(folder, record, SWEEP.metric, SWEEP.sign, SWEEP.metrics).write("done")
    Cursor(uri="sqlite:////nowhere.db", sent=3).save(folder.path / "tracking.json")
    (folder.path / "lock").write_text("{}")
    assert len(list_segments(folder.journal_dir)) == 3
    return folder


def numbers(words: list[str]) -> tuple[int, Any]:
    """A command's exit code, and what it says of the study in JSON."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = launch.main(words)
    if code != 0:
        assert out.getvalue() == ""
        complaints = [line for line in err.getvalue().splitlines() if not line.startswith("warning: ")]
        assert len(complaints) == 1, err.getvalue()
        return code, None
    result = json.loads(out.getvalue())
    for word in ("as_of", "pid"):
        result.pop(word, None)
    return 0, result


def answers(study: Path) -> list[tuple[int, Any]]:
    asha = ["--trial-scheduler", "ASHA", "--json"]
    return [
        numbers(["best", str(study), "--json"]),
        numbers(["status", str(study), "--json"]),
        numbers(["replay", str(study), *asha]),
    ]


truths = functools.cache(answers)


def cut(data: bytes, a: int, b: int) -> bytes:
    return data[:a]


def flip(data: bytes, a: int, b: int) -> bytes:
    return data[:a] + bytes([data[a] ^ (1 << b % 8)]) + data[a + 1 :] if data[a:] else data


def drop(data: bytes, a: int, b: int) -> bytes:
    return data[: min(a, b)] + data[max(a, b) :]


def blank(data: bytes, a: int, b: int) -> bytes:
    return data[: min(a, b)] + bytes(abs(a - b)) + data[max(a, b) :]


def repeat(data: bytes, a: int, b: int) -> bytes:
    return data[: max(a, b)] + data[min(a, b) :]


def swap_lines(data: bytes, a: int, b: int) -> bytes:
    lines = data.splitlines(keepends=True)
    if lines:
        a, b = a % len(lines), b % len(lines)
        lines[a], lines[b] = lines[b], lines[a]
    return b"".join(lines)


def drop_line(data: bytes, a: int, b: int) -> bytes:
    lines = data.splitlines(keepends=True)
    return b"".join(lines[: a % len(lines)] + lines[a % len(lines) + 1 :]) if lines else data


def repeat_line(data: bytes, a: int, b: int) -> bytes:
    lines = data.splitlines(keepends=True)
    return (
        b"".join([*lines[: b % len(lines)], lines[a % len(lines)], *lines[b % len(lines) :]])
        if lines
        else data
    )


def crlf(data: bytes, a: int, b: int) -> bytes:
    return data.replace(b"\n", b"\r\n")


WITHIN: list[Callable[[bytes, int, int], bytes]] = [
    cut,
    flip,
    drop,
    blank,
    repeat,
    swap_lines,
    drop_line,
    repeat_line,
    crlf,
]
NAMES = ["journal/000004.jsonl", "journal/000002 (copy).jsonl", "journal/._000001.jsonl", "journal/mark"]
OF_FILES = ["delete", "folder", "link", "exchange", "copy"]


@st.composite
def damages(draw: st.DrawFn, files: list[str]) -> tuple[Any, ...]:
    file = draw(st.sampled_from(files))
    if draw(st.booleans()):
        return file, draw(st.sampled_from(WITHIN)), draw(st.floats(0, 1)), draw(st.floats(0, 1))
    return file, draw(st.sampled_from(OF_FILES)), draw(st.sampled_from(files)), draw(st.sampled_from(NAMES))


def do_damage(study: Path, file: str, how: Any, first: Any, second: Any) -> None:
    path = study / file
    if not path.is_file():
        return  # an earlier damage took it
    if callable(how):
        data = path.read_bytes()
        path.write_bytes(how(data, round(first * len(data)), round(second * len(data))))
    elif how == "copy":
        shutil.rmtree(study / second, ignore_errors=True)
        shutil.copy(path, study / second) if (study / second) != path else None
    elif how == "exchange" and (study / first).is_file():
        data = path.read_bytes()
        path.write_bytes((study / first).read_bytes())
        (study / first).write_bytes(data)
    else:
        path.unlink()
        if how == "folder":
            path.mkdir()
        elif how == "link":
            path.symlink_to("nowhere")


FILES = [
    *(f"journal/{name}" for name in ("000001.jsonl", "000002.jsonl", "000003.jsonl", "mark")),
    *("study.json", "status.json", "sweep.yaml", "tracking.json", "lock"),
]


@settings(max_examples=150)
@given(st.lists(damages(FILES), min_size=1, max_size=3))
def test_a_damaged_study_gives_its_own_numbers_or_one_line(
    sound: StudyFolder, tmp_path_factory: pytest.TempPathFactory, damage: list[tuple[Any, ...]]
) -> None:
    study = tmp_path_factory.mktemp("damaged") / "small"
    shutil.copytree(sound.path, study)
    for each in damage:
        do_damage(study, *each)
    for (code, message), (_, truth) in zip(answers(study), truths(sound.path), strict=True):
        assert code in (0, 2)
        assert code == 2 or message == truth
    shutil.rmtree(study)


def damaged(sound: StudyFolder, tmp_path: Path, segment: str) -> StudyFolder:
    """The study with a hole in a segment."""
    shutil.copytree(sound.path, tmp_path / "small")
    folder = StudyFolder(tmp_path / "small")
    path = folder.journal_dir / segment
    path.write_bytes(drop_line(path.read_bytes(), 4, 0))
    return folder


@pytest.mark.parametrize("segment", ["000001.jsonl", "000002.jsonl", "000003.jsonl"])
def test_what_can_be_kept_is_the_longest_beginning_that_holds(
    sound: StudyFolder, tmp_path: Path, segment: str
) -> None:
    folder = damaged(sound, tmp_path, segment)
    before = [path for path in list_segments(sound.journal_dir) if path.name < segment]
    holds = sum(len(path.read_bytes().splitlines()) - 1 for path in before) + 3
    damage = find_damage(folder.journal_dir)
    truth = list(read_events(sound.journal_dir))
    assert list(damage.kept) == truth[:holds]
    assert damage.written == len(truth)
    keep_sound_part(folder, damage)
    assert list(read_events(folder.journal_dir)) == truth[:holds]


def test_repair_says_what_it_keeps_asks_and_puts_the_rest_aside(
    sound: StudyFolder,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    folder = damaged(sound, tmp_path, "000002.jsonl")
    journal = folder.journal_dir
    as_it_was = {path.name: path.read_bytes() for path in journal.iterdir()}
    assert launch.main(["best", str(folder.path)]) == 2
    assert f"see what `launch.py repair {folder.path}` can keep" in capsys.readouterr().err
    assert launch.main(["repair", str(folder.path)]) == 130  # no answer at the prompt
    assert {path.name: path.read_bytes() for path in journal.iterdir()} == as_it_was
    capsys.readouterr()
    assert launch.main(["repair", str(folder.path), "--yes"]) == 0
    damage = find_damage(journal)
    kept, written = len(damage.kept), last_marked(sound.journal_dir)
    record = damage.record(SWEEP.objective)
    assert capsys.readouterr().out.splitlines() == [
        f"damaged: {journal}/000002.jsonl:5: event {kept + 2} instead of {kept + 1}: "
        "lines are missing, repeated or swapped",
        f"can be kept: the first {kept} events: {len(record.trials)} trials, {record.epochs} epochs; "
        f"lost: at least {written - kept} events after them",
        f"kept; the damaged journal is {folder.path}/journal-damaged-1",
    ]
    aside = folder.path / "journal-damaged-1"
    assert {path.name: path.read_bytes() for path in aside.iterdir()} == as_it_was
    status = read_status(folder.path)
    assert (status["state"], status["epochs"]) == ("interrupted", record.epochs)
    assert launch.main(["repair", str(folder.path)]) == 0
    assert capsys.readouterr().out == f"{journal}: {kept} events, undamaged\n"


def test_a_repaired_study_continues_to_its_end(sound: StudyFolder, tmp_path: Path) -> None:
    folder = damaged(sound, tmp_path, "000002.jsonl")
    keep_sound_part(folder, find_damage(folder.journal_dir))
    for _ in Slot(folder.path, SWEEP, rule()).run():
        pass
    record, truth = (fold(read_events(each.journal_dir)) for each in (folder, sound))
    assert {trial.trial: trial.outcome for trial in record.trials.values()} == {
        trial.trial: trial.outcome for trial in truth.trials.values()
    }


def test_a_later_format_is_not_repaired(
    sound: StudyFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(sound.path, tmp_path / "small")
    segment = tmp_path / "small/journal/000001.jsonl"
    segment.write_text(segment.read_text().replace(f'"version": {VERSION}', f'"version": {VERSION + 1}', 1))
    assert launch.main(["repair", str(tmp_path / "small"), "--yes"]) == 2
    errors = capsys.readouterr().err
    assert f"journal format {VERSION + 1}; this version of the program reads format {VERSION}" in errors
    assert not (tmp_path / "small/journal-damaged-1").exists()


def test_a_copy_beside_the_segments_is_reported_and_not_read(
    sound: StudyFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(sound.path, tmp_path / "small")
    copy = tmp_path / "small/journal/000002 (copy).jsonl"
    shutil.copy(copy.with_name("000002.jsonl"), copy)
    assert launch.main(["best", str(tmp_path / "small")]) == 0
    assert capsys.readouterr().err == f"warning: {copy} is not a segment of the journal and is not read\n"
