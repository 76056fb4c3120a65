"""A team's storage holds a study while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest

from raysweep.config import Sweep
from raysweep.search.samplers import quiet
from raysweep.search.storage_export import StorageExport
from raysweep.study.execution.searcher_factory import export_to_file, live_export, make_searcher
from tests.builders import small_sweep


def in_storage(url: str) -> list[tuple[Any, ...]]:
    """What plain Optuna finds there, trial by trial; nothing before there is a study."""
    with quiet():
        if "digits" not in optuna.get_all_study_names(url):
            return []
        return parts(optuna.load_study(study_name="digits", storage=url))


def parts(study: optuna.Study) -> list[tuple[Any, ...]]:
    return [
        (trial.number, trial.state, trial.params, trial.values, trial.intermediate_values, trial.user_attrs)
        for trial in study.trials
    ]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/team.db"
    with quiet():
        optuna.storages.RDBStorage(url)  # makes its tables
    return url


def digits() -> optuna.Study:
    with quiet():
        return optuna.create_study(study_name="digits")


def mirrored(study: optuna.Study, url: str, said: list[str]) -> StorageExport:
    trials = lambda: study.get_trials(deepcopy=False)  # noqa: E731
    return StorageExport(study, trials, url, say=said.append, every_s=0.01, retry_s=0.01)


def test_each_change_of_a_trial_is_in_the_storage_before_its_end(url: str) -> None:
    study, warnings = digits(), list[str]()
    with mirrored(study, url, warnings):
        running = study.ask({"lr": optuna.distributions.FloatDistribution(0, 1)})
        for step, loss in enumerate([3.0, 2.0]):
            running.report(loss, step)
            wait_for(lambda: in_storage(url) == parts(study))
        with quiet():
            study.tell(running, 2.0)
            other = study.ask()
        wait_for(lambda: in_storage(url) == parts(study))
        with quiet():
            study.tell(other, state=optuna.trial.TrialState.PRUNED)
    assert in_storage(url) == parts(study)
    assert warnings == []


def test_a_storage_that_comes_back_has_everything_and_is_named_once(tmp_path: Path) -> None:
    study, warnings = digits(), list[str]()
    url = f"sqlite:///{tmp_path}/away/team.db"
    with mirrored(study, url, warnings) as export:
        study.add_trial(optuna.create_trial(value=1.0))
        wait_for(lambda: bool(warnings))
        (tmp_path / "away").mkdir()
        wait_for(lambda: not export.trouble)
        study.add_trial(optuna.create_trial(value=2.0))
    assert in_storage(url) == parts(study)
    assert len(warnings) == 1
    assert warnings[0].startswith(f"optuna_storage: {url}: ")


def test_what_a_lost_storage_lacks_is_a_note_at_the_end(tmp_path: Path) -> None:
    sweep = digits_sweep(f"sqlite:///{tmp_path}/away/team.db")
    with live_export(make_searcher(sweep), sweep, lambda _: None) as notes:
        pass
    (note,) = notes
    assert note.startswith("the study was not exported for Optuna: sqlite:///")


def test_what_an_ordered_search_kept_back_is_copied_at_the_end(url: str, tmp_path: Path) -> None:
    """Its searcher gets the results of a trial only at its turn."""
    sweep = digits_sweep(url, ordered=True)
    searcher = make_searcher(sweep, window=4)
    with live_export(searcher, sweep, lambda _: None):
        for number in range(3):
            assert searcher.ask(number) is not None
        searcher.tell("00002", "completed", 0.5, "", {})
        export_to_file(searcher, sweep, tmp_path / "optuna.db")
    assert [row[3] for row in in_storage(url)] == [None, None, [0.5]]


def test_off_writes_no_file(tmp_path: Path) -> None:
    sweep = digits_sweep("off")
    assert export_to_file(make_searcher(sweep), sweep, tmp_path / "optuna.db") == ()
    assert list(tmp_path.iterdir()) == []


def digits_sweep(storage: str, **words: Any) -> Sweep:
    return small_sweep(study_name="digits", optuna_storage=storage, **words)
