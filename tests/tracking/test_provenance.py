"""Where numbers come from."""

import subprocess
import sys
from pathlib import Path

import pytest

from raysweep.config import Sweep
from raysweep.tracking.provenance import (
    git_state,
    package_versions,
    provenance,
    run_tags,
    source_folder,
    submitted_environment,
)


def git(folder: Path, *words: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", "-C", str(folder), *identity, *words], check=True, capture_output=True)


def test_the_commit_is_known_and_whether_the_tree_differs_from_it(tmp_path: Path) -> None:
    git(tmp_path, "init")
    (tmp_path / "net.py").write_text("a = 1\n")
    git(tmp_path, "add", "net.py")
    git(tmp_path, "commit", "-m", "one")
    clean = git_state(tmp_path)
    assert len(clean["git_commit"]) == 40
    assert clean["git_dirty"] is False
    (tmp_path / "net.py").write_text("a = 2\n")
    assert git_state(tmp_path) == {**clean, "git_dirty": True}


@pytest.mark.parametrize("exists", [True, False])
def test_outside_a_work_tree_there_is_no_commit_and_no_error(
    tmp_path: Path, exists: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_state(tmp_path if exists else tmp_path / "none") == {}


def test_the_commit_is_that_of_the_users_repository_not_of_the_tool(tmp_path: Path) -> None:
    git(tmp_path, "init")
    git(tmp_path, "remote", "add", "origin", "https://ada:secret@git.example/nets.git")
    git(tmp_path, "commit", "--allow-empty", "-m", "one")
    words = {"study_name": "s", "trials": 1, "run": {"data": "trainables.data.load_digits"}}
    sweep = Sweep.model_validate(words | {"import_paths": [str(tmp_path), "elsewhere"]})
    known = provenance(source_folder(sweep))
    assert known["git_commit"] == git_state(tmp_path)["git_commit"]
    tags = run_tags(known)
    assert tags["mlflow.source.git.commit"] == known["git_commit"]
    assert tags["mlflow.source.git.repoURL"].endswith("@git.example/nets.git")
    assert "secret" not in str(known)
    assert known["raysweep_commit"] == git_state(Path(__file__).parent).get("git_commit", "")


def test_packages_that_are_not_installed_are_left_out() -> None:
    assert set(package_versions(["numpy", "no-such-package"])) == {"numpy"}


def test_provenance_is_known_without_importing_torch_or_mlflow(tmp_path: Path) -> None:
    """`launch.py check` and a quick start depend on it."""
    program = (
        "import sys, pathlib, raysweep.tracking as t;"
        f"t.provenance(pathlib.Path({str(tmp_path)!r}));"
        "print([name for name in ('torch', 'mlflow', 'ray') if name in sys.modules])"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_command_and_the_data_are_part_of_it(tmp_path: Path) -> None:
    known = provenance(tmp_path, command=["launch.py", "my sweep.yaml"], data_fingerprint="f00d")
    assert known["command"] == "launch.py 'my sweep.yaml'"
    assert known["data_fingerprint"] == "f00d"


def test_a_job_knows_the_commit_and_the_user_of_the_machine_that_sent_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tree arrives without its .git, and the job runs as the head's user."""
    laptop, head = tmp_path / "laptop", tmp_path / "head"
    for folder in (laptop, head):
        folder.mkdir()
    git(laptop, "init")
    (laptop / "net.py").write_text("a = 1\n")
    git(laptop, "add", "net.py")
    git(laptop, "commit", "-m", "one")
    (laptop / "net.py").write_text("a = 2\n")
    monkeypatch.setenv("LOGNAME", "ann")
    sent = submitted_environment(laptop)
    monkeypatch.setenv("LOGNAME", "ray")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    assert "git_commit" not in provenance(head)
    for name, value in sent.items():
        monkeypatch.setenv(name, value)
    known = provenance(head)
    assert {key: known[key] for key in ("git_commit", "git_dirty", "user")} == {
        **git_state(laptop),
        "git_dirty": True,
        "user": "ann",
    }
