"""An Optuna file, or one of the training template, as a report sees it."""

from __future__ import annotations

import math
import sqlite3
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from raysweep.report.database import of_database
from raysweep.report.errors import CannotReport
from raysweep.report.optuna_study import as_study
from raysweep.report.report import report
from raysweep.search.samplers import quiet

BEST = "SELECT MIN(value) FROM trial_values NATURAL JOIN trials WHERE state = 'COMPLETE'"
OPTIONS = """\
study_name: MyProject_HPO
trials: 8
metric: val_loss
direction: minimize
pruner: {name: pruner.PFLPruner, kwargs: {top_k: 10}}
search_space:
  net_config: {layers: {type: int, min: 3, max: 6}}
  optimizer_config: {lr: {type: float, min: 1.e-3, max: 1.e+0, log: true}}
"""


@pytest.fixture
def database(tmp_path: Path) -> tuple[Path, Any]:
    """Eight trials as the template leaves them: every fourth pruned, one failed."""
    path = tmp_path / "MyProject_Opt.db"
    storage = optuna.storages.RDBStorage(f"sqlite:///{path}")
    with quiet():
        study = optuna.create_study(
            study_name="MyProject_HPO", storage=storage, sampler=optuna.samplers.RandomSampler(seed=3)
        )

    def objective(trial: Any) -> float:
        lr = trial.suggest_float("optimizer_config_lr", 1e-3, 1.0, log=True)
        layers = trial.suggest_int("net_config_layers", 3, 6)
        trial.set_user_attr("group_name", f"MLP[{trial.number}]")
        for epoch in range(3):
            trial.report(lr + layers / (epoch + 1), epoch)
        if trial.number % 4 == 3:
            raise optuna.TrialPruned
        return lr + layers if trial.number != 6 else float("nan")

    with quiet():
        optuna.logging.disable_default_handler()
        study.optimize(objective, n_trials=8)
    storage.remove_session()
    storage.engine.dispose()
    (tmp_path / "hpo.yaml").write_text(OPTIONS)
    return path, study


def test_the_numbers_are_those_of_the_database(database: tuple[Path, Any], tmp_path: Path) -> None:
    path, _ = database
    study_report = report(of_database(path, tmp_path / "hpo.yaml"), 5)
    rows = sqlite3.connect(path)
    counts = dict(rows.execute("SELECT state, COUNT(*) FROM trials GROUP BY state"))
    best = rows.execute(BEST).fetchone()[0]
    rows.close()
    statuses = {"completed": "COMPLETE", "stopped": "PRUNED", "failed": "FAIL"}
    assert {statuses[key]: n for key, n in study_report.tables.statistics.counts.items()} == counts
    assert study_report.tables.best.value == best
    assert study_report.tables.best.group == f"MLP[{study_report.tables.best.number}]"


def test_the_optimize_config_gives_names_ranges_and_the_rule(
    database: tuple[Path, Any], tmp_path: Path
) -> None:
    subject = of_database(database[0], tmp_path / "hpo.yaml")
    assert set(subject.parameters) == {"net_config.layers", "optimizer_config.lr"}
    assert (subject.metric, subject.scheduler.name) == ("val_loss", "schedulers.ClassicPFL")
    assert set(subject.config(subject.trials[0])) == set(subject.parameters)


def test_without_it_the_ranges_are_those_that_optuna_knows(database: tuple[Path, Any]) -> None:
    subject = of_database(database[0], None)
    assert set(subject.parameters) == {"net_config_layers", "optimizer_config_lr"}


def test_reading_does_not_write(database: tuple[Path, Any]) -> None:
    path, _ = database
    before = path.read_bytes()
    report(of_database(path, None), 5)
    assert path.read_bytes() == before


def of_the_template(path: Path) -> Any:
    """Thirty trials as the template leaves them.

    Its pruner does not pass on what it receives, so Optuna has no curves, not even of pruned trials; a
    training that ended in NaN is recorded as infinity, and is COMPLETE.
    """
    with quiet():
        study = optuna.create_study(
            study_name="MyProject_HPO",
            storage=f"sqlite:///{path}",
            sampler=optuna.samplers.RandomSampler(seed=5),
        )

        def objective(trial: Any) -> float:
            layers = trial.suggest_int("net_config_layers", 3, 6, step=1)
            lr = trial.suggest_float("optimizer_config_lr", 1e-3, 1.0, log=True)
            group = f"MLP_n_64_l_{layers}_SP_l_{lr:.4e}_EHLRS_t_10_u_250[{trial.number}]"
            trial.set_user_attr("group_name", group)
            if trial.number % 5 == 4:
                raise optuna.TrialPruned
            if trial.number == 11:
                raise RuntimeError("out of memory")
            return math.inf if trial.number == 7 else (math.log10(lr) + 1) ** 2 + 0.1 * layers

        study.optimize(objective, n_trials=30, catch=(RuntimeError,))
    study._storage.remove_session()
    (path.parent / "hpo.yaml").write_text(OPTIONS)
    return study


def test_the_numbers_are_those_of_the_templates_own_report(tmp_path: Path) -> None:
    """Trials, best, group name and top five as its `hpo-report` takes them from Optuna.

    But for the training that came to NaN: it counts as completed there, and as diverged here; and for
    fANOVA, which weighs log ranges in raw units there.
    """
    study = of_the_template(tmp_path / "MyProject_Opt.db")
    study_report = report(of_database(tmp_path / "MyProject_Opt.db", tmp_path / "hpo.yaml"), 5)
    states = [trial.state.name for trial in study.trials]
    counts = study_report.tables.statistics.counts
    assert counts["completed"] + counts["diverged"] == states.count("COMPLETE")
    assert counts["stopped"] == states.count("PRUNED")
    assert counts["failed"] == states.count("FAIL")
    best, mine = study.best_trial, study_report.tables.best
    assert (mine.number, mine.value, mine.group) == (best.number, best.value, best.user_attrs["group_name"])
    top = sorted((trial for trial in study.trials if trial.state.name == "COMPLETE"), key=lambda t: t.value)
    assert [(row.number, row.value) for row in study_report.tables.top] == [
        (t.number, t.value) for t in top[:5]
    ]


def test_a_mend_names_the_templates_two_files(tmp_path: Path) -> None:
    of_the_template(tmp_path / "MyProject_Opt.db")
    subject = of_database(tmp_path / "MyProject_Opt.db", tmp_path / "hpo.yaml")
    assert subject.rerun == f"python launch.py RUN.yaml --optimize-config {tmp_path / 'hpo.yaml'}"


def test_pruned_trials_without_a_curve_stay_pruned(tmp_path: Path) -> None:
    of_the_template(tmp_path / "MyProject_Opt.db")
    subject = of_database(tmp_path / "MyProject_Opt.db", None)
    pruned = [trial for trial in as_study(subject).trials if trial.state.name == "PRUNED"]
    assert [trial.number for trial in pruned] == [4, 9, 14, 19, 24, 29]
    assert subject.scheduler.name == "its pruner"


def test_a_journal_is_read_like_a_database_and_not_written(tmp_path: Path) -> None:
    path = tmp_path / "journal.log"
    storage = JournalStorage(JournalFileBackend(str(path)))
    with quiet():
        study = optuna.create_study(study_name="told", storage=storage)
        study.optimize(lambda trial: trial.suggest_float("x", 0.0, 1.0), n_trials=6)
    before = path.read_bytes()
    study_report = report(of_database(path, None), 3)
    assert study_report.tables.best.value == study.best_value
    assert study_report.tables.stops.sentence == "0 of 6 stopped; FIFO stops no trial by design"
    assert path.read_bytes() == before


def test_several_metrics_keep_their_names_and_their_front(tmp_path: Path) -> None:
    path = tmp_path / "several.db"
    with quiet():
        study = optuna.create_study(
            study_name="told", storage=f"sqlite:///{path}", directions=["minimize", "maximize"]
        )

        def both(trial: Any) -> tuple[float, float]:
            x = trial.suggest_float("x", 0.0, 1.0)
            return x, x - trial.suggest_float("waste", 0.0, 1.0)

        study.optimize(both, n_trials=12)
    study._storage.remove_session()
    study_report = report(of_database(path, None), 3)
    assert [(metric.name, metric.direction) for metric in study_report.subject.metrics] == [
        ("value_0", "minimize"),
        ("value_1", "maximize"),
    ]
    assert sorted(study_report.front) == sorted(trial.number for trial in study.best_trials)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a database, but long enough to look at\n" * 40,
        b"SQLite format 3\x00" + b"?" * 2000,
        b'{"op_code"} is no line of Optuna\'s\n' * 3,
    ],
)
def test_an_invalid_optuna_file_is_reported(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.db"
    path.write_bytes(content)
    with pytest.raises(CannotReport, match=r"not an Optuna (file|database|journal)"):
        of_database(path, None)


def test_a_study_that_is_not_there_is_named_with_those_that_are(database: tuple[Path, Any]) -> None:
    with pytest.raises(CannotReport, match="holds no study 'other'; it has MyProject_HPO"):
        of_database(database[0], None, "other")
