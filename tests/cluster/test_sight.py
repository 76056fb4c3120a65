"""Which data files are sent with a job."""

from __future__ import annotations

from pathlib import Path

import pytest

from raysweep.cluster.data_visibility import missing_data_files, refuse_missing_data_files
from raysweep.cluster.errors import ClusterError
from raysweep.config.sweep import Sweep
from tests.builders import small_sweep


def sweep_of(project: Path, path: str) -> Sweep:
    run = {"data": "trainables.data.load_table", "data_config": {"path": path, "target": "y"}}
    return small_sweep(run=run, search_space={}, import_paths=[str(project)])


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    """A clone and a project beside it, with data files that are small, large, ignored, or outside of both."""
    clone, project = tmp_path / "clone", tmp_path / "project"
    for folder in (clone, project / "runs", tmp_path / "outside"):
        folder.mkdir(parents=True)
    for name in ("project/small.csv", "project/runs/old.csv", "outside/far.csv"):
        (tmp_path / name).write_text("x,y\n1,2\n")
    with (project / "large.csv").open("wb") as large:
        large.truncate(51 * 2**20)
    return clone, project


@pytest.mark.parametrize(
    ("path", "message", "certain"),
    [
        ("small.csv", "", False),
        ("s3://bucket/any.csv", "", False),
        ("nowhere.csv", "", False),  # `check --data` says so
        ("large.csv", "51 MB; files over 50 MB are not sent", True),
        ("runs/old.csv", "is not sent", True),
        ("../outside/far.csv", "is not sent", True),
        (
            "{project}/small.csv",
            "read from the head's own disk, so it must be there too; with a relative path",
            False,
        ),
        ("{outside}/far.csv", "read from the head's own disk", False),
    ],
)
def test_a_data_file_is_sent_seen_or_named(
    places: tuple[Path, Path], path: str, message: str, certain: bool
) -> None:
    clone, project = places
    path = path.format(project=project, outside=project.parent / "outside")
    missing_files = missing_data_files(sweep_of(project, path), clone, project)
    assert [(each.key, each.certain) for each in missing_files] == (
        [("run.data_config.path", certain)] if message else []
    )
    assert all(message in each.message for each in missing_files)


def test_what_no_cluster_can_have_is_not_submitted(places: tuple[Path, Path]) -> None:
    clone, project = places
    with pytest.raises(ClusterError, match=r"large\.csv is 51 MB"):
        refuse_missing_data_files(sweep_of(project, "large.csv"), clone, project)
    assert len(refuse_missing_data_files(sweep_of(project, str(project / "small.csv")), clone, project)) == 1
