"""`import_paths`: folders that a sweep file, or a run config, names for its modules and data files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from raysweep.config import SweepError, read_sweep

RUN: dict[str, Any] = {"data": "their_data.load", "epochs": 2, "scheduler": None}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder beside one with a module in it, neither of them the working directory."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "their_data.py").write_text("def load():\n    return [[0.0]], [0.0]\n")
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path


@pytest.mark.parametrize("written", [["../code"], "../code"])
@pytest.mark.parametrize("nested", [False, True], ids=["run config alone", "sweep"])
def test_modules_are_found_in_a_folder_named_from_the_files_own(
    home: Path, nested: bool, written: Any
) -> None:
    file = home / "sweeps" / "own.yaml"
    words = {"run": RUN} if nested else dict(RUN)
    file.write_text(yaml.safe_dump(words | {"import_paths": written}))
    assert str(home / "code") in read_sweep(file).sweep.import_paths


def test_import_paths_of_a_named_run_config_are_meant_from_its_folder(home: Path) -> None:
    (home / "runs").mkdir()
    (home / "runs" / "best.yaml").write_text(yaml.safe_dump({**RUN, "import_paths": ["../code"]}))
    (home / "sweeps" / "again.yaml").write_text("run: ../runs/best.yaml\ntrials: 1\n")
    assert str(home / "code") in read_sweep(home / "sweeps" / "again.yaml").sweep.import_paths


def test_an_override_is_meant_from_the_working_directory(home: Path) -> None:
    (home / "sweeps" / "own.yaml").write_text(yaml.safe_dump({"run": RUN}))
    reading = read_sweep(home / "sweeps" / "own.yaml", overrides=["import_paths=[../code]"])
    assert str(home / "code") in reading.sweep.import_paths


def test_a_folder_that_is_not_there_is_a_warning(home: Path) -> None:
    file = home / "sweeps" / "own.yaml"
    file.write_text("import_paths: [../code, gone]\n" + yaml.safe_dump({"trials": 1, "run": RUN}))
    assert [str(each) for each in read_sweep(file).warnings] == [
        f"{file}:1: import_paths: there is no folder '{home}/sweeps/gone'; "
        "it is ignored; fix the path, or drop it"
    ]


@pytest.mark.parametrize("written", ["3", "[1]", "{a: b}", "['']"])
def test_anything_but_folders_is_an_error(home: Path, written: str) -> None:
    file = home / "sweeps" / "own.yaml"
    file.write_text(f"import_paths: {written}\n" + yaml.safe_dump({"run": RUN}))
    with pytest.raises(SweepError) as caught:
        read_sweep(file)
    first = str(caught.value).splitlines()[0]
    assert first.startswith(f"{file}:1: import_paths: ")
    assert first.endswith("is not a list of folders; as in 'import_paths: [../code]'")
