"""A database of Optuna's, and of the training template, as a report sees it."""

import sqlite3

import optuna
import pytest

from service.report.database import of_database
from service.report.errors import CannotReport
from service.report.report import report
from service.search.samplers import quiet

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
def database(tmp_path):
    """Eight trials as the template leaves them: every fourth pruned, one failed."""
    path = tmp_path / "MyProject_Opt.db"
    storage = optuna.storages.RDBStorage(f"sqlite:///{path}")
    with quiet():
        study = optuna.create_study(
            study_name="MyProject_HPO", storage=storage, sampler=optuna.samplers.RandomSampler(seed=3)
        )

    def objective(trial):
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


def test_the_numbers_are_those_of_the_database(database, tmp_path):
    path, _ = database
    found = report(of_database(path, tmp_path / "hpo.yaml"), 5)
    rows = sqlite3.connect(path)
    counts = dict(rows.execute("SELECT state, COUNT(*) FROM trials GROUP BY state"))
    best = rows.execute(BEST).fetchone()[0]
    rows.close()
    words = {"completed": "COMPLETE", "stopped": "PRUNED", "failed": "FAIL"}
    assert {words[key]: n for key, n in found.tables.statistics.counts.items()} == counts
    assert found.tables.best.value == best
    assert found.tables.best.group == f"MLP[{found.tables.best.number}]"


def test_the_optimize_config_gives_names_ranges_and_the_rule(database, tmp_path):
    subject = of_database(database[0], tmp_path / "hpo.yaml")
    assert set(subject.parameters) == {"net_config.layers", "optimizer_config.lr"}
    assert (subject.metric, subject.scheduler.name) == ("val_loss", "schedulers.ClassicPFL")
    assert set(subject.config(subject.trials[0])) == set(subject.parameters)


def test_without_it_the_ranges_are_those_that_optuna_was_told(database):
    subject = of_database(database[0], None)
    assert set(subject.parameters) == {"net_config_layers", "optimizer_config_lr"}


def test_reading_does_not_write(database):
    path, _ = database
    before = path.read_bytes()
    report(of_database(path, None), 5)
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"not a database, but long enough to look at\n" * 40])
def test_what_is_no_database_of_optunas_is_said_in_words(tmp_path, content):
    path = tmp_path / "other.db"
    path.write_bytes(content)
    with pytest.raises(CannotReport, match="no database of Optuna's"):
        of_database(path, None)


def test_a_study_that_is_not_there_is_named_with_those_that_are(database):
    with pytest.raises(CannotReport, match="holds no study 'other'; it has MyProject_HPO"):
        of_database(database[0], None, "other")
