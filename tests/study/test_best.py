"""best.yaml: the template's derivation, as a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from raysweep.config import Sweep, read_sweep
from raysweep.config.baseline import baseline_of
from raysweep.preflight.check_file import check_file
from raysweep.study.execution.extend import schedule_tied_to_epochs
from raysweep.study.journal.events import (
    AttemptStarted,
    TrialExploited,
)
from raysweep.study.journal.records import StudyRecord, fold
from raysweep.study.results.best_config import NoWinner, best_yaml, fresh_seeds, write_best
from raysweep.study.storage.code_snapshot import keep_code
from raysweep.study.storage.layout import StudyFolder
from tests.builders import epoch_reported, trial_created, trial_ended
from trainables.run_config import SCHEDULE_LENGTHS

ROOT = Path(__file__).resolve().parents[2]
CONFIG = {"net_config.layers": 4, "optimizer_config.lr": 0.0342, "scheduler_config.min_lr": 1.2e-6}
PROVENANCE = {
    "git_commit": "abc123",
    "versions": {"torch": "2.13.0"},
    "data_fingerprint": "ff00",
    "command": "secret words",
}


def template_sweep(**run: Any) -> Sweep:
    """The sweep of the template's chapter."""
    words: dict[str, Any] = {
        "project": "MyProject",
        "data": "trainables.data.load_synthetic",
        "net_config": {"nodes": 64, "layers": 3},
        "optimizer_config": {"lr": 1e-1, "eps": 1e-10},
        "scheduler_config": {"total_steps": 10, "upper_bound": 250, "min_lr": 1e-6},
        "epochs": 10,
        "seeds": [42],
    }
    return Sweep.model_validate({"study_name": "MyProject_HPO", "run": words | run, "trials": 2})


def record_of(config: dict[str, Any], outcome: Any = "completed", copied: bool = False) -> StudyRecord:
    events: list[Any] = [
        AttemptStarted(t=0, attempt=1, slots=1, trials=2),
        trial_created("00000", {**config, "optimizer_config.lr": 0.5}, revision=3),
        trial_created("00001", config, revision=3),
    ]
    for trial, loss in (("00000", 0.5), ("00001", 0.01)):
        events += [epoch_reported(trial, epoch, loss, metrics={"val_loss": loss}) for epoch in (1, 2)]
    if copied:
        settings = {**config, "optimizer_config.lr": 0.2}
        events.append(
            TrialExploited(
                t=3, trial="00001", donor="00000", epoch=2, generation=1, config=settings, reason="r"
            )
        )
    events += [trial_ended(trial, outcome, "r") for trial in ("00000", "00001")]
    return fold(events)


def derived(sweep: Sweep, record: StudyRecord, **words: Any) -> dict[str, Any]:
    return best_yaml(sweep, record, PROVENANCE, **words)[0].run


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("epochs", 150),
        ("scheduler_config.total_steps", 150),
        ("scheduler_config.upper_bound", 250),
        ("scheduler_config.min_lr", 1.2e-6),
        ("net_config.nodes", 64),
        ("net_config.layers", 4),
        ("optimizer_config.lr", 0.0342),
        ("optimizer_config.eps", 1e-10),
        ("seeds", [58, 89, 231, 928, 814]),
        ("early_stopping_config", {"enabled": True, "patience": 20, "mode": "min", "min_delta": 0.0001}),
        ("checkpoint_config.enabled", True),
        ("checkpoint_config.save_every_n_epochs", 10),
        ("checkpoint_config.keep_last_k", 3),
        ("checkpoint_config.save_best", True),
        ("checkpoint_config.monitor", "val_loss"),
        ("checkpoint_config.mode", "min"),
    ],
)
def test_each_value_is_the_chapters(key: str, value: Any) -> None:
    config: Any = derived(template_sweep(), record_of(CONFIG))
    for part in key.split("."):
        config = config[part]
    assert config == value


@pytest.mark.parametrize(
    ("config", "epochs", "lengths"),
    [
        ({"T_max": 10}, None, {"T_max": 150}),
        ({"T_max": 10}, 40, {"T_max": 40}),
        ({"total_steps": 300, "interval": "step"}, 20, {"total_steps": 600, "interval": "step"}),
        ({"total_iters": 10}, None, {"total_iters": 150}),
        ({"t_max": 10}, 20, {"t_max": 20}),
        ({"num_training_steps": 10.0}, 20, {"num_training_steps": 20}),
        ({"milestones": [3, 7]}, 20, {"milestones": [6, 14]}),
        ({"step_size": 5, "gamma": 0.1}, 20, {"step_size": 10, "gamma": 0.1}),
        ({"gamma": 0.9}, None, {"gamma": 0.9}),
        ({"milestones": []}, None, {"milestones": []}),
    ],
)
def test_what_counts_epochs_follows_them(
    config: dict[str, Any], epochs: int | None, lengths: dict[str, Any]
) -> None:
    sweep = template_sweep(scheduler_config=config)
    best = derived(sweep, record_of({"optimizer_config.lr": 0.1}), epochs=epochs)
    assert best["scheduler_config"] == lengths


def test_a_linear_schedule_is_stretched_and_its_line_says_so() -> None:
    sweep = template_sweep(
        epochs=27,
        scheduler="torch.optim.lr_scheduler.LinearLR",
        scheduler_config={"start_factor": 1.0, "end_factor": 0.01, "total_iters": 27},
    )
    text = best_yaml(sweep, record_of({"optimizer_config.lr": 0.1}), PROVENANCE)[1]
    line = "  total_iters: 150                                  # follows the epochs; the sweep had 27\n"
    assert line in text


@pytest.mark.parametrize("keyword", SCHEDULE_LENGTHS)
def test_what_best_stretches_extend_refuses(keyword: str) -> None:
    """One list of keywords serves both."""
    sweep = template_sweep(scheduler="my_schedule.Mine", scheduler_config={keyword: 10})
    assert schedule_tied_to_epochs(sweep) == f"scheduler my_schedule.Mine ({keyword})"
    assert derived(sweep, record_of({}), epochs=20)["scheduler_config"] == {keyword: 20}


def test_the_checkpoint_is_chosen_by_the_sweeps_own_metric() -> None:
    sweep = template_sweep().model_copy(update={"metric": "accuracy", "direction": "maximize"})
    wish = derived(sweep, record_of(CONFIG))["checkpoint_config"]
    assert (wish["monitor"], wish["mode"]) == ("accuracy", "max")


@pytest.mark.parametrize(
    ("run", "epochs"),
    [({"epochs": 200, "scheduler_config": {"total_steps": 200}}, 200), ({"epochs": 27}, 150)],
)
def test_a_sweep_that_trained_long_already_is_not_cut(run: dict[str, Any], epochs: int) -> None:
    assert derived(template_sweep(**run), record_of({}))["epochs"] == epochs


def test_what_the_user_has_set_stays() -> None:
    sweep = template_sweep(early_stopping_config={"enabled": True, "patience": 3})
    assert derived(sweep, record_of(CONFIG))["early_stopping_config"]["patience"] == 3


def test_cheap_fidelities_of_the_search_end() -> None:
    """All rows, and one split: one model comes out."""
    config = derived(template_sweep(data_fraction=0.2, data_config={"folds": 5}), record_of(CONFIG))
    assert (config["data_fraction"], config["data_config"]) == (1.0, {})


def test_a_populations_winner_keeps_its_epochs_and_no_patience() -> None:
    """Its settings belong to the epochs in which they were found."""
    config = derived(template_sweep(), record_of(CONFIG, copied=True))
    assert (config["epochs"], config["early_stopping_config"]["enabled"]) == (10, False)
    assert config["optimizer_config"]["lr"] == 0.2


def test_a_populations_whole_schedule_is_a_run_config_too(tmp_path: Path) -> None:
    record = record_of(CONFIG, copied=True)
    write_best(tmp_path / "best.yaml", template_sweep(), record, PROVENANCE)
    run = read_sweep(tmp_path / "best_schedule.yaml").sweep.run
    assert run.optimizer_config["lr"] == 0.5
    assert [(change.after_epoch, change.config["optimizer_config.lr"]) for change in run.schedule] == [
        (2, 0.2)
    ]


def test_the_text_says_where_values_come_from_and_of_what_code_and_data() -> None:
    text = best_yaml(template_sweep(), record_of(CONFIG), PROVENANCE)[1]
    for line in (
        "# study MyProject_HPO, trial 1: completed at epoch 2",
        "# val_loss 0.01 (last epoch counts), revision 3 of the search space",
        "# git_commit: abc123",
        "# versions.torch: 2.13.0",
        "# data_fingerprint: ff00",
        "  lr: 0.0342                                        # from trial 1",
        "  total_steps: 150                                  # follows the epochs; the sweep had 10",
        "epochs: 150                                         # the full training; the sweep ran 10",
    ):
        assert f"{line}\n" in text
    assert "secret" not in text


def test_the_template_knows_every_word_of_it() -> None:
    """Its reader takes no others."""
    chapter = yaml.safe_load((Path(__file__).parents[1] / "config/files/best.yaml").read_text())
    text = best_yaml(template_sweep(device="cuda:0"), record_of(CONFIG), PROVENANCE)[1]
    assert set(yaml.safe_load(text)) <= set(chapter)


def test_it_is_a_run_file_without_a_warning(tmp_path: Path) -> None:
    text = best_yaml(template_sweep(), record_of(CONFIG), PROVENANCE)[1]
    (tmp_path / "best.yaml").write_text(text)
    reading = read_sweep(tmp_path / "best.yaml")
    assert reading.warnings == ()
    assert reading.sweep.run.optimizer_config["lr"] == 0.0342


@pytest.mark.parametrize(
    ("warmup", "epochs", "lengthened"),
    [
        (0.0, 27, 0.0),  # none
        (0.05, 27, 0.05),  # a share stays one
        (1.0, 27, 8),  # the nearest whole epoch to the usual share: the usual share again
        (9.0, 27, 50),  # a share of its own
        (2.0, 150, 2.0),  # as long already
    ],
)
def test_a_warm_up_in_epochs_follows_them(warmup: float, epochs: int, lengthened: float) -> None:
    sweep = template_sweep(warmup=warmup, epochs=epochs, scheduler_config={})
    assert derived(sweep, record_of({}))["warmup"] == lengthened


def test_patience_goes_by_the_sweeps_own_metric() -> None:
    sweep = template_sweep().model_copy(update={"metric": "accuracy", "direction": "maximize"})
    wish = derived(sweep, record_of(CONFIG))["early_stopping_config"]
    assert (wish["monitor"], wish["mode"]) == ("accuracy", "max")


def test_patience_goes_by_val_loss_where_the_metric_is_a_cost() -> None:
    sweep = template_sweep().model_copy(update={"metric": "latency_ms"})
    assert "monitor" not in derived(sweep, record_of(CONFIG))["early_stopping_config"]


@pytest.mark.parametrize("own", [{}, {"early_stopping_config": {"enabled": True, "patience": 30}}])
def test_patience_is_shorter_than_a_short_full_training(own: dict[str, Any]) -> None:
    wish = derived(template_sweep(**own), record_of(CONFIG), epochs=6)["early_stopping_config"]
    assert wish["patience"] == 2


@pytest.mark.parametrize("file", sorted((ROOT / "sweeps").glob("*.yaml")), ids=lambda file: file.stem)
def test_check_has_nothing_to_say_of_a_shipped_sweeps_best(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From another working directory, and in another folder than the sweep file's."""
    sweep = read_sweep(file).sweep
    monkeypatch.chdir(tmp_path)
    settings = baseline_of(sweep)
    text = best_yaml(sweep, record_of({key: settings[key] for key in sweep.space if key in settings}), {})[1]
    (tmp_path / "best.yaml").write_text(text)
    seen = check_file(tmp_path / "best.yaml")
    assert [*seen.complaints(), *map(str, seen.advice)] == []
    assert seen.sweep is not None
    assert (seen.sweep.metric, seen.sweep.direction) == (sweep.metric, sweep.direction)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a net and a table of the user's, not the working directory."""
    home = tmp_path / "project"
    (home / "tables").mkdir(parents=True)
    (home / "own_net.py").write_text(OWN_NET)
    (home / "tables" / "own.csv").write_text("a,b\n1,2\n3,4\n")
    (home / "images").mkdir()
    (home / "price").mkdir()  # named like the target
    monkeypatch.chdir(tmp_path)
    return home


OWN_NET = """import torch

class Net(torch.nn.Linear):
    def __init__(self, in_features, out_features):
        super().__init__(in_features, out_features)
"""


def own_sweep(project: Path, **run: Any) -> Sweep:
    sweep = template_sweep(net="own_net.Net", net_config={}, scheduler=None, scheduler_config={}, **run)
    return sweep.model_copy(update={"import_paths": (str(project), str(ROOT))})


def test_paths_in_best_yaml_are_absolute(project: Path) -> None:
    config = {"path": "tables/own.csv", "image_dir": "images", "target": "price", "sep": ",", "more": ["a/b"]}
    best = derived(own_sweep(project, data_config=config), record_of({}))
    assert best["data_config"] == {
        **config,
        "path": str(project / "tables" / "own.csv"),
        "image_dir": str(project / "images"),
    }


def test_own_modules_are_found_from_best_yaml_as_they_were(project: Path) -> None:
    """By the study's copies, even when the user's own files have gone."""
    run = {"data": "trainables.data.load_table", "data_config": {"path": "tables/own.csv", "target": "b"}}
    sweep = own_sweep(project, **run)
    folder = StudyFolder.create(project / "runs", "own", sweep, "")
    keep_code(folder, sweep)
    write_best(folder.best_file, folder.sweep(), record_of({}), {})
    (project / "own_net.py").unlink()
    reading = read_sweep(folder.best_file)
    assert reading.warnings == ()
    assert reading.sweep.import_paths[1:3] == (str(folder.code_dir), str(project))


def test_best_yaml_names_no_folders_where_all_modules_are_installed() -> None:
    assert "import_paths" not in derived(template_sweep(), record_of({}))


def test_another_trial_may_be_asked_for() -> None:
    assert derived(template_sweep(), record_of(CONFIG), trial="0")["optimizer_config"]["lr"] == 0.5


@pytest.mark.parametrize(
    ("record", "trial", "message"),
    [
        (StudyRecord(), None, "MyProject_HPO: no trial has succeeded (none was started)"),
        (record_of(CONFIG, "failed"), None, "MyProject_HPO: no trial has succeeded (2 failed)"),
        (record_of(CONFIG), "7", "MyProject_HPO: no trial 7; there are 2, from 0"),
    ],
)
def test_without_a_winner_it_says_so(record: StudyRecord, trial: str | None, message: str) -> None:
    with pytest.raises(NoWinner) as caught:
        best_yaml(template_sweep(), record, PROVENANCE, trial=trial)
    assert str(caught.value) == message


def test_no_seed_is_one_that_was_searched_with() -> None:
    assert fresh_seeds(5, used=[231]) == [58, 89, 928, 814, 1000]
