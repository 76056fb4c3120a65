"""One writer a study."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from raysweep.study.storage.lock import CannotWrite, StudyBusy, is_held, lock, read_holder

HOLD = """
import pathlib, sys, time
from raysweep.study.storage.lock import lock

with lock(pathlib.Path(sys.argv[1]), "run"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_command_is_refused_with_the_name_of_the_first(tmp_path: Path) -> None:
    with (
        lock(tmp_path / "lock", "launch.py run"),
        pytest.raises(StudyBusy, match=f"in use by 'launch.py run', process {os.getpid()} on .*, since 20"),
        lock(tmp_path / "lock", "launch.py resume"),
    ):
        pass


def test_a_released_lock_can_be_taken_again(tmp_path: Path) -> None:
    with lock(tmp_path / "lock", "run"):
        assert is_held(tmp_path / "lock")
    assert not is_held(tmp_path / "lock")
    with lock(tmp_path / "lock", "resume"):
        assert is_held(tmp_path / "lock")


def test_a_study_that_was_never_locked_is_free(tmp_path: Path) -> None:
    assert not is_held(tmp_path / "lock")


def test_what_a_dead_or_distant_holder_wrote_does_not_hold_a_study(tmp_path: Path) -> None:
    """A copied folder brings its lock file along: only the kernel's lock counts."""
    copied = tmp_path / "lock"
    copied.write_text('{"pid": 1, "host": "elsewhere", "command": "launch.py run", "since": 1.0}')
    assert not is_held(copied)
    with lock(copied, "launch.py resume"):
        assert f'"pid": {os.getpid()}' in copied.read_text()


def test_a_folder_that_cannot_be_written_is_reported_in_one_line(tmp_path: Path) -> None:
    line = r"missing: cannot be written \(No such file or directory\)$"
    with pytest.raises(CannotWrite, match=line), lock(tmp_path / "missing" / "lock", "run"):
        pass


def test_the_lock_dies_with_a_killed_holder(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "lock")], stdout=subprocess.PIPE, cwd=root, text=True
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert is_held(tmp_path / "lock")
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with lock(tmp_path / "lock", "resume"):
        assert is_held(tmp_path / "lock")


@pytest.mark.parametrize("text", ["", "{}", "[1]", "7", '{"pid": null}', "\x00\x00"])
def test_a_lock_file_without_a_name_has_no_holder(text: str, tmp_path: Path) -> None:
    (tmp_path / "lock").write_text(text)
    assert read_holder(tmp_path / "lock") is None
