"""Which files are sent with a job."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from raysweep.cluster.errors import ClusterError
from raysweep.cluster.working_tree import packed, select_files, sent_as


def tree(folder: Path, *names: Any, size: int = 3) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x" * size)
    return folder


def names_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    return tree(tmp_path / "clone", "launch.py", "schedulers/asha.py", "sweeps/pbt.yaml")


def files_of(folder: Path, *include: Any) -> list[str]:
    return [str(file) for file in select_files(folder, include).files]


CODE = ["launch.py", "schedulers/asha.py", "sweeps/pbt.yaml"]


def test_runs_environments_and_caches_stay_at_home(clone: Path) -> None:
    tree(clone, ".git/x", "runs/a/journal/1", ".venv/bin/python", "a/__pycache__/b.pyc")
    assert files_of(clone) == CODE


@pytest.mark.parametrize(
    "name",
    [
        *(".aws/credentials", ".ssh/config", ".kube/config", ".docker/config.json", "infra/.gnupg/x"),
        *(".netrc", ".npmrc", ".pypirc", ".pgpass", ".git-credentials", ".ray/auth_token", "auth_token"),
        *(".env", ".env.local", "prod.env", "secrets.yaml", "conf/my_secret.yml", "client_secret_1.json"),
        *("a.tfstate", "a.tfstate.backup", "prod.tfvars", "key.pem", "tls.key", "ca.crt", "x.p12", "id_rsa"),
        *("id_ecdsa.pub", ".bash_history", ".python_history", "core", "core.4711"),
    ],
)
def test_a_secret_is_not_sent_and_is_reported(name: str, clone: Path) -> None:
    tree(clone, name)
    assert files_of(clone) == CODE
    with packed(clone, clone) as package:
        assert f"without possible secrets: {name} (--include PATH sends one)" in str(package)


@pytest.mark.parametrize("name", ["secrets.py", "core.py", "core/net.py", "keys/a.py", "environment.yaml"])
def test_code_and_data_of_a_like_name_go_along(name: str, clone: Path) -> None:
    tree(clone, name)
    assert name in files_of(clone)


def test_a_private_key_stays_at_home_whatever_its_name(clone: Path) -> None:
    (clone / "notes.txt").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA", encoding="utf-8")
    assert "notes.txt" not in files_of(clone)


@pytest.mark.parametrize(
    ("target", "sent"), [("sweeps/pbt.yaml", True), (".env", False), ("../outside.txt", False)]
)
def test_a_link_is_worth_what_it_leads_to(target: str, sent: bool, clone: Path) -> None:
    tree(clone, ".env", "../outside.txt")
    (clone / "link.txt").symlink_to(target)
    assert ("link.txt" in files_of(clone)) is sent


@pytest.mark.parametrize("wanted", ["conf/secrets.yaml", "conf/*.yaml"])
def test_what_is_included_goes_along_whatever_it_is(wanted: str, clone: Path) -> None:
    tree(clone, "conf/secrets.yaml", "conf/tls.key")
    (clone / ".gitignore").write_text("conf/\n", encoding="utf-8")
    subprocess.run(["git", "init", "-q", str(clone)], check=True)
    assert [file for file in files_of(clone, wanted) if "conf" in file] == ["conf/secrets.yaml"]


def test_what_git_ignores_stays_at_home(clone: Path) -> None:
    tree(clone, "scratch/big", "mine.py")
    (clone / ".gitignore").write_text("scratch/\n", encoding="utf-8")
    subprocess.run(["git", "init", "-q", str(clone)], check=True)
    assert "scratch/big" not in files_of(clone)
    assert "mine.py" in files_of(clone)


def test_from_within_the_clone_it_is_sent_and_the_working_directory_kept(clone: Path) -> None:
    with packed(clone, clone / "sweeps") as package:
        assert (package.cwd, package.launch, package.files) == ("sweeps", "../launch.py", 3)
        assert names_in(package.folder) == names_in(clone)
    assert sent_as(clone / "sweeps/pbt.yaml", clone, clone / "sweeps") == "pbt.yaml"


def test_a_project_elsewhere_goes_along_inside_the_clone(clone: Path, tmp_path: Path) -> None:
    project = tree(tmp_path / "mine", "net.py", "my.yaml")
    with packed(clone, project) as package:
        assert (package.cwd, package.launch) == ("project", "../launch.py")
        assert {"launch.py", "project/net.py"} <= set(names_in(package.folder))
    assert sent_as(project / "my.yaml", clone, project) == "my.yaml"
    assert sent_as(clone / "sweeps/pbt.yaml", clone, project) == "../sweeps/pbt.yaml"


def test_a_file_that_is_in_neither_is_refused(clone: Path, tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="is not sent"):
        sent_as(tmp_path / "other" / "x.yaml", clone, clone)


def test_a_large_file_is_left_out_by_name_and_too_much_is_refused(
    clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("raysweep.cluster.working_tree.LARGE_FILE_MB", 1)
    tree(clone, "data.csv", size=2 * 2**20)
    with packed(clone, clone) as package:
        assert "data.csv" not in names_in(package.folder)
        assert "without data.csv: over 1 MB" in str(package)
    monkeypatch.setattr("raysweep.cluster.working_tree.LARGE_FILE_MB", 50)
    monkeypatch.setattr("raysweep.cluster.working_tree.LIMIT_MB", 1)
    with pytest.raises(ClusterError, match="2 MB to send, at most 1"), packed(clone, clone):
        pass
