"""The study as Optuna's: plain Optuna opens it, a second export replaces the first, others stay."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from raysweep.report.database import of_database
from raysweep.report.optuna_file import load_study
from raysweep.search.export import CannotExport, export, export_file
from raysweep.search.ray_optuna_search import RayOptunaSearch
from raysweep.search.samplers import quiet
from tests.search.scripted import play, script, sweep


def played(name: str, **words: Any) -> RayOptunaSearch:
    searcher = sweep(name, study_name="digits", **words)
    play(searcher, script(12), {})
    return searcher


def opened(url: str) -> list[Any]:
    """What plain Optuna finds in a storage, trial by trial."""
    with quiet():
        storage = optuna.storages.RDBStorage(url)
        study = optuna.load_study(study_name="digits", storage=storage)
        trials = [seen(trial) for trial in study.trials]
        storage.remove_session()
        storage.engine.dispose()
    return trials


def seen(trial: optuna.trial.FrozenTrial) -> tuple[Any, ...]:
    times = trial.datetime_start, trial.datetime_complete
    fields = trial.values, trial.intermediate_values, trial.user_attrs, trial.system_attrs
    return (trial.number, trial.state, trial.params, trial.distributions, *fields, *times)


@pytest.mark.parametrize("name", ["CMA-ES", "TPE, cases", "NSGA-II, two metrics", "TPE, conditional"])
def test_plain_optuna_finds_every_trial_as_it_was_told(name: str, tmp_path: Path) -> None:
    searcher = played(name)
    export_file(searcher.study, tmp_path / "optuna.db")
    assert opened(f"sqlite:///{tmp_path}/optuna.db") == [seen(trial) for trial in searcher.study.trials]


@pytest.mark.parametrize(
    ("name", "signs"),
    [
        ("TPE", {"accuracy": -1}),
        ("TPE", {"val_loss": 1}),
        ("NSGA-II, two metrics", {"accuracy": -1, "parameters": 1}),
    ],
)
def test_the_export_is_in_the_users_metrics_and_directions(
    name: str, signs: dict[str, int], tmp_path: Path
) -> None:
    """optuna-dashboard shows an accuracy that rises, and best is best."""
    searcher, path = played(name), tmp_path / "optuna.db"
    export_file(searcher.study, path, signs)
    copy = load_study(path)
    assert copy.metric_names == list(signs)
    assert [way.name for way in copy.directions] == [
        "MINIMIZE" if sign > 0 else "MAXIMIZE" for sign in signs.values()
    ]
    for theirs, mine in zip(copy.trials, searcher.study.trials, strict=True):
        losses = mine.values and [sign * loss for sign, loss in zip(signs.values(), mine.values, strict=True)]
        sign = next(iter(signs.values()))
        assert theirs.values == losses
        assert theirs.intermediate_values == {
            step: sign * loss for step, loss in mine.intermediate_values.items()
        }
    assert {trial.number for trial in copy.best_trials} == {
        trial.number for trial in searcher.study.best_trials
    }


def test_report_reads_an_export_as_it_was(tmp_path: Path) -> None:
    searcher, path = played("TPE"), tmp_path / "optuna.db"
    export_file(searcher.study, path, {"accuracy": -1})
    subject = of_database(path, None)
    assert [(metric.name, metric.direction) for metric in subject.metrics] == [("accuracy", "maximize")]
    worth = {
        trial.number: trial.last_loss
        for trial in subject.record.trials.values()
        if trial.outcome == "completed"
    }
    finished = [trial for trial in searcher.study.trials if trial.state == TrialState.COMPLETE]
    assert worth == {trial.number: trial.value for trial in finished}


def test_a_study_without_trials_is_one_too(tmp_path: Path) -> None:
    export_file(sweep("TPE", study_name="digits").study, tmp_path / "optuna.db")
    assert opened(f"sqlite:///{tmp_path}/optuna.db") == []


def test_a_teams_storage_holds_the_latest_export_beside_others_studies(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/team.db"
    with quiet():
        optuna.create_study(study_name="theirs", storage=url)
    for _ in range(2):
        searcher = played("TPE")
        export(searcher.study, url)
    assert opened(url) == [seen(trial) for trial in searcher.study.trials]
    assert sorted(optuna.get_all_study_names(url)) == ["digits", "theirs"]


def test_a_study_that_we_did_not_write_is_not_replaced(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/team.db"
    with quiet():
        optuna.create_study(study_name="digits", storage=url).add_trial(optuna.create_trial(value=1.0))
    with pytest.raises(CannotExport, match=r"'digits' that raysweep did not write; rename yours$"):
        export(played("Random").study, url)
    assert len(opened(url)) == 1


@pytest.mark.parametrize("url", ["sqlite:////no/such/folder/team.db", "nosuchdb://host/x", "postgres"])
def test_a_storage_that_cannot_be_reached_is_one_line(url: str) -> None:
    with pytest.raises(CannotExport) as raised:
        export(sweep("Random").study, url)
    assert str(raised.value).startswith(f"{url}: ")
    assert "\n" not in str(raised.value)


def test_a_copy_keeps_its_place_in_the_storage(tmp_path: Path) -> None:
    """Whoever has its page open in optuna-dashboard still has it after a resume."""
    url = f"sqlite:///{tmp_path}/team.db"
    ids = []
    for _ in range(2):
        export(played("TPE").study, url, {"loss": 1})
        with quiet():
            optuna.create_study(storage=url)  # takes the next id
            ids.append(optuna.load_study(study_name="digits", storage=url)._study_id)
    assert ids[0] == ids[1]


def test_a_copy_with_other_metrics_is_a_new_one(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/team.db"
    for metrics in ({"loss": 1}, {"accuracy": -1}):
        export(played("TPE").study, url, metrics)
        with quiet():
            copy = optuna.load_study(study_name="digits", storage=url)
        assert copy.metric_names == list(metrics)
        assert len(copy.trials) == 12


@pytest.fixture
def postgresql(tmp_path: Path) -> Iterator[str]:
    """A PostgreSQL of Debian's on a socket of its own; it does not run as root."""
    home = Path("/tmp", f"pg-{os.getpid()}")
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    bin_ = folders[-1] if folders else Path(shutil.which("pg_ctl") or "pg_ctl").parent
    user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    home.mkdir(mode=0o777)
    home.chmod(0o777)
    data = home / "data"

    def call(*words: str) -> None:
        subprocess.run([*user, *words], check=True, cwd=home, stdout=subprocess.DEVNULL)

    call(str(bin_ / "initdb"), "-D", str(data), "-A", "trust", "-U", "team")
    call(
        str(bin_ / "pg_ctl"),
        "-D",
        str(data),
        "-w",
        "-l",
        str(home / "log"),
        "-o",
        f"-h '' -k {home}",
        "start",
    )
    try:
        yield f"postgresql://team@/postgres?host={home}"
    finally:
        call(str(bin_ / "pg_ctl"), "-D", str(data), "-m", "immediate", "stop")
        shutil.rmtree(home)


@pytest.mark.nightly
def test_a_real_postgresql_holds_what_plain_optuna_reads(postgresql: str, tmp_path: Path) -> None:
    for _ in range(2):
        searcher = played("NSGA-II, two metrics")
        export(searcher.study, postgresql)
    assert opened(postgresql) == [seen(trial) for trial in searcher.study.trials]


@pytest.mark.parametrize("name", ["sp ace", "üñí", "ha#sh", "que?stion", "per%20cent"])
def test_the_export_stands_in_a_folder_of_any_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with quiet():
        study = optuna.create_study()
    export_file(study, tmp_path / name / "optuna.db")
    assert [path.name for path in tmp_path.rglob("*.db")] == ["optuna.db"]
    with sqlite3.connect(tmp_path / name / "optuna.db") as exported:
        assert exported.execute("SELECT count(*) FROM studies").fetchone() == (1,)
