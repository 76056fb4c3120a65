"""Code that a folder names runs only if the folder was made here by this user, or is trusted."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import launch
from raysweep.study.storage.layout import StudyFolder
from raysweep.study.storage.trust import is_trusted, mark_trusted, require_trust_in_model, state_folder
from schedulers.fifo import FIFORule
from tests.builders import small_sweep
from tests.study.slot import Slot


@pytest.fixture
def made(tmp_path: Path) -> StudyFolder:
    return StudyFolder.create(tmp_path, "small", small_sweep(), "study_name: small\n")


def test_a_study_made_here_is_trusted_and_what_lies_in_it(made: StudyFolder) -> None:
    assert is_trusted(made.path)
    assert is_trusted(made.path / "retrain" / "model")
    assert not is_trusted(made.path.parent)


def test_a_copy_of_it_is_not_until_it_is_trusted_once(made: StudyFolder, tmp_path: Path) -> None:
    shutil.copytree(made.path, tmp_path / "copy")
    assert not is_trusted(tmp_path / "copy")
    mark_trusted(tmp_path / "copy")
    assert is_trusted(tmp_path / "copy")


def test_another_study_at_the_same_place_is_not(made: StudyFolder, tmp_path: Path) -> None:
    other = StudyFolder.create(tmp_path / "elsewhere", "small", small_sweep(), "")
    shutil.rmtree(made.path)
    shutil.move(other.path, made.path)
    assert not is_trusted(made.path)


def test_another_user_trusts_what_they_made(
    made: StudyFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marks = list((state_folder() / "trusted").iterdir())
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another"))
    assert not is_trusted(made.path)
    for mark in marks:  # the names of another's marks are worth nothing without the secret
        (state_folder() / "trusted").mkdir(parents=True, exist_ok=True)
        shutil.copy(mark, state_folder() / "trusted")
    assert not is_trusted(made.path)
    assert (state_folder() / "key").stat().st_mode & 0o777 == 0o600


def test_without_a_state_folder_nothing_is_trusted_and_nothing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert not is_trusted(StudyFolder.create(tmp_path, "small", small_sweep(), "").path)


@pytest.mark.parametrize("command", ["resume", "extend", "retrain", "reproduce"])
def test_commands_that_run_a_studys_code_ask_for_trust(
    made: StudyFolder, tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(made.path, tmp_path / "copy")
    words = {"extend": ["--trials", "+1"], "reproduce": ["1"]}.get(command, [])
    assert launch.main([command, str(tmp_path / "copy"), *words]) == 2
    assert capsys.readouterr().err == (
        f"{tmp_path}/copy: is a copy, was moved, or is another user's, and this command runs the code "
        "that it names: "
        "add `--trust` once if you trust its author\n"
    )


LOOKS = {
    "status": [],
    "best": [],
    "report": ["--no-mlflow"],
    "replay": ["--trial-scheduler", "ASHA"],
    "compare": ["@"],
}


@pytest.mark.parametrize("command", LOOKS)
def test_commands_that_look_run_nothing_of_a_folder(
    tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Net, sampler, scheduler, data and modules of ours by their names: importing one would leave a mark."""
    evil, marker = tmp_path / "evil", tmp_path / "ran"
    evil.mkdir()
    for name in ("evil", "schedulers", "trainables", "optuna", "plotly"):
        (evil / f"{name}.py").write_text(f"open({str(marker)!r}, 'w')")
    run = {"data": "evil.load", "net": "evil.Net", "epochs": 6, "optimizer_config": {"lr": 0.1}}
    named = {"sampler": "evil.Sampler", "trial_scheduler": "evil.Rule", "import_paths": [str(evil)]}
    folder = StudyFolder.create(tmp_path / "runs", "small", small_sweep(run=run, **named), "")  # type: ignore[arg-type]
    for _ in Slot(folder.path, folder.stored_sweep(), FIFORule(max_resource=6)).run():
        pass
    shutil.copytree(folder.path, tmp_path / "copy")
    words = [str(folder.path) if word == "@" else word for word in LOOKS[command]]
    assert launch.main([command, str(tmp_path / "copy"), *words]) == 0, capsys.readouterr().err
    assert not marker.exists()


def model(folder: Path, **words: Any) -> Path:
    """The folder of another user's model; its weights do not matter here."""
    run = {"net": "trainables.mlp.MLP", "net_config": {}, "criterion": "torch.nn.MSELoss"} | words
    folder.mkdir()
    paths = run.pop("import_paths", ["/not/on/this/machine"])
    (folder / "model.json").write_text(json.dumps({"format": 1, "run": run, "import_paths": paths}))
    return folder


@pytest.mark.parametrize(
    "words",
    [{}, {"net": "torch.nn.Linear"}, {"net_config": {"activation": "torch.nn.GELU", "nodes": 64}}],
)
def test_a_model_of_known_nets_needs_no_trust(tmp_path: Path, words: dict[str, Any]) -> None:
    require_trust_in_model(model(tmp_path / "model", **words), trust=False)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ({"net": "os.system"}, "os.system"),
        ({"criterion": "subprocess.getoutput"}, "subprocess.getoutput"),
        ({"net_config": {"layers": [{"of": "os.system"}]}}, "os.system"),
        ({"criterion_config": {"x": "builtins.exec"}}, "builtins.exec"),
        ({"net": "torch.nn.modules.sys.exit"}, "torch.nn.modules.sys.exit"),
        ({"net": "trainables.imports.call"}, "trainables.imports.call"),
        ({"import_paths": ["/tmp"]}, "modules of /tmp"),
    ],
)
def test_a_sent_model_that_runs_anything_else_is_refused(
    tmp_path: Path, words: dict[str, Any], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = model(tmp_path / "model", **words)
    (tmp_path / "table.csv").write_text("a\n1\n")
    assert launch.main(["predict", str(folder), str(tmp_path / "table.csv")]) == 2
    assert capsys.readouterr().err == (
        f"{folder}: is a copy, was moved, or is another user's, and runs {named}: "
        "add `--trust` once if you trust its author\n"
    )
    require_trust_in_model(folder, trust=True)
    require_trust_in_model(folder, trust=False)
    model_file = folder / "model.json"
    model_file.write_text(model_file.read_text() + " ")  # a changed model needs `--trust` again
    assert not is_trusted(folder)
