"""Warm start: what is taken from earlier studies is kept, and a study that does not fit is named."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from raysweep.config import SweepError
from raysweep.study.execution.warm_start import load_warm_start, read_earlier_studies
from raysweep.study.storage.layout import StudyFolder
from schedulers.fifo import FIFORule
from tests.builders import LR, small_sweep
from tests.study.slot import Slot


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A study of six trials, two of which diverged."""
    sweep = small_sweep(study_name="old")
    StudyFolder.create(tmp_path, "old", sweep, "")
    for _ in Slot(tmp_path / "old", sweep, FIFORule(max_resource=6)).run():
        pass
    return tmp_path / "old"


def new(root: Path, **words: Any) -> StudyFolder:
    sweep = small_sweep(study_name="new", **{"warm_start": ["old"], **words})
    return StudyFolder.create(root, "new", sweep, "")


def test_completed_trials_of_an_equal_space_are_observed(old: Path) -> None:
    folder = new(old.parent)
    warm = load_warm_start(folder.sweep(), folder, fresh=True)
    assert warm.observed
    assert all(known.completed and known.epoch == 6 for known in warm.observed)
    assert all(set(known.config) == {LR} for known in warm.observed)


def test_the_new_study_needs_the_old_one_no_more(old: Path) -> None:
    folder = new(old.parent)
    first = load_warm_start(folder.sweep(), folder, fresh=True)
    shutil.rmtree(old)
    assert load_warm_start(folder.sweep(), folder, fresh=False) == first


def test_a_study_given_by_its_folder_is_the_same(old: Path, tmp_path: Path) -> None:
    by_name = read_earlier_studies(new(old.parent).sweep(), tmp_path)
    by_path = read_earlier_studies(small_sweep(warm_start=[str(old)]), Path("elsewhere"))
    assert by_name == by_path


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"warm_start": ["nobody"]}, "'nobody' is no study"),
        (
            {"metric": "accuracy", "direction": "maximize"},
            "'old' is judged by val_loss (minimize), this sweep by",
        ),
        ({"direction": "maximize"}, "this sweep by val_loss (maximize); drop it"),
    ],
)
def test_what_does_not_fit_is_named(old: Path, words: dict[str, Any], sentence: str) -> None:
    folder = new(old.parent, **words)
    with pytest.raises(SweepError) as caught:
        load_warm_start(folder.sweep(), folder, fresh=True)
    assert sentence in str(caught.value)


def test_a_lost_file_is_no_empty_one(old: Path) -> None:
    """Carried on without what it began with, the study would ask for other trials."""
    folder = new(old.parent)
    with pytest.raises(SweepError, match="restore the file"):
        load_warm_start(folder.sweep(), folder, fresh=False)


def test_without_warm_start_nothing_is_read(tmp_path: Path) -> None:
    sweep = small_sweep()
    assert load_warm_start(sweep, StudyFolder(tmp_path / "none"), fresh=True).observed == ()
