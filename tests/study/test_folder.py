"""A study's folder: made whole, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from raysweep.study.storage.layout import NotAStudy, StudyExists, StudyFolder
from tests.builders import small_sweep


def make(root: Path, trials: int, **words: object) -> StudyFolder:
    return StudyFolder.create(root, "small", small_sweep(trials), f"trials: {trials}\n", **words)  # type: ignore[arg-type]


def test_of_two_runs_of_one_name_at_once_one_wins_and_the_other_is_refused(tmp_path: Path) -> None:
    """The second begins and ends while the first is being made."""
    with pytest.raises(StudyExists, match="already holds a study"):
        make(tmp_path, 6, fill=lambda _: make(tmp_path, 600))
    folder = StudyFolder.open(tmp_path / "small")
    assert folder.stored_sweep().trials == 600
    assert folder.source_text() == "trials: 600\n"
    assert [path.name for path in tmp_path.iterdir()] == ["small"]


def test_what_fails_in_the_making_leaves_nothing(tmp_path: Path) -> None:
    def full(_: StudyFolder) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        make(tmp_path, 6, fill=full)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    (tmp_path / "small/thesis.tex").write_text("mine")
    with pytest.raises(NotAStudy) as refused:
        make(tmp_path, 6)
    assert str(refused.value) == (
        f"{tmp_path}/small holds files that are no study's: move them away, or choose another name "
        "with `--name`"
    )
    assert [path.name for path in (tmp_path / "small").iterdir()] == ["thesis.tex"]


def test_an_empty_folder_of_that_name_is_taken(tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    assert make(tmp_path, 6).stored_sweep().trials == 6


def test_a_removed_study_leaves_its_name_free(tmp_path: Path) -> None:
    make(tmp_path, 6).remove()
    assert list(tmp_path.iterdir()) == []
    make(tmp_path, 7)


@pytest.mark.parametrize(
    ("text", "edited"),
    [("study_name: small\n", False), ("study_name: small\ntrials: 60\n", True), (None, False)],
)
def test_an_edited_sweep_file_is_noticed(tmp_path: Path, text: str | None, edited: bool) -> None:
    """One that is gone says nothing: the study has its copy."""
    file = tmp_path / "small.yaml"
    folder = StudyFolder.create(tmp_path, "small", small_sweep(), "study_name: small\n", file=file)
    if text is not None:
        file.write_text(text)
    assert folder.edited_file() == (file if edited else None)
