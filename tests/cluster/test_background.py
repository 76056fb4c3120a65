"""Commands on studies without a terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

import launch
from raysweep.errors import ExitCode
from raysweep.study.storage.layout import StudyFolder
from tests.builders import small_sweep


@pytest.mark.parametrize(
    ("command", "line"),
    [("stop", "small is not running"), ("logs", "small was not started with --detach, so its output went")],
)
def test_a_command_that_the_study_is_not_for_is_the_users_mistake(
    command: str, line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not exit 6, which says that a cluster cannot be reached."""
    folder = StudyFolder.create(tmp_path, "small", small_sweep(), "")
    assert launch.main([command, str(folder.path)]) == ExitCode.USAGE
    assert capsys.readouterr().err.startswith(line)
