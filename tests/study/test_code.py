"""The user's modules are copied into the study, and run from there whatever happens to the originals."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from raysweep.study.journal.events import AttemptStarted
from raysweep.study.journal.records import StudyRecord
from raysweep.study.storage.code_snapshot import code_fingerprint, keep_code, list_differences
from raysweep.study.storage.layout import StudyFolder
from tests.builders import small_sweep
from trainables.module_snapshot import read_manifest

FILES = {
    "net.py": "import helper\nfrom blocks.dense import Dense\nWIDTH = 1\nclass Net: width = WIDTH\n",
    "helper.py": "import numpy\nimport torch\nfrom trainables.training import Epoch\n",
    "blocks/dense.py": "from . import norm\nclass Dense: pass\n",
    "blocks/norm.py": "def late():\n    import importlib\n    return importlib.import_module('later')\n",
    "later.py": "",
    "unrelated.py": "",
    "blocks/unrelated.py": "",
    "beside.txt": "found",
    "data.py": "from pathlib import Path\nTEXT = (Path(__file__).parent / 'beside.txt').read_text()\n",
}
LOOK = """
import sys
from trainables.imports import add_paths, resolve
add_paths(sys.argv[2:])
found = resolve(sys.argv[1])
print(getattr(found, "width", found))
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        file = tmp_path / "home" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path / "home"


@pytest.fixture
def study(home: Path, tmp_path: Path) -> StudyFolder:
    sweep = small_sweep(
        run={"data": "data.load", "net": "net.Net", "criterion": "torch.nn.MSELoss", "epochs": 2},
        search_space={},
        import_paths=[str(home), str(Path(__file__).parents[2])],
    )
    folder = StudyFolder.create(tmp_path / "runs", "small", sweep, "")
    keep_code(folder, sweep)
    return folder


def seen_by_a_worker(folder: StudyFolder, dotted: str) -> str:
    """What a fresh process finds under a dotted path, with the study's import paths."""
    words = [sys.executable, "-c", LOOK, dotted, *folder.sweep().import_paths]
    root = Path(__file__).parents[2]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=root)
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


def test_what_is_named_and_what_that_imports_is_kept_and_nothing_else(study: StudyFolder) -> None:
    assert set(read_manifest(study.code_dir)) == {
        *("net", "helper", "blocks", "blocks.dense", "blocks.norm", "later", "data")
    }


def test_an_edit_in_mid_sweep_changes_nothing_that_runs(study: StudyFolder, home: Path) -> None:
    (home / "net.py").write_text("class Net: width = 2\n")
    (home / "blocks/dense.py").unlink()
    assert seen_by_a_worker(study, "net.Net") == "1"


def test_a_file_beside_a_module_is_still_found_there(study: StudyFolder) -> None:
    assert seen_by_a_worker(study, "data.TEXT") == "found"


def test_a_submodule_that_was_not_copied_is_found_in_its_folder(study: StudyFolder) -> None:
    assert "blocks.unrelated" in seen_by_a_worker(study, "blocks.unrelated")


def test_a_study_copied_to_where_the_originals_are_not_runs_the_same(
    study: StudyFolder, home: Path, tmp_path: Path
) -> None:
    study.path.rename(tmp_path / "moved")
    home.rename(tmp_path / "gone")
    assert seen_by_a_worker(StudyFolder(tmp_path / "moved"), "net.Net") == "1"


def test_a_traceback_shows_the_code_that_ran(study: StudyFolder, home: Path) -> None:
    (home / "helper.py").write_text("edited = True\n")
    source = study.code_dir / "as-it-was/helper.py"
    source.write_text("raise ValueError('as it was')\n")
    assert seen_by_a_worker(study, "net.Net") == "ValueError: as it was"


def test_a_difference_is_reported_with_the_file_that_runs(study: StudyFolder, home: Path) -> None:
    assert list_differences(study, {}, "f00d") == []
    (home / "helper.py").write_text("edited = True\n")
    [difference] = list_differences(study, {}, "f00d")
    assert difference == (
        f"{home}/helper.py has changed since; the study continues with its own copy, "
        f"{study.code_dir}/as-it-was/helper.py (`resume --adopt-code` takes the new helper)"
    )


def test_changed_data_are_reported(study: StudyFolder) -> None:
    record = StudyRecord()
    record.apply(AttemptStarted(t=1.0, attempt=1, slots=1, trials=1, provenance={"data_fingerprint": "aaaa"}))
    assert list_differences(study, record.provenance, "aaaa") == []
    [difference] = list_differences(study, record.provenance, "bbbb")
    assert difference.startswith("the data have changed since the study began (fingerprint aaaa, now bbbb)")


def test_adopting_takes_the_new_code_and_keeps_the_old_beside_it(study: StudyFolder, home: Path) -> None:
    before = code_fingerprint(study)
    (home / "net.py").write_text("class Net: width = 2\n")
    keep_code(study, study.sweep())
    assert seen_by_a_worker(study, "net.Net") == "2"
    assert code_fingerprint(study) != before
    assert (study.path / "code-1/as-it-was/net.py").read_text() == FILES["net.py"]


def test_a_study_made_from_a_study_takes_its_code_and_where_that_came_from(
    study: StudyFolder, home: Path, tmp_path: Path
) -> None:
    """A retraining runs what the sweep ran."""
    (home / "net.py").write_text("class Net: width = 2\n")
    sweep = study.sweep()
    again = StudyFolder.create(study.path, "retrain", sweep, "")
    keep_code(again, sweep)
    assert code_fingerprint(again) == code_fingerprint(study)
    assert read_manifest(again.code_dir)["net"].origin == str(home / "net.py")


def test_a_study_of_installed_code_has_no_copies(tmp_path: Path) -> None:
    sweep = small_sweep(import_paths=[str(Path(__file__).parents[2])])
    folder = StudyFolder.create(tmp_path, "small", sweep, "")
    keep_code(folder, sweep)
    assert not folder.code_dir.exists()
    assert folder.sweep().import_paths == sweep.import_paths


def test_a_manifest_that_cannot_be_read_is_named(study: StudyFolder) -> None:
    (study.code_dir / "modules.json").write_text(json.dumps({"net": {"fil": 1}}))
    with pytest.raises(ValueError, match=r"modules\.json: cannot be read"):
        read_manifest(study.code_dir)
